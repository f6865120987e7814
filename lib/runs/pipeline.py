"""The stages of a run: what each computes, what it builds on, and what of the configuration its result depends on."""

from collections.abc import Callable
from typing import NamedTuple

from lib.runs import stages


class Stage(NamedTuple):
    version: int  # raised by hand when the code computes something else
    upstream: tuple[str, ...]
    compute: Callable[..., stages.Made]  # of the run
    uses: tuple[str, ...]  # the parts of `lib.runs.definition.Definition` that the result depends on
    tables: tuple[str, ...] = ()
    optional: bool = False  # expensive, and nothing else builds on it
    shared: bool = False  # several processes can work at it together


STAGES = {
    "train": Stage(1, (), stages.train_network, ("data", "seed", "network", "training"), ("training",), shared=True),
    "probes": Stage(1, ("train",), stages.train_probes, ("probes", "seed"), ("probe_training",), shared=True),
    "fields": Stage(1, ("train", "probes"), stages.fields, (), ("probes",), shared=True),
    "heads": Stage(
        2,
        ("train", "probes", "fields"),
        stages.study_heads,
        ("heads", "probes", "seed"),
        ("heads", "heads_encoders", "heads_cooperation"),
    ),
    "andc": Stage(
        1,
        ("train", "probes", "fields"),
        stages.prune,
        ("andc", "training", "seed"),
        ("andc", "andc_labels", "andc_cost", "andc_latency"),
    ),
    "scratch": Stage(
        1,
        ("train", "fields", "andc"),
        stages.train_pruned,
        ("scratch", "training", "seed"),
        ("scratch",),
        optional=True,
    ),
    "augmentation": Stage(
        1,
        (),
        stages.try_augmentations,
        ("data", "seed", "network", "training"),
        ("augmentation",),
        optional=True,
    ),
    "trials": Stage(1, (), stages.try_recipes, ("data", "seed", "network", "trials"), ("trials",), optional=True),
    "cnn": Stage(1, (), stages.train_cnn, ("data", "seed", "training", "probes", "cnn"), ("cnn",), optional=True),
}
REQUIRED = tuple(stage for stage, about in STAGES.items() if not about.optional)
TABLES = {table: stage for stage, about in STAGES.items() for table in about.tables}
