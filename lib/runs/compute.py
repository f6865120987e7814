"""`python -m lib.runs.compute RUN [--time-limit SECONDS]`: make the stages of a run, one by one, within a time limit.

What does not fit is stopped with a checkpoint; the same command, called again, goes on from there, until all is done.
The exit code is 0 when the run is complete, 75 (try again) when the time was up, 1 when something failed, 2 for an
unknown run or stage and 130 when stopped by Ctrl-C. Under torchrun several processes train the network and its probes
and measure the fields together; then the first goes on alone.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from lib import runs
from lib.runs import rehearsal
from lib.system import files, parallel
from lib.system.errors import OutOfTime, exit_code, one_line, unknown

TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h


def compute(
    name: str, time_limit: float | None = None, stages: Iterable[str] = runs.REQUIRED, compiled: bool = False
) -> bool:
    """Make some stages of a run and what they build on; whether all are done.

    ValueError for an unknown run or stage.
    """
    stages = list(stages)
    for stage in stages:
        if stage not in runs.STAGES:
            raise unknown("stage", stage, runs.STAGES)
    built_on = set().union(*map(_with_upstream, stages))
    parallel.begin()
    run = runs.make(name, time_limit, compiled)
    try:
        for stage in (s for s in runs.STAGES if s in built_on and runs.STAGES[s].shared):
            run.require(stage)
        first = not parallel.rank()
        parallel.end()
        if not first:
            return True
        for stage in stages:
            run.require(stage)
    except OutOfTime as stop:
        if not parallel.rank():
            print(f"run {name}: {stop}", file=sys.stderr)
        return False
    print(f"run {name}: complete" + f" ({', '.join(stages)})" * (stages != list(runs.REQUIRED)), file=sys.stderr)
    return True


def _with_upstream(stage: str) -> set[str]:
    return {stage}.union(*map(_with_upstream, runs.STAGES[stage].upstream))


def rehearse(name: str) -> bool:
    """All but the optional stages of a run in small, in a folder that is removed; whether its files can be published.

    Prints seconds a stage, and the sizes of the files, which (tables apart) are those of the run itself.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = rehearsal.Rehearsal(name, Path(folder))
        for stage in runs.REQUIRED:
            run.require(stage)
            print(f"  {stage:<8}{run.record['stages'][stage]['seconds']:8.1f} s", file=sys.stderr)
        kept = {name for entry in run.record["stages"].values() for name in entry.get("unpublished", ())}
        sizes = {path.name: path.stat().st_size for path in run.folder.iterdir() if path.name not in kept}
        largest = max(sizes, key=sizes.__getitem__)
        told = f"{sizes[largest] / 1e6:.1f} MB of {sum(sizes.values()) / 1e6:.1f} MB to be published"
        print(f"run {name}: rehearsed; largest file {largest}, {told}", file=sys.stderr)
        return sizes[largest] <= files.LARGEST_FILE


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m lib.runs.compute", description=__doc__.split("\n")[0])
    parser.add_argument("run", metavar="RUN", help=f"one of: {', '.join(runs.known())}")
    parser.add_argument("--time-limit", type=float, metavar="SECONDS", help="stop with a checkpoint before it is over")
    parser.add_argument("--optional", action="store_true", help="also the stages that nothing else builds on")
    parser.add_argument(
        "--stage", action="append", metavar="STAGE", help=f"this one and what it builds on: {', '.join(runs.STAGES)}"
    )
    parser.add_argument(
        "--compile", action="store_true", help="compile the network before it is trained (pays in long trainings)"
    )
    parser.add_argument(
        "--rehearse", action="store_true", help="in small, on noise, in minutes: all that is not optional"
    )
    options = parser.parse_args()
    if options.rehearse and (options.stage or options.optional or options.compile or options.time_limit is not None):
        parser.error("--rehearse goes alone: it makes all stages that are not optional")
    for kind, given, among in (("run", [options.run], runs.known()), ("stage", options.stage or (), runs.STAGES)):
        for name in given:
            if name not in among:
                print(one_line(unknown(kind, name, among)), file=sys.stderr)
                return 2

    def command() -> int:
        if options.rehearse:
            return 0 if rehearse(options.run) else 1
        stages = options.stage or (runs.every(runs.defined(options.run)) if options.optional else runs.REQUIRED)
        done = compute(options.run, options.time_limit, stages, options.compile)
        return 0 if done else TRY_AGAIN

    return exit_code(command)


if __name__ == "__main__":
    sys.exit(main())
