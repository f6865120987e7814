"""Operations on batches of images, each image with its own argument: uint8 (B, H, W, 3) in and out, on any device.

They compute what Pillow computes for one image (`ImageOps`, `ImageEnhance`, `Image.transform`). An operation that maps
each value of a channel on its own is a table of 256 entries, so that it costs one look-up a pixel.
"""

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional as F

from lib.system.devices import constant

LUMA = (19595, 38470, 7471)  # ITU-R 601-2 in units of 2^-16, as Pillow converts to grey


# ---- geometry: one bilinear resampling, whatever was composed


def resample(
    images: Tensor,
    crop: Tensor,
    mirrored: Tensor,
    affine: Tensor | None = None,
    fill: Sequence[float] = (128, 128, 128),
) -> Tensor:
    """Crop, resize to the original size, mirror, then apply affine maps, all in one look-up of each output pixel.

    crop (B, 4): left, top, width, height in pixels; mirrored (B,) bool; affine (B, n, 2, 3): n maps, applied in this
    order, each from output to input coordinates in pixels as `Image.transform` takes them. What a map brings in from
    outside the image gets the colour `fill`. Where several maps are composed, one interpolation replaces several.
    """
    _, H, W, _ = images.shape
    device = images.device
    x = torch.arange(W, device=device).view(1, 1, W) + 0.5  # centres of the output pixels: columns
    y = torch.arange(H, device=device).view(1, H, 1) + 0.5  # and rows, apart until a map mixes them
    inside = []
    for i in reversed(range(0 if affine is None else affine.shape[1])):
        a = affine[:, i, :, :, None, None]  # (B, 2, 3, 1, 1)
        x, y = a[:, 0, 0] * x + a[:, 0, 1] * y + a[:, 0, 2], a[:, 1, 0] * x + a[:, 1, 1] * y + a[:, 1, 2]
        inside.append((x >= 0) & (x < W) & (y >= 0) & (y < H))
    x = torch.where(mirrored[:, None, None], W - x, x)
    left, top, width, height = crop[:, :, None, None].float().unbind(1)
    x = (left + x * (width / W)).clamp(left + 0.5, left + width - 0.5)  # what is cut away is not seen at the border
    y = (top + y * (height / H)).clamp(top + 0.5, top + height - 0.5)
    grid = torch.stack(torch.broadcast_tensors(x * (2 / W) - 1, y * (2 / H) - 1), dim=-1)
    found = F.grid_sample(images.permute(0, 3, 1, 2).float(), grid, "bilinear", "border", align_corners=False)
    found = found.permute(0, 2, 3, 1)
    if inside:
        found = torch.where(reduce(torch.logical_and, inside).unsqueeze(-1), found, constant(fill, device))
    return found.round().to(torch.uint8)


def rotation(degrees: Tensor, H: int, W: int) -> Tensor:
    """Affine maps (B, 2, 3) that turn images counter-clockwise about their centre."""
    angle = -torch.deg2rad(degrees)
    cos, sin = angle.cos(), angle.sin()
    cx, cy = W / 2, H / 2
    rows = [cos, sin, cx - cos * cx - sin * cy, -sin, cos, cy + sin * cx - cos * cy]
    return torch.stack(rows, -1).reshape(-1, 2, 3)


# ---- one value at a time: tables (B, 256) or, for each channel its own, (B, 256, 3)


def look_up(images: Tensor, table: Tensor) -> Tensor:
    """Replace each value by the entry of its image's table."""
    if table.ndim == 2:
        table = table.unsqueeze(-1).expand(-1, -1, 3)
    flat = images.flatten(1, 2)  # (B, H * W, 3)
    return table.to(torch.uint8).gather(1, flat.long()).reshape(images.shape)


def _values(images: Tensor) -> Tensor:
    return torch.arange(256, device=images.device)


def _histogram(images: Tensor) -> Tensor:
    """How often each value occurs, (B, 256, 3) float32 (exact)."""
    flat = images.flatten(1, 2).long()
    counts = torch.zeros(len(images), 256, 3, device=images.device)
    return counts.scatter_add_(1, flat, torch.ones(flat.shape, device=images.device))


def invert(images: Tensor) -> Tensor:
    return 255 - images


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the `bits` most significant bits of each value."""
    shift = 8 - bits.long()[:, None, None, None]
    return ((images.long() >> shift) << shift).to(torch.uint8)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert values from `threshold` (0 to 256) upwards."""
    return torch.where(images.long() < threshold.long()[:, None, None, None], images, 255 - images)


def solarize_add(images: Tensor, add: Tensor, threshold: int = 128) -> Tensor:
    """Add to values below `threshold`."""
    brighter = (images.long() + add.long()[:, None, None, None]).clamp(max=255)
    return torch.where(images < threshold, brighter.to(torch.uint8), images)


def autocontrast(images: Tensor) -> Tensor:
    """Stretch each channel to the whole range."""
    pixels = images.flatten(1, 2)
    low, high = (e(1).unsqueeze(1).double() for e in (lambda d: pixels.amin(d), lambda d: pixels.amax(d)))  # (B, 1, 3)
    scale = 255 / (high - low).clamp(min=1)
    table = (_values(images)[None, :, None] * scale - low * scale).clamp(0, 255).floor()
    return look_up(images, torch.where(high > low, table, _values(images)[None, :, None].double()))


def equalize(images: Tensor) -> Tensor:
    """Make the histogram of each channel as flat as a map of its values can."""
    counts = _histogram(images)
    values = _values(images)[None, :, None]
    last = torch.where(counts > 0, values, 0).amax(1, keepdim=True)  # the largest value that occurs
    step = ((counts.sum(1, keepdim=True) - counts.gather(1, last)) / 255).floor()
    before = counts.cumsum(1) - counts + (step / 2).floor()
    table = (before / step.clamp(min=1)).floor().clamp(0, 255)
    return look_up(images, torch.where(step > 0, table, values.float()))


# ---- enhancement: away from, or towards, a degenerate image


def blend(degenerate: Tensor, images: Tensor, factor: Tensor) -> Tensor:
    """degenerate + factor * (images - degenerate), cut to the range and to integers."""
    start = degenerate.float()
    return (start + factor.float()[:, None, None, None] * (images.float() - start)).clamp(0, 255).to(torch.uint8)


def grey(images: Tensor) -> Tensor:
    """Luminance, int64 (B, H, W, 1)."""
    r, g, b = images.long().split(1, dim=-1)
    return (LUMA[0] * r + LUMA[1] * g + LUMA[2] * b + 0x8000) >> 16


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    return blend(torch.zeros_like(images), images, factor)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    mean = (grey(images).double().mean((1, 2), keepdim=True) + 0.5).floor()
    return blend(mean.expand(images.shape), images, factor)


def colour(images: Tensor, factor: Tensor) -> Tensor:
    return blend(grey(images).expand(images.shape), images, factor)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    x = images.permute(0, 3, 1, 2).float()
    neighbours = F.avg_pool2d(x, 3, stride=1, divisor_override=1)
    smooth = ((neighbours + 4 * x[:, :, 1:-1, 1:-1]) / 13 + 0.5).floor()
    degenerate = x.clone()  # the border stays as it is
    degenerate[:, :, 1:-1, 1:-1] = smooth
    return blend(degenerate.permute(0, 2, 3, 1), images, factor)
