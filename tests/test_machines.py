"""Whatever machine, language, data and interruption: nothing stale, nothing lost, one clear line."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from conftest import CONFIG, tiny_images
from lib import data, measure, runs
from lib.probes import Probe
from lib.recipes import ProbeRecipe, TrainingRecipe
from lib.runs import compute, reproduce, stages
from lib.system import files, provenance
from lib.system.errors import OutOfTime, StaleRun
from lib.training import loop, resume
from lib.training.probes import train_probes
from lib.training.resume import Deadline, Sums


class Impatient(Deadline):
    """Comes each time that it was asked so often."""

    def __init__(self, often: int = 2):
        super().__init__()
        self.often, self.asked, self.seconds = often, 0, 0

    def near(self) -> bool:
        self.asked += 1
        return self.asked % self.often == 0


def until_done(work):
    """What `work` returns when it was called as often as it ran out of time; and how often it did."""
    for stops in range(1000):
        with contextlib.suppress(OutOfTime):
            return work(), stops
    raise AssertionError("it does not get on")


# ---- machines


def test_provenance_needs_neither_git_nor_proc_nor_packages(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(provenance, "Path", lambda path: tmp_path / "nothing")
    monkeypatch.setattr(provenance, "PACKAGES", ("torch", "no-such-package"))
    found = provenance.provenance("cpu")
    assert found["commit"] == "unknown" and found["versions"]["no-such-package"] == "unknown" and found["device"]


def test_provenance_names_what_is_used_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)  # not installed
    monkeypatch.delitem(sys.modules, "tokenizers", raising=False)
    assert set(provenance.provenance("cpu")["versions"]) == {"python", *provenance.PACKAGES}
    monkeypatch.setitem(sys.modules, "transformers", sys)
    assert set(provenance.provenance("cpu")["versions"]) == {"python", *provenance.PACKAGES, "transformers"}


def test_provenance_speaks_of_no_repository_around_the_project(tmp_path, monkeypatch):
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "a"], cwd=tmp_path, check=True)
    (tmp_path / "inside").mkdir()
    assert provenance.commit(tmp_path / "inside") == "unknown"
    assert len(provenance.commit(tmp_path)) == 12
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    assert provenance.commit(tmp_path / "inside") == "unknown"


def python(code: str, **environment: str) -> subprocess.CompletedProcess:
    call = [sys.executable, "-c", code]
    return subprocess.run(call, capture_output=True, encoding="utf-8", cwd=runs.ROOT, env=os.environ | environment)


def test_files_are_utf8_in_any_language(monkeypatch):
    code = "import warnings; from lib import runs; from lib.runs import reproduce as r;"
    code += "warnings.simplefilter('error', EncodingWarning); r.check_parameters(r.chapters()[0], {'run': 'glyphs'});"
    code += "run = runs.load('glyphs'); run.table('andc'); print(ascii(run.label_names))"
    language = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONWARNDEFAULTENCODING": "1"}
    done = python(code, **language, MODUS_RUNS="")
    monkeypatch.delenv("MODUS_RUNS", raising=False)
    assert done.stdout.strip() == ascii(runs.load("glyphs", ["train"]).label_names), done.stderr


def test_threads_wait_passively_before_torch_is_there():
    code = "import os, sys, lib; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    done = subprocess.run([sys.executable, "-c", code], cwd=runs.ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["PASSIVE", "False"]


@pytest.mark.parametrize("variable", ["MODUS_RUNS", "MODUS_DATA"])
def test_folders_are_the_same_from_everywhere(tmp_path, monkeypatch, variable):
    def found():
        return runs.run.results_folder() if variable == "MODUS_RUNS" else data.sources.folders()[0]

    monkeypatch.setenv(variable, "runs")
    monkeypatch.chdir(tmp_path)
    assert found() == runs.ROOT / "runs"
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine").mkdir()
    monkeypatch.setenv(variable, "~/mine")
    assert found() == tmp_path / "mine"


# ---- two processes, and what a killed one leaves


def test_a_second_process_waits_and_says_so(folder, capsys, monkeypatch):
    held = open(folder / ".lock", "w")  # noqa: SIM115
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(OutOfTime, match="waiting for another process"):
        runs.make("tiny", time_limit=0.2).require("train")
    assert not (folder / "run.json").exists()
    monkeypatch.setattr(time, "sleep", lambda _: held.close())  # the other process ends
    runs.make("tiny").require("train")
    assert capsys.readouterr().err.count(f"run tiny: another process is at work in {folder}; waiting") == 2


def test_what_another_process_made_meanwhile_is_not_made_again(folder, monkeypatch):
    run, other = runs.make("tiny"), runs.make("tiny")
    writable = files.check_writable

    def meanwhile(*arguments):
        monkeypatch.setattr(files, "check_writable", writable)
        other.require("train")

    monkeypatch.setattr(files, "check_writable", meanwhile)
    run.require("train")
    stamp = (folder / "network.safetensors").stat().st_mtime_ns
    assert run.has("train") and stamp == (folder / "network.safetensors").stat().st_mtime_ns
    assert run.store._fresh >= {"train"}


def test_a_lock_ends_with_its_process(tmp_path):
    code = "import fcntl, os, sys, time; fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX);"
    code += "print(1, flush=True); time.sleep(60)"
    call = [sys.executable, "-c", code, str(tmp_path)]
    process = subprocess.Popen(call, stdout=subprocess.PIPE, cwd=runs.ROOT)
    process.stdout.readline()

    def busy():
        raise OutOfTime

    with pytest.raises(OutOfTime), files.locked(tmp_path, busy):
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with files.locked(tmp_path, busy):
        pass


def test_parts_that_a_kill_left_are_removed(tmp_path):
    for name in ("..training.safetensors.123", "..training.safetensors.456", ".other.safetensors.123"):
        (tmp_path / name).write_bytes(b"part")
    files.write_bytes(tmp_path / ".training.safetensors", b"whole")
    assert {p.name for p in tmp_path.iterdir()} == {".training.safetensors", ".other.safetensors.123"}


def test_a_full_disk_leaves_no_part_and_is_found_before_training(folder, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    monkeypatch.setattr(loop, "train", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(OSError, match=r"cannot write .* MB into .*No space left.*MODUS_RUNS"):
        runs.make("tiny").require("train")
    assert [p.name for p in folder.iterdir()] == ["config.toml"]


# ---- data


def relabelled(split: str):
    images = tiny_images(split=split)
    return type(images)("tiny", split, images.images, (images.labels + 1) % 5, images.label_names)


def test_the_digest_of_a_set_is_that_of_its_pixels_and_labels():
    images = tiny_images()
    assert images.digest() == tiny_images().digest() == images.locked().digest() and len(images.digest()) == 32
    others = [relabelled("train"), tiny_images(30), tiny_images(split="test"), images.take(np.arange(60)[::-1])]
    assert len({images.digest(), *(o.digest() for o in others)}) == 5


def test_a_run_whose_images_changed_goes_no_further(folder, monkeypatch):
    runs.make("tiny").require("probes")
    stored = (folder / "run.json").read_bytes()
    assert set(json.loads(stored)["stages"]["train"]["data"]) == {"train", "test"}
    monkeypatch.setattr(data, "load", lambda name, split: relabelled(split))
    run = runs.make("tiny")
    assert run.has("probes")  # no images are read for it
    for stage in ("fields", "train"):
        with pytest.raises(StaleRun, match=f"was made from other train images of tiny .* remove {folder}"):
            run.require(stage)
    assert not run.has("train") and (folder / "run.json").read_bytes() == stored
    loaded = runs.load("tiny", ["train"])
    loaded.images("test")
    with pytest.raises(StaleRun, match="the test images have changed since"):
        loaded.require("train")


def test_a_result_without_a_digest_is_of_the_present_images(folder):
    runs.make("tiny").require("train")
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    del record["stages"]["train"]["data"]
    files.write_json(folder / "run.json", record)
    runs.make("tiny").require("probes")
    run = runs.make("tiny")
    run.images("test")
    assert run.has("probes")


def test_a_checkpoint_from_other_images_is_refused(folder, monkeypatch):
    save = resume.save

    def save_and_stop(*arguments):
        save(*arguments)
        raise OutOfTime

    with monkeypatch.context() as patch, pytest.raises(OutOfTime):
        patch.setattr(resume, "save", save_and_stop)
        runs.make("tiny").require("train")
    monkeypatch.setattr(data, "load", lambda name, split: relabelled(split))
    with pytest.raises(ValueError, match="the checkpoint of another training"):
        runs.make("tiny").require("train")


# ---- before training, and after


def test_no_step_of_training_is_refused(images):
    with pytest.raises(ValueError, match=r"epochs = 0.001 is no step of training: .* has 3 steps of 20; set at least"):
        loop.train(lambda: pytest.fail("built"), TrainingRecipe(epochs=0.001, warmup_epochs=0, batch=20), images)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[probes]\nepochs = 1\nbatch = 20", "[probes]\nbatch = 61"), r"\[probes\] an epoch needs .* batch of 61"),
        (("draws = 1", "retraining_images = 15"), r"\[andc\] an epoch needs at least one batch of 20 images, got 15"),
    ],
)
def test_what_would_fail_later_is_refused_before_training(folder, monkeypatch, change, said):
    (folder / "config.toml").write_text(CONFIG.replace(*change), encoding="utf-8")
    monkeypatch.setattr(loop, "train", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(ValueError, match=said):
        runs.make("tiny").require("train")


def test_a_label_without_images_is_refused_before_training(folder, monkeypatch):
    few = tiny_images(split="test")
    few = few.take(np.flatnonzero(few.labels != 2))
    monkeypatch.setattr(data, "load", lambda name, split: few if split == "test" else tiny_images())
    monkeypatch.setattr(loop, "train", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(ValueError, match="tiny test has no image of 'label 2'"):
        runs.make("tiny").require("train")


@pytest.mark.parametrize(("stage", "file"), [("train", ".training.safetensors"), ("probes", ".probes.safetensors")])
def test_checkpoints_go_last(folder, monkeypatch, stage, file):
    run, add = runs.make("tiny"), runs.run.Store.add
    for upstream in runs.STAGES[stage].upstream:
        run.require(upstream)
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(runs.run.Store, "add", lambda *_: (_ for _ in ()).throw(MemoryError))
        run.require(stage)
    assert (folder / file).exists()
    monkeypatch.setattr(runs.run.Store, "add", add)
    run.require(stage)
    assert not [p for p in folder.iterdir() if p.name.startswith(".") and p.name != ".lock"]


# ---- slices of time


def test_probes_go_on_inside_an_epoch(network, images, tmp_path):
    recipe = ProbeRecipe(2, 10, shift=1)
    whole, curve = train_probes(network, network.sites, images, recipe, seed=3)
    arguments = network, network.sites, images, recipe, 3, tmp_path / "probes"
    (parts, again), stops = until_done(lambda: train_probes(*arguments, Impatient()))
    assert stops >= 4 and again == curve
    pairs = [(value, parts[s].state_dict()[name]) for s in whole for name, value in whole[s].state_dict().items()]
    assert all(torch.equal(a, b) for a, b in pairs)


def test_probes_that_learn_from_one_batch_stop_between_epochs(network, images, tmp_path):
    arguments = network, network.sites[:1], images, ProbeRecipe(4, len(images)), 3, tmp_path / "probes"
    (_, curve), stops = until_done(lambda: train_probes(*arguments, Impatient(1)))
    assert stops == 3 and [row["epoch"] for row in curve] == [1, 2, 3, 4]


def test_measuring_goes_on_where_it_stopped(network, images, tmp_path):
    probes = {s: Probe(network.width(s), 5) for s in network.sites}
    whole = measure.measure_each(network, probes, images, batch=10)
    sums = Sums(tmp_path / "sums", "identity", Impatient())
    found, stops = until_done(lambda: measure.measure_each(network, probes, images, batch=10, kept=sums))
    assert stops >= 2
    for silencing, site in [(s, site) for s in whole for site in probes]:
        assert np.array_equal(found[silencing].class_means[site], whole[silencing].class_means[site])
        assert np.array_equal(found[silencing].label_accuracy[site], whole[silencing].label_accuracy[site])
    others = measure.measure_each(
        network, probes, tiny_images(split="test"), batch=10, kept=Sums(tmp_path / "sums", "other", Deadline())
    )
    assert not np.array_equal(others["readout"].class_means["2.ff"], whole["readout"].class_means["2.ff"])


HEADS = ("heads.csv", "heads_encoders.csv", "heads_cooperation.csv")
PRUNED = ("readout.safetensors", "andc.csv", "andc_labels.csv")


@pytest.mark.parametrize(
    ("again", "names", "often"), [(("fields", "heads"), ("fields.safetensors", *HEADS), 3), (("andc",), PRUNED, 4)]
)
def test_stages_in_slices_are_those_of_one_piece(folder, monkeypatch, again, names, often):
    few = (measure.SILENCING, 10, None)  # images a batch
    monkeypatch.setattr("lib.measure.measure_each.__wrapped__.__defaults__", few)
    runs.make("tiny").require(again[-1])
    whole = {name: (folder / name).read_bytes() for name in names}
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    for stage in again:
        del record["stages"][stage]
    files.write_json(folder / "run.json", record)
    for name in names:
        (folder / name).unlink()

    def work():
        run = runs.make("tiny")
        run.deadline = Impatient(often)
        run.require(again[-1])

    _, stops = until_done(work)
    assert stops > 5
    assert {name: (folder / name).read_bytes() for name in names} == whole
    assert not list(folder.glob(".*.safetensors")) and not list(folder.glob(".*.jsonl"))


# ---- commands


def command(module, *arguments: str, monkeypatch) -> int:
    monkeypatch.setattr("sys.argv", ["command", *arguments])
    return module.main()


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (data.sources.MissingData("tiny", "train", "cache"), 1, "error: no source for tiny train"),
        (FloatingPointError("the loss of epoch 1 is nan:\nlower the learning rate"), 1, "nan: lower the learning rate"),
        (OSError(30, "Read-only file system"), 1, "error: [Errno 30] Read-only file system"),
        (KeyboardInterrupt(), 130, "stopped; the same command goes on from here"),
    ],
)
def test_commands_say_one_line(folder, monkeypatch, capsys, error, code, said):
    def fail(*_):
        raise error

    monkeypatch.setitem(stages.STAGES, "train", stages.STAGES["train"]._replace(compute=fail))
    assert command(compute, "tiny", monkeypatch=monkeypatch) == code
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("run tiny: computing") and len(lines) == 2 and said in lines[1]


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"stages": []}', '{"stages": {"train": {}}}', "\xff"])
def test_a_damaged_record_is_said_and_made_anew(folder, monkeypatch, capsys, content):
    monkeypatch.setenv("MODUS_RUNS", str(folder.parent))
    (folder / "run.json").write_text(content, encoding="latin-1")
    assert command(compute, "tiny", monkeypatch=monkeypatch) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "run.json is damaged" in lines[0] and "make reproduce RUN=tiny" in lines[0]
    monkeypatch.setattr(reproduce, "chapters", lambda: [])
    monkeypatch.setattr(reproduce, "compute", lambda run, stages: runs.make(run).require("train"))
    assert reproduce.reproduce("tiny", output=folder.parent) == []
    assert runs.load("tiny", ["train"]) and (folder / "run.json.damaged").read_text(encoding="latin-1") == content
    assert "run.json.damaged, and the run is computed anew" in capsys.readouterr().err


def notebook(path, *cells: str, tags=("parameters",)):
    import nbformat

    first, *rest = (nbformat.v4.new_code_cell(source) for source in cells)
    first.metadata["tags"] = list(tags)
    nbformat.write(nbformat.v4.new_notebook(cells=[first, *rest]), path)


@pytest.fixture
def chapter(folder, tmp_path_factory, monkeypatch):
    """A chapter that is the only one, of a run whose results are there; executing it is replaced by copying it."""
    path = tmp_path_factory.mktemp("book") / "01.ipynb"
    notebook(path, "run = 'tiny'")
    executed = []

    def execute(source, target, *_, **__):
        executed.append(source)
        target.write_bytes(source.read_bytes())

    monkeypatch.setattr(reproduce, "chapters", lambda: [path])
    monkeypatch.setattr(reproduce.pm, "execute_notebook", execute)
    monkeypatch.setattr(reproduce, "compute", lambda run, stages: runs.make(run).require("train"))
    monkeypatch.setenv("MODUS_RUNS", str(folder.parent))
    monkeypatch.setenv("PYTHONPATH", "")
    return path, executed


def test_a_chapter_that_is_done_and_fresh_is_not_executed_again(folder, chapter, capsys):
    path, executed = chapter
    assert reproduce.reproduce("tiny", output=folder.parent) == [] and len(executed) == 1
    assert reproduce.reproduce("tiny", output=folder.parent) == [] and len(executed) == 1
    assert "01" in (out := capsys.readouterr().out) and "done before" in out
    assert "All chapters about such runs were executed" in (folder / "report.md").read_text(encoding="utf-8")
    notebook(path, "run = 'tiny'", "1")
    reproduce.reproduce("tiny", output=folder.parent)
    assert len(executed) == 2
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    files.write_json(folder / "run.json", record | {"more": 1})
    reproduce.reproduce("tiny", output=folder.parent)
    (folder / "01.ipynb").unlink()
    reproduce.reproduce("tiny", output=folder.parent)
    assert len(executed) == 4


def test_a_chapter_that_is_stopped_leaves_no_part_and_is_called_so(folder, chapter, monkeypatch):
    def stop(source, target, *_, **__):
        target.write_bytes(b"part")
        raise KeyboardInterrupt

    monkeypatch.setattr(reproduce.pm, "execute_notebook", stop)
    with pytest.raises(KeyboardInterrupt):
        reproduce.reproduce("tiny", output=folder.parent)
    assert not list(folder.glob("*.ipynb"))
    assert "**Stopped: 01.**" in (folder / "report.md").read_text(encoding="utf-8")


def test_a_report_and_an_error_say_where_the_result_lies(folder, chapter, monkeypatch, tmp_path):
    monkeypatch.setattr(runs.run, "REPRODUCED", tmp_path / "reproduced")
    reproduce.reproduce("tiny", output=tmp_path / "reproduced")
    report = (tmp_path / "reproduced" / "tiny" / "report.md").read_text(encoding="utf-8")
    assert f"MODUS_RUNS={tmp_path / 'reproduced'} " in report and 'runs.load("tiny")' in report
    monkeypatch.delenv("MODUS_RUNS")
    with pytest.raises(StaleRun, match=f"is in {tmp_path}/reproduced/tiny: set MODUS_RUNS={tmp_path}/reproduced to"):
        runs.load("tiny")


def test_a_chapter_whose_parameters_name_no_run_is_one_line(folder, chapter, monkeypatch, capsys):
    notebook(chapter[0], "seed = 0")
    assert command(reproduce, "tiny", monkeypatch=monkeypatch) == 1
    error = capsys.readouterr().err
    assert "01.ipynb does not assign run: it should" in error and error.count("\n") == 1


def test_a_chapter_about_no_run_is_not_executed(folder, chapter):
    assert reproduce.chapters_of("tiny") == [chapter[0]]
    notebook(chapter[0], "run = 'tiny'", tags=())
    assert reproduce.chapters_of("tiny") == []


def test_a_run_named_twice_is_one(folder, monkeypatch):
    asked = []
    monkeypatch.setattr(reproduce, "reproduce", lambda name, optional: asked.append(name))
    assert command(reproduce, "tiny tiny", "--jobs", "2", monkeypatch=monkeypatch) == 0 and asked == ["tiny"]
