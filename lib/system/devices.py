"""Moving small tensors to a device without making the CPU wait for what the device is doing."""

from collections.abc import Sequence

import torch
from torch import Tensor


def send(tensor: Tensor, device: str | torch.device) -> Tensor:
    """The tensor on the device; the copy takes its turn behind the device's other work."""
    if torch.device(device).type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def constant(values: Sequence[float], device: str | torch.device) -> Tensor:
    """A float32 vector made on the device, where `torch.tensor` would make it here and copy it."""
    return torch.stack([torch.full((), float(v), device=device) for v in values])
