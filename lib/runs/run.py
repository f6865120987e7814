"""Runs: one trained network with everything measured on it, made stage by stage and never stale.

`runs/<name>/config.toml` defines a run; its results are in a folder, and `run.json` there records how each was made.

    load(name)   the results as they are; an error if anything is missing, damaged or made from other inputs
    make(name)   the same object, which computes and stores what is missing when it is first asked for
"""

import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from lib import data
from lib.runs.definition import Definition
from lib.runs.results import Results
from lib.runs.stages import REQUIRED, STAGES, Job
from lib.runs.store import Store
from lib.system import files, identity, parallel
from lib.system.errors import OutOfTime, StaleRun, unknown
from lib.training.resume import Deadline

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT / "runs"
REPRODUCED = ROOT / "reproduced"  # where `make reproduce` puts results


def results_folder() -> Path:
    """Where results are: the variable MODUS_RUNS, else PUBLISHED; always absolute.

    A relative path starts at the checkout, so that it is one folder for notebooks and commands wherever they run.
    """
    return ROOT / Path(os.environ.get("MODUS_RUNS") or PUBLISHED).expanduser()


def known() -> list[str]:
    """Names of the runs that are defined."""
    return sorted(p.parent.name for p in PUBLISHED.glob("*/config.toml"))


def defined(name: str) -> Definition:
    """The definition of a run; ValueError if there is none of that name, or a wrong one."""
    if name not in known():
        raise unknown("run", name, known())
    return Definition.read(PUBLISHED / name / "config.toml")


def readable(folder: Path | None = None) -> list["Run"]:
    """All defined runs, with results in `folder`; one whose configuration cannot be read is named and left out."""
    found = []
    for name in known():
        try:
            found.append(Run(name, compute=False, folder=folder and folder / name))
        except ValueError as error:
            print(f"left out: {error}", file=sys.stderr)
    return found


def families(stage: str, own: "Run | None" = None) -> dict[str, list["Run"]]:
    """Published runs that have a stage's result, by the name of the first of those that differ in the seed alone.

    own: a run that may lie in another folder; it and its seeds take the place of the published ones.
    """
    found: dict[str, list[Run]] = {}
    for run in readable(PUBLISHED):
        if run.has(stage):
            same = (name for name, others in found.items() if others[0].same_but_seed(run))
            found.setdefault(next(same, run.name), []).append(run)
    if own is not None and own.has(stage):
        same = (name for name, others in found.items() if others[0].same_but_seed(own))
        found[next(same, own.name)] = own.seeds(stage)
    return found


def load(name: str, needed: Iterable[str] | None = None) -> "Run":
    """A run whose stages (all but the optional ones, or only those `needed`) are complete and fresh.

    Raises ValueError for an unknown run and StaleRun for an unusable one.
    """
    run = Run(name, compute=False)
    for stage in REQUIRED if needed is None else needed:
        run.require(stage)
    return run


def make(name: str, time_limit: float | None = None, compiled: bool = False) -> "Run":
    """A run that computes and stores what is missing; the variable MODUS_RUNS names another folder for results.

    Processes that make the same run take turns, a stage each. StaleRun if images changed since a result was made.
    time_limit: seconds from now; what does not fit raises OutOfTime, and a later call goes on from there.
    compiled: training compiles the network first (`torch.compile`), which pays in long trainings.
    """
    return Run(name, compute=True, deadline=Deadline(time_limit), compiled=compiled)


def published(name: str, needed: Iterable[str] | None = None) -> "Run | None":
    """The published result of a run, whatever MODUS_RUNS says; None if it lacks a stage, or has a stale one.

    needed: stages; all but the optional ones if left out.
    """
    run = Run(name, compute=False, folder=PUBLISHED / name)
    return run if all(run.has(stage) for stage in (REQUIRED if needed is None else needed)) else None


def measured_on(data: str, stage: str = "fields") -> list["Run"]:
    """All runs on a data set with a result of this stage, from the folder of results or else as published.

    Never computes: for what shows several runs together, whichever are there.
    """
    found: dict[str, Run] = {}
    for folder in (results_folder(), PUBLISHED):
        for run in readable(folder):
            if run.name not in found and run.definition.data == data and run.has(stage):
                found[run.name] = run
    return [found[name] for name in sorted(found)]


class Run(Results):
    """A definition, the results in a folder and the record of them; see `load` and `make`."""

    def __init__(
        self,
        name: str,
        compute: bool,
        folder: Path | None = None,
        deadline: Deadline | None = None,
        compiled: bool = False,
        definition: Definition | None = None,
    ):
        folder = folder or results_folder() / name
        super().__init__(folder, definition or defined(name))
        self.name, self.compute, self.deadline, self.compiled = name, compute, deadline or Deadline(), compiled
        self.store = Store(name, folder, self.definition)
        self._images: dict[str, data.LabelledSet] = {}

    def __repr__(self) -> str:
        return f"Run({self.name!r}: {self.definition.data}, seed {self.definition.seed})"

    def images(self, split: str) -> data.LabelledSet:
        """The run's images or sentences, as its network takes them; MissingData where no source has them."""
        if split not in self._images:
            found = data.load(self.definition.data, split)
            self._images[split] = self.definition.network.prepared(found).locked()
            self.store.saw(split, self._images[split].digest())
        return self._images[split]

    def require(self, stage: str):
        """Make sure that a stage's stored result is complete and fresh; computes it if this run may compute."""
        if self.store.has(stage):
            return
        for upstream in STAGES[stage].upstream:
            self.require(upstream)
        if not (problem := self.store.problem(stage)):
            return
        if not self.compute:
            there = REPRODUCED / self.name / "run.json"
            raise StaleRun(
                f"run {self.name}, stage {stage}: {problem}. Expected a result made by this code from this"
                f" configuration in {self.folder}; `make reproduce RUN={self.name}` makes it, lib.runs.make too"
                + f". What `make reproduce` made is in {there.parent}: set MODUS_RUNS={REPRODUCED} to load it"
                * (there.exists() and there.parent != self.folder)
            )
        self.store.check_data(stage)
        self.deadline.check(f"run {self.name}, before stage {stage}")
        with self._alone():
            if self.store.problem(stage):  # another process may have made it meanwhile
                self._make(stage)

    def identity(self, stage: str) -> str:
        """Hash over everything that a stage's result depends on, images too, which are loaded for it."""
        digests = {split: self.images(split).digest() for split in STAGES[stage].splits(self.definition.data)}
        return identity.digest(inputs=self.store.inputs(stage), data=digests)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes from making stages in this folder; waits for them, OutOfTime if for too long."""
        said = False

        def waiting():
            nonlocal said
            if not said:
                print(f"run {self.name}: another process is at work in {self.folder}; waiting", file=sys.stderr)
            said = True
            if parallel.size() == 1:
                self.deadline.check(f"run {self.name}, waiting for another process")

        with ExitStack() as held:
            if not parallel.rank():
                files.check_writable(self.folder, self._needs())
                (self.folder / ".lock").touch()
                held.enter_context(files.locked(self.folder / ".lock", waiting))
            parallel.wait()
            yield

    def _needs(self) -> int:
        """Bytes that the network and its checkpoint take: the weights twice, and two moments of each."""
        with torch.device("meta"):
            return 4 * sum(t.numel() * t.element_size() for t in self.build().state_dict().values())

    def has(self, stage: str) -> bool:
        """Whether a stage's result is there and fresh; never computes."""
        return self.store.has(stage)

    def _make(self, stage: str):
        inputs, started = self.store.inputs(stage), time.monotonic()
        whole = self.identity(stage)
        self.store.check_data(*STAGES[stage].upstream)
        if not parallel.rank():
            print(f"run {self.name}: computing stage {stage} on {self.device} ...", file=sys.stderr)
        results = Results(self.folder, self.definition)
        job = Job(self.definition, results, self.images, whole, self.device, self.deadline, self.compiled)
        spent = results.unfinished(f"{stage}-seconds.json")
        earlier = json.loads(spent.read_text(encoding="utf-8")) if spent.exists() else {}
        seconds = earlier.get("seconds", 0.0) if earlier.get("of") == whole else 0.0
        try:
            made = STAGES[stage].compute(job)
        except OutOfTime:
            if not parallel.rank():
                files.write_json(spent, {"of": whole, "seconds": seconds + time.monotonic() - started})
            raise
        parallel.wait()
        self.store.add(stage, inputs, made, seconds + time.monotonic() - started, self.device)
        parallel.wait()
        results.drop_unfinished()

    @property
    def published(self) -> bool:
        """Whether these are the results that come with the checkout; more of them then lies beside the book's pages."""
        return self.folder.parent == PUBLISHED

    # ---- what the record says

    @property
    def record(self) -> dict:
        """How each stage was made, and what it found: the content of `run.json`."""
        return self.store.record

    @property
    def label_names(self) -> list[str]:
        """As a page has them, `lib.data.readable`."""
        self.require("train")
        return data.readable(self.store.record["labels"])

    @property
    def superclasses(self) -> list[str] | None:
        """The superclass of each label, where the data set has them."""
        self.require("train")
        names = self.store.record.get("superclasses")
        return names and data.readable(names)

    @property
    def results(self) -> dict:
        """Headline results of all stages made so far, with how each was made under "provenance"."""
        stages = self.store.record["stages"]
        found = {key: value for stage in stages.values() for key, value in stage["results"].items()}
        facts = ("seconds", "device", "commit", "versions", "made")
        return found | {"provenance": {s: {k: r[k] for k in facts} for s, r in stages.items()}}

    def seeds(self, stage: str) -> list["Run"]:
        """This run, and the runs that differ from it in nothing but the seed and have this stage's result."""
        self.require(stage)
        found = [self]
        for other in readable(self.folder.parent):
            if other.name != self.name and self.same_but_seed(other) and other.has(stage):
                found.append(other)
        return found

    def on_same_data(self) -> list["Run"]:
        """This run, then published ones of other networks on its data, the widest first: of those that differ in the
        seed alone the first."""
        first = [family[0] for family in families("fields").values()]
        others = [r for r in first if r.definition.data == self.definition.data and not self.same_but_seed(r)]
        return [self, *sorted(others, key=lambda run: -run.definition.network.width)]

    def same_but_seed(self, other: "Run") -> bool:
        """Whether two runs are defined alike, seeds apart."""
        return dataclasses.replace(other.definition, seed=self.definition.seed) == self.definition
