"""A run in small: the same network and stages on a few images of noise. Its numbers mean nothing, its path is the same.

For runs that need hours or a lent machine, so that what is wrong shows before.
"""

import dataclasses
from pathlib import Path

import numpy as np

from lib.data import STATISTICS, ImageSet
from lib.runs.definition import Definition
from lib.runs.run import Run


class Rehearsal(Run):
    """A run cut down to minutes, on images of noise, with results in `folder`: to see that all stages work here."""

    latency_batches, latency_rounds = (1,), 1

    def __init__(self, name: str, folder: Path):
        super().__init__(name, compute=True, folder=folder)
        self.definition = shorten(self.definition)

    def images(self, split: str) -> ImageSet:
        """A batch of noise, at least one image for each label, of the size that the network takes."""
        d = self.definition
        K = d.network.classes
        return noise(d.data, split, max(K, d.training.batch), K, d.network.image_size, seed=int(split == "train"))


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
            token_stages=tuple((1 / len(stages), factor) for _, factor in stages),
        ),
        probes=dataclasses.replace(definition.probes, epochs=1, batch=20),
        heads=dataclasses.replace(
            definition.heads, permutations=20, rotations=2, regroupings=2, orders=1, expert_images=50
        ),
        andc=dataclasses.replace(
            definition.andc, thresholds=(0.3,), few_thresholds=(0.3,), retrained_thresholds=(0.3,), draws=1,
            sweep_images=50, score_images=20, retraining_images=20, retraining_epochs=1,
        ),
    )  # fmt: skip


def noise(name: str, split: str, n: int, classes: int, side: int, seed: int = 0) -> ImageSet:
    """n images of noise, side x side pixels, with labels in turn; normalised as the set `name` is, if it is known."""
    pixels = np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), np.uint8)
    labels = [f"label {i}" for i in range(classes)]
    mean, std = STATISTICS.get(name, ((0.5,) * 3, (0.25,) * 3))
    return ImageSet(name, split, pixels, np.arange(n) % classes, labels, mean=mean, std=std)
