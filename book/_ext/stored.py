"""Which chapters need not be executed for the book: those whose stored outputs this code made from these results.

`refresh.py` notes in a notebook what its outputs were made from. As a Sphinx extension this leaves such notebooks out
of the book's execution; any other chapter is executed.
"""

import hashlib
import json
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMPUTED_FROM = ["lib", "runs", "requirements.txt", "requirements-language.txt"]
KEY = "executed_from"  # in a notebook's metadata


def digest(names: list[str]) -> str:
    """One hash over the names and bytes of all files below `names`; hidden ones and caches do not count."""
    total = hashlib.sha256()
    for name in names:
        top = ROOT / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            place = path.relative_to(ROOT)
            if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in place.parts):
                total.update(f"{place}\0{path.stat().st_size}\0".encode())
                total.update(path.read_bytes())
    return total.hexdigest()


def made_from(notebook: dict, computed_from: str) -> str:
    """One hash over a notebook's code, its outputs and the digest of all it computes from.

    notebook: as it lies in a file. Outputs count, so that a chapter of which some were cleared is not taken for whole.
    """
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    shown = [("".join(cell["source"]), cell["outputs"]) for cell in code]
    return hashlib.sha256(json.dumps([shown, computed_from], sort_keys=True).encode()).hexdigest()


def stored() -> list[str]:
    """The chapters, as paths from the top, whose outputs are up to date; none where MODUS_RUNS names other results."""
    if os.environ.get("MODUS_RUNS"):
        return []
    now, found = digest(COMPUTED_FROM), []
    for path in sorted((ROOT / "book").glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        if notebook["metadata"].get(KEY) == made_from(notebook, now):
            found.append(path.relative_to(ROOT).as_posix())
    return found


def leave_out(app, config):
    config.nb_execution_excludepatterns = [*config.nb_execution_excludepatterns, *stored()]


def setup(app) -> dict:
    app.connect("config-inited", leave_out)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
