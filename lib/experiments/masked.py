"""Networks with masked layers: applying masks, with or without their means, scores of the baselines, retraining."""

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
from lib.data import Batch, LabelledSet, batches
from lib.encoders import READOUT, Encoders
from lib.probes import Probe
from lib.recipes import TrainingRecipe
from lib.sites import Site, record
from lib.training import loop
from lib.training.resume import Sums


def apply(network: Encoders, masks: Mapping[str, np.ndarray]) -> Encoders:
    """A copy of the network that keeps only the masked weights of some layers, also while it is trained.

    masks: layer -> (outputs, inputs) bool. `make_permanent` turns the result into a plain network.
    """
    network = copy.deepcopy(network)
    device = next(network.parameters()).device
    for name, mask in masks.items():
        module = network.get_submodule(network.layers[name].module)
        if mask.shape != tuple(module.weight.shape):
            raise ValueError(f"the mask of {name} must be {tuple(module.weight.shape)}, got {mask.shape}")
        prune.custom_from_mask(module, "weight", torch.from_numpy(mask).to(device))
        module.weight = module.weight.detach()  # made anew at each forward pass; only so can a copy be made
    return network


def make_permanent(network: Encoders) -> Encoders:
    """Make the masks of `apply` permanent, in place: removed weights are zeros, parameters have their usual names."""
    for module in network.modules():
        if isinstance(module, nn.Linear) and prune.is_pruned(module):
            prune.remove(module, "weight")
    return network


def compensated(network: Encoders, masks: Mapping[str, np.ndarray], means: Mapping[str, np.ndarray]) -> Encoders:
    """A plain masked copy whose biases make up for what the removed weights gave on average.

    means: layer -> (inputs,). To inputs with these values a layer answers as in the whole network; what is lost is what
    told other inputs apart. An et al. (arXiv:2312.11983, 2023) do this where they remove whole nodes.
    """
    found = make_permanent(apply(network, masks))
    for name in masks:
        whole, module = (n.get_submodule(network.layers[name].module) for n in (network, found))
        mean = torch.from_numpy(means[name]).to(module.weight)
        removed = (whole.weight - module.weight).detach() @ mean
        module.bias = nn.Parameter(removed if module.bias is None else module.bias.detach() + removed)
    return found


def retrain(
    network: Encoders, masks: Mapping[str, np.ndarray], recipe: TrainingRecipe, images: LabelledSet, seed: int, **how
) -> Encoders:
    """Train a masked copy of the network, or of its parts that the recipe names, further; removed weights stay zero.

    how: checkpoint, deadline and identity, as of `lib.training.loop.train`.
    """
    device = next(network.parameters()).device
    trained, _ = loop.train(lambda: apply(network, masks), recipe, images, seed, device=device, **how)
    return make_permanent(trained).requires_grad_(True)


@dataclass(frozen=True)
class Scores:
    """How much each weight of a layer matters by a criterion, (outputs, inputs); larger is more."""

    magnitude: np.ndarray  # |w|
    activation: np.ndarray  # |w| times the mean absolute value of its input
    gradient: np.ndarray  # |w times the gradient of the mean loss|


def scores(network: Encoders, layers: Iterable[str], images: LabelledSet, batch: int = 250) -> dict[str, Scores]:
    """The criteria of the baselines for each weight of some layers, from (training) images."""
    network = copy.deepcopy(network).eval()
    device = next(network.parameters()).device
    modules = {name: network.get_submodule(network.layers[name].module) for name in layers}
    inputs = {name: torch.zeros(m.in_features, device=device) for name, m in modules.items()}

    current: Batch

    def add(name: str, x: torch.Tensor):
        padded = x.ndim == 3 and current.mask is not None
        inputs[name] += (x[current.mask] if padded else x.flatten(0, -2)).detach().abs().mean(0) * len(x) / len(images)

    with record(network, {name: Site(network.layers[name].module, "input") for name in modules}, add):
        for current in batches(images, device, batch):
            (F.cross_entropy(network(*current.given), current.labels, reduction="sum") / len(images)).backward()
    found = {}
    for name, module in modules.items():
        w = module.weight.detach()
        criteria = (w.abs(), w.abs() * inputs[name], (w * module.weight.grad).abs())
        found[name] = Scores(*(c.cpu().numpy() for c in criteria))
    return found


def readout_nodes(network: Encoders, images: LabelledSet, kept: Sums | None = None) -> Nodes:
    """The nodes of the network's own read-out: class means of its pooled values, and its classifier's weights.

    kept: from which a pass over the images that was stopped goes on.
    """
    probe = Probe(network.config.width, network.config.classes).to(next(network.parameters()).device)
    with torch.no_grad():
        probe.gate.copy_(network.pool.weight[0])
        probe.bias.copy_(network.pool.bias[0])
        probe.weight.copy_(network.classifier.weight)
    found = measure.measure_each(network, {READOUT: probe}, images, ("readout",), kept=kept)["readout"]
    return Nodes(found.class_means[READOUT], probe.weight.detach().cpu().numpy())
