"""Chapters whose stored outputs are up to date are not executed for the book; any other is."""

import json
import os
import subprocess
import sys

import nbformat
import pytest


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """The extension, at work on a project with one chapter whose outputs are up to date."""
    monkeypatch.syspath_prepend("book/_ext")
    monkeypatch.delenv("MODUS_RUNS", raising=False)
    import stored

    monkeypatch.setattr(stored, "ROOT", tmp_path)
    for name in ("lib/a.py", "runs/x/run.json", "requirements.txt", "requirements-language.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    write(stored, tmp_path, "print(1)")
    return stored


def write(stored, root, code, note=True, text="a text"):
    shown = [{"output_type": "stream", "name": "stdout", "text": ["1"]}]
    cells = [{"cell_type": "markdown", "source": [text]}, {"cell_type": "code", "source": [code], "outputs": shown}]
    notebook = {"cells": cells, "metadata": {}}
    if note:
        notebook["metadata"][stored.KEY] = stored.made_from(notebook, stored.digest(stored.COMPUTED_FROM))
    (root / "book").mkdir(exist_ok=True)
    (root / "book" / "1.ipynb").write_text(json.dumps(notebook))


def test_outputs_of_this_code_and_these_results_are_shown(stored, tmp_path):
    assert stored.stored() == ["book/1.ipynb"]
    (tmp_path / "runs" / "x" / ".lock").write_text("")
    (tmp_path / "lib" / "__pycache__").mkdir()
    (tmp_path / "lib" / "__pycache__" / "a.pyc").write_text("")
    notebook = json.loads((tmp_path / "book" / "1.ipynb").read_text())
    notebook["cells"][0]["source"] = ["another text"]
    (tmp_path / "book" / "1.ipynb").write_text(json.dumps(notebook))
    assert stored.stored() == ["book/1.ipynb"]


@pytest.mark.parametrize("changed", ["lib/a.py", "runs/x/run.json", "requirements.txt", "lib/new.js"])
def test_outputs_of_other_code_or_results_are_not(stored, tmp_path, changed):
    (tmp_path / changed).write_text("2")
    assert stored.stored() == []


def test_outputs_of_another_cell_are_not(stored, tmp_path):
    notebook = json.loads((tmp_path / "book" / "1.ipynb").read_text())
    notebook["cells"][1]["source"] = ["print(2)"]
    (tmp_path / "book" / "1.ipynb").write_text(json.dumps(notebook))
    assert stored.stored() == []
    write(stored, tmp_path, "print(1)", note=False)
    assert stored.stored() == []


def test_a_chapter_whose_outputs_were_cleared_is_executed(stored, tmp_path):
    notebook = json.loads((tmp_path / "book" / "1.ipynb").read_text())
    notebook["cells"][1]["outputs"] = []
    (tmp_path / "book" / "1.ipynb").write_text(json.dumps(notebook))
    assert stored.stored() == []


READS, MEANWHILE = "print(open(f'{place}/runs/x/run.json').read())", "open(f'{place}/runs/x/run.json', 'w').write('2')"


@pytest.mark.parametrize(("code", "up_to_date"), [(READS, True), (f"{READS}\n{MEANWHILE}", False)])
def test_a_refreshed_chapter_is_up_to_date_if_nothing_changed_meanwhile(stored, tmp_path, code, up_to_date):
    import refresh

    path = tmp_path / "book" / "1.ipynb"
    source = f"place = {str(tmp_path)!r}\n{code};"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)]), path)
    refresh.refresh(path)
    assert json.loads(path.read_text())["cells"][0]["outputs"][0]["text"] == ["1\n"]
    assert stored.stored() == ["book/1.ipynb"] * up_to_date


def test_chapters_are_refreshed_from_published_results_alone(tmp_path):
    done = subprocess.run(
        [sys.executable, "book/_ext/refresh.py", "intro"],
        env=os.environ | {"MODUS_RUNS": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode and "MODUS_RUNS" in done.stderr and "unset it" in done.stderr


def test_where_results_are_elsewhere_all_is_executed(stored, tmp_path, monkeypatch):
    monkeypatch.setenv("MODUS_RUNS", str(tmp_path))
    assert stored.stored() == []
