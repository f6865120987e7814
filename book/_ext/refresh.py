"""Executes the chapters (all, or those named) in place and stores their outputs, so that no line changes without cause.

Chart identifiers are numbered by chapter and cell, widget states, progress bars and times are left out.
"""

import json
import os
import re
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from stored import COMPUTED_FROM, KEY, ROOT, digest, made_from

sys.path.insert(0, str(ROOT))

from lib.runs.reproduce import QUIET, chapters
from lib.system import files

CHART = re.compile(r"altair-viz-[0-9a-f]{32}")
SIZE = 4_000_000  # bytes a notebook may have


def settled(output: dict, name: str):
    """The output without what differs from one execution to the next; None if nothing is left."""
    if output.output_type == "stream" and output.name == "stderr":
        return None
    data = output.get("data", {})
    if any("widget" in kind for kind in data):
        return None
    if "text/html" in data:
        data["text/html"] = CHART.sub(f"altair-viz-{name}", data["text/html"])
        data.pop("text/plain", None) if "altair-viz" in data["text/html"] else None
    return output


def refresh(path: Path):
    """Execute one notebook and write it back; an error in a cell leaves the file as it was.

    What its outputs were made from is noted where nothing of that changed meanwhile.
    """
    notebook, before = nbformat.read(path, as_version=4), digest(COMPUTED_FROM)
    place = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=3600, resources=place, extra_arguments=QUIET, coalesce_streams=True).execute()
    notebook.metadata.pop("widgets", None)
    notebook.metadata.language_info = {"name": "python"}
    for n, cell in enumerate(c for c in notebook.cells if c.cell_type == "code"):
        cell.metadata.pop("execution", None)
        kept = (settled(output, f"{path.stem}-{n}") for output in cell.outputs)
        cell.outputs = [output for output in kept if output is not None]
    notebook.metadata.pop(KEY, None)
    if digest(COMPUTED_FROM) == before:
        notebook.metadata[KEY] = made_from(json.loads(nbformat.writes(notebook)), before)
    else:
        print(f"{path.name}: code or results changed while it was executed; execute it again")
    text = nbformat.writes(notebook) + "\n"
    if len(text) > SIZE:
        raise ValueError(f"{path.name} has {len(text):,} bytes with its outputs, more than {SIZE:,}: show less in it")
    files.write_bytes(path, text.encode())


if __name__ == "__main__":
    if folder := os.environ.get("MODUS_RUNS"):
        sys.exit(f"chapters store what the published runs say, and MODUS_RUNS names other results, {folder}: unset it")
    os.environ["PYTHONPATH"] = str(ROOT)
    named = sys.argv[1:]
    for chapter in [c for c in chapters() if not named or c.stem in named]:
        refresh(chapter)
        print(chapter.name, flush=True)
