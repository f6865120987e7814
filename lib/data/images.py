"""Sets of images in memory, and how images reach a network."""

import dataclasses
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from lib.data.sets import LabelledSet, tensor
from lib.system.device import constant

STATISTICS = {  # mean and standard deviation of each channel of the training images, in units of the full range
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),  # as the reference implementation normalises
    "flowers102": ((0.4353, 0.3773, 0.2872), (0.2966, 0.2455, 0.2698)),  # likewise
    "glyphs": ((0.5013, 0.5022, 0.5007), (0.2999, 0.3456, 0.2873)),
}


@dataclass(frozen=True)
class ImageSet(LabelledSet):
    """Labelled images in memory.

    images: uint8 (N, H, W, 3); labels: int64 (N,), each an index into `label_names`; `coarse_labels` and
    `coarse_names` likewise where the set has them, else None. `mean` and `std` are those to normalise with.
    """

    thing: ClassVar = "image"

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
        super().__post_init__()
        n, shape = len(self.labels), self.images.shape
        if self.images.dtype != np.uint8 or len(shape) != 4 or shape[0] != n or shape[3] != 3:
            raise ValueError(f"images must be uint8 ({n}, H, W, 3), got {self.images.dtype} {shape}")

    def inputs(self, part: slice | np.ndarray, device: str | torch.device) -> Tensor:
        """Normalised, float32 (B, 3, H, W)."""
        return normalise(tensor(self.images[part]).to(device), self.mean, self.std)

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
        small = [np.asarray(Image.fromarray(i).resize((side, side), Image.Resampling.BICUBIC)) for i in self.images]
        return dataclasses.replace(self, images=np.stack(small))


def decode(source: bytes | str | Path | list | np.ndarray | None) -> np.ndarray:
    """An image as uint8 (H, W, 3): a file's content, its path, or its pixels, integers 0 to 255 (H, W[, 1 or 3]).

    It is turned upright as its camera says (EXIF), 16 bits are scaled to 8, and transparency is dropped. ValueError
    that says why something is no such image.
    """
    if isinstance(source, (bytes, str, Path)):
        try:
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
                ImageOps.exif_transpose(image, in_place=True)
                return _eight_bits(image)
        except Exception as error:  # of a dozen kinds, as files are damaged in many ways
            raise ValueError(f"not an image that can be read: {error}") from error
    if source is None:
        raise ValueError("there is no image")
    pixels = np.asarray(source)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or pixels.dtype.kind not in "iu":
        raise ValueError(f"expected pixels, integers (H, W, 3) or (H, W), got {pixels.dtype} {pixels.shape}")
    if pixels.size and not 0 <= pixels.min() <= pixels.max() <= 255:
        raise ValueError(f"pixels must lie in 0 to 255, got {pixels.min()} to {pixels.max()}")
    return np.repeat(pixels, 3 // pixels.shape[2], axis=2).astype(np.uint8)


def _eight_bits(image: Image.Image) -> np.ndarray:
    """uint8 (H, W, 3) of a Pillow image in any mode that has a scale."""
    if image.mode.startswith("I"):  # Pillow's modes of 16 bits, and of 32 bits into which it reads 16
        grey = np.asarray(image).astype(np.int64)
        if grey.size and not 0 <= grey.min() <= grey.max() < 2**16:
            raise ValueError(f"values of {grey.min()} to {grey.max()} have no scale; save it with 8 or 16 bits")
        return decode((grey + 128) // 257)
    if image.mode == "F":
        raise ValueError("floating-point values have no scale; save it with 8 or 16 bits")
    if "transparency" in image.info:
        image = image.convert("RGBA")
    return np.asarray(image.convert("RGB"))


def normalise(images: Tensor | np.ndarray, mean: tuple, std: tuple) -> Tensor:
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W) with (x / 255 - mean) / std, in channels-last memory order."""
    x = images if isinstance(images, Tensor) else tensor(images)
    if x.dtype != torch.uint8 or x.ndim != 4 or x.shape[-1] != 3:
        raise ValueError(f"images must be uint8 (B, H, W, 3), got {x.dtype} {tuple(x.shape)}")
    mean, std = constant(mean, x.device), constant(std, x.device)
    pixels = x.shape[1] * x.shape[2]  # rows as long as an image are several times faster than rows of three colours
    scale, shift = (1 / (255 * std)).repeat(pixels), (mean / std).repeat(pixels)
    return x.flatten(1).float().mul_(scale).sub_(shift).view(x.shape).permute(0, 3, 1, 2)


def noise(name: str, split: str, n: int, classes: int, side: int, seed: int = 0) -> ImageSet:
    """n images of noise, side x side pixels, with labels in turn; normalised as the set `name` is, if it is known."""
    pixels = np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), np.uint8)
    labels = [f"label {i}" for i in range(classes)]
    mean, std = STATISTICS.get(name, ((0.5,) * 3, (0.25,) * 3))
    return ImageSet(name, split, pixels, np.arange(n) % classes, labels, mean=mean, std=std)
