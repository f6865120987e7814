"""How a network is trained: the numbers, and the learning rate that follows from them."""

import math
from dataclasses import field

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from lib.checked import Part, checked
from lib.policy import Augmentation


@checked
class Recipe:
    """AdamW; the learning rate rises along a line, falls along a cosine to `final_lr` and stays there for a while."""

    epochs: PositiveFloat = 40  # with warm-up and cool-down
    batch: PositiveInt = 128  # images a step, of all processes together; the last, smaller one of an epoch is left out
    lr: PositiveFloat = 2e-3  # at the end of the warm-up
    first_lr: NonNegativeFloat = 0.0  # before the first step
    final_lr: NonNegativeFloat = 1e-5
    warmup_epochs: NonNegativeFloat = 2
    cooldown_epochs: NonNegativeFloat = 0
    weight_decay: NonNegativeFloat = 0.05  # of matrices, kernels and the positional embedding only
    label_smoothing: Part = 0.1
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self):
        if self.warmup_epochs + self.cooldown_epochs > self.epochs:
            raise ValueError(
                "warmup_epochs and cooldown_epochs must fit into epochs, got"
                f" {self.warmup_epochs:g} + {self.cooldown_epochs:g} and {self.epochs:g}"
            )

    def lr_at(self, step: int, steps: int) -> float:
        """Learning rate of step 0 ... steps - 1."""
        warmup, cooldown = (part * steps / self.epochs for part in (self.warmup_epochs, self.cooldown_epochs))
        if step < warmup:
            return self.first_lr + (self.lr - self.first_lr) * (step + 1) / warmup
        progress = min(1.0, (step - warmup) / max(1, steps - warmup - cooldown))
        return self.final_lr + (self.lr - self.final_lr) * (1 + math.cos(math.pi * progress)) / 2


REFERENCE = Recipe(
    epochs=310,
    batch=128,
    lr=6e-4,
    first_lr=1e-6,
    final_lr=1e-5,
    warmup_epochs=10,
    cooldown_epochs=10,
    weight_decay=0.06,
    label_smoothing=0.1,
    augmentation=Augmentation(shift=0, crop_scale=0.8, operations=2, erase=0.25, mixup=0.8, cutmix=1.0),
)
"""CCT-7/3x1 on CIFAR-100 as in SHI-Labs/Compact-Transformers, configs/pretrained/cct_7-3x1_cifar100_300epochs.yml at
commit 87e9459 (later versions of that file erase nothing). Known differences: images are interpolated bilinearly, where
the reference draws bilinear or bicubic; the cosine begins after the warm-up, not under it; the rate changes with each
step, not each epoch; mixed pairs are neighbours of the shuffled batch, not its first with its last."""

RECIPES = {"default": Recipe(), "reference": REFERENCE}
