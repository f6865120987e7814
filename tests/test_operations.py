"""Batched image operations against Pillow and torchvision, image by image; the difference allowed is stated."""

import importlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from lib.data.augment import operations
from lib.system.vision import torchvision

H, W = 24, 24
FILL = (129, 124, 112)


def smooth_images(n: int = 12) -> torch.Tensor:
    """Images with gradients, flat parts and all values: bilinear and integer roundings show on each."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (n, 6, 6, 3)).astype(np.uint8)
    images = np.stack([np.asarray(Image.fromarray(c).resize((W, H), Image.Resampling.BICUBIC)) for c in coarse])
    images[0] = 77  # one colour only
    images[1] = images[1] // 4 + 100  # little contrast
    images[2, :, :, 1] = 0  # an empty channel
    return torch.from_numpy(images)


def pillow(images: torch.Tensor, operation) -> torch.Tensor:
    return torch.stack([torch.from_numpy(np.asarray(operation(Image.fromarray(i.numpy()), n)).copy())
                        for n, i in enumerate(images)])  # fmt: skip


def largest(a: torch.Tensor, b: torch.Tensor) -> int:
    return int((a.int() - b.int()).abs().max())


FACTORS = torch.linspace(0.1, 1.9, 12)
POSTERIZED = torch.arange(12) % 5
THRESHOLDS = torch.arange(12) * 23
ADDED = torch.arange(12) * 10


@pytest.mark.parametrize(
    "ours, theirs",
    [
        (operations.invert, lambda i, n: ImageOps.invert(i)),
        (operations.autocontrast, lambda i, n: ImageOps.autocontrast(i)),
        (operations.equalize, lambda i, n: ImageOps.equalize(i)),
        (lambda x: operations.posterize(x, 4 + POSTERIZED % 4), lambda i, n: ImageOps.posterize(i, 4 + n % 5 % 4)),
        (lambda x: operations.solarize(x, THRESHOLDS), lambda i, n: ImageOps.solarize(i, int(THRESHOLDS[n]))),
        (
            lambda x: operations.solarize_add(x, ADDED),
            lambda i, n: i.point([min(255, v + int(ADDED[n])) if v < 128 else v for v in range(256)] * 3),
        ),
        (
            lambda x: operations.brightness(x, FACTORS),
            lambda i, n: ImageEnhance.Brightness(i).enhance(float(FACTORS[n])),
        ),
        (lambda x: operations.contrast(x, FACTORS), lambda i, n: ImageEnhance.Contrast(i).enhance(float(FACTORS[n]))),
        (lambda x: operations.colour(x, FACTORS), lambda i, n: ImageEnhance.Color(i).enhance(float(FACTORS[n]))),
        (lambda x: operations.sharpness(x, FACTORS), lambda i, n: ImageEnhance.Sharpness(i).enhance(float(FACTORS[n]))),
    ],
)  # fmt: skip
def test_colours_are_those_of_pillow_to_the_last_bit(ours, theirs):
    images = smooth_images()
    before = images.clone()
    assert largest(ours(images), pillow(images, theirs)) == 0
    assert torch.equal(images, before)


def test_posterizing_to_no_bits_is_black():
    assert not operations.posterize(smooth_images(), torch.zeros(12)).any()


DEGREES = torch.linspace(-30, 30, 12)
SHARES = torch.linspace(-0.45, 0.45, 12)
AFFINE = {
    "rotate": (operations.rotation(DEGREES, H, W), None),
    "shear": (torch.stack([torch.tensor([[1, float(s), 0], [0, 1, 0]]) for s in SHARES]), None),
    "translate": (torch.stack([torch.tensor([[1, 0, 0], [0, 1, float(s) * H]]) for s in SHARES]), None),
}


@pytest.mark.parametrize("name", AFFINE)
def test_affine_maps_are_those_of_pillow_within_one_level(name):
    images, maps = smooth_images(), AFFINE[name][0]
    whole = torch.tensor([0, 0, W, H]).expand(12, 4)
    ours = operations.resample(images, whole, torch.zeros(12, dtype=torch.bool), maps[:, None], FILL)

    def theirs(image, n):
        if name == "rotate":
            return image.rotate(float(DEGREES[n]), Image.Resampling.BILINEAR, fillcolor=FILL)
        data = maps[n].flatten().tolist()
        return image.transform((W, H), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR, fillcolor=FILL)

    difference = (ours.int() - pillow(images, theirs).int()).abs().amax(-1)
    assert (difference > 1).float().mean() < 0.002  # a pixel on the very edge may fall to the other side


def test_crops_are_those_of_torchvision_within_one_level():
    images = smooth_images()
    random = np.random.default_rng(1)
    size = random.integers(15, W + 1, (12, 2))
    corner = np.array([[random.integers(W - w + 1), random.integers(H - h + 1)] for w, h in size])
    crop = torch.from_numpy(np.concatenate([corner, size], 1))
    mirrored = torch.arange(12) % 2 == 0
    ours = operations.resample(images, crop, mirrored)
    functional = importlib.import_module(f"{torchvision.__name__}.transforms.v2.functional")
    for image, (left, top, w, h), flip, got in zip(images, crop.tolist(), mirrored, ours, strict=True):
        expected = functional.resized_crop(image.permute(2, 0, 1), top, left, h, w, [H, W], antialias=False)
        expected = (expected.flip(-1) if flip else expected).permute(1, 2, 0)
        assert largest(got, expected) <= 1


def test_composed_maps_are_one_after_the_other():
    """Whole-pixel moves and a quarter turn interpolate nothing, so that both ways give the same pixels."""
    images = smooth_images()
    moved = torch.tensor([[1.0, 0, 5], [0, 1, -3]]).expand(12, 2, 3)
    turned = operations.rotation(torch.full((12,), 90.0), H, W)
    whole, no = torch.tensor([0, 0, W, H]).expand(12, 4), torch.zeros(12, dtype=torch.bool)
    together = operations.resample(images, whole, no, torch.stack([moved, turned], 1), FILL)
    first = operations.resample(images, whole, no, moved[:, None], FILL)
    assert torch.equal(together, operations.resample(first, whole, no, turned[:, None], FILL))
    other = operations.resample(images, whole, no, torch.stack([turned, moved], 1), FILL)
    assert not torch.equal(together, other)
