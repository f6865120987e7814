"""Runs: one trained network with everything measured on it, in a folder, made stage by stage and never stale.

`runs/<name>/config.toml` defines a run; `run.json` beside it records how each stage was made and what it found; the
stages' arrays and tables are safetensors and csv. A stage's result counts only if it was made from the same inputs:
configuration, version of the stage's code, and the results it builds on.

    load(name)   the results as they are; an error if anything is missing, damaged or made from other inputs
    make(name)   the same object, which computes and stores what is missing when it is first asked for
"""

import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from lib import cct, data, measure
from lib.probes import Probe
from lib.runs.definition import Definition
from lib.runs.pipeline import REQUIRED, STAGES, TABLES
from lib.sited import Sited
from lib.system import files, identity, parallel
from lib.system.errors import StaleRun, unknown
from lib.system.provenance import provenance
from lib.training.deadline import Deadline

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT / "runs"


def known() -> list[str]:
    """Names of the runs that are defined."""
    return sorted(p.parent.name for p in PUBLISHED.glob("*/config.toml"))


def readable(folder: Path | None = None) -> list["Run"]:
    """All defined runs, with results in `folder`; one whose configuration cannot be read is named and left out."""
    found = []
    for name in known():
        try:
            found.append(Run(name, compute=False, folder=folder and folder / name))
        except ValueError as error:
            print(f"left out: {error}", file=sys.stderr)
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

    time_limit: seconds from now; what does not fit raises OutOfTime, and a later call goes on from there.
    compiled: training compiles the network first (`torch.compile`), which pays on a GPU.
    """
    return Run(name, compute=True, deadline=Deadline(time_limit), compiled=compiled)


def published(name: str) -> "Run | None":
    """The published result of a run, whatever MODUS_RUNS says; None if it is not complete and fresh."""
    run = Run(name, compute=False, folder=PUBLISHED / name)
    return run if all(run.has(stage) for stage in REQUIRED) else None


class Run(Sited):
    """A run's results; see `load` and `make`."""

    latency_batches, latency_rounds = (1, 256), 15  # of the stage andc

    def __init__(
        self,
        name: str,
        compute: bool,
        folder: Path | None = None,
        deadline: Deadline | None = None,
        compiled: bool = False,
    ):
        if name not in known():
            raise unknown("run", name, known())
        self.name = name
        self.compute, self.deadline, self.compiled = compute, deadline or Deadline(), compiled
        self._images: dict[str, data.ImageSet] = {}
        self._fresh: set[str] = set()  # stages known to be complete and fresh
        self.folder = folder or Path(os.environ.get("MODUS_RUNS") or PUBLISHED) / name
        self.definition = Definition.read(PUBLISHED / name / "config.toml")
        self.device = "cuda" if torch.cuda.is_available() else "cpu"  # of several, parallel.begin chose this process's

    def __repr__(self) -> str:
        return f"Run({self.name!r}: {self.definition.data}, seed {self.definition.seed})"

    # ---- what a chapter asks for

    def network(self) -> cct.CCT:
        """The trained network, in evaluation mode."""
        self.require("train")
        network = self.build()
        network.load_state_dict(files.read_parts(self.folder / "network.safetensors"))
        return network.eval().to(self.device)

    def probe(self, site: str) -> Probe:
        """The trained probe of a site."""
        return self.probes([site])[site]

    def probes(self, sites: list[str] | None = None) -> dict[str, Probe]:
        """Trained probes by site (default: all)."""
        self.require("probes")
        tensors, _ = files.read_tensors(self.folder / "probes.safetensors")
        found = {}
        for site in sites or self.sites:
            self._check_site(site)
            weight = tensors[f"{site}/weight"]
            found[site] = Probe(weight.shape[1], weight.shape[0]).to(self.device)
            found[site].load_state_dict({k: tensors[f"{site}/{k}"] for k in ("gate", "bias", "weight")})
        return found

    def weight(self, site: str) -> np.ndarray:
        """W of a site's probe, (K, nodes)."""
        self._check_site(site)
        self.require("probes")
        return files.read_tensor(self.folder / "probes.safetensors", f"{site}/weight").numpy()

    def class_means(self, site: str, split: str = "test", silencing: str = "readout") -> np.ndarray:
        """Mean pooled value of each node over the images of each label, (K, nodes)."""
        self._check_site(site)
        if split not in ("train", "test"):
            raise unknown("split", split, ("train", "test"))
        if silencing not in measure.SILENCING:
            raise unknown("silencing convention", silencing, measure.SILENCING)
        if (split, silencing) == ("train", "input"):
            raise ValueError("class means with silencing 'input' are stored for the test split only")
        self.require("fields")
        return files.read_tensor(self.folder / "fields.safetensors", f"{split}/{silencing}/{site}").numpy()

    def label_accuracy(self, site: str, split: str = "test") -> np.ndarray:
        """Share of each label's images that the site's probe gets right, (K,)."""
        self._check_site(site)
        self.require("fields")
        return files.read_tensor(self.folder / "fields.safetensors", f"{split}/accuracy/{site}").numpy()

    def table(self, name: str) -> pd.DataFrame:
        """A stored table by name, one of `TABLES`; those of a site name it in the column "site"."""
        if name not in TABLES:
            raise unknown("table", name, TABLES)
        self.require(TABLES[name])
        return pd.read_csv(
            self.folder / f"{name}.csv", dtype={"site": str}, keep_default_na=name not in ("andc", "scratch")
        )

    def seeds(self, stage: str) -> list["Run"]:
        """This run, and the runs that differ from it in nothing but the seed and have this stage's result."""
        self.require(stage)
        found = [self]
        for other in readable(self.folder.parent):
            if other.name != self.name and self.same_but_seed(other) and other.has(stage):
                found.append(other)
        return found

    def same_but_seed(self, other: "Run") -> bool:
        """Whether two runs are defined alike, seeds apart."""
        return dataclasses.replace(other.definition, seed=self.definition.seed) == self.definition

    @cached_property
    def sites(self) -> list[str]:
        with torch.device("meta"):
            return cct.CCT(self.definition.network).sites

    @property
    def label_names(self) -> list[str]:
        self.require("train")
        return self.record["labels"]

    @property
    def superclasses(self) -> list[str] | None:
        """The superclass of each label, where the data set has them."""
        self.require("train")
        return self.record.get("superclasses")

    @property
    def results(self) -> dict:
        """Headline results of all stages made so far, with how each was made under "provenance"."""
        stages = self.record["stages"]
        found = {key: value for stage in stages.values() for key, value in stage["results"].items()}
        facts = ("seconds", "device", "commit", "versions", "made")
        return found | {"provenance": {s: {k: r[k] for k in facts} for s, r in stages.items()}}

    def images(self, split: str) -> data.ImageSet:
        """The run's images, at the size its network takes; MissingData where no source has them."""
        if split not in self._images:
            side = self.definition.network.image_size
            self._images[split] = data.load(self.definition.data, split).resized(side)
        return self._images[split]

    # ---- the stage store

    @property
    def record(self) -> dict:
        path = self.folder / "run.json"
        try:
            return json.loads(path.read_text()) if path.exists() else {"name": self.name, "stages": {}}
        except ValueError as error:
            raise StaleRun(
                f"{path} is damaged ({error}); delete it and run `make reproduce RUN={self.name}`"
            ) from error

    def require(self, stage: str):
        """Make sure that a stage's stored result is complete and fresh; computes it if this run may compute."""
        if stage in self._fresh:
            return
        for upstream in STAGES[stage].upstream:
            self.require(upstream)
        problem = self._problem(stage)
        if problem and not self.compute:
            raise StaleRun(
                f"run {self.name}, stage {stage}: {problem}. Expected a result made by this code from this"
                f" configuration in {self.folder}; `make reproduce RUN={self.name}` makes it, lib.runs.make too"
            )
        if problem:
            self.deadline.check(f"run {self.name}, before stage {stage}")
            self._make(stage)
        self._fresh.add(stage)

    def has(self, stage: str) -> bool:
        """Whether a stage's result is there and fresh; never computes."""
        if stage not in self._fresh and all(self.has(u) for u in STAGES[stage].upstream) and not self._problem(stage):
            self._fresh.add(stage)
        return stage in self._fresh

    def _problem(self, stage: str) -> str | None:
        entry = self.record["stages"].get(stage)
        if entry is None:
            return "there is no result yet"
        if entry["inputs"] != self.inputs(stage):
            return "the result was made from other inputs or by another version of the code"
        for name, expected in entry["files"].items():
            path = self.folder / name
            if not path.exists():
                return f"the file {name} is missing"
            if files.digest(path) != expected:
                return f"the file {name} is damaged or was changed"
        return None

    def inputs(self, stage: str) -> str:
        """Hash over everything that a stage's result depends on: its code, configuration and upstream files."""
        about, configuration = STAGES[stage], identity.resolved(self.definition)
        return identity.digest(
            stage=stage,
            version=about.version,
            configuration={name: configuration[name] for name in about.uses if name in configuration},
            upstream={name: self.record["stages"][name]["files"] for name in about.upstream},
        )

    def _make(self, stage: str):
        inputs, started = self.inputs(stage), time.monotonic()
        if not parallel.rank():
            print(f"run {self.name}: computing stage {stage} on {self.device} ...", file=sys.stderr)
        written, results, facts = STAGES[stage].compute(self)
        parallel.wait()
        facts = facts or {}
        record = self.record | {k: v for k, v in facts.items() if k != "seconds"}
        record["config"] = dataclasses.asdict(self.definition)
        record["stages"][stage] = {
            "inputs": inputs,
            "files": {name: files.digest(self.folder / name) for name in written},
            "results": results,
            "seconds": round(facts.get("seconds", time.monotonic() - started), 1),
            **provenance(self.device),
        }
        files.write_json(self.folder / "run.json", record)
        parallel.wait()

    def build(self) -> cct.CCT:
        """A new network of the run's configuration, at random weights."""
        return cct.CCT(self.definition.network)
