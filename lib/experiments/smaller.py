"""Pruned networks made really smaller: nodes without connections removed, weights stored without their zeros.

A mask of zeros alone makes no network smaller or faster. Two things can: a hidden node of a feed-forward sub-block that
has no incoming weight is a constant, and one without outgoing weight says nothing, so both can be removed (structured);
and the zeros that remain can be left out of the file, or out of the computation by a sparse layout.
"""

import copy
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.cct import CCT
from lib.system import files


@torch.no_grad()
def without_idle_nodes(network: CCT) -> CCT:
    """A copy without the hidden nodes of `linear1` and `linear2` that have no incoming or no outgoing weight.

    It computes what the network computes: the constant of a node without incoming weight goes into the next bias.
    Raises ValueError, naming the encoder, where no hidden node would be left.
    """
    network = copy.deepcopy(network)
    for e, encoder in enumerate(network.encoders, 1):
        first, second = encoder.linear1, encoder.linear2
        fed, heard = first.weight.any(1), second.weight.any(0)
        if not (fed & heard).any():
            raise ValueError(f"no hidden node of encoder {e} is connected on both sides: prune less, or leave it out")
        constant = heard & ~fed
        second.bias += second.weight[:, constant] @ F.gelu(first.bias[constant])
        encoder.linear1 = _linear(first.weight[fed & heard], first.bias[fed & heard])
        encoder.linear2 = _linear(second.weight[:, fed & heard], second.bias)
    return network


class SparseLinear(nn.Module):
    """A fully connected layer whose weights are stored by rows (CSR), (..., inputs) -> (..., outputs)."""

    def __init__(self, dense: nn.Linear):
        super().__init__()
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # that CSR tensors are new in PyTorch
            self.weight = dense.weight.detach().to_sparse_csr()
        self.bias = dense.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        return (self.weight @ x.flatten(0, -2).T).T.reshape(*x.shape[:-1], -1) + self.bias


def sparse(network: CCT) -> CCT:
    """A copy whose feed-forward layers compute with CSR weights."""
    network = copy.deepcopy(network)
    for encoder in network.encoders:
        encoder.linear1, encoder.linear2 = SparseLinear(encoder.linear1), SparseLinear(encoder.linear2)
    return network


def save(path: Path, network: CCT):
    """Write a network as safetensors; a matrix with zeros becomes its other values and one bit for each weight."""
    tensors = {}
    for name, value in network.state_dict().items():
        kept = value != 0
        if value.ndim == 2 and 4 * int(kept.sum()) + value.numel() / 8 < 4 * value.numel():
            tensors[f"{name}:values"] = value[kept]
            tensors[f"{name}:bits"] = torch.from_numpy(np.packbits(kept.cpu().numpy().ravel()))
            tensors[f"{name}:shape"] = torch.tensor(value.shape)
        else:
            tensors[name] = value
    files.write_tensors(path, tensors)


def load(path: Path, config) -> CCT:
    """The network that `save` wrote; ValueError if the file is damaged or of another configuration."""
    tensors, _ = files.read_tensors(path)
    state = {name: t for name, t in tensors.items() if ":" not in name}
    for name in [n.removesuffix(":bits") for n in tensors if n.endswith(":bits")]:
        shape = tuple(tensors[f"{name}:shape"].tolist())
        kept = np.unpackbits(tensors[f"{name}:bits"].numpy(), count=int(np.prod(shape))).astype(bool)
        state[name] = torch.zeros(shape)
        state[name][torch.from_numpy(kept.reshape(shape))] = tensors[f"{name}:values"]
    network = CCT(config)
    for e, encoder in enumerate(network.encoders):
        hidden = state.get(f"encoders.{e}.linear1.bias", torch.empty(0))
        encoder.linear1 = nn.Linear(config.width, len(hidden))
        encoder.linear2 = nn.Linear(len(hidden), config.width)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path} does not hold a network of this configuration: {error}") from error
    return network.eval()


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], device=weight.device)
    layer.weight.data, layer.bias.data = weight.clone(), bias.clone()
    return layer
