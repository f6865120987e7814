"""Sets of images in memory, and how images reach a network."""

import dataclasses
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lib.data.sets import LabelledSet
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
        n, k = len(self.labels), len(self.label_names)
        shape = self.images.shape
        if self.images.dtype != np.uint8 or len(shape) != 4 or shape[0] != n or shape[3] != 3:
            raise ValueError(f"images must be uint8 ({n}, H, W, 3), got {self.images.dtype} {shape}")
        if n and not (self.labels.min() >= 0 and self.labels.max() < k):
            found = f"{self.labels.min()} to {self.labels.max()}"
            raise ValueError(f"{self.name} {self.split}: labels must lie in 0 to {k - 1}, got {found}")

    def inputs(self, part: slice | np.ndarray, device: str | torch.device) -> Tensor:
        """Normalised, float32 (B, 3, H, W)."""
        return normalise(torch.as_tensor(self.images[part]).to(device), self.mean, self.std)

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


def normalise(images: Tensor | np.ndarray, mean: tuple, std: tuple) -> Tensor:
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W) with (x / 255 - mean) / std, in channels-last memory order."""
    x = torch.as_tensor(images)
    if x.dtype != torch.uint8 or x.ndim != 4 or x.shape[-1] != 3:
        raise ValueError(f"images must be uint8 (B, H, W, 3), got {x.dtype} {tuple(x.shape)}")
    mean, std = constant(mean, x.device), constant(std, x.device)
    pixels = x.shape[1] * x.shape[2]  # rows as long as an image are several times faster than rows of three colours
    scale, shift = (1 / (255 * std)).repeat(pixels), (mean / std).repeat(pixels)
    return x.flatten(1).float().mul_(scale).sub_(shift).view(x.shape).permute(0, 3, 1, 2)
