"""Retraining along its length: a branch equals a training of its own, stops go on, and rates are chosen by the rule."""

import contextlib
import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from conftest import CONFIG, tiny_config, tiny_images
from lib import andc, cct, data, runs
from lib.data.augment.plan import Augmentation
from lib.experiments import masked, pruning, pruning_tables, retraining
from lib.experiments.masks import Masks
from lib.recipes import RetrainingRecipe, ScheduleRecipe, TrainingRecipe
from lib.runs import compute
from lib.system.errors import OutOfTime
from lib.system.files import Journal
from lib.training import evaluate, loop, resume
from lib.training.loop import Trunk
from lib.training.resume import Deadline

TRAINING = TrainingRecipe(2, 20, lr=1e-2, warmup_epochs=0, augmentation=Augmentation(shift=1))
SCHEDULE = ScheduleRecipe(decay=0.4, all_tokens=0.2)
RECIPE = RetrainingRecipe(thresholds=(0.3,), methods=("andc", "random"), epochs=(1, 2), rate=0.5)


def further(network, folder, deadline=None, schedule=SCHEDULE, images=None, compiled=False) -> retraining.Further:
    return retraining.Further(
        network, images or tiny_images(), TRAINING, schedule, 0, lambda name: folder / name,
        Journal(folder / "journal", "inputs"), deadline or Deadline(), compiled,
    )  # fmt: skip


def masks(network) -> Masks:
    random = np.random.default_rng(0)
    nodes = {s: andc.Nodes(*random.normal(size=(2, 5, network.width(s)))) for s in network.sites}
    return Masks(network, nodes, 0)


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
@pytest.mark.parametrize("factor", [1, 2])
def test_a_branch_is_a_training_of_its_own_bit_by_bit(tmp_path, images, optimiser, factor):
    torch.manual_seed(0)
    network = cct.CCT(tiny_config(image_size=8))
    training = dataclasses.replace(TRAINING, optimiser=optimiser)
    schedule = dataclasses.replace(SCHEDULE, token_factor=factor)
    chosen = masks(network).of("andc", 0.3)
    trunk, steps = Trunk(tmp_path / "trunk", "of all"), []
    for epochs in (1, 3, 4):
        recipe = schedule.of(training, epochs, 0.5)
        made = [
            loop.train(lambda: masked.apply(network, chosen), recipe, images, 7, tmp_path / f"{name}{epochs}", trunk=of)
            for name, of in (("branch", trunk), ("own", None))
        ]
        (branch, curve), (own, own_curve) = made
        assert all(torch.equal(branch.state_dict()[name], value) for name, value in own.state_dict().items())
        assert [r["loss"] for r in curve] == [r["loss"] for r in own_curve] and len(curve) == epochs
        steps.append(trunk.path.stat().st_mtime_ns)
    assert len(set(steps)) == 3  # each length leaves its trunk to the next


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # its own, where it is first compiled
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler on a CPU")
def test_compiled_masked_networks_learn_what_others_do(tmp_path):
    torch.manual_seed(0)
    network = cct.CCT(tiny_config(image_size=8))
    rows = []
    for compiled in (False, True):
        made = further(network, tmp_path / str(compiled), compiled=compiled)
        rows.append(made.lengths("x", {}, lambda: masks(network).of("andc", 0.3), 0.5, (1,), lambda trained: {}))
    for plain, fused in zip(*rows, strict=True):
        assert fused["loss"] == pytest.approx(plain["loss"], rel=1e-4)
        assert fused["train_accuracy"] == pytest.approx(plain["train_accuracy"], abs=0.06)


def test_a_trunk_is_refused_where_it_does_not_belong(tmp_path, images):
    def train(epochs, name):
        recipe = SCHEDULE.of(TRAINING, epochs, 1.0)
        return loop.train(lambda: cct.CCT(tiny_config()), recipe, images, trunk=Trunk(tmp_path / "trunk", name))

    train(2, "a")
    with pytest.raises(ValueError, match="is the checkpoint of another training"):
        train(3, "b")
    with pytest.raises(ValueError, match="trunk has 4 steps, more than the 2 after which .* train the shorter"):
        train(1, "a")


@given(st.integers(1, 50), st.integers(1, 400), st.floats(0.01, 0.95), st.floats(0, 0.9), st.integers(1, 4))
def test_lengths_have_their_trunk_in_common(epochs, per_epoch, decay, part, factor):
    schedule = ScheduleRecipe(warmup_epochs=(1 - decay) / 2, decay=decay, all_tokens=part * decay, token_factor=factor)
    short, long = (schedule.of(TRAINING, e, 0.3) for e in (epochs, 3 * epochs + 1))
    steps = [e * per_epoch for e in (epochs, 3 * epochs + 1)]
    branch = short.branch(steps[0])
    assert branch <= long.branch(steps[1])
    for step in {0, branch // 2, branch - 1} & set(range(branch)):
        assert short.lr_at(step, steps[0]) == long.lr_at(step, steps[1])
        assert short.token_factor(step, steps[0]) == long.token_factor(step, steps[1])


def test_the_rate_rises_stays_and_falls_to_nothing():
    recipe = dataclasses.replace(TRAINING, epochs=10, schedule="stable", warmup_epochs=1, decay_epochs=4, final_lr=0)
    rates = [recipe.lr_at(step, 100) / recipe.lr for step in range(100)]
    assert rates[:10] == pytest.approx(np.arange(1, 11) / 10) and set(rates[10:60]) == {1.0}
    assert rates[60:] == pytest.approx(np.arange(40, 0, -1) / 40)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: RetrainingRecipe(epochs=(4, 1)), r"epochs must name .* the shortest first, got \[4, 1\]"),
        (lambda: RetrainingRecipe(epochs=()), "at least one length"),
        (lambda: RetrainingRecipe(methods=("gradient",)), "methods.0: must be 'andc', 'permuted'"),
        (lambda: ScheduleRecipe(trial_epochs=(2, 2)), r"trial_epochs must name .* got \[2, 2\]"),
        (lambda: ScheduleRecipe(rates=()), "rates: .* at least 1 item"),
        (lambda: ScheduleRecipe(decay=0.1, all_tokens=0.1), "all_tokens must be less than decay, got 0.1 and 0.1"),
        (lambda: ScheduleRecipe(warmup_epochs=0.9), "warmup_epochs must fit into the shortest length, .* got 0.9"),
        (lambda: TrainingRecipe(decay_epochs=1), "decay_epochs is for the schedule 'stable', got it with 'cosine'"),
        (
            lambda: TrainingRecipe(4, schedule="stable", decay_epochs=3),
            r"warmup_epochs and decay_epochs must fit into epochs, got 2 \+ 3 and 4",
        ),
        (
            lambda: TrainingRecipe(4, schedule="stable", cooldown_epochs=1),
            "cooldown_epochs must be 0 by the schedule 'stable', got 1",
        ),
    ],
)
def test_impossible_lengths_and_schedules_are_refused(make, error):
    with pytest.raises(ValueError, match=error):
        make()


def test_rows_are_of_networks_that_learn_and_keep_their_masks(tmp_path, network, images):
    kept = {}

    def watched(network, *arguments, **named):
        kept[len(kept)] = {n: network.get_submodule(layer.module).weight for n, layer in network.layers.items()}
        return predict(network, *arguments, **named)

    predict = evaluate.predict
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "predict", watched)
        rows, labels = retraining.rows(further(network, tmp_path), masks(network), RECIPE, tiny_images(split="test"))
    table = pd.DataFrame(rows)
    assert list(table) == retraining.COLUMNS
    assert table["epochs"].tolist() == [0, 1, 2] * 3
    assert table["method"].tolist() == ["dense"] * 3 + ["andc"] * 3 + ["random"] * 3
    assert set(table["kept"][:3]) == {1.0} and table["kept"][3:].nunique() == 1 and table["kept"][3] < 1
    assert table["loss"][0] != table["loss"][0] and table["loss"][5] < table["loss"][4]
    rule = masks(network).of("andc", 0.3)
    assert all(not kept[i][name][~mask].any() for i in (3, 4, 5) for name, mask in rule.items())
    assert len(labels) == 15 and {row["method"] for row in labels} == {"dense", "andc", "random"}
    assert not list(tmp_path.glob("*.safetensors"))


@contextlib.contextmanager
def stopped_after_each_checkpoint():
    """While the context is open, whatever trains stops as soon as it has written a checkpoint."""
    save = resume.save

    def save_and_stop(path, *arguments):
        save(path, *arguments)
        if "trunk" not in path.name:
            raise OutOfTime

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resume, "save", save_and_stop)
        patch.setattr(loop, "INTERVAL", 0)
        yield


def called_until_done(compute):
    """What `compute` gives in the end, and how often it stopped before."""
    for stops in range(100):
        with contextlib.suppress(OutOfTime), stopped_after_each_checkpoint():
            return compute(), stops
    raise AssertionError("it never comes to an end")


def test_what_was_stopped_goes_on_to_the_same_rows(tmp_path, network):
    def rows(name):
        (tmp_path / name).mkdir(exist_ok=True)
        found, _ = retraining.rows(further(network, tmp_path / name), masks(network), RECIPE, tiny_images(split="test"))
        return pd.DataFrame(found).drop(columns="seconds")

    found, stops = called_until_done(lambda: rows("parts"))
    assert stops == 3 * (3 + 4)  # after each step: three of the first length, of the second the four that it adds
    pd.testing.assert_frame_equal(found, rows("whole"))


def trial(*rows) -> pd.DataFrame:
    return pd.DataFrame([dict(zip(("rate", "epochs", "difference", "error"), row, strict=True)) for row in rows])


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(0.1, 1, 0.0, 0.01), (0.3, 1, -0.009, 0.01), (1.0, 1, -0.02, 0.01)], 0.3),  # the largest that does not lose
        ([(0.1, 1, 0.0, 0.01), (0.3, 1, -0.02, 0.01), (0.3, 4, 0.05, 0.01)], 0.1),  # at no length may it lose
        ([(0.1, 1, -0.05, 0.01), (0.3, 1, -0.03, 0.01), (1.0, 1, -0.04, 0.01)], 0.3),  # all lose: the least
        ([(0.1, 1, -0.02, 0.01), (0.1, 4, 0.1, 0.01), (0.3, 1, -0.01, 0.001), (0.3, 4, -0.015, 0.01)], 0.3),
    ],
)
def test_the_rate_is_the_largest_at_which_the_unpruned_network_does_not_lose(rows, expected):
    assert retraining.chosen(trial(*rows)) == expected


def test_rates_are_judged_by_each_image_beside_itself(tmp_path, network):
    held = tiny_images(40, split="test")
    schedule = ScheduleRecipe(rates=(0.1, 1.0), trial_epochs=(1, 2), decay=0.4, all_tokens=0.2)
    table = pd.DataFrame(retraining.tried(further(network, tmp_path, schedule=schedule), schedule, held))
    assert table["rate"].tolist() == [0.1, 0.1, 1.0, 1.0] and table["epochs"].tolist() == [1, 2, 1, 2]
    before = evaluate.accuracy(evaluate.predict(network, held), held.labels)
    assert table["before"].tolist() == [before] * 4 and set(table["images"]) == {40}
    np.testing.assert_allclose(table["held_out_accuracy"] - table["before"], table["difference"])


def test_the_stages_of_a_run(folder, monkeypatch):
    run = runs.make("tiny")
    table = run.table("retraining")
    assert table["epochs"].tolist() == [0, 1, 2] * 5 and table["top1"].between(0, 1).all()
    assert set(run.table("retraining_labels")["method"]) == {"dense", "andc", "permuted", "random", "magnitude"}
    assert {"dense", "csr", "compacted"} <= set(run.table("retraining_cost")["form"])
    assert set(run.table("controls")["method"]) == {"dealt", "levelled"}
    assert set(run.table("controls")["regime"]) == {"none", "retrained"}
    made_up = run.table("compensated")
    assert set(made_up["method"]) == {"dense", *pruning.COMPENSATED} and set(made_up["regime"]) == {"compensated"}
    plain = pruning_tables.of_seeds([run])
    assert pruning_tables.dense(plain, "compensated") == pruning_tables.dense(plain, "none")
    learnt = []
    keep = loop.train

    def train(build, recipe, images, *arguments, **named):
        learnt.append(len(images))
        return keep(build, recipe, images, *arguments, **named)

    monkeypatch.setattr(loop, "train", train)
    rates = run.table("rates")
    assert rates["rate"].tolist() == [0.1, 0.3] and set(rates["images"]) == {60}
    assert learnt == [60, 60]  # there is a validation split: the run's own network is trained on, at two rates

    monkeypatch.setattr(data, "splits", lambda name: ("train", "test"))
    monkeypatch.setattr(data, "load", lambda name, split: tiny_images(100, split=split))
    (folder.parent / "other").mkdir()
    (folder.parent / "other" / "config.toml").write_text(CONFIG, encoding="utf-8")
    learnt.clear()
    other = runs.make("other")
    assert set(other.table("rates")["images"]) == {10}
    assert learnt == [100, 90, 90, 90]  # the run's training; one that has not seen those that judge; two rates


def test_only_what_is_judged_on_it_depends_on_the_validation_split(folder, monkeypatch):
    load, run = data.load, runs.make("tiny")
    for stage in ("rates", "controls"):
        run.require(stage)
    splits = {stage: set(entry["data"]) for stage, entry in run.record["stages"].items()}
    assert splits["rates"] == {"train", "validation", "test"} and splits["controls"] == {"train", "test"}
    identities = {stage: run.identity(stage) for stage in splits}

    def others(name, split):
        return tiny_images(40, split=split) if split == "validation" else load(name, split)

    monkeypatch.setattr(data, "load", others)
    again = runs.make("tiny")
    assert {stage for stage in splits if again.identity(stage) != identities[stage]} == {"rates"}


def test_a_validation_split_that_cannot_be_read_is_not_passed_over(folder, monkeypatch):
    runs.make("tiny").require("train")
    load = data.load

    def damaged(name, split):
        if split == "validation":
            raise ValueError("val/7.png cannot be read")
        return load(name, split)

    monkeypatch.setattr(data, "load", damaged)
    with pytest.raises(ValueError, match=r"val/7\.png cannot be read"):
        runs.make("tiny").require("rates")


def test_a_run_that_is_stopped_while_it_retrains_goes_on(folder):
    runs.make("tiny").require("fields")
    table, stops = called_until_done(lambda: runs.make("tiny").table("retraining"))
    assert stops > 10 and len(table) == 15
    assert not [p for p in folder.iterdir() if p.name.startswith(".retraining")]
    with pytest.raises(OutOfTime, match="before stage rates"):
        runs.make("tiny", time_limit=0).require("rates")


def test_one_stage_can_be_asked_for(folder):
    with pytest.raises(ValueError, match=r"unknown stage 'retrainin' \(did you mean 'retraining'\?\)"):
        compute.compute("tiny", stages=["retrainin"])
    assert not compute.compute("tiny", time_limit=0, stages=["rates"])
    assert compute.compute("tiny", stages=["rates"])
    assert set(runs.make("tiny").record["stages"]) == {"train", "rates"}
