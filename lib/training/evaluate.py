"""What a network makes of a set: logits, and how many of its answers are right."""

import numpy as np
import torch
from torch import nn

from lib.data import LabelledSet, batches
from lib.sites import evaluating
from lib.system.device import device_of, keep_memory, products


@torch.no_grad()
def predict(network: nn.Module, things: LabelledSet, batch: int = 250, precision: str = "fp32", **how) -> np.ndarray:
    """Logits of everything in a set, float32 (N, K), in its order; `how` goes to the network's forward pass.

    precision: of the products of matrices, "fp32", "bf16" or "auto" (`lib.system.device.precision`).
    """
    keep_memory()
    device = device_of(network)
    with evaluating(network), products(precision, device):
        return torch.cat([network(*b.given, **how).cpu() for b in batches(things, device, batch)]).float().numpy()


def accuracy(logits: np.ndarray, labels: np.ndarray, top: int = 1) -> float:
    """Share of things whose label is among the `top` largest of K logits, 1 if K <= `top`; ValueError for NaN."""
    largest(logits)
    if top >= logits.shape[1]:
        return 1.0
    best = np.argpartition(-logits, top - 1, axis=1)[:, :top]
    return float((best == labels[:, None]).any(1).mean())


def label_accuracy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Share of each label's images that get it as their largest logit, (K,); NaN for a label without images.

    ValueError for logits that are NaN.
    """
    K = logits.shape[1]
    return np.bincount(labels, largest(logits) == labels, K) / np.bincount(labels, minlength=K)


def largest(logits: np.ndarray) -> np.ndarray:
    """The index of each row's largest logit, (N,); ValueError for a row with NaN, which argmax would call largest."""
    found = logits.argmax(1)
    if undefined := np.isnan(logits[np.arange(len(found)), found]).sum():
        raise ValueError(
            f"logits must be numbers, got NaN for {undefined} of {len(found)}: check the network's weights and inputs"
        )
    return found
