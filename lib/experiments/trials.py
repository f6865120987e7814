"""Which recipe a network gains from, judged on images that were held out: the test images have no say in it.

The network is trained anew by each recipe, on nine tenths of the training images, or on all of them where the set has a
validation split, which then judges.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lib.cct import CCT
from lib.data import ImageSet
from lib.data.augment.policy import Augmentation
from lib.recipes import REFERENCE, Recipe
from lib.runs.definition import Definition
from lib.system.identity import training_identity
from lib.training import loop as train
from lib.training.deadline import Deadline

SHARE, SEED = 0.1, 123  # of each label's images that are held out, and of their draw
CHECKPOINT = ".{}-{}.safetensors"  # of the training of a trial


def policies(own: Augmentation) -> dict[str, Augmentation]:
    """Augmentations to be tried, by name: the run's own, the reference's, and that without erasing and mixing.

    Another that is the run's own is not tried twice.
    """
    reference = REFERENCE.augmentation
    others = {"reference": reference, "unmixed": dataclasses.replace(reference, erase=0.0, mixup=0.0, cutmix=0.0)}
    return {"own": own} | {name: policy for name, policy in others.items() if policy != own}


def hold_out(images: ImageSet, share: float = SHARE, seed: int = SEED) -> tuple[ImageSet, ImageSet]:
    """Two parts of an image set: the larger to train on, and `share` of each label's images, at least one."""
    random = np.random.default_rng(seed)
    places = (np.flatnonzero(images.labels == k) for k in range(len(images.label_names)))
    held = np.concatenate([random.permutation(p)[: max(1, round(share * len(p)))] for p in places])
    return images.take(np.setdiff1d(np.arange(len(images)), held)), images.take(np.sort(held))


def rows(
    kind: str,
    recipes: Mapping[str, Recipe],
    d: Definition,
    learnt: ImageSet,
    held: ImageSet,
    folder: Path,
    device: str,
    deadline: Deadline | None = None,
) -> list[dict]:
    """One row a recipe, its name in the column `kind`: accuracy on the images `held` out, how many there are, seconds.

    Checkpoints are kept in `folder` until `done`, so that no training is repeated. Raises OutOfTime before a deadline.
    """
    found = []
    for name, recipe in recipes.items():
        checkpoint = folder / CHECKPOINT.format(kind, name)
        network, curve = train.train(
            lambda: CCT(d.network),
            recipe,
            learnt,
            d.seed,
            checkpoint,
            device=device,
            deadline=deadline,
            identity=training_identity(recipe, d.seed, learnt, network=d.network),
        )
        factor = recipe.last_token_factor  # a trial is judged with as many tokens as it ended with
        logits = train.predict(network, held, token_factor=factor)
        found.append(
            {
                kind: name,
                "held_out_accuracy": train.accuracy(logits, held.labels),
                "train_accuracy": curve[-1]["train_accuracy"],
                "train_images": len(learnt),
                "images": len(held),
                "tokens": (d.network.grid // factor) ** 2,
                "seconds": curve[-1]["seconds"],
            }
        )
    return found


def done(kind: str, folder: Path):
    """Remove the checkpoints."""
    for path in folder.glob(CHECKPOINT.format(kind, "*")):
        path.unlink()
