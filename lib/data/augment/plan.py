"""What is done to training images: the policy, and what it comes to for each image of a batch, drawn at random.

Random numbers are drawn (`draw`) a step at a time, in few calls; what follows from them (`decide`) is worked out for
many steps at once. Both happen on the CPU and wait for no device; `apply` and `mixing` then do it.
"""

import math
from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt
from torch import Tensor

from lib.system.checked import added, checked

COLOURS = (
    "AutoContrast", "Equalize", "Invert", "Posterize", "Solarize", "SolarizeAdd", "Color", "Contrast", "Brightness",
    "Sharpness",
)  # fmt: skip
GEOMETRY = ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY")
OPERATIONS = (*COLOURS, *GEOMETRY)  # RandAugment's "increasing" set
NOTHING = -1  # in place of an operation's number
LARGEST = 10  # the largest magnitude
TRIES = 10  # to find a rectangle that fits into the image
CROP_COLUMNS, ERASE_COLUMNS = 2 * TRIES + 2, 2 * TRIES + 4  # of random numbers


@checked
class Augmentation:
    """What is done to training images; the defaults move and mirror them, and nothing else.

    The operations and their ranges are those of the "increasing" set of RandAugment in timm
    (huggingface/pytorch-image-models, timm/data/auto_augment.py), which the reference's recipe uses.
    """

    shift: NonNegativeInt = 4  # pixels, up to which an image is moved in each direction, its border reflected
    flip: bool = True  # mirror half of the images
    crop_scale: Annotated[float, Field(ge=0.01, le=1)] = 1.0  # smallest share of the area that a crop keeps; 1: no crop
    operations: NonNegativeInt = 0  # of RandAugment, drawn for each image and each applied with probability 1/2
    magnitude: Annotated[float, Field(ge=0, le=LARGEST)] = 9  # of the operations
    magnitude_std: NonNegativeFloat = 0.5
    erase: Annotated[float, Field(ge=0, le=1)] = 0.0  # share of images in which a rectangle becomes noise
    mixup: NonNegativeFloat = 0.0  # alpha of the Beta distribution of the shares in which two images mix; 0: no MixUp
    cutmix: NonNegativeFloat = 0.0  # the same for the share of area pasted from another image
    mixed: Annotated[float, Field(ge=0, le=1)] = added(1.0)  # share of the batches that are mixed, if any are

    @property
    def mixes(self) -> bool:
        """Whether images are mixed, so that their targets are too."""
        return self.mixup > 0 or self.cutmix > 0

    def described(self) -> str:
        """The policy in a few words."""
        said = [f"images are shifted by up to {self.shift} pixels"] if self.shift else []
        said += ["half of them mirrored"] if self.flip else []
        said += [f"cropped to {self.crop_scale:.0%} of their area or more"] if self.crop_scale < 1 else []
        said += [f"RandAugment with {self.operations} operations"] if self.operations else []
        said += [f"a rectangle erased in {self.erase:.0%}"] if self.erase else []
        mixed = [name for name, alpha in (("MixUp", self.mixup), ("CutMix", self.cutmix)) if alpha]
        said += [f"{' or '.join(mixed)} on {self.mixed:.0%} of the batches"] if self.mixes and self.mixed else []
        return ", ".join(said) or "images as they are"


def draw(policy: Augmentation, B: int, H: int, W: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Random numbers for B images, on the CPU, as few calls as can be; `decide` makes of them what happens.

    down, right (B,) int64 in pixels; mirrored (B,) bool; uniform (B, n) for all the rest.
    """
    if not 0 <= policy.shift < min(H, W):
        raise ValueError(f"shift must be at least 0 and less than the image's {min(H, W)} pixels, got {policy.shift}")
    drawn = {
        "down": torch.randint(-policy.shift, policy.shift + 1, (B,), generator=generator),
        "right": torch.randint(-policy.shift, policy.shift + 1, (B,), generator=generator),
        "mirrored": torch.rand(B, generator=generator) < 0.5 if policy.flip else torch.zeros(B, dtype=torch.bool),
    }
    return drawn | {"uniform": torch.rand(B, sum(_columns(policy)), generator=generator)}


def decide(policy: Augmentation, drawn: Mapping[str, Tensor], H: int, W: int) -> dict[str, Tensor]:
    """What happens to each image, from its random numbers: tensors whose first dimension is that of the images."""
    plan = {key: drawn[key] for key in ("down", "right", "mirrored")}
    crop, operation, erasure = drawn["uniform"].split(_columns(policy), dim=1)
    if policy.crop_scale < 1:
        plan["crop"] = _crop(policy.crop_scale, crop, H, W)
    if policy.operations:
        which, whether, how_much, sign = operation.chunk(4, dim=1)
        plan["operation"] = torch.where(whether < 0.5, (which * len(OPERATIONS)).long(), NOTHING)
        deviation = torch.special.ndtri(how_much.clamp(1e-6, 1 - 1e-6))  # standard normal
        plan["magnitude"] = (policy.magnitude + deviation * policy.magnitude_std).clamp(0, LARGEST)
        plan["sign"] = torch.where(sign < 0.5, 1.0, -1.0)
    if policy.erase:
        plan["erased"] = _erasure(policy.erase, erasure, H, W)
    return plan


def _columns(policy: Augmentation) -> list[int]:
    """How many random numbers an image needs for its crop, its operations and its erasing."""
    return [CROP_COLUMNS * (policy.crop_scale < 1), 4 * policy.operations, ERASE_COLUMNS * (policy.erase > 0)]


def _crop(scale: float, uniform: Tensor, H: int, W: int) -> Tensor:
    """(B, 4): left, top, width, height in pixels, of a share of the area from `scale` to 1 and a ratio of 3/4 to 4/3.

    As torchvision's RandomResizedCrop: the first of ten draws that fits, the whole image if none does.
    """
    sides, place = uniform.split([2 * TRIES, 2], dim=1)
    width, height, fits = _first_rectangle(sides, scale, 1, 4 / 3, W, H)
    width, height = torch.where(fits, width, W), torch.where(fits, height, H)
    return torch.stack([*_corner(place, W - width, H - height), width, height], 1)


def _erasure(share: float, uniform: Tensor, H: int, W: int) -> Tensor:
    """(B, 5): left, top, width, height in pixels of the rectangle to be erased, and a random number for its noise.

    With probability `share` an image loses 2 % to 1/3 of its area, of a ratio of 0.3 to 1/0.3; else the size is 0. As
    in timm's RandomErasing, the first of ten draws that fits counts, and none fills a whole side.
    """
    sides, whether, place, noise = uniform.split([2 * TRIES, 1, 2, 1], dim=1)
    width, height, fits = _first_rectangle(sides, 0.02, 1 / 3, 1 / 0.3, W - 1, H - 1, H * W)
    erased = fits & (whether[:, 0] < share)
    width, height = torch.where(erased, width, 0), torch.where(erased, height, 0)
    return torch.stack([*_corner(place, W - width, H - height), width, height, noise[:, 0]], 1)


def _corner(place: Tensor, right: Tensor, down: Tensor) -> list[Tensor]:
    """Left and top (B,) of rectangles that can be moved by `right` and `down` pixels; place (B, 2) in 0 to 1."""
    return [(u * (room + 1)).floor() for u, room in zip(place.T, (right, down), strict=True)]


def _first_rectangle(
    uniform: Tensor, smallest: float, largest: float, ratio: float, W: int, H: int, area: int | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Width, height (B,) of the first of the draws in `uniform` (B, 2 * TRIES) that fits into W x H, and if one does.

    The share of the area is uniform between its limits, the logarithm of the ratio of the sides between -/+ log(ratio).
    """
    share, slope = uniform.chunk(2, dim=1)
    pixels = (area or H * W) * (smallest + (largest - smallest) * share)
    ratios = torch.exp(math.log(ratio) * (2 * slope - 1))
    width, height = (pixels * ratios).sqrt().round(), (pixels / ratios).sqrt().round()
    fits = (width <= W) & (height <= H)
    first = fits.int().argmax(1, keepdim=True)
    return width.gather(1, first)[:, 0], height.gather(1, first)[:, 0], fits.any(1)


def argument(plan: Mapping[str, Tensor]) -> Tensor:
    """The argument of each drawn operation, (B, n): degrees, share, factor, bits or threshold; 0 where it has none."""
    level = plan["magnitude"] / LARGEST
    signed = level * plan["sign"]
    found = torch.zeros_like(level)
    factor = (1 + 0.9 * signed).clamp(min=0.1)
    kinds = {
        "Posterize": 4 - (level * 4).floor(),
        "Solarize": 256 - (level * 256).floor(),
        "SolarizeAdd": (level * 110).floor(),
        "Color": factor,
        "Contrast": factor,
        "Brightness": factor,
        "Sharpness": factor,
        "Rotate": 30 * signed,
        "ShearX": 0.3 * signed,
        "ShearY": 0.3 * signed,
        "TranslateX": 0.45 * signed,
        "TranslateY": 0.45 * signed,
    }
    for name, value in kinds.items():
        found = torch.where(plan["operation"] == OPERATIONS.index(name), value, found)
    return found
