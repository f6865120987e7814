"""The record of a run, `run.json`: how each stage's result was made, and whether it still counts.

A result counts only if it was made from the same inputs: configuration, version of the stage's code, and the files of
the results it builds on.
"""

import dataclasses
import json
from pathlib import Path

from lib.runs.definition import Definition
from lib.runs.stages import STAGES, Made
from lib.system import files, identity
from lib.system.errors import StaleRun
from lib.system.provenance import provenance


class Store:
    """What is known of the stages of one run whose files are in `folder`."""

    def __init__(self, name: str, folder: Path, definition: Definition):
        self.name, self.folder, self.definition = name, folder, definition
        self._fresh: set[str] = set()  # stages known to be complete and fresh

    @property
    def record(self) -> dict:
        """The content of `run.json`; StaleRun if it is damaged."""
        path = self.folder / "run.json"
        try:
            return json.loads(path.read_text()) if path.exists() else {"name": self.name, "stages": {}}
        except ValueError as error:
            raise StaleRun(
                f"{path} is damaged ({error}); delete it and run `make reproduce RUN={self.name}`"
            ) from error

    def has(self, stage: str) -> bool:
        """Whether a stage's result, and all that it builds on, is there and fresh."""
        if stage in self._fresh:
            return True
        if all(self.has(upstream) for upstream in STAGES[stage].upstream) and not self.problem(stage):
            self._fresh.add(stage)
        return stage in self._fresh

    def problem(self, stage: str) -> str | None:
        """What is wrong with a stage's own result; None if nothing is."""
        entry = self.record["stages"].get(stage)
        if entry is None:
            return "there is no result yet"
        if entry["inputs"] != self.inputs(stage):
            return "the result was made from other inputs or by another version of the code"
        for name, expected in entry["files"].items():
            path = self.folder / name
            if not path.exists() and name in entry.get("unpublished", ()):
                continue
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

    def add(self, stage: str, inputs: str, made: Made, seconds: float, device: str):
        """Record what a stage made from `inputs`."""
        facts = {"seconds": seconds} | (made.facts or {})
        record = self.record | {name: fact for name, fact in facts.items() if name != "seconds"}
        record["config"] = dataclasses.asdict(self.definition)
        record["stages"][stage] = {
            "inputs": inputs,
            "files": {name: files.digest(self.folder / name) for name in made.files},
            **({"unpublished": list(made.unpublished)} if made.unpublished else {}),
            "results": made.results,
            "seconds": round(facts["seconds"], 1),
            **provenance(device),
        }
        files.write_json(self.folder / "run.json", record)
        self._fresh.add(stage)
