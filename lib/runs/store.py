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

ENTRY = {"inputs", "files", "results", "seconds", "device", "commit", "versions", "made"}  # what is known of a stage


class Store:
    """What is known of the stages of one run whose files are in `folder`."""

    def __init__(self, name: str, folder: Path, definition: Definition):
        self.name, self.folder, self.definition = name, folder, definition
        self._fresh: set[str] = set()  # stages known to be complete and fresh
        self._data: dict[str, str] = {}  # digests of the images that were loaded, by split

    @property
    def record(self) -> dict:
        """The content of `run.json`; StaleRun if it is damaged."""
        path = self.folder / "run.json"
        if not path.exists():
            return {"name": self.name, "stages": {}}
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(found, dict) or not isinstance(stages := found.get("stages"), dict):
                raise ValueError("it is no record of stages")
            if wrong := [s for s, entry in stages.items() if not isinstance(entry, dict) or not entry.keys() >= ENTRY]:
                raise ValueError(f"stage {wrong[0]} must have {', '.join(sorted(ENTRY))}")
            return found
        except ValueError as error:
            raise StaleRun(
                f"{path} is damaged ({error}); remove it, or run `make reproduce RUN={self.name}`"
            ) from error

    def move_damaged_aside(self) -> Path | None:
        """Rename a `run.json` that cannot be read, so that all stages are computed anew; its new name, if it was."""
        try:
            return self.record and None
        except StaleRun:
            path = self.folder / "run.json"
            return path.rename(path.with_name("run.json.damaged"))

    def saw(self, split: str, digest: str):
        """The images of a split have been loaded, with this digest: results made from others are no longer fresh."""
        self._data[split] = digest
        self._fresh.clear()

    def check_data(self, *stages: str):
        """StaleRun if a result of some stages was made from other images than those that were loaded.

        It is not computed anew: where images changed without a word in the configuration, somebody should know.
        """
        for stage in stages:
            if (entry := self.record["stages"].get(stage)) and entry["inputs"] == self.inputs(stage):
                for split in self._changed(entry):
                    raise StaleRun(
                        f"run {self.name}: stage {stage} was made from other {split} images of {self.definition.data}"
                        f" than those that are there now. Restore them, or remove {self.folder} to make the run anew"
                    )

    def _changed(self, entry: dict) -> list[str]:
        """The splits whose images were loaded and are not those that a result was made from."""
        return [s for s, digest in entry.get("data", {}).items() if self._data.get(s, digest) != digest]

    def has(self, stage: str) -> bool:
        """Whether a stage's result, and all that it builds on, is there and fresh.

        Images are not loaded for this: results are compared with those that this run has loaded for something else.
        Results that were recorded without a digest of their images count as made from the present ones.
        """
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
        if changed := self._changed(entry):
            return f"the {' and '.join(changed)} images have changed since the result was made"
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
            upstream={name: self.record["stages"].get(name, {}).get("files") for name in about.upstream},
        )

    def add(self, stage: str, inputs: str, made: Made, seconds: float, device: str):
        """Record what a stage made from `inputs` and the images that were loaded.

        seconds: spent by processes that came to an end; what a stage itself counts has also what killed ones finished.
        """
        facts = made.facts or {}
        splits = STAGES[stage].splits(self.definition.data)
        record = self.record | {name: fact for name, fact in facts.items() if name != "seconds"}
        record["config"] = dataclasses.asdict(self.definition)
        record["stages"][stage] = {
            "inputs": inputs,
            "files": {name: files.digest(self.folder / name) for name in made.files},
            **({"unpublished": list(made.unpublished)} if made.unpublished else {}),
            "results": made.results,
            "data": {split: self._data[split] for split in splits if split in self._data},
            "seconds": round(max(seconds, facts.get("seconds", 0.0)), 1),
            **provenance(device),
        }
        files.write_json(self.folder / "run.json", record)
        self._fresh.add(stage)
