"""What a network costs: parameters, multiplications with additions (MACs) for one image, and how fast it is trained."""

import math

import pandas as pd
import torch
from torch import nn

from lib.encoders import Encoders
from lib.sites import Site, at, parse, record
from lib.system import parallel
from lib.system.timing import fastest


@torch.no_grad()
def cost(network: Encoders) -> pd.DataFrame:
    """One row a module that multiplies: module, parameters (biases included), macs. Zero weights count as removed.

    Of attention also the two products of tokens by tokens, as module "<attention>.products". Norms, activations and
    pooling add some thousands of operations an image and are left out.
    """
    shapes: dict[str, torch.Size] = {}
    modules = {n: m for n, m in network.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d)) and n != "pool"}
    places = {n: Site(n, "output") for n in modules} | {s: network.site(s) for s in at(network.sites, "mha")}
    with record(network, places, lambda n, y: shapes.__setitem__(n, y.shape)):
        network(*network.example())
    rows = []
    for name, module in modules.items():
        kept = int((module.weight != 0).sum())
        outputs = shapes[name][2:] if isinstance(module, nn.Conv2d) else shapes[name][1:-1]
        bias = 0 if module.bias is None else module.bias.numel()
        rows.append({"module": name, "parameters": kept + bias, "macs": kept * math.prod(outputs)})
    for site in at(network.sites, "mha"):
        _, tokens, width = shapes[site]
        name = f"encoders.{parse(site).encoder - 1}.attention.products"
        rows.append({"module": name, "parameters": 0, "macs": 2 * tokens**2 * width})
    return pd.DataFrame(rows)


def operations(network: Encoders) -> float:
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


def training_speed(network: Encoders, images: int, seconds: float, device: str) -> dict[str, float]:
    """Images a second of a training, operations a second, and their share of the device's largest product.

    Nothing in processes other than the first of a group.
    """
    if parallel.rank():
        return {}
    speed = images / seconds
    rate, peak = speed * operations(network), matrix_peak(device) * parallel.size()
    return {"images_per_second": speed, "operations_per_second": rate, "share_of_peak": rate / peak}
