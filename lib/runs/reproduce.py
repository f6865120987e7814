"""`python -m lib.runs.reproduce RUN ...`: compute runs from nothing, or go on where they stopped; execute its chapters.

For each run, results, executed chapters and a report go to `reproduced/<run>/`. Several runs are independent: one that
fails does not stop the others. A chapter that was executed on the same results is not executed again. The exit code is
0 when all is done, 1 when anything failed in a run, 2 for a wrong call and 130 when stopped by Ctrl-C.
"""

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import papermill as pm
import yaml

from lib import runs
from lib.runs.compute import compute
from lib.runs.report import report
from lib.system import files, identity
from lib.system.errors import exit_code, one_line, unknown

DONE = ("done", "done before")
QUIET = ["--IPKernelApp.log_level=50"]  # kernels warn about their transport, once a chapter


def chapters() -> list[Path]:
    """The notebooks of the table of contents, in reading order; the front page last, since it reads all results."""
    toc = yaml.safe_load((runs.ROOT / "_toc.yml").read_text(encoding="utf-8"))
    names = [c["file"] for part in toc["parts"] for c in part["chapters"]] + [toc["root"]]
    return [p for f in names if (p := runs.ROOT / f"{f}.ipynb").exists()]


def chapters_of(run: str) -> list[Path]:
    """Those about a run like this one: the run that their cell of parameters names has a network of the same kind."""
    kind = type(runs.defined(run).network)
    own = {chapter: _parameters(chapter).get("run") for chapter in chapters()}
    return [chapter for chapter, name in own.items() if name and type(runs.defined(name).network) is kind]


def reproduce(
    run: str, parameters: dict | None = None, output: Path = runs.REPRODUCED, optional: bool = False
) -> list[str]:
    """Compute `run`, then execute `chapters_of` it; returns what failed.

    Computed are `runs.REQUIRED`, the stages that chapters rest on, and with `optional` all of `runs.every`. Where a
    stage fails no chapter is executed: each would try it again.
    A `run.json` that is damaged is moved aside, and the run computed anew. ValueError for an unknown run or parameter.
    """
    check_run(run)
    parameters = {"run": run} | (parameters or {})
    notebooks = chapters_of(run)
    for chapter in notebooks:
        check_parameters(chapter, parameters)
    os.environ["MODUS_RUNS"] = str(output)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(runs.ROOT), os.environ.get("PYTHONPATH", "")])
    output, done, failure = output.absolute(), [], ""
    if aside := runs.Run(run, compute=False, folder=output / run).store.move_damaged_aside():
        print(f"{run}: run.json is damaged; moved to {aside}, and the run is computed anew", file=sys.stderr)
    made = Executed(output / run, parameters)
    try:
        try:
            compute(run, stages=runs.every(runs.defined(run)) if optional else runs.REQUIRED)
        except Exception as error:
            failure = traceback.format_exc()
            print(f"{run:<18} FAILED: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        for chapter in () if failure else notebooks:
            started, entry = time.monotonic(), {"chapter": chapter.stem, "seconds": 0.0, "result": "stopped"}
            done.append(entry)
            entry["result"] = made.execute(chapter)
            entry["seconds"] = round(time.monotonic() - started, 1)
            print(f"{run:<18} {chapter.stem:<16} {entry['seconds']:7.1f} s  {entry['result']}", flush=True)
    finally:  # also when stopped: what is there is reported
        left = [{"chapter": c.stem, "seconds": 0.0, "result": "not executed"} for c in notebooks[len(done) :]]
        path = output / run / "report.md"
        made.note([c for c, entry in zip(notebooks, done, strict=False) if entry["result"] in DONE])
        files.write_bytes(path, report(runs.make(run), done + left, failure).encode(errors="replace"))
        print(f"report: {path}; results are loaded where MODUS_RUNS={output} is set", flush=True)
    return ["its stages"] * bool(failure) + [c["chapter"] for c in done if c["result"] not in DONE]


class Executed:
    """The executed chapters in a run's folder, and from what each was made: what has not changed is not done again."""

    def __init__(self, folder: Path, parameters: dict):
        self.folder, self.parameters, self.path = folder, parameters, folder / ".chapters.json"
        others = {p for root in (folder.parent, runs.PUBLISHED) for p in root.glob("*/run.json")}
        others |= {p for p in (runs.ROOT / "lib").rglob("*") if p.is_file() and "__pycache__" not in p.parts}
        others -= {folder / "run.json"}
        self.around = {str(p): files.digest(p) for p in sorted(others)}
        self.sources: dict[str, str] = {}
        try:
            self.noted = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self.noted = {}

    def key(self, source: str) -> str:
        """Hash over all that a chapter shows: its source's digest, the code, the results of this run and of others."""
        own = files.digest(path) if (path := self.folder / "run.json").exists() else ""
        return identity.digest(source=source, parameters=self.parameters, run=own, around=self.around)

    def execute(self, chapter: Path) -> str:
        """Run a notebook into the folder; returns "done", "done before" or what went wrong."""
        target = self.folder / chapter.name
        source = self.sources[chapter.stem] = files.digest(chapter)  # the file may change while it is executed
        if target.exists() and self.noted.get(chapter.stem) == self.key(source):
            return "done before"
        self.noted.pop(chapter.stem, None)
        with tempfile.TemporaryDirectory() as scratch:  # so that what is stopped leaves no part
            made = Path(scratch) / chapter.name
            result = "done"
            try:
                pm.execute_notebook(
                    chapter, made, self.parameters,
                    progress_bar=False, cwd=chapter.parent, log_output=False, extra_arguments=QUIET,
                )  # fmt: skip
            except pm.PapermillExecutionError as error:
                if error.ename == "KeyboardInterrupt":
                    raise KeyboardInterrupt from error
                result = f"FAILED: {error.ename}: {error.evalue}"
            except Exception as error:  # no kernel, a kernel that died: the other chapters go on
                return f"FAILED: {type(error).__name__}: {error}"
            files.write_bytes(target, made.read_bytes())
        return result

    def note(self, done: list[Path]):
        """Remember from what these chapters were made; stages that one of them computed count as there for all."""
        keys = {chapter.stem: self.key(self.sources[chapter.stem]) for chapter in done}
        files.write_json(self.path, self.noted | keys)


def reproduce_all(names: list[str], jobs: int, optional: bool) -> list[str]:
    """Each run in a process of its own, `jobs` at a time, sharing the processors; returns those that failed."""
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    environment = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads} | os.environ
    command = [sys.executable, "-m", "lib.runs.reproduce", *(["--optional"] if optional else [])]

    def start(name: str) -> int:
        return subprocess.run([*command, name], cwd=runs.ROOT, env=environment).returncode

    with ThreadPoolExecutor(jobs) as pool:
        codes = list(pool.map(start, names))
    for name, code in zip(names, codes, strict=True):
        print(
            f"{name:<18} {'done' if code == 0 else 'FAILED, see its report':<24} {runs.REPRODUCED / name / 'report.md'}"
        )
    return [name for name, code in zip(names, codes, strict=True) if code]


def check_run(name: str):
    """ValueError for a run that is not defined."""
    if name not in runs.known():
        raise unknown("run", name, runs.known())


def check_parameters(chapter: Path, parameters: dict):
    """ValueError for a parameter that a chapter does not declare in its cell tagged `parameters`."""
    assigned = _parameters(chapter)
    for name in parameters:
        if name not in assigned:
            raise unknown(f"parameter of {chapter.name}", name, sorted(assigned))


def _parameters(chapter: Path) -> dict:
    """What a chapter's cell tagged `parameters` assigns, nothing if it has none; ValueError for one without a run."""
    cells = json.loads(chapter.read_text(encoding="utf-8"))["cells"]
    source = ["".join(c["source"]) for c in cells if "parameters" in c["metadata"].get("tags", [])]
    assignments = [node for s in source for node in ast.parse(s).body if isinstance(node, ast.Assign)]
    found = {t.id: ast.literal_eval(node.value) for node in assignments for t in node.targets}
    if source and "run" not in found:
        raise ValueError(f"the cell tagged `parameters` of {chapter} does not assign run: it should")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lib.runs.reproduce", description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+", metavar="RUN", help=f"one or several of: {', '.join(runs.known())}")
    parser.add_argument("--jobs", type=int, default=1, help="how many runs at a time (default: 1)")
    parser.add_argument(
        "--optional", action="store_true", help=f"also {', '.join(s for s in runs.STAGES if s not in runs.REQUIRED)}"
    )
    options = parser.parse_args()
    typed = [name for argument in options.runs for name in argument.split()]  # `make` hands on all in one
    names = list(dict.fromkeys(typed))
    if not names:
        parser.error("name a run")
    if options.jobs < 1:
        parser.error(f"--jobs must be at least 1, got {options.jobs}")
    sys.stdout.reconfigure(errors="backslashreplace")
    try:
        for name in names:
            check_run(name)
    except ValueError as error:
        print(one_line(error), file=sys.stderr)
        return 2

    def command() -> int:
        if len(names) == 1:
            return int(bool(reproduce(names[0], optional=options.optional)))
        return int(bool(reproduce_all(names, options.jobs, options.optional)))

    return exit_code(command)


if __name__ == "__main__":
    sys.exit(main())
