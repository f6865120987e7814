"""`python -m lib.reproduce RUN`: execute all chapters on a run with papermill, computing what is not there.

Results and executed chapters go to `reproduced/<run>/`; calling it again goes on where it stopped. The exit code is the
number of chapters that failed.
"""

import ast
import json
import os
import sys
import time
from pathlib import Path

import papermill as pm
import yaml

from lib import runs
from lib.errors import unknown

OUTPUT = runs.ROOT / "reproduced"


def chapters() -> list[Path]:
    """The notebooks of the table of contents, in reading order; the front page last, since it reads all results."""
    toc = yaml.safe_load((runs.ROOT / "_toc.yml").read_text())
    files = [c["file"] for part in toc["parts"] for c in part["chapters"]] + [toc["root"]]
    return [p for f in files if (p := runs.ROOT / f"{f}.ipynb").exists()]


def reproduce(run: str, parameters: dict | None = None, output: Path = OUTPUT) -> list[str]:
    """Execute every chapter on `run`; returns those that failed. ValueError for an unknown run or parameter."""
    if run not in runs.known():
        raise unknown("run", run, runs.known())
    parameters = {"run": run} | (parameters or {})
    for chapter in chapters():
        check_parameters(chapter, parameters)
    (output / run).mkdir(parents=True, exist_ok=True)
    os.environ["MODUS_RUNS"] = str(output)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(runs.ROOT), os.environ.get("PYTHONPATH", "")])
    failed = []
    for chapter in chapters():
        started = time.monotonic()
        try:
            pm.execute_notebook(
                chapter,
                output / run / chapter.name,
                parameters,
                progress_bar=False,
                cwd=chapter.parent,
                log_output=False,
            )
            outcome = "done"
        except pm.PapermillExecutionError as error:
            outcome = f"FAILED: {error.ename}: {error.evalue}"
            failed.append(chapter.stem)
        print(f"{chapter.stem:<20} {time.monotonic() - started:7.1f} s  {outcome}", flush=True)
    print(f"executed chapters: {output / run}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return failed


def check_parameters(chapter: Path, parameters: dict):
    """ValueError for a parameter that a chapter does not declare in its cell tagged `parameters`."""
    cells = json.loads(chapter.read_text())["cells"]
    source = ["".join(c["source"]) for c in cells if "parameters" in c["metadata"].get("tags", [])]
    assigned = {
        t.id for s in source for node in ast.parse(s).body if isinstance(node, ast.Assign) for t in node.targets
    }
    for name in parameters:
        if name not in assigned:
            raise unknown(f"parameter of {chapter.name}", name, sorted(assigned))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: python -m lib.reproduce RUN, where RUN is one of: {', '.join(runs.known())}")
    try:
        sys.exit(len(reproduce(sys.argv[1])))
    except ValueError as error:
        sys.exit(f"error: {error}")
