"""Every chapter, executed with papermill on a network trained from nothing: what `make reproduce` does."""

import json

from lib import reproduce, runs


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


def test_several_runs_are_checked_before_any_starts(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["reproduce", "glyphs-tiny", "glyph-tiny"])
    assert reproduce.main() == 2
    assert "unknown run 'glyph-tiny' (did you mean 'glyphs-tiny'?)" in capsys.readouterr().err
