"""Stopping a long computation in time and going on later: deadlines, and checkpoints of a training as safetensors."""

import json
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lib.system import files, parallel
from lib.system.errors import OutOfTime

Parts = Mapping[str, nn.Module | Optimizer]


class Deadline:
    """A time limit that long computations ask between two steps: `seconds` from now; None never comes."""

    def __init__(self, seconds: float | None = None):
        if seconds is not None and seconds < 0:
            raise ValueError(f"a time limit must be at least 0 seconds, got {seconds}")
        self.seconds = seconds
        self._end = None if seconds is None else time.monotonic() + seconds
        self.begin()

    def begin(self):
        """A series of steps begins: those of another kind say nothing about how long these take."""
        self._asked, self._longest = time.monotonic(), 0.0

    def near(self) -> bool:
        """Whether another step as long as the longest of this series would not fit."""
        now = time.monotonic()
        self._longest, self._asked = max(self._longest, now - self._asked), now
        return self._end is not None and now + self._longest > self._end

    def check(self, doing: str):
        """Raises OutOfTime, in all processes of a group, if the limit is near; `doing` says what was being done."""
        if parallel.any_of(self.near())[0]:
            raise OutOfTime(f"stopped in {doing}, {self.seconds:.0f} seconds being over; call it again to go on")


class Sums:
    """What a pass over things, in order, has added up so far, kept in a file from which a later pass goes on.

    A file made under another identity, which says whatever the sums depend on, is begun anew, as a `Journal` is.
    Several processes that work together keep nothing: each has its own share.
    """

    def __init__(self, path: Path, identity: str, deadline: Deadline, interval: float = 60):
        self.path, self.identity, self.deadline, self.interval = path, identity, deadline, interval

    def begin(self, tensors: Mapping[str, Tensor]) -> int:
        """Fill the tensors as an earlier process left them; returns how many things they are of."""
        self.tensors, self.saved, done = tensors, time.monotonic(), 0
        if self.path.exists() and parallel.size() == 1:
            found, metadata = files.read_tensors(self.path)
            if metadata.get("identity") == self.identity:
                for name, tensor in tensors.items():
                    tensor.copy_(found[name])
                done = json.loads(metadata["state"])
        self.deadline.begin()
        return done

    def after(self, done: int, total: int):
        """To be called when the tensors are of `done` things; stores them now and then, and before OutOfTime."""
        if parallel.size() > 1:
            return
        stop = done < total and self.deadline.near()
        if stop or done == total or time.monotonic() - self.saved > self.interval:
            files.write_tensors(self.path, self.tensors, {"identity": self.identity, "state": json.dumps(done)})
            self.saved = time.monotonic()
        if stop:
            raise OutOfTime(f"stopped after {done} of {total} things; call it again to go on")


def save(path: Path, identity: str, state: dict, parts: Parts):
    """Replace the checkpoint as a whole. `identity` names the training, `state` is what else it needs to go on.

    All processes of a group call this together; when it returns, the file is there for each.
    """
    tensors: dict[str, Tensor] = {}
    for part, thing in parts.items():
        if isinstance(thing, nn.Module):
            tensors |= {f"{part}/{name}": tensor for name, tensor in thing.state_dict().items()}
        else:
            for i, moments in thing.state_dict()["state"].items():
                tensors |= {f"{part}/{i}/{name}": torch.as_tensor(value) for name, value in moments.items()}
    files.write_tensors(path, tensors, {"identity": identity, "state": json.dumps(state)})
    parallel.wait()


def restore(path: Path, identity: str, parts: Parts) -> dict:
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
