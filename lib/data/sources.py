"""Where sets come from.

`load(name, split)` looks, in this order, in the folder named by the environment variable `MODUS_DATA` (a relative path
starts at the checkout), in `data/` of the checkout (in both for a folder `<name>` in one of the layouts below), then in
torchvision's own cache, downloading there if a network can be reached. `glyphs` is drawn on this machine and needs no
source at all.

    <split>-*.parquet, data/<split>-*.parquet, <split>/*.parquet     as on the Hugging Face hub: an image or a sentence
                                                                     a row, see `lib.data.parquet`
    <split>/<label>/*.png                                            an image a file, of any format that Pillow reads
"""

import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from lib.data import glyphs, parquet
from lib.data.images import STATISTICS, ImageSet, decode
from lib.data.text import Sentences
from lib.system.errors import MissingData, unknown

ROOT = Path(__file__).resolve().parents[2]
SPLITS = ("train", "validation", "test")
TEXTS = ("clinc150", "banking77")  # sets of sentences that runs are defined for
ALIASES = {"validation": ("validation", "val", "valid")}  # what a folder may call a split
PARQUET = ("{}-*.parquet", "{}.parquet", "data/{}-*.parquet", "{}/*.parquet")
IMAGES = "{}/*/**/*"  # below a folder a label
KEPT = 4  # sets in memory

State = dict[Path, tuple | None]  # what tells that a file was changed or replaced
_kept: dict[tuple, tuple[list[Path], State, ImageSet | Sentences]] = {}


def load(name: str, split: str) -> ImageSet | Sentences:
    """A set by name ("cifar100", "flowers102", "glyphs", "clinc150", or a folder of your own) and split.

    The last few sets are kept in memory, for as long as their files stay as they are; their arrays cannot be edited.
    Raises ValueError for an unknown name or split and for a file that cannot be read, with its name and row, and
    MissingData, which names the ways to provide a set, where no source has it.
    """
    if name == "glyphs":
        return glyphs.load(split)
    roots = folders()
    own = _own(name)
    if name not in (*STATISTICS, *TEXTS) and not own:
        variable = "MODUS_DATA" if os.environ.get("MODUS_DATA") else "MODUS_DATA is not set"
        looked = f"looked for a folder of that name in {', '.join(map(str, roots))} ({variable})"
        raise ValueError(f"{unknown('data set', name, known_sets())}; {looked}")
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    for folder in own:
        if _files(folder, split):
            return _from_folder(name, split, folder)
    if own:
        found = [s for s in SPLITS if _files(own[0], s)]
        expected = " or ".join(layout.format(split) for layout in (*PARQUET, "{}/<label>/*.png"))
        raise ValueError(f"{unknown(f'split of {name} in {own[0]}', split, found)}; expected files {expected}")
    if name in TEXTS:
        raise MissingData(name, split, "fetch it with huggingface_hub from where its authors or others offer it there")
    cache = Path(os.environ.get("TORCH_HOME", Path.home() / ".cache" / "torch")) / "datasets"
    return _from_torchvision(name, split, cache).locked()


def splits(name: str) -> tuple[str, ...]:
    """The splits that a set has on this machine, those of `load`; of a set that is still to be fetched, its own."""
    own = _own(name)
    if name == "glyphs" or not own:
        return ("train", "test") if name == "cifar100" else SPLITS
    return tuple(split for split in SPLITS if any(_files(folder, split) for folder in own))


def _own(name: str) -> list[Path]:
    return [root / name for root in folders() if (root / name).is_dir()]


def known_sets() -> list[str]:
    """Names that `load` takes on this machine."""
    inside = [f for root in folders() if root.is_dir() for f in root.iterdir() if f.is_dir()]
    own = {f.name for f in inside if any(_files(f, split) for split in SPLITS)}
    return sorted(own | {*STATISTICS, *TEXTS})


def folders() -> list[Path]:
    """Where sets are looked for; ValueError if MODUS_DATA names something else than a folder."""
    named = os.environ.get("MODUS_DATA")
    if named and not (ROOT / Path(named).expanduser()).is_dir():
        raise ValueError(f"MODUS_DATA must name a folder that holds data sets, got {named!r}: correct it or unset it")
    return ([ROOT / Path(named).expanduser()] if named else []) + [ROOT / "data"]


def _files(folder: Path, split: str) -> list[Path]:
    """The files of a split, in order: parquet files or else images, none if it has neither."""
    Image.init()
    readable = {extension for extension, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    for name in ALIASES.get(split, (split,)):
        for layout in (*PARQUET, IMAGES):
            found = (f for f in folder.glob(layout.format(name)) if not f.name.startswith("."))
            if files := sorted(f for f in found if layout != IMAGES or f.suffix.lower() in readable):
                return files
    return []


def _from_folder(name: str, split: str, folder: Path) -> ImageSet | Sentences:
    """A split of a set in a folder; from memory, where nothing has changed since it was read."""
    files = {s: _files(folder, s) for s in SPLITS}
    key, listed = (name, split, folder), [f for part in files.values() for f in part]
    before, state, found = _kept.pop(key, (None, {}, None))
    if before != listed or state != _state(state):
        state = _state(listed)
        if files[split][0].suffix == ".parquet":
            sources, *labels = parquet.read(files, split)
        else:
            sources, *labels = _from_images(files, split, folder)
        state |= _state(source for _, source in sources if isinstance(source, Path))
        if files[split][0].suffix == ".parquet" and parquet.holds_text(files[split][0]):
            found = Sentences(name, split, np.array([text for _, text in sources], object), *labels)
        else:
            statistics = STATISTICS.get(name, ((0.5,) * 3, (0.25,) * 3))
            found = ImageSet(name, split, _decoded(sources), *labels, *statistics)
    _kept[key] = listed, state, found
    for oldest in list(_kept)[:-KEPT]:
        del _kept[oldest]
    return found.locked()


def _state(files: Iterable[Path]) -> State:
    found = {f: f.stat() if f.exists() else None for f in files}
    return {f: s and (s.st_ino, s.st_size, s.st_mtime_ns) for f, s in found.items()}


def _decoded(sources: parquet.Sources) -> np.ndarray:
    """uint8 (N, H, W, 3); ValueError that names the row of an image that cannot be read or has another size."""
    images: list[np.ndarray] = []
    for where, source in sources:
        try:
            images.append(decode(source))
            (h, w, _), (H, W, _) = images[-1].shape, images[0].shape
            if (h, w) != (H, W):
                raise ValueError(f"images must all have one size, got {h} x {w} after {H} x {W}; resize them first")
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
    return np.stack(images)


def _from_images(files: dict[str, list[Path]], split: str, folder: Path) -> tuple:
    """Sources, labels and their names of a split with a folder a label."""
    labels = {f: f.relative_to(folder).parts[1] for part in files.values() for f in part}
    names = sorted(set(labels.values()))
    return [(str(f), f) for f in files[split]], np.array([names.index(labels[f]) for f in files[split]]), names


@lru_cache(maxsize=2)
def _from_torchvision(name: str, split: str, cache: Path) -> ImageSet:
    from lib.system.vision import torchvision  # takes a second

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
        raise MissingData(name, split, f"let torchvision download it into {cache}") from error
    mean, std = STATISTICS[name]
    return ImageSet(name, split, images, labels.astype(np.int64), list(names), mean=mean, std=std)


def _square(image, side: int) -> np.ndarray:
    """Resize the shorter edge to `side` pixels and keep the central square."""
    return np.asarray(ImageOps.fit(image.convert("RGB"), (side, side)))
