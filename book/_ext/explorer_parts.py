"""Sphinx extension: writes beside the pages what their explorers load when a reader chooses another site or run."""

import shutil
from pathlib import Path


def write(app, config) -> None:
    folder = Path(app.outdir).parent / "explorers"
    if not folder.exists():
        from lib import runs
        from lib.explorers import parts

        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        parts.write(part / "explorers", runs.readable(runs.PUBLISHED))
        part.rename(folder)
    config.html_static_path.append(str(folder))


def setup(app) -> dict:
    app.connect("config-inited", write, priority=100)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
