"""`python -m lib.runs.reproduce RUN ...`: compute runs from nothing, or go on where they stopped; execute all chapters.

For each run, results, executed chapters and a report go to `reproduced/<run>/`. Several runs are independent: one that
fails does not stop the others. The exit code is 0 when all is done, 1 when anything failed in a run, 2 for a wrong call
and 130 when stopped by Ctrl-C.
"""

import argparse
import ast
import json
import os
import subprocess
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import papermill as pm
import yaml

from lib import runs
from lib.runs.compute import compute
from lib.runs.report import report
from lib.system import files
from lib.system.errors import unknown

OUTPUT = runs.ROOT / "reproduced"
QUIET = ["--IPKernelApp.log_level=50"]  # kernels warn about their transport, once a chapter


def chapters() -> list[Path]:
    """The notebooks of the table of contents, in reading order; the front page last, since it reads all results."""
    toc = yaml.safe_load((runs.ROOT / "_toc.yml").read_text())
    names = [c["file"] for part in toc["parts"] for c in part["chapters"]] + [toc["root"]]
    return [p for f in names if (p := runs.ROOT / f"{f}.ipynb").exists()]


def reproduce(run: str, parameters: dict | None = None, output: Path = OUTPUT, optional: bool = False) -> list[str]:
    """Compute `run`, then execute every chapter on it; returns what failed. ValueError for an unknown run or parameter.

    optional: compute the optional stages as well. Where a stage fails no chapter is executed: each would try it again.
    """
    check_run(run)
    parameters = {"run": run} | (parameters or {})
    notebooks = chapters()
    for chapter in notebooks:
        check_parameters(chapter, parameters)
    os.environ["MODUS_RUNS"] = str(output)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(runs.ROOT), os.environ.get("PYTHONPATH", "")])
    done: list[dict] = []
    failure = ""
    try:
        try:
            compute(run, optional=optional)
        except Exception as error:
            failure = traceback.format_exc()
            print(f"{run:<18} FAILED: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        for chapter in () if failure else notebooks:
            started = time.monotonic()
            result = execute(chapter, output / run / chapter.name, parameters)
            done.append({"chapter": chapter.stem, "seconds": round(time.monotonic() - started, 1), "result": result})
            print(f"{run:<18} {chapter.stem:<16} {done[-1]['seconds']:7.1f} s  {result}", flush=True)
    finally:  # also when stopped: what is there is reported
        left = [{"chapter": c.stem, "seconds": 0.0, "result": "not executed"} for c in notebooks[len(done) :]]
        path = output / run / "report.md"
        files.write_bytes(path, report(runs.make(run), done + left, failure).encode())
        print(f"report: {path}", flush=True)
    return ["its stages"] * bool(failure) + [c["chapter"] for c in done if c["result"] != "done"]


def execute(chapter: Path, target: Path, parameters: dict) -> str:
    """Run one notebook into another; returns "done" or what went wrong."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        pm.execute_notebook(
            chapter, target, parameters, progress_bar=False, cwd=chapter.parent, log_output=False, extra_arguments=QUIET
        )
        return "done"
    except pm.PapermillExecutionError as error:
        return f"FAILED: {error.ename}: {error.evalue}"


def reproduce_all(names: list[str], jobs: int, optional: bool) -> list[str]:
    """Each run in a process of its own, `jobs` at a time, sharing the processors; returns those that failed."""
    for name in names:
        check_run(name)
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    environment = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads} | os.environ
    command = [sys.executable, "-m", "lib.runs.reproduce", *(["--optional"] if optional else [])]

    def start(name: str) -> int:
        return subprocess.run([*command, name], cwd=runs.ROOT, env=environment).returncode

    with ThreadPoolExecutor(jobs) as pool:
        codes = list(pool.map(start, names))
    for name, code in zip(names, codes, strict=True):
        print(f"{name:<18} {'done' if code == 0 else 'FAILED, see its report':<24} {OUTPUT / name / 'report.md'}")
    return [name for name, code in zip(names, codes, strict=True) if code]


def check_run(name: str):
    """ValueError for a run that is not defined."""
    if name not in runs.known():
        raise unknown("run", name, runs.known())


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


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lib.runs.reproduce", description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+", metavar="RUN", help=f"one or several of: {', '.join(runs.known())}")
    parser.add_argument("--jobs", type=int, default=1, help="how many runs at a time (default: 1)")
    parser.add_argument("--optional", action="store_true", help="also the stages that cost a training each")
    options = parser.parse_args()
    names = [name for argument in options.runs for name in argument.split()]  # `make` hands on all in one
    if not names:
        parser.error("name a run")
    if options.jobs < 1:
        parser.error(f"--jobs must be at least 1, got {options.jobs}")
    try:
        if len(names) == 1:
            return int(bool(reproduce(names[0], optional=options.optional)))
        return int(bool(reproduce_all(names, options.jobs, options.optional)))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
