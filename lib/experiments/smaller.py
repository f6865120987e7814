"""Pruned networks made really smaller, and what that saves: nodes without connections removed, zeros left out.

A mask of zeros alone makes no network smaller or faster. Two things can: a hidden node of a feed-forward sub-block that
has no incoming weight is a constant, and one without outgoing weight says nothing, so both can be removed (structured);
and the zeros that remain can be left out of the file, or out of the computation by a sparse layout.
"""

import contextlib
import copy
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from lib.data import LabelledSet
from lib.encoders import Encoders
from lib.experiments import masked
from lib.experiments.cost import cost
from lib.recipes import PruningRecipe
from lib.system import files
from lib.system.timing import latency
from lib.training import evaluate

BLOCK = 8  # rows and columns of a block of weights


@torch.no_grad()
def without_idle_nodes(network: Encoders) -> Encoders:
    """A copy without the hidden nodes of `linear1` and `linear2` that have no incoming or no outgoing weight.

    It computes what the network computes: the constant of a node without incoming weight goes into the next bias.
    Raises ValueError, naming the encoder, where no hidden node would be left.
    """
    network = copy.deepcopy(network)
    for e, names in _pairs(network).items():
        first, second = map(network.get_submodule, names)
        fed, heard = first.weight.any(1), second.weight.any(0)
        if not (fed & heard).any():
            raise ValueError(f"no hidden node of encoder {e} is connected on both sides: prune less, or leave it out")
        constant = heard & ~fed
        second.bias += second.weight[:, constant] @ network.activation(first.bias[constant])
        smaller = (
            _linear(first.weight[fed & heard], first.bias[fed & heard]),
            _linear(second.weight[:, fed & heard], second.bias),
        )
        for name, module in zip(names, smaller, strict=True):
            network.set_submodule(name, module)
    return network


class SparseLinear(nn.Module):
    """A fully connected layer whose weights are stored by rows (CSR), (..., inputs) -> (..., outputs).

    block: stored instead by blocks of as many rows and columns (BSR), of which those without any weight are left out.
    """

    def __init__(self, dense: nn.Linear, block: int = 0):
        super().__init__()
        weight = dense.weight.detach()
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # that such tensors are new in PyTorch
            self.weight = weight.to_sparse_bsr((block, block)) if block else weight.to_sparse_csr()
        self.bias = dense.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        return (self.weight @ x.flatten(0, -2).T).T.reshape(*x.shape[:-1], -1) + self.bias


def sparse(network: Encoders, block: int = 0) -> Encoders:
    """A copy whose feed-forward layers compute with sparse weights, see `SparseLinear`."""
    network = copy.deepcopy(network)
    for names in _pairs(network).values():
        for name in names:
            network.set_submodule(name, SparseLinear(network.get_submodule(name), block))
    return network


@torch.no_grad()
def gathered(network: Encoders) -> Encoders:
    """A copy with the hidden nodes in another order, those with like connections side by side; it computes the same.

    The order is that of the second left singular vector of linear1's connections, which is where blocks without any
    weight are to be had, if anywhere.
    """
    network = copy.deepcopy(network)
    for names in _pairs(network).values():
        first, second = map(network.get_submodule, names)
        order = torch.linalg.svd((first.weight != 0).float(), full_matrices=False)[0][:, 1].argsort()
        first.weight.copy_(first.weight[order])
        first.bias.copy_(first.bias[order])
        second.weight.copy_(second.weight[:, order])
    return network


def occupied(weight: Tensor, block: int = BLOCK) -> float:
    """Share of a matrix's blocks that hold any weight; blocks at its edges may be smaller."""
    rows, columns = weight.shape
    padded = nn.functional.pad((weight != 0).float(), (0, -columns % block, 0, -rows % block))
    return float(padded.unfold(0, block, block).unfold(1, block, block).amax((2, 3)).mean())


def packed(network: Encoders) -> dict[str, Tensor]:
    """What a file of the network has to hold: of a matrix with zeros its other values and one bit for each weight."""
    tensors = {}
    for name, value in network.state_dict().items():
        kept = value != 0
        if value.ndim == 2 and 4 * int(kept.sum()) + value.numel() / 8 < 4 * value.numel():
            tensors[f"{name}:values"] = value[kept]
            tensors[f"{name}:bits"] = torch.from_numpy(np.packbits(kept.cpu().numpy().ravel()))
            tensors[f"{name}:shape"] = torch.tensor(value.shape)
        else:
            tensors[name] = value
    return tensors


def compared(
    dense: Encoders, masks: Mapping[float, Mapping[str, np.ndarray]], images: LabelledSet, recipe: PruningRecipe
) -> tuple[list[dict], list[dict]]:
    """Size and latency of a network, masked, without idle nodes and with CSR weights; masks by threshold.

    One row a threshold and network of each table; "difference" is the largest of a logit from the masked network's.
    """
    sizes, times = [{"threshold": 1.0, "network": "dense", "difference": 0.0} | _size(dense, dense.state_dict())], []
    for threshold, of_layers in masks.items():
        zeros = masked.make_permanent(masked.apply(dense, of_layers))
        networks = {"dense": dense, "masked": zeros, "csr": sparse(zeros)}
        with contextlib.suppress(ValueError):  # where an encoder has lost all its hidden nodes
            networks["compacted"] = without_idle_nodes(zeros)
        expected = evaluate.predict(zeros, images)
        for name in ("masked", "compacted"):
            if name in networks:
                gap = float(abs(evaluate.predict(networks[name], images) - expected).max())
                tensors = packed(networks[name]) if name == "compacted" else networks[name].state_dict()
                row = {"threshold": threshold, "network": name, "difference": gap}
                sizes.append(row | _size(networks[name], tensors))
        rows = latency(networks, recipe.latency_batches, recipe.latency_rounds)
        times += [{"threshold": threshold} | row for row in rows]
    return sizes, times


def beside(
    dense: Encoders,
    masks: Mapping[tuple[str, float], Mapping[str, np.ndarray]],
    batches: Sequence[int],
    rounds: int,
) -> list[dict]:
    """What each mask saves, all networks timed in turns beside the dense one; masks by method and threshold.

    One row a method, threshold, form and batch: method, threshold, form ("dense", "compacted", "csr", "blocks"), batch;
    bytes of the smallest file, weights, macs, hidden_nodes; `occupied`, the share of the feed-forward layers' blocks
    that hold a weight; milliseconds, and their ratio to the dense network's. What no mask can do is left out: to form
    blocks of a width that they do not divide, or to remove all hidden nodes of an encoder.
    """
    networks, about = {"dense": dense}, {"dense": {"method": "dense", "threshold": 1.0, "form": "dense"}}
    for (method, threshold), of_layers in masks.items():
        zeros = gathered(masked.make_permanent(masked.apply(dense, of_layers)))
        layers = [zeros.get_submodule(name).weight for names in _pairs(zeros).values() for name in names]
        forms = {"csr": sparse(zeros)}
        with contextlib.suppress(ValueError):  # where an encoder has lost all its hidden nodes
            forms["compacted"] = without_idle_nodes(zeros)
        if all(n % BLOCK == 0 for weight in layers for n in weight.shape):
            forms["blocks"] = sparse(zeros, BLOCK)
        facts = _size(zeros, packed(zeros))
        for form, network in forms.items():
            own = _size(network, packed(network)) if form == "compacted" else facts
            name = f"{method} {threshold} {form}"
            networks[name] = network
            blocks = float(np.mean([occupied(weight) for weight in layers]))
            about[name] = {"method": method, "threshold": threshold, "form": form, "occupied": blocks} | own
    about["dense"] |= {"occupied": 1.0} | _size(dense, dense.state_dict())
    rows = latency(networks, batches, rounds)
    return [about[row.pop("network")] | row for row in rows]


def _size(network: Encoders, tensors: Mapping[str, Tensor]) -> dict[str, int]:
    table = cost(network)
    pairs = _pairs(network).values()
    ff = table["module"].isin([name for names in pairs for name in names])
    return {
        "weights": int(table["parameters"].sum()),
        "ff_weights": int(table["parameters"][ff].sum()),
        "macs": int(table["macs"].sum()),
        "ff_macs": int(table["macs"][ff].sum()),
        "hidden_nodes": sum(network.get_submodule(first).out_features for first, _ in pairs),
        "bytes": len(files.encoded(tensors)),
    }


def _pairs(network: Encoders) -> dict[int, list[str]]:
    """The two fully connected modules of each encoder; encoders count from 1."""
    layers = network.layers
    return {e: [layers[f"{e}.linear{i}"].module for i in (1, 2)] for e in range(1, len(network.encoders) + 1)}


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], device=weight.device)
    layer.weight.data, layer.bias.data = weight.clone(), bias.clone()
    return layer
