"""Checkpoints of a training: weights, the optimiser's moments and a little state, as data (safetensors)."""

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from lib import files


def save(path: Path, identity: str, state: dict, network: nn.Module, optimiser: torch.optim.Optimizer):
    """Replace the checkpoint as a whole. `identity` names the training, `state` is what else it needs to go on."""
    tensors = {f"network/{name}": tensor for name, tensor in network.state_dict().items()}
    for i, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{i}/{name}": torch.as_tensor(value) for name, value in moments.items()}
    files.write_tensors(path, tensors, {"identity": identity, "state": json.dumps(state)})


def resume(path: Path, identity: str, network: nn.Module, optimiser: torch.optim.Optimizer) -> dict:
    """Put network and optimiser where the checkpoint left them; returns its state.

    Raises ValueError if the file is damaged or of another training.
    """
    tensors, metadata = files.read_tensors(path)
    if metadata.get("identity") != identity:
        raise ValueError(
            f"{path} is the checkpoint of another training ({metadata.get('identity')}), not of this one ({identity}):"
            " configuration, data or code differ; move it away to start anew"
        )
    network.load_state_dict({n.removeprefix("network/"): t for n, t in tensors.items() if n.startswith("network/")})
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimiser/"):
            _, i, key = name.split("/")
            moments.setdefault(int(i), {})[key] = tensor
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
    return json.loads(metadata["state"])
