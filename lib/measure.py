"""One forward pass over the images gives the class means of every node of every site, and the probes' accuracies."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lib.data import ImageSet, batches
from lib.probes import Probe
from lib.sites import record
from lib.system import parallel
from lib.system.device import bar
from lib.system.errors import unknown

SILENCING = ("readout", "input")


@dataclass(frozen=True)
class Measured:
    """What `measure` found. Arrays are float32."""

    class_means: dict[str, np.ndarray]  # site -> (K, nodes): mean pooled value of each node over each label's images
    label_accuracy: dict[str, np.ndarray]  # site -> (K,): share of each label's images that the probe gets right
    counts: np.ndarray  # (K,): images of each label

    def accuracy(self, site: str) -> float:
        """Top-1 accuracy of a site's probe over all images."""
        return float((self.label_accuracy[site] * self.counts).sum() / self.counts.sum())


@torch.no_grad()
def measure(
    network: nn.Module, probes: Mapping[str, Probe], images: ImageSet, silencing: str = "readout", batch: int = 250
) -> Measured:
    """Class means and probe accuracies of all sites named by `probes`, from one forward pass over the images.

    The processes of a group (`lib.system.parallel`) share out the images; each gets the result for all.

    silencing: "readout" takes the pooling weights from the intact input; "input" recomputes them from each node alone.
    Accuracies are those of the whole probe in both cases. Raises ValueError for a class without images, another
    silencing, or activations that are not finite.
    """
    if silencing not in SILENCING:
        raise unknown("silencing convention", silencing, SILENCING)
    images.require_every_class()
    device = next(network.parameters()).device
    K = len(images.label_names)
    sums = {s: torch.zeros(probe.weight.shape, device=device, dtype=torch.float64) for s, probe in probes.items()}
    correct = {s: torch.zeros(K, device=device) for s in probes}
    target = indicator = torch.empty(0)  # of the current batch: labels (B,), and which image has which (K, B)

    def add(site: str, h: Tensor):
        pooled = probes[site].pool(h)
        right = (pooled @ probes[site].weight.T).argmax(1) == target
        correct[site] += indicator @ right.float()
        if silencing == "input":
            pooled = probes[site].pool_alone(h)
        sums[site] += indicator @ pooled

    network.eval()
    progress = bar(len(images), f"{images.split} images")
    with record(network, {s: network.site(s) for s in probes}, add):
        for x, target in batches(images, device, batch, parallel.part(len(images))):
            indicator = (torch.arange(K, device=device)[:, None] == target).float()
            network(x)
            progress.update(len(target) * parallel.size())
    progress.close()
    parallel.add(*sums.values(), *correct.values())

    counts = np.bincount(images.labels, minlength=K)
    means = {s: (total.cpu().numpy() / counts[:, None]).astype(np.float32) for s, total in sums.items()}
    for site, m in means.items():
        if not np.isfinite(m).all():
            raise ValueError(f"the activations at site {site} are not finite: check the network's weights and inputs")
    return Measured(means, {s: c.cpu().numpy() / counts.astype(np.float32) for s, c in correct.items()}, counts)


@torch.no_grad()
def pooled(network: nn.Module, probes: Mapping[str, Probe], images: ImageSet) -> dict[str, np.ndarray]:
    """Pooled value of each node for each image, {site: (images, nodes)} float32, from one forward pass."""
    device = next(network.parameters()).device
    parts: dict[str, list[Tensor]] = {s: [] for s in probes}
    network.eval()
    with record(network, {s: network.site(s) for s in probes}, lambda s, h: parts[s].append(probes[s].pool(h).cpu())):
        for x, _ in batches(images, device):
            network(x)
    return {s: torch.cat(p).numpy() for s, p in parts.items()}
