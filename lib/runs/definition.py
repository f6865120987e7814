"""What defines a run: the file `runs/<name>/config.toml`, read into the recipes of its stages."""

import dataclasses
import tomllib
from dataclasses import field
from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeInt

from lib import bert, cct
from lib.recipes import (
    RECIPES,
    CNNRecipe,
    HeadsRecipe,
    ProbeRecipe,
    PruningRecipe,
    RetrainingRecipe,
    ScheduleRecipe,
    ScratchRecipe,
    TrainingRecipe,
)
from lib.system.checked import checked
from lib.system.errors import unknown

NETWORKS = {"cct": cct.Config, "bert": bert.Config}


@checked
class Definition:
    """What `config.toml` says: data set, seed, network, how it and its probes are trained."""

    data: Annotated[str, Field(min_length=1)]
    seed: NonNegativeInt = 0
    network: cct.Config | bert.Config = field(default_factory=cct.Config)
    training: TrainingRecipe = field(default_factory=TrainingRecipe)
    probes: ProbeRecipe = field(default_factory=ProbeRecipe)
    heads: HeadsRecipe = field(default_factory=HeadsRecipe)
    andc: PruningRecipe = field(default_factory=PruningRecipe)
    scratch: ScratchRecipe = field(default_factory=ScratchRecipe)
    schedule: ScheduleRecipe = field(default_factory=ScheduleRecipe)
    retraining: RetrainingRecipe = field(default_factory=RetrainingRecipe)
    cnn: CNNRecipe = field(default_factory=CNNRecipe)
    trials: dict[str, TrainingRecipe] = field(default_factory=dict)  # other ways to train, judged on held-out images

    @property
    def frozen(self) -> bool:
        """Whether the encoders keep weights that others have published, so that the read-out alone has to be stored."""
        return self.network.pretrained and self.training.parts == "readout"

    @property
    def publishes_weights(self) -> bool:
        """Whether the trained network is small enough to be published."""
        return self.network.published or self.frozen

    @classmethod
    def read(cls, path: Path) -> "Definition":
        """ValueError that names the file, section and key where something is unknown, missing or of the wrong kind.

        A file with `base = "<name>"` takes from that run's definition whatever it does not say itself, key by key; the
        base may have a base too. The section [training] may begin with `recipe = "reference"`, one of
        `lib.recipes.RECIPES`, instead of the defaults or the base's training, and say only what differs; [network] with
        `kind = "bert"`, one of `NETWORKS`. A section [trials.<name>] says in what a trial differs from [training].
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
            raise ValueError("data is missing: the name of a data set")
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
        network = raw.get("network")
        if isinstance(network, dict) and "kind" in network:
            if (kind := network.pop("kind")) not in list(NETWORKS):
                raise unknown("kind of network", kind, NETWORKS)
            start = dataclasses.replace(start, network=NETWORKS[kind]())
        if not isinstance(tried := raw.pop("trials", {}), dict):
            raise ValueError(f"[trials] must be a table of tables, got {tried!r}")
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
