"""The stages of a run: what each computes, what it builds on, and what of the configuration its result depends on."""

from collections.abc import Callable
from typing import NamedTuple

from lib import stages
from lib.definition import Definition


class Stage(NamedTuple):
    version: int  # raised by hand when the code computes something else
    upstream: tuple[str, ...]
    compute: Callable[..., stages.Made]  # of the run
    uses: Callable[[Definition], tuple]  # what of the configuration the result depends on
    tables: tuple[str, ...] = ()
    optional: bool = False  # expensive, and nothing else builds on it
    shared: bool = False  # several processes can work at it together


STAGES = {
    "train": Stage(
        1, (), stages.train_network, lambda d: (d.data, d.seed, d.network, d.training), ("training",), shared=True
    ),
    "probes": Stage(1, ("train",), stages.train_probes, lambda d: (d.probes, d.seed), ("probe_training",), shared=True),
    "fields": Stage(1, ("train", "probes"), stages.fields, lambda d: (), ("probes",), shared=True),
    "heads": Stage(
        2,
        ("train", "probes", "fields"),
        stages.study_heads,
        lambda d: (d.heads, d.probes, d.seed),
        ("heads", "heads_encoders", "heads_cooperation"),
    ),
    "andc": Stage(
        1,
        ("train", "probes", "fields"),
        stages.prune,
        lambda d: (d.andc, d.training, d.seed),
        ("andc", "andc_labels", "andc_cost", "andc_latency"),
    ),
    "scratch": Stage(
        1,
        ("train", "fields", "andc"),
        stages.train_pruned,
        lambda d: (d.scratch, d.training, d.seed),
        ("scratch",),
        optional=True,
    ),
    "augmentation": Stage(
        1,
        (),
        stages.try_augmentations,
        lambda d: (d.data, d.seed, d.network, d.training),
        ("augmentation",),
        optional=True,
    ),
    "trials": Stage(
        1, (), stages.try_recipes, lambda d: (d.data, d.seed, d.network, d.trials), ("trials",), optional=True
    ),
    "cnn": Stage(
        1, (), stages.train_cnn, lambda d: (d.data, d.seed, d.training, d.probes, d.cnn), ("cnn",), optional=True
    ),
}
REQUIRED = tuple(stage for stage, about in STAGES.items() if not about.optional)
TABLES = {table: stage for stage, about in STAGES.items() for table in about.tables}
