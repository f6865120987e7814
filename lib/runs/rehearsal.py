"""A run in small: the same network and stages on a little noise. Its numbers mean nothing, its path is the same.

For runs that need hours or a lent machine, so that what is wrong shows before.
"""

import dataclasses
from pathlib import Path

from lib.data import LabelledSet
from lib.runs.definition import Definition
from lib.runs.run import Run, defined


class Rehearsal(Run):
    """A run cut down to minutes, on noise, with results in `folder`: to see that its stages work here."""

    def __init__(self, name: str, folder: Path):
        super().__init__(name, compute=True, folder=folder, definition=shorten(defined(name)))

    def images(self, split: str) -> LabelledSet:
        """A batch of noise, at least one thing for each label, as the network takes it."""
        d = self.definition
        return d.network.noise(d.data, split, max(d.network.classes, d.training.batch), seed=int(split == "train"))


def shorten(definition: Definition) -> Definition:
    """The same definition with a few steps of everything."""
    cooldown = min(0.5, definition.training.cooldown_epochs)
    stages = definition.training.token_stages
    return dataclasses.replace(
        definition,
        training=dataclasses.replace(
            definition.training,
            epochs=2,
            batch=20,
            warmup_epochs=0.5,
            cooldown_epochs=cooldown,
            decay_epochs=min(1.0, definition.training.decay_epochs),
            token_stages=tuple((1 / len(stages), factor) for _, factor in stages),
        ),
        probes=dataclasses.replace(definition.probes, epochs=1, batch=20),
        heads=dataclasses.replace(
            definition.heads, permutations=20, rotations=2, regroupings=2, orders=1, expert_images=50
        ),
        andc=dataclasses.replace(
            definition.andc, thresholds=(0.3,), few_thresholds=(0.3,), retrained_thresholds=(0.3,), draws=1,
            sweep_images=50, score_images=20, retraining_images=20, retraining_epochs=1,
            latency_batches=(1,), latency_rounds=1,
        ),
    )  # fmt: skip
