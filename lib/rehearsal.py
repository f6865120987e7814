"""A run in small: the same network and stages on a few images of noise. Its numbers mean nothing, its path is the same.

For runs that need hours or a lent machine, so that what is wrong shows before.
"""

import dataclasses

import numpy as np

from lib.data import STATISTICS, ImageSet
from lib.definition import Definition


def shorten(definition: Definition) -> Definition:
    """The same definition with a few steps of everything."""
    training = dataclasses.replace(definition.training, epochs=2, batch=20, warmup_epochs=0.5)
    return dataclasses.replace(
        definition,
        training=dataclasses.replace(training, cooldown_epochs=min(0.5, training.cooldown_epochs)),
        probes=dataclasses.replace(definition.probes, epochs=1, batch=20),
        heads=dataclasses.replace(
            definition.heads, permutations=20, rotations=2, regroupings=2, orders=1, expert_images=50
        ),
        andc=dataclasses.replace(
            definition.andc, thresholds=(0.3,), few_thresholds=(0.3,), retrained_thresholds=(0.3,), draws=1,
            sweep_images=50, score_images=20, retraining_images=20, retraining_epochs=1,
        ),
    )  # fmt: skip


def images(definition: Definition, split: str) -> ImageSet:
    """A batch of noise, at least one image for each label, of the size that the network takes."""
    K, side = definition.network.classes, definition.network.image_size
    n = max(K, definition.training.batch)
    pixels = np.random.default_rng(split == "train").integers(0, 256, (n, side, side, 3), np.uint8)
    mean, std = STATISTICS.get(definition.data, ((0.5,) * 3, (0.25,) * 3))
    return ImageSet(
        definition.data, split, pixels, np.arange(n) % K, [f"label {i}" for i in range(K)], mean=mean, std=std
    )
