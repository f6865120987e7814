"""Augmentation of whole batches where they live: uint8 (B, H, W, 3) in, the same out, on any device.

What happens to each image is drawn and decided on the CPU (`draw`, `decide`), then done on the device (`augment`). So
the same draws give the same images on a CPU and on a GPU, and drawing never waits for the device. `lib.mixing` does
what is done to normalised images: erasing, MixUp and CutMix.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lib import image_ops
from lib.devices import send

COLOUR = {  # operations of RandAugment's "increasing" set that change colours, each with its argument, if it has one
    "AutoContrast": lambda images, _: image_ops.autocontrast(images),
    "Equalize": lambda images, _: image_ops.equalize(images),
    "Invert": lambda images, _: image_ops.invert(images),
    "Posterize": image_ops.posterize,
    "Solarize": image_ops.solarize,
    "SolarizeAdd": image_ops.solarize_add,
    "Color": image_ops.colour,
    "Contrast": image_ops.contrast,
    "Brightness": image_ops.brightness,
    "Sharpness": image_ops.sharpness,
}
GEOMETRY = ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY")
OPERATIONS = (*COLOUR, *GEOMETRY)
NOTHING = -1  # in place of an operation's number
LARGEST = 10  # the largest magnitude


@dataclass(frozen=True)
class Augmentation:
    """What is done to training images; the defaults move and mirror them, and nothing else.

    The operations and their ranges are those of the "increasing" set of RandAugment in timm
    (huggingface/pytorch-image-models, timm/data/auto_augment.py), which the reference's recipe uses.
    """

    shift: int = 4  # pixels, up to which an image is moved in each direction, its border reflected
    flip: bool = True  # mirror half of the images
    crop_scale: float = 1.0  # smallest share of the area that RandomResizedCrop keeps; 1: no crop
    operations: int = 0  # of RandAugment, drawn for each image and each applied with probability 1/2
    magnitude: float = 9  # of the operations, 0 to 10
    magnitude_std: float = 0.5
    erase: float = 0.0  # share of images in which a rectangle becomes noise
    mixup: float = 0.0  # alpha of the Beta distribution of the shares in which two images are mixed; 0: no MixUp
    cutmix: float = 0.0  # the same for the share of area pasted from another image

    def __post_init__(self):
        for name, low, high in (("crop_scale", 0.01, 1), ("magnitude", 0, LARGEST), ("erase", 0, 1)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must lie in {low} to {high}, got {getattr(self, name)}")
        for name in ("shift", "operations", "magnitude_std", "mixup", "cutmix"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")

    @property
    def mixes(self) -> bool:
        """Whether images are mixed, so that their targets are too."""
        return self.mixup > 0 or self.cutmix > 0


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
    columns = CROP_COLUMNS * (policy.crop_scale < 1) + 4 * policy.operations + ERASE_COLUMNS * (policy.erase > 0)
    return drawn | {"uniform": torch.rand(B, columns, generator=generator)}


def decide(policy: Augmentation, drawn: Mapping[str, Tensor], H: int, W: int) -> dict[str, Tensor]:
    """What happens to each image, from its random numbers: tensors whose first dimension is that of the images."""
    plan = {key: drawn[key] for key in ("down", "right", "mirrored")}
    crop, operation, erasure = drawn["uniform"].split(
        [CROP_COLUMNS * (policy.crop_scale < 1), 4 * policy.operations, ERASE_COLUMNS * (policy.erase > 0)], dim=1
    )
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


TRIES = 10  # to find a rectangle that fits into the image
CROP_COLUMNS, ERASE_COLUMNS = 2 * TRIES + 2, 2 * TRIES + 4


def _crop(scale: float, uniform: Tensor, H: int, W: int) -> Tensor:
    """(B, 4): left, top, width, height in pixels, of a share of the area from `scale` to 1 and a ratio of 3/4 to 4/3.

    As torchvision's RandomResizedCrop: the first of ten draws that fits, the whole image if none does.
    """
    sides, place = uniform.split([2 * TRIES, 2], dim=1)
    width, height, fits = _first_rectangle(sides, scale, 1, 4 / 3, W, H)
    width, height = torch.where(fits, width, W), torch.where(fits, height, H)
    left, top = (
        (u * (size - part + 1)).floor() for u, size, part in zip(place.T, (W, H), (width, height), strict=True)
    )
    return torch.stack([left, top, width, height], 1)


def _erasure(share: float, uniform: Tensor, H: int, W: int) -> Tensor:
    """(B, 5): left, top, width, height in pixels of the rectangle to be erased, and a random number for its noise.

    With probability `share` an image loses 2 % to 1/3 of its area, of a ratio of 0.3 to 1/0.3; else the size is 0. As
    in timm's RandomErasing, the first of ten draws that fits counts, and none fills a whole side.
    """
    sides, whether, place, noise = uniform.split([2 * TRIES, 1, 2, 1], dim=1)
    width, height, fits = _first_rectangle(sides, 0.02, 1 / 3, 1 / 0.3, W - 1, H - 1, H * W)
    erased = fits & (whether[:, 0] < share)
    width, height = torch.where(erased, width, 0), torch.where(erased, height, 0)
    left, top = (
        (u * (size - part + 1)).floor() for u, size, part in zip(place.T, (W, H), (width, height), strict=True)
    )
    return torch.stack([left, top, width, height, noise[:, 0]], 1)


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


def augment(images: Tensor, plan: Mapping[str, Tensor], fill: Sequence[int] = (128, 128, 128)) -> Tensor:
    """Do to each image what was decided for it. `fill` is the colour of what moves in from outside the image.

    RandAugment's operations follow crop and mirroring. All its geometry is one resampling with these, before its
    colours: for an image that got one of each this exchanges the two, where the reference keeps the order of drawing.
    """
    B, H, W, _ = images.shape
    device = images.device
    operations = plan.get("operation")
    geometric = operations is not None and bool((operations >= len(COLOUR)).any())
    mirrored = plan["mirrored"]
    if "crop" in plan or geometric:
        images = _shift(images, plan["down"], plan["right"], torch.zeros_like(mirrored))
        crop = plan.get("crop", torch.tensor([0, 0, W, H]).expand(B, 4))
        affine = send(_maps(operations, argument(plan), H, W), device) if geometric else None
        images = image_ops.resample(images, send(crop, device), send(mirrored, device), affine, fill)
    else:
        images = _shift(images, plan["down"], plan["right"], mirrored)
    if operations is not None:
        images = _recolour(images, operations, argument(plan))
    return images


def shift_and_flip(images: Tensor, shift: int = 4, flip: bool = True) -> Tensor:
    """Move every image by up to `shift` pixels in each direction and mirror half of them, each by its own draw.

    Draws come from torch's global random stream. The border is filled by reflection.
    """
    B, H, W, _ = images.shape
    policy = Augmentation(shift, flip)
    return augment(images, decide(policy, draw(policy, B, H, W, torch.default_generator), H, W))


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


def _maps(operations: Tensor, arguments: Tensor, H: int, W: int) -> Tensor:
    """The affine maps of the geometric operations, (B, n, 2, 3); the identity where another was drawn."""
    maps = torch.eye(2, 3).repeat(*operations.shape, 1, 1)
    places = {"ShearX": (0, 1, 1), "ShearY": (1, 0, 1), "TranslateX": (0, 2, W), "TranslateY": (1, 2, H)}
    for name, (row, column, unit) in places.items():
        maps[..., row, column] += torch.where(operations == OPERATIONS.index(name), arguments * unit, 0)
    turned = operations == OPERATIONS.index("Rotate")
    maps[turned] = image_ops.rotation(arguments[turned], H, W)
    return maps


def _recolour(images: Tensor, operations: Tensor, arguments: Tensor) -> Tensor:
    """Colour operations, one kind at a time on the images that drew it: the CPU knows which, the device never waits."""
    images = images.clone()
    for turn in range(operations.shape[1]):
        for number, operation in enumerate(COLOUR.values()):
            chosen = (operations[:, turn] == number).nonzero()[:, 0]
            if len(chosen):
                there = send(chosen, images.device)
                value = send(arguments[chosen, turn], images.device)
                images[there] = operation(images[there], value)
    return images


def _shift(images: Tensor, down: Tensor, right: Tensor, mirrored: Tensor) -> Tensor:
    """Move by whole pixels and mirror, in one gather."""
    B, H, W, _ = images.shape
    if not (down.any() or right.any() or mirrored.any()):
        return images

    def source(size: int, start: Tensor) -> Tensor:  # (B, size): the row or column that each pixel is taken from
        position = (torch.arange(size) + start[:, None]).abs()  # reflects at the first pixel
        return torch.where(position < size, position, 2 * (size - 1) - position)  # and at the last

    rows, columns = source(H, down), source(W, right)
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    rows, columns = send(rows, images.device), send(columns, images.device)
    return images[torch.arange(B, device=images.device)[:, None, None], rows[:, :, None], columns[:, None, :]]
