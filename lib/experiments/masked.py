"""Networks with masked layers: applying masks, what the pruning baselines score weights by, and retraining."""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune

from lib import measure
from lib.andc import Nodes
from lib.cct import CCT, READOUT
from lib.data import ImageSet, batches
from lib.probes import Probe
from lib.recipes import Recipe
from lib.sites import Site, record
from lib.training import loop as train


def apply(network: CCT, masks: Mapping[str, np.ndarray]) -> CCT:
    """A copy of the network that keeps only the masked weights of some layers, also while it is trained.

    masks: layer -> (outputs, inputs) bool. `settle` turns the result into a plain network.
    """
    network = copy.deepcopy(network)
    device = next(network.parameters()).device
    for name, mask in masks.items():
        module = network.get_submodule(network.layers[name].module)
        if mask.shape != tuple(module.weight.shape):
            raise ValueError(f"the mask of {name} must be {tuple(module.weight.shape)}, got {mask.shape}")
        prune.custom_from_mask(module, "weight", torch.from_numpy(mask).to(device))
    return network


def settle(network: CCT) -> CCT:
    """Make the masks of `apply` permanent, in place: removed weights are zeros, parameters have their usual names."""
    for module in network.modules():
        if isinstance(module, nn.Linear) and prune.is_pruned(module):
            prune.remove(module, "weight")
    return network


def retrain(
    network: CCT, masks: Mapping[str, np.ndarray], recipe: Recipe, images: ImageSet, seed: int, parts: str = "all"
) -> CCT:
    """Train a masked copy of the network further; removed weights stay zero. parts: "all" or "readout".

    The read-out is what stands behind the encoders: the last LayerNorm, the sequence pooling and the classifier.
    """

    def build() -> CCT:
        masked = apply(network, masks)
        if parts == "readout":
            masked.requires_grad_(False)
            for module in (masked.norm, masked.pool, masked.classifier):
                module.requires_grad_(True)
        return masked

    device = next(network.parameters()).device
    return settle(train.train(build, recipe, images, seed, device=device)[0]).requires_grad_(True)


@dataclass(frozen=True)
class Scores:
    """How much each weight of a layer matters by a criterion, (outputs, inputs); larger is more."""

    magnitude: np.ndarray  # |w|
    activation: np.ndarray  # |w| times the mean absolute value of its input
    gradient: np.ndarray  # |w times the gradient of the mean loss|


def scores(network: CCT, layers: Iterable[str], images: ImageSet, batch: int = 250) -> dict[str, Scores]:
    """The criteria of the baselines for each weight of some layers, from (training) images."""
    network = copy.deepcopy(network).eval()
    device = next(network.parameters()).device
    modules = {name: network.get_submodule(network.layers[name].module) for name in layers}
    inputs = {name: torch.zeros(m.in_features, device=device) for name, m in modules.items()}

    def add(name: str, x: torch.Tensor):
        inputs[name] += x.detach().abs().flatten(0, -2).mean(0) * len(x) / len(images)

    with record(network, {name: Site(network.layers[name].module, "input") for name in modules}, add):
        for x, target in batches(images, device, batch):
            (F.cross_entropy(network(x), target, reduction="sum") / len(images)).backward()
    found = {}
    for name, module in modules.items():
        w = module.weight.detach()
        criteria = (w.abs(), w.abs() * inputs[name], (w * module.weight.grad).abs())
        found[name] = Scores(*(c.cpu().numpy() for c in criteria))
    return found


def readout_nodes(network: CCT, images: ImageSet) -> Nodes:
    """The nodes of the network's own read-out: class means of its pooled values, and its classifier's weights."""
    probe = Probe(network.config.width, network.config.classes).to(next(network.parameters()).device)
    with torch.no_grad():
        probe.gate.copy_(network.pool.weight[0])
        probe.bias.copy_(network.pool.bias[0])
        probe.weight.copy_(network.classifier.weight)
    found = measure.measure(network, {READOUT: probe}, images)
    return Nodes(found.class_means[READOUT], probe.weight.detach().cpu().numpy())
