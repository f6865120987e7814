"""How fast training is: operations an image, and what the device can do at most."""

import torch

from lib.cct import CCT
from lib.experiments.cost import cost
from lib.system.timing import fastest


def operations(network: CCT) -> float:
    """Floating-point operations to train on one image: two for each MAC of the forward pass, twice that backward."""
    return 6.0 * float(cost(network.eval())["macs"].sum())


def matrix_peak(device: str | torch.device, size: int | None = None, repeat: int = 5) -> float:
    """Operations a second of the largest square product of matrices, in the precision in which training multiplies.

    bfloat16 on a GPU, float32 on a CPU; the fastest of a few repetitions.
    """
    gpu = torch.device(device).type == "cuda"
    size = size or (8192 if gpu else 1024)
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16 if gpu else torch.float32) for _ in range(2))
    return 2.0 * size**3 / fastest(lambda: a @ b, repeat, device)
