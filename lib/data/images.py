"""Image sets: where they come from and what they look like in memory.

`load(name, split)` looks, in this order, in the folder named by the environment variable `MODUS_DATA`, in `data/` of
the checkout (both in the Hugging Face parquet layout: `<folder>/<name>/<split>-*.parquet`, an image a row), then in
torchvision's own cache, downloading there if a network can be reached. `glyphs` is drawn on this machine and needs no
source at all.
"""

import dataclasses
import io
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lib.system.devices import constant
from lib.system.errors import MissingData, unknown

ROOT = Path(__file__).resolve().parents[2]
SPLITS = ("train", "validation", "test")
IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMNS = ("fine_label", "label")
STATISTICS = {  # mean and standard deviation of each channel of the training images, in units of the full range
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),  # as the reference implementation normalises
    "flowers102": ((0.4353, 0.3773, 0.2872), (0.2966, 0.2455, 0.2698)),  # likewise
    "glyphs": ((0.5013, 0.5022, 0.5007), (0.2999, 0.3456, 0.2873)),
}


@dataclass(frozen=True)
class ImageSet:
    """Labelled images in memory.

    images: uint8 (N, H, W, 3); labels: int64 (N,), each an index into `label_names`; `coarse_labels` and
    `coarse_names` likewise where the set has them, else None. `mean` and `std` are those to normalise with.
    """

    name: str
    split: str
    images: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    label_names: list[str] = field(repr=False)
    coarse_labels: np.ndarray | None = field(default=None, repr=False)
    coarse_names: list[str] | None = field(default=None, repr=False)
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.25, 0.25, 0.25)

    def __post_init__(self):
        n, k = len(self.labels), len(self.label_names)
        shape = self.images.shape
        if self.images.dtype != np.uint8 or len(shape) != 4 or shape[0] != n or shape[3] != 3:
            raise ValueError(f"images must be uint8 ({n}, H, W, 3), got {self.images.dtype} {shape}")
        if n and not (self.labels.min() >= 0 and self.labels.max() < k):
            found = f"{self.labels.min()} to {self.labels.max()}"
            raise ValueError(f"{self.name} {self.split}: labels must lie in 0 to {k - 1}, got {found}")

    def __len__(self) -> int:
        return len(self.labels)

    def require_every_class(self) -> "ImageSet":
        """Returns itself; ValueError that names the labels without an image, since a mean over none is no number."""
        counts = np.bincount(self.labels, minlength=len(self.label_names))
        if missing := [self.label_names[i] for i in np.flatnonzero(counts == 0)]:
            raise ValueError(
                f"{self.name} {self.split} has no image of {', '.join(map(repr, missing))}: every label needs at least"
                " one; add images or drop the label"
            )
        return self

    def steps(self, batch: int) -> int:
        """Whole batches in an epoch; ValueError if there is not one."""
        if len(self) < batch:
            raise ValueError(f"an epoch needs at least one batch of {batch} images, got {len(self)} images")
        return len(self) // batch

    def take(self, indices: np.ndarray) -> "ImageSet":
        """The images at some positions, in that order."""
        coarse = None if self.coarse_labels is None else self.coarse_labels[indices]
        return ImageSet(
            **{**self.__dict__, "images": self.images[indices], "labels": self.labels[indices]}
            | {"coarse_labels": coarse}
        )

    def resized(self, side: int) -> "ImageSet":
        """The same images at side x side pixels, reduced by Pillow with antialiasing; itself if they have that size.

        ValueError if they are smaller or not square: enlarging adds nothing, and cropping is for the reader to decide.
        """
        H, W = self.images.shape[1:3]
        if (side, side) == (H, W):
            return self
        if H != W or side > H:
            raise ValueError(
                f"the network takes images of {side} x {side} pixels, {self.name} {self.split} has {H} x {W}: provide"
                " square images of at least that size, or choose a run for smaller ones"
            )
        from PIL import Image

        small = [np.asarray(Image.fromarray(i).resize((side, side), Image.Resampling.BICUBIC)) for i in self.images]
        return dataclasses.replace(self, images=np.stack(small))

    def balanced(self, size: int, seed: int = 0) -> "ImageSet":
        """About `size` images, as many of each label, drawn by `seed`; all images if `size` is 0 or not less."""
        if not 0 < size < len(self):
            return self
        order = np.random.default_rng(seed).permutation(len(self))
        labels = self.labels[order]
        by_label = np.argsort(labels, kind="stable")
        rank = np.empty(len(self), np.int64)  # how many images of the same label come before this one
        starts = np.searchsorted(labels[by_label], labels[by_label])
        rank[by_label] = np.arange(len(self)) - starts
        return self.take(np.sort(order[rank < max(1, size // len(self.label_names))]))


def normalise(images: Tensor | np.ndarray, mean: tuple, std: tuple) -> Tensor:
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W) with (x / 255 - mean) / std, in channels-last memory order."""
    x = torch.as_tensor(images)
    if x.dtype != torch.uint8 or x.ndim != 4 or x.shape[-1] != 3:
        raise ValueError(f"images must be uint8 (B, H, W, 3), got {x.dtype} {tuple(x.shape)}")
    mean, std = constant(mean, x.device), constant(std, x.device)
    pixels = x.shape[1] * x.shape[2]  # rows as long as an image are several times faster than rows of three colours
    scale, shift = (1 / (255 * std)).repeat(pixels), (mean / std).repeat(pixels)
    return x.flatten(1).float().mul_(scale).sub_(shift).view(x.shape).permute(0, 3, 1, 2)


def batches(
    images: ImageSet, device: str | torch.device = "cpu", size: int = 250, part: slice = slice(None)
) -> Iterator[tuple[Tensor, Tensor]]:
    """Some or all images in order, as a network takes them, with labels: float32 (B, 3, H, W) and int64 (B,)."""
    pixels, labels = images.images[part], images.labels[part]
    for i in range(0, len(labels), size):
        x = torch.as_tensor(pixels[i : i + size]).to(device)
        yield normalise(x, images.mean, images.std), torch.as_tensor(labels[i : i + size]).to(device)


@lru_cache(maxsize=4)
def load(name: str, split: str) -> ImageSet:
    """An image set by name ("cifar100", "flowers102", "glyphs", or a folder of your own) and split.

    Raises ValueError for an unknown name or split, and MissingData, which names the ways to provide it, where no source
    has the set.
    """
    if name == "glyphs":
        from lib.data import glyphs

        return glyphs.load(split)
    folders = [folder / name for folder in _folders() if (folder / name).is_dir()]
    if name not in STATISTICS and not folders:
        raise unknown("data set", name, known_sets())
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    for folder in folders:
        if files := sorted(folder.glob(f"{split}-*.parquet")):
            return _from_parquet(name, split, files)
    if folders:
        raise unknown(
            f"split of {name} in {folders[0]}",
            split,
            sorted({re.split("-", f.name)[0] for f in folders[0].glob("*.parquet")}),
        )
    return _from_torchvision(name, split)


def known_sets() -> list[str]:
    """Names that `load` takes on this machine."""
    own = {f.name for folder in _folders() if folder.is_dir() for f in folder.iterdir() if any(f.glob("*.parquet"))}
    return sorted(own | set(STATISTICS))


def _folders() -> list[Path]:
    named = os.environ.get("MODUS_DATA")
    return ([Path(named)] if named else []) + [ROOT / "data"]


def _from_parquet(name: str, split: str, files: list[Path]) -> ImageSet:
    import pyarrow.parquet as pq
    from PIL import Image

    tables = [pq.read_table(f) for f in files]
    columns = tables[0].column_names
    image_column = next((c for c in IMAGE_COLUMNS if c in columns), None)
    label_column = next((c for c in LABEL_COLUMNS if c in columns), None)
    if image_column is None or label_column is None:
        raise ValueError(
            f"{files[0]} must have an image column ({' or '.join(IMAGE_COLUMNS)}: {{bytes, path}}) and a label column"
            f" ({' or '.join(LABEL_COLUMNS)}: integer); it has {', '.join(columns)}"
        )
    encoded = [row["bytes"] for table in tables for row in table.column(image_column).to_pylist()]
    images = [np.asarray(Image.open(io.BytesIO(e)).convert("RGB")) for e in encoded]
    if len(sizes := {i.shape[:2] for i in images}) != 1:
        raise ValueError(
            f"{name} {split}: all images must have the same size, got {sorted(sizes)[:5]} ...; resize them first"
        )

    def integers(column: str) -> np.ndarray:
        return np.concatenate([t.column(column).to_numpy() for t in tables]).astype(np.int64)

    names = _names(tables[0].schema)
    labels = integers(label_column)
    coarse = "coarse_label" if "coarse_label" in columns else None
    mean, std = STATISTICS.get(name, ((0.5,) * 3, (0.25,) * 3))
    return ImageSet(
        name, split, np.stack(images), labels,
        names.get(label_column) or [str(i) for i in range(labels.max() + 1)],
        integers(coarse) if coarse else None,
        names.get(coarse) if coarse else None,
        mean, std,
    )  # fmt: skip


def _names(schema) -> dict[str, list[str]]:
    """Label names of each class column, from the metadata that the `datasets` library writes into the schema."""
    metadata = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = metadata.get("info", {}).get("features", {})
    return {column: f["names"] for column, f in features.items() if isinstance(f, dict) and f.get("names")}


def _from_torchvision(name: str, split: str) -> ImageSet:
    from lib.system.vision import torchvision

    cache = Path(os.environ.get("TORCH_HOME", Path.home() / ".cache" / "torch")) / "datasets"
    if name == "cifar100" and split == "validation":
        raise unknown("split of cifar100", split, ("train", "test"))
    try:
        if name == "cifar100":
            found = torchvision.datasets.CIFAR100(cache, train=split == "train", download=True)
            images, labels, names = found.data, np.array(found.targets), found.classes
        else:
            found = torchvision.datasets.Flowers102(cache, split.replace("validation", "val"), download=True)
            images = np.stack([_square(found[i][0], 224) for i in range(len(found))])
            labels = np.array([found[i][1] for i in range(len(found))])
            names = getattr(found, "classes", None) or [str(i) for i in range(102)]
    except (OSError, RuntimeError) as error:
        raise MissingData(name, split, cache) from error
    mean, std = STATISTICS[name]
    return ImageSet(name, split, images, labels.astype(np.int64), list(names), mean=mean, std=std)


def _square(image, side: int) -> np.ndarray:
    """Resize the shorter edge to `side` pixels and keep the central square."""
    from PIL import ImageOps

    return np.asarray(ImageOps.fit(image.convert("RGB"), (side, side)))
