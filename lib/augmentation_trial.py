"""Which augmentation a network of a run's size and length of training gains from, judged on held-out training images.

The test images have no say in it: the network is trained anew on nine tenths of the training images with each policy.
"""

import dataclasses
from pathlib import Path

import numpy as np

from lib import train
from lib.cct import CCT
from lib.data import ImageSet
from lib.deadline import Deadline
from lib.definition import Definition
from lib.policy import Augmentation
from lib.recipe import REFERENCE

SHARE, SEED = 0.1, 123  # of each label's images that are held out, and of their draw
CHECKPOINT = ".augmentation-{}.safetensors"  # of the training with a policy


def policies(own: Augmentation) -> dict[str, Augmentation]:
    """What is tried, by name: the run's own policy, the reference's, and the reference's without erasing and mixing.

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
    d: Definition, images: ImageSet, folder: Path, inputs: str, device: str, deadline: Deadline | None = None
) -> list[dict]:
    """One row a policy: its accuracy on held-out images, images learnt from and judged by, training seconds.

    Checkpoints are kept in `folder` until `done`, so that no training is repeated; those of other `inputs` are refused.
    Raises OutOfTime before a deadline.
    """
    learnt, held = hold_out(images)
    found = []
    for name, policy in policies(d.training.augmentation).items():
        recipe = dataclasses.replace(d.training, augmentation=policy)
        network, curve = train.train(
            lambda: CCT(d.network),
            recipe,
            learnt,
            d.seed,
            folder / CHECKPOINT.format(name),
            device=device,
            deadline=deadline,
            identity=f"{inputs} {name}",
        )
        reached = train.accuracy(train.predict(network, held), held.labels)
        row = {"policy": name, "held_out_accuracy": reached, "train_images": len(learnt), "images": len(held)}
        found.append(row | {"seconds": curve[-1]["seconds"]})
    return found


def done(folder: Path):
    """Remove the checkpoints."""
    for path in folder.glob(CHECKPOINT.format("*")):
        path.unlink()
