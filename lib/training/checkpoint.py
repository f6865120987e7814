"""Checkpoints of a training: weights, the optimisers' moments and a little state, as data (safetensors)."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lib.system import files

Parts = Mapping[str, nn.Module | Optimizer]


def save(path: Path, identity: str, state: dict, parts: Parts):
    """Replace the checkpoint as a whole. `identity` names the training, `state` is what else it needs to go on."""
    tensors: dict[str, Tensor] = {}
    for part, thing in parts.items():
        if isinstance(thing, nn.Module):
            tensors |= {f"{part}/{name}": tensor.clone() for name, tensor in thing.state_dict().items()}  # may be tied
        else:
            for i, moments in thing.state_dict()["state"].items():
                tensors |= {f"{part}/{i}/{name}": torch.as_tensor(value) for name, value in moments.items()}
    files.write_tensors(path, tensors, {"identity": identity, "state": json.dumps(state)})


def resume(path: Path, identity: str, parts: Parts) -> dict:
    """Put networks and optimisers where the checkpoint left them; returns its state.

    Raises ValueError if the file is damaged or of another training.
    """
    tensors, metadata = files.read_tensors(path)
    if metadata.get("identity") != identity:
        raise ValueError(
            f"{path} is the checkpoint of another training ({metadata.get('identity')}), not of this one ({identity}):"
            " configuration, data or code differ; move it away to start anew"
        )
    for part, thing in parts.items():
        own = {name.removeprefix(f"{part}/"): t for name, t in tensors.items() if name.startswith(f"{part}/")}
        if isinstance(thing, nn.Module):
            thing.load_state_dict(own)
            continue
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in own.items():
            i, key = name.split("/")
            moments.setdefault(int(i), {})[key] = tensor
        thing.load_state_dict({"state": moments, "param_groups": thing.state_dict()["param_groups"]})
    return json.loads(metadata["state"])
