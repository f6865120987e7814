"""Augmentation: what is drawn has the distribution it should, and images, targets and parts follow the draws."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from conftest import tiny_images
from lib.data.augment import apply, mixing
from lib.data.augment.mixing import Targets
from lib.data.augment.plan import NOTHING, OPERATIONS, Augmentation, argument, decide, draw
from lib.recipes import REFERENCE
from lib.training.batches import PIXELS_AT_ONCE, TrainingBatches

N = 20_000


def plan_of(wanted: Augmentation, n: int = N, size: int = 32) -> dict:
    drawn = draw(wanted, n, size, size, torch.Generator().manual_seed(0))
    return decide(wanted, drawn, size, size)


def test_crops_keep_the_share_and_the_ratio_they_should():
    left, top, width, height = plan_of(Augmentation(crop_scale=0.5))["crop"].unbind(1)
    assert (left >= 0).all() and (top >= 0).all() and (left + width <= 32).all() and (top + height <= 32).all()
    area, ratio = width * height / 32**2, width / height
    assert area.min() > 0.45 and area.max() <= 1 and ratio.min() > 0.7 and ratio.max() < 1.45
    assert 0.68 < area.mean() < 0.75 and abs(ratio.log().mean()) < 0.01
    assert len(set(left.tolist())) > 8


def test_each_image_draws_its_own_operations_evenly():
    found = plan_of(REFERENCE.augmentation)
    counts = torch.bincount(found["operation"].flatten() + 1, minlength=len(OPERATIONS) + 1) / (2 * N)
    assert counts[0] == pytest.approx(0.5, abs=0.01)  # applied with probability 1/2
    np.testing.assert_allclose(counts[1:], 0.5 / len(OPERATIONS), atol=0.004)
    magnitude = found["magnitude"]
    assert magnitude.max() <= 10 and magnitude.mean() == pytest.approx(9, abs=0.02)
    assert magnitude.std() == pytest.approx(0.49, abs=0.02)  # 0.5, cut at 10
    assert found["mirrored"].float().mean() == pytest.approx(0.5, abs=0.01)


def test_arguments_grow_with_the_magnitude_to_their_limits():
    operation = torch.arange(len(OPERATIONS))[:, None]
    at = {
        m: argument({"operation": operation, "magnitude": torch.full((15, 1), m), "sign": torch.ones(15, 1)})
        for m in (0.0, 10.0)
    }
    named = {m: dict(zip(OPERATIONS, a[:, 0].tolist(), strict=True)) for m, a in at.items()}
    assert named[10.0]["Rotate"] == 30 and named[10.0]["Posterize"] == 0 and named[10.0]["Solarize"] == 0
    assert named[10.0]["SolarizeAdd"] == 110 and named[10.0]["ShearX"] == pytest.approx(0.3)
    assert named[10.0]["TranslateY"] == pytest.approx(0.45) and named[10.0]["Color"] == pytest.approx(1.9)
    assert named[0.0]["Posterize"] == 4 and named[0.0]["Solarize"] == 256 and named[0.0]["Brightness"] == 1


def test_every_operation_changes_only_the_images_that_drew_it():
    images = torch.from_numpy(tiny_images(30, size=16).images)
    for number, name in enumerate(OPERATIONS):
        plan = plan_of(Augmentation(shift=0, flip=False), 30, 16)
        operation = torch.full((30, 1), NOTHING)
        operation[::2] = number
        plan |= {"operation": operation, "magnitude": torch.full((30, 1), 9.0), "sign": torch.ones(30, 1)}
        changed = (apply.augment(images, plan) != images).flatten(1).any(1)
        assert changed[::2].float().mean() > 0.3, name  # equalising few pixels may leave them
        assert not changed[1::2].any(), name


def test_images_are_augmented_alike_alone_and_together():
    images = torch.from_numpy(tiny_images(40, size=16).images)
    plan = plan_of(REFERENCE.augmentation, 40, 16)
    together = apply.augment(images, plan)
    parts = [
        apply.augment(images[i : i + 8], {k: v[i : i + 8] for k, v in plan.items()}) for i in range(0, len(images), 8)
    ]
    assert torch.equal(together, torch.cat(parts))


def test_shift_and_flip_moves_pixels_and_invents_none():
    images = torch.arange(36, dtype=torch.uint8).reshape(1, 6, 6, 1).expand(400, 6, 6, 3)
    torch.manual_seed(0)
    moved = apply.shift_and_flip(images, shift=2)
    assert moved.dtype == torch.uint8 and moved.shape == images.shape
    centres = set(moved[:, 2, 2, 0].tolist())
    rows, columns = range(5), (*range(5), *(5 - c for c in range(5)))
    assert centres == {6 * r + c for r in rows for c in columns}
    assert torch.equal(apply.shift_and_flip(images, 0, flip=False), images)


@pytest.mark.parametrize("shift", [-1, 6])
def test_a_shift_beyond_the_image_is_refused(shift):
    with pytest.raises(ValueError, match="shift:? must"):
        apply.shift_and_flip(torch.zeros(1, 6, 6, 3, dtype=torch.uint8), shift)


def test_a_policy_out_of_range_is_refused():
    with pytest.raises(ValueError, match="crop_scale: must be less than or equal to 1, got 8"):
        Augmentation(crop_scale=8)
    with pytest.raises(ValueError, match="mixup: must be greater than or equal to 0, got -1"):
        Augmentation(mixup=-1)


# ---- erasing and mixing


def test_erased_rectangles_have_the_share_of_images_and_of_area_they_should():
    boxes = plan_of(Augmentation(erase=0.25))["erased"]
    area = boxes[:, 2] * boxes[:, 3] / 32**2
    assert (area > 0).float().mean() == pytest.approx(0.25, abs=0.01)
    assert area[area > 0].min() > 0.012 and area.max() < 0.36
    assert area[area > 0].mean() == pytest.approx((0.02 + 1 / 3) / 2, abs=0.02)
    images, noise = torch.zeros(200, 3, 32, 32), mixing.noise_images(32, 32, 5)
    erased = mixing.erase(images, boxes[:200], noise)
    np.testing.assert_allclose((erased != 0).float().mean((1, 2, 3)), area[:200], atol=1e-6)
    assert erased[erased != 0].std() == pytest.approx(1, abs=0.05)


def test_mixing_draws_both_kinds_evenly_and_its_share_is_that_of_the_pixels():
    random = np.random.default_rng(0)
    rows = torch.stack([mixing.draw_mixing(REFERENCE.augmentation, 32, 32, random) for _ in range(4000)])
    cut = (rows[:, 2:4] > 0).all(1)
    assert 0.44 < cut.float().mean() < 0.52  # a few boxes are empty
    up = rows[~cut, 4]
    assert up.mean() == pytest.approx(0.5, abs=0.02)
    assert up.var() == pytest.approx(1 / (4 * (2 * 0.8 + 1)), abs=0.01)  # of Beta(0.8, 0.8)
    images = torch.arange(2.0)[:, None, None, None].expand(2, 3, 32, 32)  # one black, one white
    for row in rows[:50]:
        mixed, targets = mixing.mix(images, torch.arange(2), row.expand(2, 5))
        torch.testing.assert_close(mixed[0].mean(), 1 - targets.share[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(mixed[1].mean(), targets.share[1], atol=1e-5, rtol=0)
    assert targets.partners.tolist() == [1, 0]
    with pytest.raises(ValueError, match="must be even, got 3"):
        mixing.mix(torch.zeros(3, 3, 8, 8), torch.zeros(3), rows[:3])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_the_cross_entropy_with_soft_targets(smoothing):
    torch.manual_seed(0)
    logits, labels, partners, share = torch.randn(8, 5), torch.arange(8) % 5, torch.arange(8) % 3, torch.rand(8)
    soft = share[:, None] * F.one_hot(labels, 5) + (1 - share[:, None]) * F.one_hot(partners, 5)
    expected = F.cross_entropy(logits, soft, label_smoothing=smoothing)
    torch.testing.assert_close(Targets(labels, partners, share).loss(logits, smoothing), expected)
    plain = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    torch.testing.assert_close(Targets(labels).loss(logits, smoothing), plain)
    certain = 100.0 * F.one_hot(labels, 5)
    same = (labels == partners).float()
    torch.testing.assert_close(
        Targets(labels, partners, share).correct(certain), (share + (1 - share) * same).sum()
    )  # fmt: skip


# ---- batches


def feed(**changes) -> TrainingBatches:
    wanted = Augmentation(
        **{"shift": 0, "crop_scale": 0.8, "operations": 2, "erase": 0.5, "mixup": 0.8, "cutmix": 1.0} | changes
    )
    return TrainingBatches(tiny_images(), wanted, 10, seed=4)


def test_a_batch_depends_on_its_step_alone(monkeypatch):
    together = list(feed().steps(0, 12))
    monkeypatch.setitem(PIXELS_AT_ONCE, "cpu", 1)
    alone = list(feed().steps(7, 9))
    for one, other in zip(together[7:9], alone, strict=True):
        assert torch.equal(one.inputs, other.inputs)
        assert all(torch.equal(a, b) for a, b in zip(one.labels, other.labels, strict=True))


@pytest.mark.parametrize("changes", [{}, {"mixup": 0.0, "cutmix": 0.0}, {"operations": 0, "crop_scale": 1.0}])
def test_batches_are_laid_out_as_convolutions_like_them(changes):
    assert next(feed(**changes).steps(0, 1)).inputs.is_contiguous(memory_format=torch.channels_last)


def test_an_epoch_shows_every_image_once_and_each_epoch_in_another_order():
    labels = [batch.labels.labels for batch in feed().steps(0, 12)]
    first, second = torch.cat(labels[:6]), torch.cat(labels[6:])
    assert torch.equal(first.sort().values, torch.from_numpy(np.sort(tiny_images().labels)))
    assert not torch.equal(first, second)


def test_a_batch_that_cannot_be_made_is_refused():
    with pytest.raises(ValueError, match="at least one batch of 64 images, got 60"):
        TrainingBatches(tiny_images(), Augmentation(), 64, 0)
    with pytest.raises(ValueError, match=r"multiple of 2 for 1 process\(es\) that mix images in pairs, got 15"):
        TrainingBatches(tiny_images(), Augmentation(mixup=1.0), 15, 0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_sees_the_same_images_and_is_never_waited_for():
    wanted, batch = REFERENCE.augmentation, 20
    expected = list(TrainingBatches(tiny_images(), wanted, batch, 0).steps(0, 6))
    on_gpu = TrainingBatches(tiny_images(), wanted, batch, 0, "cuda")
    list(on_gpu.steps(0, 3))
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = list(on_gpu.steps(0, 6))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for one, ours in zip(expected, found, strict=True):
        assert torch.equal(one.labels.labels, ours.labels.labels.cpu())
        assert (one.inputs - ours.inputs.cpu()).abs().mean() < 0.02  # roundings of the resampling
