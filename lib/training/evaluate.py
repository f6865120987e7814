"""What a network makes of a set: logits, and how many of its answers are right."""

import numpy as np
import torch
from torch import nn

from lib.data import LabelledSet, batches
from lib.system.device import keep_memory


@torch.no_grad()
def predict(network: nn.Module, things: LabelledSet, batch: int = 250, precision: str = "fp32", **how) -> np.ndarray:
    """Logits of everything in a set, float32 (N, K), in its order; `how` goes to the network's forward pass.

    precision: of the products of matrices, "fp32" or "bf16".
    """
    keep_memory()
    device = next(network.parameters()).device
    network.eval()
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        return torch.cat([network(*b.given, **how).cpu() for b in batches(things, device, batch)]).float().numpy()


def accuracy(logits: np.ndarray, labels: np.ndarray, top: int = 1) -> float:
    """Share of images whose label is among the `top` largest logits."""
    best = np.argpartition(-logits, top - 1, axis=1)[:, :top]
    return float((best == labels[:, None]).any(1).mean())


def label_accuracy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Share of each label's images that get it as their largest logit, (K,); NaN for a label without images."""
    K = logits.shape[1]
    return np.bincount(labels, logits.argmax(1) == labels, K) / np.bincount(labels, minlength=K)
