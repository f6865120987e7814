"""Every chapter, executed with papermill on a network trained from nothing: what `make reproduce` does."""

import contextlib
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
    assert {path.stem for path in folder.glob("*.ipynb")} == {
        path.stem for path in reproduce.chapters_of("glyphs-tiny")
    }
    record = json.loads((folder / "run.json").read_text())
    needed = {stage for stage, about in runs.STAGES.items() if not about.optional}
    assert needed <= set(record["stages"])
    assert record["stages"]["train"]["results"]["test_accuracy"] > 0.05  # chance: 0.01
    report = (folder / "report.md").read_text()
    assert "All chapters about such runs were executed" in report and "no published result" in report
    assert runs.load("glyphs-tiny").results["andc_networks"] > 0


def test_a_stage_that_fails_is_tried_once_and_reported(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MODUS_RUNS", "")
    monkeypatch.setenv("PYTHONPATH", "")
    tried = []

    def fail(job):
        tried.append(job.definition.data)
        raise MemoryError("not enough of it")

    monkeypatch.setitem(runs.STAGES, "train", runs.STAGES["train"]._replace(compute=fail))
    assert reproduce.reproduce("glyphs-tiny", output=tmp_path) == ["its stages"]
    assert tried == ["glyphs"]
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


@pytest.mark.parametrize("typed", ["nope; echo hacked", "$(shell echo hacked)", '"; echo hacked; "', "`echo hacked`"])
@pytest.mark.parametrize("variable", ["RUN", "JOBS"])
def test_what_is_typed_is_no_command(tmp_path, variable, typed):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nprintf '<%s>' \"$@\"\n")
    python.chmod(0o755)
    call = ["make", "-s", "-o", ".venv/.ready", f"BIN={tmp_path}", "help", "reproduce", f"{variable}={typed}"]
    done = subprocess.run(call, cwd=runs.ROOT, capture_output=True, text=True)
    run, jobs = (typed if name == variable else default for name, default in (("RUN", "glyphs"), ("JOBS", "1")))
    assert done.stdout.endswith(f"<-m><lib.runs.reproduce><--jobs><{jobs}><--><{run}>") and not done.stderr
    assert "hacked" not in done.stdout.splitlines()
    assert f"(RUN={run})" in done.stdout


@pytest.mark.parametrize(("typed", "said"), [("nope; echo", "unknown run 'nope;'"), (" ", "name a run")])
def test_names_of_runs_are_checked(monkeypatch, capsys, typed, said):
    monkeypatch.setattr("sys.argv", ["reproduce", "--jobs", "1", "--", typed])
    with contextlib.suppress(SystemExit):
        assert reproduce.main() == 2
    assert said in capsys.readouterr().err
