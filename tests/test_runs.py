"""Runs: stages made once, never stale, never half-written; chapters checked before they start."""

import contextlib
import dataclasses
import json
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from conftest import CONFIG, tiny_images
from lib import data, runs
from lib.recipes import REFERENCE
from lib.runs import compute, report, reproduce
from lib.runs.stages import Made, train_cnn
from lib.system import files
from lib.system.errors import OutOfTime, StaleRun
from lib.training import loop, resume
from lib.training.resume import Deadline


def test_a_run_is_made_once_and_then_loaded(folder):
    made = runs.make("tiny")
    made.require("andc")
    made.require("heads")
    assert len(made.table("scratch")) == 1
    assert made.table("augmentation")["policy"].tolist() == ["own", "reference", "unmixed"]
    assert set(made.table("untrained")["site"]) == set(made.sites)
    assert made.table("cnn")["network"].unique().tolist()[:2] == ["CNN, pooled", "CNN, flattened"]
    assert made.class_means("2.ff").shape == (5, 8)
    stamp = (folder / "network.safetensors").stat().st_mtime_ns
    runs.make("tiny").require("heads"), runs.make("tiny").require("andc")
    assert (folder / "network.safetensors").stat().st_mtime_ns == stamp
    loaded = runs.load("tiny")
    assert loaded.sites == made.network().sites
    assert loaded.probe("1.mha").weight.shape == (5, 8)
    whole = loaded.class_means("2.ff") @ loaded.weight("2.ff").T
    np.testing.assert_allclose(loaded.fields("2.ff").sum(0), whole, atol=1e-6)
    assert {"test_accuracy", "provenance"} <= set(loaded.results)
    assert loaded.results["provenance"]["train"]["versions"]["torch"]
    assert len(loaded.statistics()) == len(loaded.sites) == len(loaded.table("probes"))


def test_a_run_of_fewer_labels_than_the_top_five(folder, monkeypatch):
    monkeypatch.setattr(data, "load", lambda name, split: tiny_images(classes=3, split=split))
    (folder / "config.toml").write_text(CONFIG.replace("classes = 5", "classes = 3"))
    run = runs.make("tiny")
    run.require("heads"), run.require("andc")
    assert run.results["test_top5_accuracy"] == 1


def test_one_head_is_refused_before_training(folder):
    (folder / "config.toml").write_text(CONFIG.replace("heads = 2", "heads = 1"))
    with pytest.raises(ValueError, match="heads = 1: what heads share out among them needs at least two"):
        runs.make("tiny").require("train")
    assert not list(folder.glob("*.safetensors"))


def test_another_configuration_makes_results_stale(folder):
    runs.make("tiny").require("heads"), runs.make("tiny").require("andc")
    config = folder / "config.toml"
    config.write_text(CONFIG.replace("[probes]\nepochs = 1", "[probes]\nepochs = 2"))
    with pytest.raises(StaleRun, match="stage probes: the result was made from other inputs"):
        runs.load("tiny")
    stamp = (folder / "network.safetensors").stat().st_mtime_ns
    runs.make("tiny").require("heads"), runs.make("tiny").require("andc")
    assert (folder / "network.safetensors").stat().st_mtime_ns == stamp
    runs.load("tiny")


def test_other_code_makes_results_stale(folder, monkeypatch):
    runs.make("tiny").require("heads"), runs.make("tiny").require("andc")
    monkeypatch.setitem(runs.STAGES, "fields", runs.STAGES["fields"]._replace(version=99))
    with pytest.raises(StaleRun, match="another version of the code"):
        runs.load("tiny")


def test_incomplete_and_damaged_runs_are_refused(folder):
    with pytest.raises(StaleRun, match=r"stage train: there is no result yet.*make reproduce RUN=tiny"):
        runs.load("tiny")
    runs.make("tiny").require("heads"), runs.make("tiny").require("andc")
    probes = folder / "probes.safetensors"
    content = probes.read_bytes()
    probes.write_bytes(content[:-1])
    with pytest.raises(StaleRun, match="probes.safetensors is damaged"):
        runs.load("tiny")
    probes.unlink()
    with pytest.raises(StaleRun, match="probes.safetensors is missing"):
        runs.load("tiny")
    (folder / "run.json").write_text("{")
    with pytest.raises(StaleRun, match="run.json is damaged"):
        runs.load("tiny")


def test_a_report_compares_a_run_with_the_published_one(folder, monkeypatch, tmp_path):
    runs.make("tiny").require("andc"), runs.make("tiny").require("heads")
    monkeypatch.setenv("MODUS_RUNS", str(tmp_path / "again"))
    again = runs.make("tiny")
    chapters = [{"chapter": "01-network", "seconds": 1.0, "result": "done"}]
    assert "no result of stage train, probes, fields, heads, andc" in report.report(again, chapters)
    again.require("andc"), again.require("heads")
    text = report.report(again, chapters)
    assert "All chapters about such runs were executed" in text
    assert "All numbers lie within their tolerance" in text
    table = report.compare(again, runs.published("tiny"))
    assert table["same"].all() and "test_accuracy" in set(table["number"])
    record = json.loads((again.folder / "run.json").read_text())
    record["stages"]["train"]["results"]["test_accuracy"] += 0.5
    files.write_json(again.folder / "run.json", record)
    text = report.report(runs.make("tiny"), [*chapters, {"chapter": "02", "seconds": 0.0, "result": "FAILED: oops"}])
    assert "Outside their tolerance: test_accuracy" in text and "Failed: 02" in text
    stopped = report.report(again, [*chapters, {"chapter": "02", "seconds": 0.0, "result": "not executed"}])
    assert "Not executed: 02" in stopped and "Failed" not in stopped
    (folder / "heads.csv").unlink()
    assert runs.published("tiny") is None and runs.published("tiny", ["fields"]).name == "tiny"


def test_a_time_limit_stops_a_run_where_it_can_go_on(folder, monkeypatch):
    config = folder / "config.toml"
    config.write_text(CONFIG.replace("epochs = 1", "epochs = 9", 1))
    whole = runs.make("tiny")
    expected = whole.network().state_dict()
    monkeypatch.setenv("MODUS_RUNS", str(folder / "elsewhere"))
    stops = 0
    while not (folder / "elsewhere" / "tiny" / "network.safetensors").exists():
        run = runs.make("tiny")
        with contextlib.suppress(OutOfTime):
            loop.train(
                run.build, run.definition.training, run.images("train"), 0, run.unfinished("training.safetensors"),
                deadline=Deadline(0.02), identity=run.identity("train"),
            )  # fmt: skip
            runs.make("tiny").require("train")
            break
        stops += 1
        assert stops < 200
    assert stops > 0
    found = runs.make("tiny").network().state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert not compute.compute("tiny", time_limit=0) and compute.compute("tiny", stages=runs.STAGES)
    assert runs.make("tiny").has("scratch")
    assert runs.make("tiny").table("trials").empty  # its definition names none


def test_the_time_of_a_stage_is_that_of_all_processes_that_worked_at_it(folder, monkeypatch):
    slices = []

    def slow(job):
        slices.append(time.sleep(0.2))
        if len(slices) < 3:
            raise OutOfTime
        return Made(job.results.write_tables(trials=[{"trial": "x"}]), {})

    monkeypatch.setitem(runs.STAGES, "trials", runs.STAGES["trials"]._replace(compute=slow))
    for _ in range(2):
        with pytest.raises(OutOfTime):
            runs.make("tiny").require("trials")
    run = runs.make("tiny")
    run.require("trials")
    assert 0.6 <= run.record["stages"]["trials"]["seconds"] < 60
    assert not [path for path in folder.iterdir() if "seconds" in path.name]


def test_all_stages_are_those_that_mean_something_for_a_run():
    every = {name: runs.every(runs.defined(name)) for name in ("cifar100", "flowers102-64", "clinc150")}
    assert "cnn" in every["cifar100"] and "trials" not in every["cifar100"] and "trials" in every["flowers102-64"]
    assert not {"cnn", "augmentation"} & set(every["clinc150"]) and set(runs.REQUIRED) < set(every["clinc150"])
    sentences = SimpleNamespace(name="clinc150", thing="sentence")
    with pytest.raises(ValueError, match="stage cnn trains a network on images, .* holds sentences"):
        train_cnn(SimpleNamespace(definition=runs.defined("clinc150"), results=None, images=lambda split: sentences))


def test_a_cnn_is_trained_beside_a_network_that_was_trained_as_only_transformers_are(folder):
    text = (folder / "config.toml").read_text(encoding="utf-8")
    staged = text.replace("[training]", '[training]\noptimiser = "muon"\ntoken_stages = [[1, 2]]')
    (folder / "config.toml").write_text(staged, encoding="utf-8")
    assert len(runs.make("tiny").table("cnn"))


@pytest.mark.parametrize(
    ("stage", "was", "now"),
    [
        ("train", "heads = 2", "heads = 4"),
        ("train", "depth = 2", "depth = 3"),
        ("probes", "[training]", "[training]\nlr = 1e-3"),
        ("cnn", "batch = 20", "batch = 30"),
        ("augmentation", "heads = 2", "heads = 4"),
    ],
)
def test_a_training_that_was_stopped_does_not_go_on_as_another(folder, monkeypatch, stage, was, now):
    run, save = runs.make("tiny"), resume.save
    for upstream in runs.STAGES[stage].upstream:
        run.require(upstream)

    def save_and_stop(*arguments):
        save(*arguments)
        raise OutOfTime

    with monkeypatch.context() as patch, pytest.raises(OutOfTime):
        patch.setattr(resume, "save", save_and_stop)
        run.require(stage)
    (folder / "config.toml").write_text(CONFIG.replace(was, now, 1))
    with pytest.raises(ValueError, match="is the checkpoint of another training .* move it away"):
        runs.make("tiny").require(stage)


def test_seeds_are_runs_that_differ_in_nothing_else(folder, capsys):
    for name, text in (("tiny-s1", 'base = "tiny"\nseed = 1\n'), ("other", CONFIG.replace("heads = 2", "heads = 4"))):
        (folder.parent / name).mkdir()
        (folder.parent / name / "config.toml").write_text(text)
    run = runs.make("tiny")
    assert [r.name for r in run.seeds("train")] == ["tiny"]
    for name in ("tiny-s1", "other"):
        runs.make(name).require("train")
    assert [r.name for r in run.seeds("train")] == ["tiny", "tiny-s1"]
    assert run.on_same_data() == [run]  # nothing is measured on the other network yet
    for name in ("tiny", "tiny-s1", "other"):
        runs.make(name).require("fields")
    assert [r.name for r in run.on_same_data()] == ["tiny", "other"]
    assert [r.name for r in runs.make("other").on_same_data()] == ["other", "tiny"]  # of two seeds the first
    (folder.parent / "other" / "config.toml").write_text('base = "nothing"\n')
    with pytest.raises(ValueError, match="other/config.toml: unknown base 'nothing'; known: other, tiny, tiny-s1"):
        runs.make("other")
    assert [r.name for r in run.seeds("train")] == ["tiny", "tiny-s1"]
    assert "left out: " in capsys.readouterr().err


def test_unknown_names_list_the_known(folder):
    with pytest.raises(ValueError, match="unknown run 'tyni'"):
        runs.load("tyni")
    run = runs.make("tiny")
    with pytest.raises(ValueError, match="unknown site '9.ff'"):
        run.class_means("9.ff")
    with pytest.raises(ValueError, match="unknown split 'dev'; known: train, test"):
        run.class_means("1.ff", "dev")
    (folder / "config.toml").write_text(CONFIG.replace("epochs", "epoch", 1))
    with pytest.raises(
        ValueError, match=r"config.toml: unknown key of \[training\] 'epoch' \(did you mean 'epochs'\?\)"
    ):
        runs.make("tiny")


def test_a_network_with_another_number_of_outputs_is_refused_before_training(folder):
    (folder / "config.toml").write_text(CONFIG.replace("classes = 5", "classes = 6"))
    with pytest.raises(ValueError, match="the network has 6 outputs, tiny has 5 labels"):
        runs.make("tiny").network()
    assert not (folder / "run.json").exists()


def test_a_run_is_rehearsed_without_data_and_leaves_nothing_behind(folder, monkeypatch, capsys):
    monkeypatch.setattr(data, "load", lambda *_: pytest.fail("a rehearsal reads no data"))
    before = sorted(folder.iterdir())
    assert compute.rehearse("tiny")
    assert sorted(folder.iterdir()) == before and "andc" in capsys.readouterr().err
    monkeypatch.setattr(files, "LARGEST_FILE", 1000)
    assert not compute.rehearse("tiny")


def test_images_of_another_size_are_reduced_and_never_enlarged(folder):
    config = folder / "config.toml"
    config.write_text(CONFIG.replace("image_size = 8", "image_size = 4"))
    assert runs.make("tiny").images("test").images.shape == (60, 4, 4, 3)
    config.write_text(CONFIG.replace("image_size = 8", "image_size = 16"))
    with pytest.raises(ValueError, match="takes images of 16 x 16 pixels, tiny test has 8 x 8"):
        runs.make("tiny").images("test")


def test_a_recipe_by_name_is_changed_where_the_run_says_so(folder):
    config = folder / "config.toml"
    named = CONFIG.replace(
        "[training]\nepochs = 1", '[training]\nrecipe = "reference"\ncooldown_epochs = 0\nepochs = 1'
    )
    config.write_text(named)
    training = runs.make("tiny").definition.training
    policy = dataclasses.replace(REFERENCE.augmentation, shift=1)
    assert training == dataclasses.replace(
        REFERENCE, epochs=1, warmup_epochs=0.5, cooldown_epochs=0, batch=20, augmentation=policy
    )
    config.write_text(named.replace("reference", "referense"))
    with pytest.raises(ValueError, match=r"unknown recipe 'referense' \(did you mean 'reference'\?\)"):
        runs.make("tiny")
    config.write_text(CONFIG.replace("[training.augmentation]\nshift", "[training.augmentation]\nshifts"))
    with pytest.raises(ValueError, match=r"unknown key of \[training.augmentation\] 'shifts'"):
        runs.make("tiny")


def test_tensors_are_divided_among_files_of_limited_size(tmp_path):
    path = tmp_path / "network.safetensors"
    tensors = {f"layer{i}": torch.full((100,), float(i)) for i in range(5)}
    assert files.write_parts(path, tensors) == ["network.safetensors"]
    assert files.read_parts(path).keys() == tensors.keys()
    path.unlink()
    names = files.write_parts(path, tensors, 1300)
    assert names == [f"network.{i}.safetensors" for i in (1, 2, 3)]
    assert all((tmp_path / name).stat().st_size <= 1300 for name in names)
    found = files.read_parts(path)
    assert all(torch.equal(found[name], value) for name, value in tensors.items())
    with pytest.raises(ValueError, match="the tensor layer0 has 600 bytes, more than a file may have"):
        files.write_parts(path, tensors, 500)


def test_files_are_replaced_as_a_whole(tmp_path):
    path = tmp_path / "table.json"
    files.write_json(path, [1])
    with pytest.raises(TypeError):
        files.write_json(path, object())
    assert json.loads(path.read_text()) == [1] and list(tmp_path.iterdir()) == [path]


def test_a_parameter_that_no_chapter_knows_is_refused():
    with pytest.raises(ValueError, match="unknown parameter of 01-network.ipynb 'seed'; known: run"):
        reproduce.reproduce("glyphs", {"seed": 1})
    with pytest.raises(ValueError, match="unknown run 'glyph'"):
        reproduce.reproduce("glyph")
