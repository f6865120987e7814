"""What defines a run: the file `runs/<name>/config.toml`, read into the recipes of its stages."""

import dataclasses
import tomllib
from pathlib import Path

from lib import andc_study, cct, heads_study, train
from lib.errors import unknown
from lib.probes import ProbeRecipe


@dataclasses.dataclass(frozen=True)
class Definition:
    """What `config.toml` says: data set, seed, network, how it and its probes are trained."""

    data: str
    seed: int
    network: cct.Config
    training: train.Recipe
    probes: ProbeRecipe
    heads: heads_study.Recipe
    andc: andc_study.Recipe
    scratch: andc_study.ScratchRecipe

    @classmethod
    def read(cls, path: Path) -> "Definition":
        """ValueError that names the file and the key where something is unknown, missing or of the wrong kind.

        A file with `base = "<name>"` takes from that run's configuration whatever it does not say itself.
        """
        try:
            raw = tomllib.loads(path.read_text())
            if base := raw.pop("base", None):
                raw = tomllib.loads((path.parent.parent / base / path.name).read_text()) | raw
            parts = {"network": cct.Config, "training": train.Recipe, "probes": ProbeRecipe}
            parts |= {"heads": heads_study.Recipe, "andc": andc_study.Recipe, "scratch": andc_study.ScratchRecipe}
            if extra := set(raw) - {"data", "seed", *parts}:
                raise unknown("key", extra.pop(), ("data", "seed", *parts))
            made = {}
            for name, kind in parts.items():
                known = [f.name for f in dataclasses.fields(kind)]
                if extra := set(raw.get(name, {})) - set(known):
                    raise unknown(f"key of [{name}]", extra.pop(), known)
                made[name] = kind(**raw.get(name, {}))
            return cls(str(raw["data"]), int(raw.get("seed", 0)), **made)
        except (ValueError, TypeError, KeyError, FileNotFoundError) as error:
            raise ValueError(f"{path}: {error}") from error
