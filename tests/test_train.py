"""Training: the same weights with or without interruption, and augmentation that does what it says."""

import time

import numpy as np
import pytest
import torch

from conftest import tiny_config, tiny_images
from lib import cct, deadline, train
from lib.augment import shift_and_flip
from lib.errors import OutOfTime

RECIPE = train.Recipe(epochs=2, batch=10, warmup_epochs=0.5, lr=1e-2, shift=1)


def build():
    return cct.CCT(tiny_config(attention_dropout=0.1, drop_path=0.1))


class Killed(Exception):
    pass


def test_a_training_that_was_killed_ends_with_the_same_weights(tmp_path, monkeypatch):
    images, checkpoint = tiny_images(), tmp_path / "checkpoint.safetensors"
    straight, curve = train.train(build, RECIPE, images, seed=3)
    save, calls = train._save, []

    def save_and_die(*arguments):
        save(*arguments)
        calls.append(1)
        if len(calls) in (3, 5):
            raise Killed

    monkeypatch.setattr(train, "_save", save_and_die)
    for _ in range(2):
        with pytest.raises(Killed):
            train.train(build, RECIPE, images, 3, checkpoint, interval=0)
    resumed, again = train.train(build, RECIPE, images, 3, checkpoint, interval=0)
    for a, b in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    assert [r["loss"] for r in again] == [r["loss"] for r in curve]


def test_training_leaves_the_callers_random_stream_alone_and_learns():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    _, curve = train.train(build, train.Recipe(epochs=12, batch=10, lr=1e-2, shift=0), tiny_images())
    assert torch.rand(1) == expected
    assert curve[-1]["loss"] < curve[0]["loss"] and curve[-1]["train_accuracy"] > 0.4


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    train.train(build, RECIPE, tiny_images(), 0, checkpoint)
    with pytest.raises(ValueError, match="checkpoint of another training"):
        train.train(build, RECIPE, tiny_images(), 1, checkpoint)
    checkpoint.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="damaged"):
        train.train(build, RECIPE, tiny_images(), 0, checkpoint)


def test_the_schedule_warms_up_and_comes_down():
    rates = [RECIPE.lr_at(s, 100) for s in range(100)]
    assert max(rates) == pytest.approx(RECIPE.lr) and rates.index(max(rates)) in (24, 25)
    assert rates[-1] == pytest.approx(RECIPE.final_lr, abs=1e-4) and rates[0] < rates[10]


def test_shift_and_flip_moves_pixels_and_invents_none():
    images = torch.arange(36, dtype=torch.uint8).reshape(1, 6, 6, 1).expand(400, 6, 6, 3)
    torch.manual_seed(0)
    moved = shift_and_flip(images, shift=2)
    assert moved.dtype == torch.uint8 and moved.shape == images.shape
    centres = set(moved[:, 2, 2, 0].tolist())
    rows, columns = range(5), (*range(5), *(5 - c for c in range(5)))
    assert centres == {6 * r + c for r in rows for c in columns}
    assert torch.equal(shift_and_flip(images, 0, flip=False), images)


@pytest.mark.parametrize("shift", [-1, 6])
def test_a_shift_beyond_the_image_is_refused(shift):
    with pytest.raises(ValueError, match="shift must be"):
        shift_and_flip(torch.zeros(1, 6, 6, 3, dtype=torch.uint8), shift)


def test_top_k_accuracy():
    logits = np.array([[3, 2, 1], [1, 2, 3.0]])
    assert train.accuracy(logits, np.array([0, 1])) == 0.5
    assert train.accuracy(logits, np.array([0, 1]), top=2) == 1


def test_a_deadline_leaves_room_for_a_step_as_long_as_the_longest(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    limit = deadline.Deadline(10)
    now[0] += 4  # loading, say
    limit.begin()
    now[0] += 2
    assert not limit.near()
    now[0] += 3
    assert limit.near()
    with pytest.raises(OutOfTime, match="stopped in pruning, 10 seconds being over"):
        limit.check("pruning")
    assert not deadline.Deadline().near()
    with pytest.raises(ValueError, match="at least 0 seconds, got -1"):
        deadline.Deadline(-1)
