"""Every chapter, executed with papermill on a network trained from nothing: what `make reproduce RUN=glyphs` does."""

import json

from lib import reproduce


def test_all_chapters_on_glyphs_from_nothing(tmp_path, monkeypatch):
    for name in ("MODUS_RUNS", "PYTHONPATH"):
        monkeypatch.setenv(name, "")
    assert reproduce.reproduce("glyphs", output=tmp_path) == []
    executed = {path.stem for path in (tmp_path / "glyphs").glob("*.ipynb")}
    assert executed == {path.stem for path in reproduce.chapters()}
    record = json.loads((tmp_path / "glyphs" / "run.json").read_text())
    assert set(record["stages"]) == {"train", "probes", "fields"}
    assert record["stages"]["train"]["results"]["test_accuracy"] >= 0.8
