"""What defines a run: the file `runs/<name>/config.toml`, read into the recipes of its stages."""

import dataclasses
import tomllib
from dataclasses import field
from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeInt

from lib import cct
from lib.experiments import filters
from lib.experiments import heads as heads_study
from lib.experiments import pruning as andc_study
from lib.probes import ProbeRecipe
from lib.recipes import RECIPES, Recipe
from lib.system.checked import checked
from lib.system.errors import unknown


@checked
class Definition:
    """What `config.toml` says: data set, seed, network, how it and its probes are trained."""

    data: Annotated[str, Field(min_length=1)]
    seed: NonNegativeInt = 0
    network: cct.Config = field(default_factory=cct.Config)
    training: Recipe = field(default_factory=Recipe)
    probes: ProbeRecipe = field(default_factory=ProbeRecipe)
    heads: heads_study.Recipe = field(default_factory=heads_study.Recipe)
    andc: andc_study.Recipe = field(default_factory=andc_study.Recipe)
    scratch: andc_study.ScratchRecipe = field(default_factory=andc_study.ScratchRecipe)
    cnn: filters.Recipe = field(default_factory=filters.Recipe)
    trials: dict[str, Recipe] = field(default_factory=dict)  # other ways to train, judged on held-out images

    @classmethod
    def read(cls, path: Path) -> "Definition":
        """ValueError that names the file, section and key where something is unknown, missing or of the wrong kind.

        A file with `base = "<name>"` takes from that run's definition whatever it does not say itself, key by key; the
        base may have a base too. The section [training] may begin with `recipe = "reference"`, one of
        `lib.recipes.RECIPES`, instead of the defaults or the base's training, and say only what differs. A section
        [trials.<name>] says in what a trial differs from [training].
        """
        return _read(path, ())


def _read(path: Path, heirs: tuple[str, ...]) -> Definition:
    """The definition in a file that is the base of `heirs`, the run that was asked for first."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        base, line = raw.pop("base", None), (*heirs, path.parent.name)
        others = [p.parent.name for p in sorted(path.parent.parent.glob(f"*/{path.name}"))]
        if base is not None and base not in others:
            raise unknown("base", base, others)
        if base in line:
            raise ValueError(f"bases in a circle: {' -> '.join((*line, base))}")
        if base is None and "data" not in raw:
            raise ValueError("data is missing: the name of an image set")
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: {error}") from error
    start = None if base is None else _read(path.parent.parent / base / path.name, line)
    try:
        start = start or Definition(raw["data"])
        training = raw.get("training")
        if isinstance(training, dict) and "recipe" in training:
            if (name := training.pop("recipe")) not in list(RECIPES):
                raise unknown("recipe", name, RECIPES)
            start = dataclasses.replace(start, training=RECIPES[name])
        tried = raw.pop("trials", {})
        found = _changed(start, raw)
        tried = {name: _changed(found.training, values, f"trials.{name}") for name, values in tried.items()}
        return dataclasses.replace(found, trials=tried or found.trials)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _changed(part, values: object, section: str = ""):
    """A copy of a (nested) dataclass with other values, as a table of the file gives them."""
    if not isinstance(values, dict):
        raise ValueError(f"[{section}] must be a table, got {values!r}")
    known = [f.name for f in dataclasses.fields(part)]
    for name in values:
        if name not in known:
            raise unknown(f"key of [{section}]" if section else "key", name, known)
    inner = {
        name: _changed(old, value, f"{section}.{name}".lstrip("."))
        for name, value in values.items()
        if dataclasses.is_dataclass(old := getattr(part, name))
    }
    try:
        return dataclasses.replace(part, **values | inner)
    except ValueError as error:
        raise ValueError(f"[{section}] {error}" if section else str(error)) from error
