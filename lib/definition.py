"""What defines a run: the file `runs/<name>/config.toml`, read into the recipes of its stages."""

import dataclasses
import tomllib
from dataclasses import field
from pathlib import Path

from lib import andc_study, cct, filters, heads_study
from lib.errors import unknown
from lib.probes import ProbeRecipe
from lib.recipe import RECIPES, Recipe


@dataclasses.dataclass(frozen=True)
class Definition:
    """What `config.toml` says: data set, seed, network, how it and its probes are trained."""

    data: str
    seed: int
    network: cct.Config = field(default_factory=cct.Config)
    training: Recipe = field(default_factory=Recipe)
    probes: ProbeRecipe = field(default_factory=ProbeRecipe)
    heads: heads_study.Recipe = field(default_factory=heads_study.Recipe)
    andc: andc_study.Recipe = field(default_factory=andc_study.Recipe)
    scratch: andc_study.ScratchRecipe = field(default_factory=andc_study.ScratchRecipe)
    cnn: filters.Recipe = field(default_factory=filters.Recipe)
    trials: dict[str, Recipe] = field(default_factory=dict)  # other ways to train, to be judged on held-out images

    @classmethod
    def read(cls, path: Path) -> "Definition":
        """ValueError that names the file and the key where something is unknown, missing or of the wrong kind.

        A file with `base = "<name>"` takes from that run's configuration whatever it does not say itself; the section
        [training] may begin with `recipe = "reference"`, one of `lib.recipe.RECIPES`, and say only what differs.
        """
        try:
            raw = tomllib.loads(path.read_text())
            if base := raw.pop("base", None):
                raw = tomllib.loads((path.parent.parent / base / path.name).read_text()) | raw
            training = raw.get("training", {})
            if (name := training.pop("recipe", "default")) not in RECIPES:
                raise unknown("recipe", name, RECIPES)
            sections = (f for f in dataclasses.fields(cls) if f.default_factory is not dataclasses.MISSING)
            parts = {f.name: f.default_factory() for f in sections} | {"training": RECIPES[name]}
            if extra := set(raw) - {"data", "seed", *parts}:
                raise unknown("key", extra.pop(), ("data", "seed", *parts))
            tried = raw.pop("trials", {})
            made = {name: _changed(name, part, raw.get(name, {})) for name, part in parts.items() if name != "trials"}
            made["trials"] = {
                name: _changed(f"trials.{name}", made["training"], values) for name, values in tried.items()
            }
            return cls(str(raw["data"]), int(raw.get("seed", 0)), **made)
        except (ValueError, TypeError, KeyError, FileNotFoundError) as error:
            raise ValueError(f"{path}: {error}") from error


def _changed(name: str, part, values: dict):
    """A copy of a (nested) dataclass with other values, as a section [name] of the file gives them."""
    known = [f.name for f in dataclasses.fields(part)]
    if extra := set(values) - set(known):
        raise unknown(f"key of [{name}]", extra.pop(), known)
    inner = {k: _changed(f"{name}.{k}", getattr(part, k), v) for k, v in values.items() if isinstance(v, dict)}
    return dataclasses.replace(part, **values | inner)
