"""Which recipe a network gains from, judged on images that were held out: the test images have no say in it.

The network is trained anew by each recipe, on nine tenths of the training images, or on all of them where the set has a
validation split, which then judges.
"""

import dataclasses
from pathlib import Path

import numpy as np

from lib.data import LabelledSet
from lib.recipes import REFERENCE, Augmentation, TrainingRecipe
from lib.system.identity import training_identity
from lib.training import evaluate, loop
from lib.training.resume import Deadline

SHARE, SEED = 0.1, 123  # of each label's images that are held out, and of their draw


def policies(own: Augmentation) -> dict[str, Augmentation]:
    """Augmentations to be tried, by name: the run's own, the reference's, and that without erasing and mixing.

    Another that is the run's own is not tried twice.
    """
    reference = REFERENCE.augmentation
    others = {"reference": reference, "unmixed": dataclasses.replace(reference, erase=0.0, mixup=0.0, cutmix=0.0)}
    return {"own": own} | {name: policy for name, policy in others.items() if policy != own}


def hold_out(images: LabelledSet, share: float = SHARE, seed: int = SEED) -> tuple[LabelledSet, LabelledSet]:
    """Two parts of an image set: the larger to train on, and `share` of each label's images, at least one."""
    random = np.random.default_rng(seed)
    places = (np.flatnonzero(images.labels == k) for k in range(len(images.label_names)))
    held = np.concatenate([random.permutation(p)[: max(1, round(share * len(p)))] for p in places])
    return images.take(np.setdiff1d(np.arange(len(images)), held)), images.take(np.sort(held))


def trial(
    network,  # the configuration of one
    recipe: TrainingRecipe,
    seed: int,
    learnt: LabelledSet,
    held: LabelledSet,
    checkpoint: Path | None = None,
    device: str = "cpu",
    deadline: Deadline | None = None,
) -> dict:
    """What a network reaches by a recipe: accuracy on the images `held` out, how many there are, training seconds.

    The checkpoint is kept, so that no training is repeated. Raises OutOfTime before a deadline.
    """
    identity = training_identity(recipe, seed, learnt, network=network)
    trained, curve = loop.train(
        network.initial, recipe, learnt, seed, checkpoint, device=device, deadline=deadline, identity=identity
    )
    factor = recipe.last_token_factor  # a trial is judged with as many tokens as it ended with
    logits = evaluate.predict(trained, held, **({} if factor == 1 else {"token_factor": factor}))
    return {
        "held_out_accuracy": evaluate.accuracy(logits, held.labels),
        "train_accuracy": curve[-1]["train_accuracy"],
        "train_images": len(learnt),
        "images": len(held),
        "tokens": network.tokens(factor),
        "seconds": curve[-1]["seconds"],
    }
