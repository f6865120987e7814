"""Every chapter, executed with papermill on a network trained from nothing: what `make reproduce` does."""

import json
import subprocess

import pytest

from lib import runs
from lib.runs import reproduce


def test_all_chapters_on_a_tiny_run_from_nothing(tmp_path, monkeypatch):
    for name in ("MODUS_RUNS", "PYTHONPATH"):
        monkeypatch.setenv(name, "")
    assert reproduce.reproduce("glyphs-tiny", output=tmp_path) == []
    folder = tmp_path / "glyphs-tiny"
    assert {path.stem for path in folder.glob("*.ipynb")} == {path.stem for path in reproduce.chapters()}
    record = json.loads((folder / "run.json").read_text())
    needed = {stage for stage, about in runs.STAGES.items() if not about.optional}
    assert needed <= set(record["stages"])
    assert record["stages"]["train"]["results"]["test_accuracy"] > 0.05  # chance: 0.01
    report = (folder / "report.md").read_text()
    assert "All chapters were executed" in report and "no published result" in report
    assert runs.load("glyphs-tiny").results["andc_networks"] > 0


def test_a_stage_that_fails_is_tried_once_and_reported(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MODUS_RUNS", "")
    monkeypatch.setenv("PYTHONPATH", "")
    tried = []

    def fail(run):
        tried.append(run.name)
        raise MemoryError("not enough of it")

    monkeypatch.setitem(runs.STAGES, "train", runs.STAGES["train"]._replace(compute=fail))
    assert reproduce.reproduce("glyphs-tiny", output=tmp_path) == ["its stages"]
    assert tried == ["glyphs-tiny"]
    assert "glyphs-tiny        FAILED: MemoryError: not enough of it" in capsys.readouterr().err
    report = (tmp_path / "glyphs-tiny" / "report.md").read_text()
    assert "**Not executed: 01-network, " in report and "MemoryError: not enough of it\n```" in report


def test_several_runs_are_checked_before_any_starts(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["reproduce", "glyphs-tiny", "glyph-tiny"])
    assert reproduce.main() == 2
    assert "unknown run 'glyph-tiny' (did you mean 'glyphs-tiny'?)" in capsys.readouterr().err


@pytest.mark.parametrize("failing", [(), ("glyphs",), ("glyphs", "glyphs-s1")])
def test_a_run_that_fails_stops_no_other_and_is_named(monkeypatch, capsys, failing):
    started = []

    def run(command, **_):
        started.append(command[-1])
        return subprocess.CompletedProcess(command, int(command[-1] in failing))

    monkeypatch.setattr(subprocess, "run", run)
    names = ["glyphs", "glyphs-s1", "glyphs-tiny"]
    monkeypatch.setattr("sys.argv", ["reproduce", *names, "--jobs", "2"])
    assert reproduce.main() == (1 if failing else 0)
    assert sorted(started) == names
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [[n, "FAILED," if n in failing else "done"] for n in names]
    assert all(line.endswith(f"{name}/report.md") for name, line in zip(names, lines, strict=True))
