"""Augmentation of whole batches where they live: uint8 (B, H, W, 3) in, the same out, on any device.

What happens to each image was decided before (`plan`), so that the same plan gives the same images on a CPU and on a
GPU. `mixing` does what is done to normalised images: erasing, MixUp and CutMix.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from lib.data.augment import operations as ops
from lib.data.augment.plan import COLOURS, NOTHING, OPERATIONS, Augmentation, argument, decide, draw
from lib.system.device import send

RECOLOUR = {  # by name: images and the argument of each, if the operation has one
    "AutoContrast": lambda images, _: ops.autocontrast(images),
    "Equalize": lambda images, _: ops.equalize(images),
    "Invert": lambda images, _: ops.invert(images),
    "Posterize": ops.posterize,
    "Solarize": ops.solarize,
    "SolarizeAdd": ops.solarize_add,
    "Color": ops.colour,
    "Contrast": ops.contrast,
    "Brightness": ops.brightness,
    "Sharpness": ops.sharpness,
}


def augment(images: Tensor, plan: Mapping[str, Tensor], fill: Sequence[int] = (128, 128, 128)) -> Tensor:
    """Do to each image what was decided for it. `fill` is the colour of what moves in from outside the image.

    RandAugment's operations follow crop and mirroring. All its geometry is one resampling with these, before its
    colours: for an image that got one of each this exchanges the two, where the reference keeps the order of drawing.
    """
    B, H, W, _ = images.shape
    operations = plan.get("operation")
    arguments = None if operations is None else argument(plan)
    mirrored = plan["mirrored"]
    warped = torch.zeros_like(mirrored) if operations is None else (operations >= len(COLOURS)).any(1)
    if "crop" not in plan and not warped.any():
        images = _shift(images, plan["down"], plan["right"], mirrored)
    else:
        images = _shift(images, plan["down"], plan["right"], torch.zeros_like(mirrored))
        crop = plan.get("crop", torch.tensor([0, 0, W, H]).expand(B, 4))

        def resample(warped: int, which: Tensor, group: Tensor) -> Tensor:
            maps = send(_maps(operations[which], arguments[which], H, W), group.device) if warped else None
            return ops.resample(group, send(crop[which], group.device), send(mirrored[which], group.device), maps, fill)

        images = _by_kind(images, warped.long(), resample)  # maps cost the most, and most images have none
    if operations is not None:
        images = _recolour(images, operations, arguments)
    return images


def shift_and_flip(images: Tensor, shift: int = 4, flip: bool = True) -> Tensor:
    """Move every image by up to `shift` pixels in each direction and mirror half of them, each by its own draw.

    Draws come from torch's global random stream. The border is filled by reflection.
    """
    B, H, W, _ = images.shape
    policy = Augmentation(shift, flip)
    return augment(images, decide(policy, draw(policy, B, H, W, torch.default_generator), H, W))


def _maps(operations: Tensor, arguments: Tensor, H: int, W: int) -> Tensor:
    """The affine maps of the geometric operations, (B, n, 2, 3); the identity where another was drawn."""
    maps = torch.eye(2, 3).repeat(*operations.shape, 1, 1)
    places = {"ShearX": (0, 1, 1), "ShearY": (1, 0, 1), "TranslateX": (0, 2, W), "TranslateY": (1, 2, H)}
    for name, (row, column, unit) in places.items():
        maps[..., row, column] += torch.where(operations == OPERATIONS.index(name), arguments * unit, 0)
    turned = operations == OPERATIONS.index("Rotate")
    maps[turned] = ops.rotation(arguments[turned], H, W)
    return maps


def _recolour(images: Tensor, operations: Tensor, arguments: Tensor) -> Tensor:
    """The colour operations, turn after turn."""
    for turn in range(operations.shape[1]):

        def recolour(number: int, which: Tensor, group: Tensor, turn: int = turn) -> Tensor:
            if number == NOTHING:
                return group
            return RECOLOUR[COLOURS[number]](group, send(arguments[which, turn], group.device))

        kinds = operations[:, turn]
        images = _by_kind(images, torch.where(kinds < len(COLOURS), kinds, NOTHING), recolour)
    return images


def _by_kind(images: Tensor, kinds: Tensor, work: Callable[[int, Tensor, Tensor], Tensor]) -> Tensor:
    """`work(kind, which images, these images)` on the images of each kind together, in their order again.

    kinds (B,) is on the CPU, so that the device never waits.
    """
    order = kinds.argsort(stable=True)
    there, sizes = kinds[order].unique_consecutive(return_counts=True)
    sizes = sizes.tolist()
    groups = images.index_select(0, send(order, images.device)).split(sizes)
    done = [work(*one) for one in zip(there.tolist(), order.split(sizes), groups, strict=True)]
    return torch.cat(done).index_select(0, send(order.argsort(), images.device))


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
