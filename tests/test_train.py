"""Training: the same weights with or without interruption, and augmentation that does what it says."""

import dataclasses
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from conftest import tiny_config, tiny_images
from lib import cct
from lib.data.augment.mixing import Targets
from lib.data.augment.plan import Augmentation
from lib.experiments.trials import hold_out
from lib.recipes import REFERENCE, TrainingRecipe
from lib.system import device, files
from lib.system.device import precision, products
from lib.system.errors import OutOfTime
from lib.training import evaluate, loop, resume, step

RECIPE = TrainingRecipe(epochs=2, batch=10, warmup_epochs=0.5, lr=1e-2, augmentation=Augmentation(shift=1))
MIXED = dataclasses.replace(
    RECIPE, augmentation=Augmentation(1, True, 0.8, operations=2, erase=0.5, mixup=0.8, cutmix=1.0)
)
STAGED = TrainingRecipe(
    epochs=3, batch=10, warmup_epochs=0.5, lr=1e-2, augmentation=Augmentation(1, cutmix=1.0, mixed=0.5),
    schedule="linear", optimiser="muon", clip=1.0, average=0.9, precision="bf16", token_stages=((1, 4), (1, 2)),
)  # fmt: skip


def build():
    return cct.CCT(tiny_config(attention_dropout=0.1, drop_path=0.1))


class Killed(Exception):
    pass


@pytest.mark.parametrize("recipe", [RECIPE, MIXED, STAGED])
def test_a_training_that_was_killed_ends_with_the_same_weights(tmp_path, monkeypatch, recipe):
    images, checkpoint = tiny_images(), tmp_path / "checkpoint.safetensors"
    straight, curve = loop.train(build, recipe, images, seed=3)
    save, calls = resume.save, []

    def save_and_die(*arguments):
        save(*arguments)
        calls.append(1)
        if len(calls) in (3, 8):  # the second time in another stage of tokens, where there are stages
            raise Killed

    monkeypatch.setattr(resume, "save", save_and_die)
    for _ in range(2):
        with pytest.raises(Killed):
            loop.train(build, recipe, images, 3, checkpoint, interval=0)
    resumed, again = loop.train(build, recipe, images, 3, checkpoint, interval=0)
    for a, b in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    assert [r["loss"] for r in again] == [r["loss"] for r in curve]


def test_training_leaves_the_callers_random_stream_alone_and_learns():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    _, curve = loop.train(
        build, TrainingRecipe(epochs=12, batch=10, lr=1e-2, augmentation=Augmentation(shift=0)), tiny_images()
    )
    assert torch.rand(1) == expected
    assert curve[-1]["loss"] < curve[0]["loss"] and curve[-1]["train_accuracy"] > 0.4


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    loop.train(build, RECIPE, tiny_images(), 0, checkpoint)
    with pytest.raises(ValueError, match="checkpoint of another training"):
        loop.train(build, RECIPE, tiny_images(), 1, checkpoint)
    checkpoint.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="damaged"):
        loop.train(build, RECIPE, tiny_images(), 0, checkpoint)


class Tied(nn.Module):
    """Three layers, two of which have the same weights."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(192, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.c.weight = self.b.weight

    def forward(self, x):
        return self.c(self.b(self.a(x.flatten(1))))


def test_a_network_with_tied_weights_is_stored_while_it_is_trained_and_after(tmp_path):
    whole, _ = loop.train(Tied, RECIPE, tiny_images(), 0)
    checkpoint = tmp_path / "checkpoint.safetensors"
    with pytest.raises(OutOfTime):
        loop.train(Tied, RECIPE, tiny_images(), 0, checkpoint, deadline=resume.Deadline(0))
    found, _ = loop.train(Tied, RECIPE, tiny_images(), 0, checkpoint)
    files.write_parts(tmp_path / "network.safetensors", found.state_dict())
    stored = Tied()
    stored.load_state_dict(files.read_parts(tmp_path / "network.safetensors"))
    assert stored.c.weight is stored.b.weight
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), stored.parameters(), strict=True))


def test_the_schedule_warms_up_and_comes_down():
    rates = [RECIPE.lr_at(s, 100) for s in range(100)]
    assert max(rates) == pytest.approx(RECIPE.lr) and rates.index(max(rates)) in (24, 25)
    assert rates[-1] == pytest.approx(RECIPE.final_lr, abs=1e-4) and rates[0] < rates[10]


@pytest.mark.parametrize("schedule", ["cosine", "linear", "stable"])
@given(steps=st.integers(1, 40), warmup=st.floats(0, 1), epochs=st.floats(1, 5))
def test_no_schedule_leaves_the_range_of_its_rates(schedule, steps, warmup, epochs):
    recipe = TrainingRecipe(epochs=epochs, lr=1.0, first_lr=0.1, final_lr=0.2, warmup_epochs=warmup, schedule=schedule)
    rates = np.array([recipe.lr_at(step, steps) for step in range(steps)])
    assert (rates >= 0.1 - 1e-12).all() and (rates <= 1 + 1e-12).all()


def test_the_references_schedule_starts_low_and_ends_with_a_cool_down():
    rates = [REFERENCE.lr_at(s, 3100) for s in range(3100)]
    assert rates[0] == pytest.approx(1e-6, rel=10) and rates[0] > 1e-6 and max(rates) == pytest.approx(6e-4)
    assert rates.index(max(rates)) in (99, 100) and rates[1550] == pytest.approx((6e-4 + 1e-5) / 2, rel=0.02)
    assert rates[-100:] == pytest.approx([1e-5] * 100)
    assert rates[100:] == sorted(rates[100:], reverse=True)


def test_a_training_begins_with_fewer_tokens():
    factors = [STAGED.token_factor(step, 18) for step in range(18)]
    assert factors == [4] * 6 + [2] * 6 + [1] * 6
    assert {RECIPE.token_factor(step, 12) for step in range(12)} == {1}


def test_a_linear_schedule_falls_evenly():
    rates = [STAGED.lr_at(step, 30) for step in range(30)]
    assert np.ptp(np.diff(rates[5:])) < 1e-9 and rates[5] > rates[-1] > STAGED.final_lr


def test_what_is_stored_is_the_average_of_the_weights():
    images, recipe = tiny_images(), TrainingRecipe(epochs=1, batch=10, lr=1e-2, warmup_epochs=0.2)
    seen = []

    class Watched(step.TrainingStep):
        def __call__(self, *arguments):
            sums = super().__call__(*arguments)
            seen.append(self.network.classifier.weight.detach().clone())
            return sums

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "TrainingStep", Watched)
        network, _ = loop.train(build, dataclasses.replace(recipe, average=0.75), images)
    expected = seen[0]
    for weight in seen[1:]:
        expected = 0.75 * expected + 0.25 * weight
    torch.testing.assert_close(network.classifier.weight, expected)
    assert not torch.allclose(network.classifier.weight, seen[-1])


def test_muon_moves_the_matrices_of_encoders_and_adamw_the_rest():
    network = build()
    muon, adamw = step.optimisers(network, STAGED)
    moved = {id(p) for group in muon.param_groups for p in group["params"]}
    assert {n for n, p in network.named_parameters() if id(p) in moved} == {
        f"encoders.{e}.{layer}.weight" for e in (0, 1) for layer in ("attention.qkv", "attention.projection",
                                                                     "linear1", "linear2")
    }  # fmt: skip
    rest = {id(p) for group in adamw.param_groups for p in group["params"]}
    assert moved | rest == {id(p) for p in network.parameters()} and not moved & rest
    with pytest.raises(ValueError, match="'muon' is for the matrices of a network's `encoders`"):
        step.optimisers(torch.nn.Linear(2, 2), STAGED)


def test_muon_orthogonalises_in_float32_where_bfloat16_does_not_pay(monkeypatch):
    torch.manual_seed(0)
    gradient, moved = torch.randn(32, 64), {}
    for units in (True, False):
        monkeypatch.setattr(device, "_bfloat16_pays", lambda units=units: units)
        weight = nn.Parameter(torch.zeros(32, 64))
        muon = torch.optim.Muon([weight], lr=1.0, weight_decay=0.0)
        weight.grad = gradient.clone()
        with device.muon_products("cpu"):
            muon.step()
        assert torch.equal(weight.grad, gradient)
        moved[units] = weight.detach()
    assert torch.equal(moved[True], moved[True].bfloat16().float())
    assert not torch.equal(moved[False], moved[False].bfloat16().float())
    torch.testing.assert_close(moved[False], moved[True], rtol=0, atol=0.02)


def test_a_clipped_gradient_is_not_longer_than_allowed():
    network = build()
    learn = step.TrainingStep(network, dataclasses.replace(RECIPE, clip=1e-3))
    learn(torch.randn(5, 3, 8, 8), Targets(torch.arange(5)), 1e-3)
    norm = torch.stack([p.grad.norm() for p in network.parameters()]).norm()
    assert norm == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize(
    ("asked", "device", "got"),
    [("auto", "cpu", "fp32"), ("auto", "cuda", "bf16"), ("bf16", "cpu", "bf16"), ("fp32", "cuda", "fp32")],
)
def test_precision_is_chosen_by_recipe_and_device(monkeypatch, asked, device, got):
    monkeypatch.setattr("lib.system.device._bfloat16_pays", lambda: True)
    assert precision(asked, device) == got


def test_a_processor_that_gains_nothing_by_bfloat16_multiplies_in_float32(monkeypatch):
    monkeypatch.setattr("lib.system.device._bfloat16_pays", lambda: False)
    assert precision("bf16", "cpu") == "fp32" and precision("bf16", "cuda") == "bf16"
    assert step.TrainingStep(build(), STAGED).precision == "fp32"
    with products("bf16", "cpu"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_bfloat16_pays_where_it_is_supported_and_faster(monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    for times, pays in (({torch.float32: 2.0, torch.bfloat16: 1.0}, True),
                        ({torch.float32: 1.0, torch.bfloat16: 2.0}, False)):  # fmt: skip
        monkeypatch.setattr(device, "in_turns", lambda works, rounds, times=times: times)
        assert device._bfloat16_pays.__wrapped__() is pays
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    assert device._bfloat16_pays.__wrapped__() is False


def test_top_k_accuracy():
    logits = np.array([[3, 2, 1], [1, 2, 3.0]])
    assert evaluate.accuracy(logits, np.array([0, 1])) == 0.5
    assert evaluate.accuracy(logits, np.array([0, 1]), top=2) == 1
    assert evaluate.accuracy(logits, np.array([1, 0]), top=5) == 1


@pytest.mark.parametrize("measured", [evaluate.accuracy, evaluate.label_accuracy])
def test_logits_that_are_not_numbers_have_no_accuracy(measured):
    logits = np.eye(4)
    logits[2, 3] = np.nan
    with pytest.raises(ValueError, match="got NaN for 1 of 4"):
        measured(logits, np.arange(4))


def test_a_deadline_leaves_room_for_a_step_as_long_as_the_longest(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    limit = resume.Deadline(10)
    now[0] += 4  # loading, say
    limit.begin()
    now[0] += 2
    assert not limit.near()
    now[0] += 3
    assert limit.near()
    with pytest.raises(OutOfTime, match="stopped in pruning, 10 seconds being over"):
        limit.check("pruning")
    assert not resume.Deadline().near()
    with pytest.raises(ValueError, match="at least 0 seconds, got -1"):
        resume.Deadline(-1)


def test_a_part_of_each_label_is_held_out():
    images = tiny_images(60)
    learnt, held = hold_out(images, share=0.25, seed=1)
    of_label = np.bincount(images.labels)
    assert np.array_equal(np.bincount(held.labels), np.round(0.25 * of_label))
    both = np.concatenate([learnt.images, held.images]).reshape(len(images), -1)
    assert np.array_equal(np.unique(both, axis=0), np.unique(images.images.reshape(len(images), -1), axis=0))
    assert not np.array_equal(hold_out(images, 0.25, 2)[1].images, held.images)
