"""What sets of labelled things share, whatever the things are: parts with as many of each label, and batches."""

import hashlib
import json
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor


class Batch(NamedTuple):
    """Some things as a network takes them, on its device."""

    inputs: Tensor  # (B, ...)
    labels: Tensor  # int64 (B,); in training `lib.data.augment.mixing.Targets`
    mask: Tensor | None = None  # bool (B, T): which tokens are there, the others being padding; None: all are

    @property
    def given(self) -> tuple[Tensor, ...]:
        """What a network is called with."""
        return (self.inputs,) if self.mask is None else (self.inputs, self.mask)


def readable(names: Iterable[str]) -> list[str]:
    """Names as a page has them: "pickup_truck" is a pickup truck; a label "_" stays itself."""
    return [name.replace("_", " ") if name.strip("_ ") else name for name in map(str, names)]


class LabelledSet:
    """Base of a dataclass with `name`, `split`, `labels` (N,) and `label_names`; its arrays have an entry a thing.

    `coarse_labels` (N,) and `coarse_names` are None where it has none. `inputs` says how things reach a network, the
    rest follows from the labels.
    """

    name: str
    split: str
    labels: np.ndarray
    label_names: list[str]
    coarse_labels: np.ndarray | None
    coarse_names: list[str] | None
    thing: str  # what error messages call one of them

    def __post_init__(self):
        labels = self.labels
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise ValueError(f"labels must be integers (N,), got {labels.dtype} {labels.shape}")
        object.__setattr__(self, "label_names", [str(name) for name in self.label_names])
        if self.coarse_names is not None:
            object.__setattr__(self, "coarse_names", [str(name) for name in self.coarse_names])
        K = len(self.label_names)
        if len(labels) and not 0 <= labels.min() <= labels.max() < K:
            found = f"{labels.min()} to {labels.max()}"
            raise ValueError(f"{self.name} {self.split}: labels must lie in 0 to {K - 1}, got {found}")

    def inputs(self, part: slice | np.ndarray, device: str | torch.device) -> Tensor:
        """Some of the things as a network takes them, on the device."""
        raise NotImplementedError

    def mask(self, part: slice | np.ndarray, device: str | torch.device) -> Tensor | None:
        """Which of their tokens are no padding, see `Batch`."""
        return None

    def batch(self, part: slice | np.ndarray, device: str | torch.device = "cpu") -> Batch:
        labels = tensor(self.labels[part]).to(device)
        return Batch(self.inputs(part, device), labels, self.mask(part, device))

    def shuffled(self, random: np.random.Generator, batch: int) -> np.ndarray:
        """The order in which an epoch of training takes the things, (N,); the last ones fill no batch."""
        return random.permutation(len(self))

    @property
    def superclasses(self) -> list[str] | None:
        """The coarse name of each label, where the set has them."""
        if self.coarse_names is None:
            return None
        coarse = dict(zip(self.labels.tolist(), self.coarse_labels.tolist(), strict=True))
        return [self.coarse_names[coarse[i]] for i in range(len(self.label_names))]

    def __len__(self) -> int:
        return len(self.labels)

    def digest(self) -> str:
        """Hash over its arrays and the names of its labels: the same for the same things, wherever they come from."""
        found = hashlib.blake2b(json.dumps(self.label_names).encode(), digest_size=16)
        for name, array in sorted((name, v) for name, v in vars(self).items() if isinstance(v, np.ndarray)):
            found.update(f"{name} {array.dtype.str} {array.shape}".encode())
            text = array.dtype == object  # whose bytes are addresses, others in each process
            found.update(json.dumps(array.tolist()).encode() if text else np.ascontiguousarray(array))
        return found.hexdigest()

    def require_every_class(self) -> Self:
        """Returns itself; ValueError that names the labels without any, since a mean over none is no number."""
        counts = np.bincount(self.labels, minlength=len(self.label_names))
        if missing := [self.label_names[i] for i in np.flatnonzero(counts == 0)]:
            raise ValueError(
                f"{self.name} {self.split} has no {self.thing} of {', '.join(map(repr, missing))}: every label needs"
                f" at least one; add {self.thing}s or drop the label"
            )
        return self

    def steps(self, batch: int) -> int:
        """Whole batches in an epoch; ValueError if there is not one."""
        if len(self) < batch:
            things = f"{self.thing}s"
            raise ValueError(f"an epoch needs at least one batch of {batch} {things}, got {len(self)} {things}")
        return len(self) // batch

    def locked(self) -> Self:
        """The same set with arrays that cannot be edited, as caches hand it out."""
        arrays = {name: v.view() for name, v in vars(self).items() if isinstance(v, np.ndarray)}
        for array in arrays.values():
            array.flags.writeable = False
        return replace(self, **arrays)

    def take(self, indices: np.ndarray) -> Self:
        """The things at some positions, in that order."""
        return replace(self, **{name: v[indices] for name, v in vars(self).items() if isinstance(v, np.ndarray)})

    def balanced(self, size: int, seed: int = 0) -> Self:
        """About `size` things, as many of each label, drawn by `seed`; all if `size` is 0 or not less."""
        if not 0 < size < len(self):
            return self
        order = np.random.default_rng(seed).permutation(len(self))
        labels = self.labels[order]
        rank = pd.Series(labels).groupby(labels).cumcount().to_numpy()  # how many of the same label come before
        return self.take(np.sort(order[rank < max(1, size // len(self.label_names))]))


def batches(
    things: LabelledSet, device: str | torch.device = "cpu", size: int = 250, part: slice = slice(None)
) -> Iterator[Batch]:
    """Some or all things in order, as a network takes them, on the device."""
    first, last, _ = part.indices(len(things))
    for start in range(first, last, size):
        yield things.batch(slice(start, min(start + size, last)), device)


def tensor(array: np.ndarray) -> Tensor:
    """An array as a tensor that shares its memory, not to be written into where the array is locked."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)
