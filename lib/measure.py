"""One forward pass over the images gives the class means of every node of every site, and the probes' accuracies."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lib.data import Batch, LabelledSet, batches
from lib.probes import Probe
from lib.sites import evaluating, record
from lib.system import parallel
from lib.system.device import bar, device_of, keep_memory
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


def measure(
    network: nn.Module, probes: Mapping[str, Probe], images: LabelledSet, silencing: str = "readout", batch: int = 250
) -> Measured:
    """Class means and probe accuracies of all sites named by `probes`, from one forward pass over the images.

    The processes of a group (`lib.system.parallel`) share out the images; each gets the result for all.

    silencing: "readout" takes the pooling weights from the intact input; "input" recomputes them from each node alone.
    Accuracies are those of the whole probe in both cases. Raises ValueError for a class without images, another
    silencing, or activations that are not finite.
    """
    return measure_each(network, probes, images, (silencing,), batch)[silencing]


@torch.no_grad()
def measure_each(
    network: nn.Module,
    probes: Mapping[str, Probe],
    images: LabelledSet,
    silencings: Iterable[str] = SILENCING,
    batch: int = 250,
    kept=None,
) -> dict[str, Measured]:
    """`measure` by several conventions of silencing, from the same forward pass.

    kept: a `lib.training.resume.Sums`, from which a pass that was stopped goes on.
    """
    keep_memory()
    silencings = tuple(silencings)
    for silencing in silencings:
        if silencing not in SILENCING:
            raise unknown("silencing convention", silencing, SILENCING)
    images.require_every_class()
    device = device_of(network)
    K = len(images.label_names)
    # what follows from pooled values is computed for all sites of a width at once
    alike: dict[int, list[str]] = {}
    for site, probe in probes.items():
        alike.setdefault(probe.weight.shape[1], []).append(site)
    weights = {n: torch.stack([probes[s].weight.T for s in sites]) for n, sites in alike.items()}  # (sites, nodes, K)
    sums = {
        (each, n): torch.zeros(len(w), K, n, device=device, dtype=torch.float64)
        for each in silencings
        for n, w in weights.items()
    }
    correct = {n: torch.zeros(len(w), K, device=device) for n, w in weights.items()}
    pooled: dict[tuple[str, str], Tensor] = {}
    current: Batch

    def pool(site: str, h: Tensor):
        pooled["readout", site] = probes[site].pool(h, current.mask)
        if "input" in silencings:
            pooled["input", site] = probes[site].pool_alone(h, current.mask)

    mine = parallel.part(len(images))
    done = 0
    if kept:
        added = {f"{each}/{n}": total for (each, n), total in sums.items()}
        done = kept.begin(added | {f"correct/{n}": total for n, total in correct.items()})
    progress = bar(len(images), f"{images.split} images", done)
    with evaluating(network), record(network, {s: network.site(s) for s in probes}, pool):
        for current in batches(images, device, batch, slice(mine.start + done, mine.stop)):
            network(*current.given)
            target = current.labels
            indicator = (torch.arange(K, device=device)[:, None] == target).float()  # which image has which label
            for n, sites in alike.items():
                of = {each: torch.stack([pooled[each, s] for s in sites]) for each in {*silencings, "readout"}}
                right = (of["readout"] @ weights[n]).argmax(2) == target
                correct[n] += right.float() @ indicator.T
                for each in silencings:
                    sums[each, n] += indicator @ of[each]
            progress.update(len(target) * parallel.size())
            done += len(target)
            if kept:
                kept.after(done, len(images))
    progress.close()
    parallel.add(*sums.values(), *correct.values())

    counts = np.bincount(images.labels, minlength=K)
    accuracy = {
        s: (c / counts).astype(np.float32)
        for n, sites in alike.items()
        for s, c in zip(sites, correct[n].cpu().numpy(), strict=True)
    }
    found = {}
    for each in silencings:
        totals = {s: t for n, sites in alike.items() for s, t in zip(sites, sums[each, n].cpu().numpy(), strict=True)}
        means = {s: (totals[s] / counts[:, None]).astype(np.float32) for s in probes}
        for site, m in means.items():
            if not np.isfinite(m).all():
                raise ValueError(
                    f"the activations at site {site} are not finite: check the network's weights and inputs"
                )
        found[each] = Measured(means, {s: accuracy[s] for s in probes}, counts)
    return found


@torch.no_grad()
def pooled(network: nn.Module, probes: Mapping[str, Probe], images: LabelledSet, kept=None) -> dict[str, np.ndarray]:
    """Pooled value of each node for each image, {site: (images, nodes)} float32, from one forward pass.

    kept: as for `measure_each`.
    """
    device = device_of(network)
    found = {s: torch.zeros(len(images), p.weight.shape[1]) for s, p in probes.items()}
    done = kept.begin(found) if kept else 0
    current: Batch

    def pool(site: str, h: Tensor):
        found[site][done : done + len(h)] = probes[site].pool(h, current.mask).cpu()

    with evaluating(network), record(network, {s: network.site(s) for s in probes}, pool):
        for current in batches(images, device, part=slice(done, None)):
            network(*current.given)
            done += len(current.labels)
            if kept:
                kept.after(done, len(images))
    return {s: values.numpy() for s, values in found.items()}
