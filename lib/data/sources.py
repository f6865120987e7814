"""Where sets come from.

`load(name, split)` looks, in this order, in the folder named by the environment variable `MODUS_DATA`, in `data/` of
the checkout (both in the Hugging Face parquet layout: `<folder>/<name>/<split>-*.parquet`, an image a row), then in
torchvision's own cache, downloading there if a network can be reached. `glyphs` is drawn on this machine and needs no
source at all.
"""

import io
import json
import os
import re
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageOps

from lib.data import glyphs
from lib.data.images import STATISTICS, ImageSet
from lib.system.errors import MissingData, unknown

ROOT = Path(__file__).resolve().parents[2]
SPLITS = ("train", "validation", "test")
IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMNS = ("fine_label", "label")


@lru_cache(maxsize=4)
def load(name: str, split: str) -> ImageSet:
    """An image set by name ("cifar100", "flowers102", "glyphs", or a folder of your own) and split.

    Raises ValueError for an unknown name or split, and MissingData, which names the ways to provide it, where no source
    has the set.
    """
    if name == "glyphs":
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
    from lib.system.vision import torchvision  # takes a second

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
    return np.asarray(ImageOps.fit(image.convert("RGB"), (side, side)))
