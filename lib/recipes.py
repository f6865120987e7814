"""Recipes: every section of `config.toml` but [network], which is `lib.cct.Config`; checked when they are made."""

import math
from dataclasses import asdict, field, replace
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from lib.data.augment.plan import Augmentation
from lib.system.checked import Part, Parts, added, checked
from lib.system.words import count

Counts = Annotated[tuple[PositiveInt, ...], Field(strict=False)]
Rule = Literal["andc", "permuted", "exchanged", "random", "dealt", "levelled", "magnitude"]  # that need no images
Method = Literal[Rule, "activation", "gradient"]
Repeats = Annotated[int, Field(ge=2)]  # of which a deviation is taken
Stage = Annotated[tuple[PositiveFloat, PositiveInt], Field(strict=False)]
Stages = Annotated[tuple[Stage, ...], Field(strict=False)]


@checked
class TrainingRecipe:
    """How a network is trained.

    The learning rate rises along a line, falls along a cosine or a line to `final_lr` and stays there for a while. By
    the schedule "stable" it stays at `lr` and falls along a line in the last `decay_epochs`.

    token_stages: pairs (epochs, factor). The training begins with these epochs, in which the grid of tokens is averaged
    factor x factor before the encoders, and ends with all tokens: `((20, 4), (10, 2))` trains a 16 x 16 grid as 4 x 4,
    then as 8 x 8, then as it is. The idea is that of progressive resizing, applied to tokens.
    """

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
    schedule: Literal["cosine", "linear", "stable"] = added("cosine")
    decay_epochs: NonNegativeFloat = added(0.0)  # of the schedule "stable"
    optimiser: Literal["adamw", "muon"] = added("adamw")  # muon: for the encoders' matrices; AdamW for the rest
    clip: NonNegativeFloat = added(0.0)  # largest norm of the gradient; 0: any
    average: Part = added(0.0)  # decay of the exponential average of the weights that is evaluated and stored; 0: none
    precision: Literal["auto", "bf16", "fp32"] = added("auto")  # of products: lib.system.device.precision
    token_stages: Stages = added(())
    parts: Literal["all", "readout"] = added("all")  # that learn; the read-out: what is behind the encoders

    def __post_init__(self):
        if self.warmup_epochs + self.cooldown_epochs > self.epochs:
            raise ValueError(
                "warmup_epochs and cooldown_epochs must fit into epochs, got"
                f" {self.warmup_epochs:g} + {self.cooldown_epochs:g} and {self.epochs:g}"
            )
        if self.schedule == "stable":
            if self.cooldown_epochs:
                raise ValueError(f"cooldown_epochs must be 0 by the schedule 'stable', got {self.cooldown_epochs:g}")
            if self.warmup_epochs + self.decay_epochs > self.epochs:
                raise ValueError(
                    "warmup_epochs and decay_epochs must fit into epochs, got"
                    f" {self.warmup_epochs:g} + {self.decay_epochs:g} and {self.epochs:g}"
                )
        elif self.decay_epochs:
            raise ValueError(f"decay_epochs is for the schedule 'stable', got it with {self.schedule!r}")
        if (staged := sum(epochs for epochs, _ in self.token_stages)) > self.epochs:
            raise ValueError(f"the epochs of token_stages must fit into epochs, got {staged:g} and {self.epochs:g}")

    def token_factor(self, step: int, steps: int) -> int:
        """By which factor the sides of the token grid are reduced in a step."""
        end = 0.0
        for epochs, factor in self.token_stages:
            end += epochs
            if step < round(end * steps / self.epochs):
                return factor
        return 1

    @property
    def last_token_factor(self) -> int:
        """That of the last step."""
        return self.token_factor(2**40 - 1, 2**40)

    def branch(self, steps: int) -> int:
        """How many steps by the schedule "stable" do not know yet when training ends: the trunk of longer ones."""
        return steps - round(self.decay_epochs * steps / self.epochs)

    def differences(self) -> str:
        """What differs from the default recipe, as text: "epochs=20, lr=0.0015, ..."."""

        def changed(values: dict, default: dict) -> dict:
            inner = {k: changed(v, default[k]) for k, v in values.items() if isinstance(v, dict)}
            return {k: inner.get(k, v) for k, v in values.items() if v != default[k]}

        found = changed(asdict(self), asdict(TrainingRecipe()))
        found |= found.pop("augmentation", {})
        return ", ".join(f"{name}={value}" for name, value in found.items())

    def described(self) -> str:
        """The recipe in one sentence."""
        falls = {"cosine": "down a cosine", "linear": "linearly down", "stable": "linearly down at the end"}
        optimiser = {"adamw": "AdamW", "muon": "Muon for the encoders' matrices and AdamW for the rest"}[self.optimiser]
        said = [
            f"{count(self.epochs, 'epoch')} in batches of {self.batch}",
            f"{optimiser}, at a rate of {self.lr:g} after {count(self.warmup_epochs, 'epoch')} of warm-up, then"
            f" {falls[self.schedule]} to {self.final_lr:g}",
            f"weight decay {self.weight_decay:g}, label smoothing {self.label_smoothing:g}",
        ]
        if self.parts == "readout":
            said.append("the read-out alone")
        if self.clip:
            said.append(f"gradients clipped at a norm of {self.clip:g}")
        if self.average:
            said.append(f"weights averaged with a decay of {self.average:g}")
        if self.precision != "auto":
            where = ", where the machine gains by it" * (self.precision == "bf16")
            said.append(f"products in {self.precision}{where}")
        stages = [
            f"{count(epochs, 'epoch')} with the grid of tokens averaged {f} x {f}" for epochs, f in self.token_stages
        ]
        if rest := self.epochs - sum(epochs for epochs, _ in self.token_stages):
            said += ["; ".join([*stages, f"{count(rest, 'epoch')} at the end with all tokens"])] if stages else []
        else:
            said.append("; ".join(stages))
        return ". ".join(text[0].upper() + text[1:] for text in [*said, self.augmentation.described()]) + "."

    def lr_at(self, step: int, steps: int) -> float:
        """Learning rate of step 0 ... steps - 1."""
        if self.schedule == "stable":
            warmup, branch = round(self.warmup_epochs * steps / self.epochs), self.branch(steps)
            rising = self.first_lr + (self.lr - self.first_lr) * (step + 1) / max(1, warmup)
            left = (steps - step) / max(1, steps - branch)
            return rising if step < warmup else self.final_lr + (self.lr - self.final_lr) * min(1.0, left)
        warmup, cooldown = (part * steps / self.epochs for part in (self.warmup_epochs, self.cooldown_epochs))
        if step < warmup:
            return self.first_lr + (self.lr - self.first_lr) * min(1.0, (step + 1) / warmup)
        progress = min(1.0, (step - warmup) / max(1, steps - warmup - cooldown))
        left = 1 - progress if self.schedule == "linear" else (1 + math.cos(math.pi * progress)) / 2
        return self.final_lr + (self.lr - self.final_lr) * left


REFERENCE = TrainingRecipe(
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

RECIPES = {"default": TrainingRecipe(), "reference": REFERENCE}


@checked
class ProbeRecipe:
    """How probes are trained: AdamW with a cosine down to zero."""

    epochs: PositiveInt = 5
    batch: PositiveInt = 250
    lr: PositiveFloat = 5e-3
    weight_decay: NonNegativeFloat = 1e-2
    shift: NonNegativeInt = 4  # pixels
    flip: bool = True
    precision: Literal["fp32", "bf16"] = added("fp32")  # of the frozen network; probes are trained in float32


@checked
class HeadsRecipe:
    """How much of everything random is drawn, and on how many training images experts are found."""

    permutations: Repeats = 1000
    rotations: Repeats = 100
    regroupings: Repeats = 50  # of the nodes into random groups, for accuracies
    orders: PositiveInt = 5  # in which nodes join a head
    expert_images: NonNegativeInt = 10_000  # training images; 0: all
    control_probe_epochs: PositiveInt = 1  # of the probes on the untrained network and on shuffled labels
    precision: Literal["fp32", "bf16"] = added("fp32")  # in which the network runs without each of its heads
    removal_images: NonNegativeInt = added(0)  # test images, as many of each label, for that; 0: all


@checked
class PruningRecipe:
    """Which masks are tried and how the masked networks are retrained."""

    thresholds: Parts = (0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.9)
    few_thresholds: Parts = (0.2, 0.3, 0.4, 0.5, 0.6)  # where layers are pruned alone, and for readings
    retrained_thresholds: Parts = (0.3, 0.4, 0.5, 0.9)
    draws: PositiveInt = 3  # of each random baseline, over all layers and encoders without retraining; else one
    sweep_images: NonNegativeInt = 0  # test images, as many of each label, where nothing is trained; 0: all of them
    score_images: NonNegativeInt = 2500  # training images for the baselines that need activations or gradients
    retraining_images: NonNegativeInt = 0  # training images of an epoch of retraining; 0: all
    retraining_epochs: PositiveInt = 1
    retraining_lr: PositiveFloat = 0.3  # in units of the training's peak learning rate; a cosine from there to its last
    retraining_token_stages: Stages = added(())  # as the training's, of these epochs
    precision: Literal["fp32", "bf16"] = added("fp32")  # in which networks are tested where nothing was trained
    latency_batches: Counts = added((1, 256))
    latency_rounds: PositiveInt = added(15)  # of which the median is taken
    retrained_methods: Annotated[tuple[Method, ...], Field(strict=False)] = added(  # those that cost a training each
        ("andc", "permuted", "random", "magnitude", "activation", "gradient")
    )


@checked
class ScratchRecipe:
    """Which masks are trained from scratch; each costs as much as the network itself."""

    thresholds: Parts = ()
    methods: Annotated[tuple[Method, ...], Field(strict=False)] = ("andc", "permuted", "magnitude")


@checked
class ScheduleRecipe:
    """How trained networks are trained further, pruned or not, and which rates are tried for that on the unpruned one.

    The rate rises, stays, and falls along a line in the last part of a length (warm-up, stable, decay). So all lengths
    have a trunk in common, from which each branches off, and none is paid for twice.
    """

    rates: Annotated[tuple[PositiveFloat, ...], Field(strict=False, min_length=1)] = (0.03, 0.1, 0.3)  # to be tried
    trial_epochs: Counts = (1, 4)
    warmup_epochs: NonNegativeFloat = 0.1
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.2  # share of a length in which the rate falls
    token_factor: PositiveInt = 1  # of all but the end of a length, as in the training's token_stages
    all_tokens: Part = 0.1  # share of a length, its end, that sees all tokens; less than `decay`
    images: NonNegativeInt = 0  # training images of an epoch, as many of each label; 0: all
    precision: Literal["training", "bf16", "fp32"] = "training"  # training: the precision in which that was done

    def __post_init__(self):
        _lengths("trial_epochs", self.trial_epochs)
        if self.all_tokens >= self.decay:
            raise ValueError(f"all_tokens must be less than decay, got {self.all_tokens:g} and {self.decay:g}")
        if self.warmup_epochs > 1 - self.decay:
            raise ValueError(
                "warmup_epochs must fit into the shortest length, an epoch, before the rate falls, got"
                f" {self.warmup_epochs:g} where decay is {self.decay:g}"
            )

    def of(self, training: TrainingRecipe, epochs: int, rate: float) -> TrainingRecipe:
        """The recipe of some epochs more for a network that was trained by `training`; rate: in units of its peak."""
        staged = ((epochs * (1 - self.all_tokens), self.token_factor),) if self.token_factor > 1 else ()
        return replace(
            training,
            epochs=epochs,
            lr=training.lr * rate,
            parts="all",
            first_lr=0.0,
            final_lr=0.0,
            warmup_epochs=self.warmup_epochs,
            cooldown_epochs=0,
            schedule="stable",
            decay_epochs=self.decay * epochs,
            token_stages=staged,
            precision=training.precision if self.precision == "training" else self.precision,
        )


@checked
class RetrainingRecipe:
    """Which networks are retrained for how long; one rate and schedule (`ScheduleRecipe`) for all of them."""

    thresholds: Parts = (0.3, 0.5)
    methods: Annotated[tuple[Rule, ...], Field(strict=False)] = ("andc", "permuted", "random", "magnitude")
    epochs: Counts = (1, 4, 16)  # the lengths; the network as it was pruned is measured too
    rate: PositiveFloat = 0.1  # in units of the training's peak learning rate; what the stage rates chooses
    latency_batches: Counts = (1, 64)
    latency_rounds: PositiveInt = 9

    def __post_init__(self):
        _lengths("epochs", self.epochs)


def _lengths(name: str, epochs: tuple[int, ...]):
    if not epochs or list(epochs) != sorted(set(epochs)):
        raise ValueError(f"{name} must name at least one length, each once and the shortest first, got {list(epochs)}")


@checked
class CNNRecipe:
    """The CNN beside a run, and how it is measured; it is trained, and its probes are, as the run's network is."""

    flattened_lr: PositiveFloat = 1e-3  # of the flattened read-outs, which have a weight for each position
    relabelled: PositiveInt = 5  # repeats of the control, elsewhere `snp.RELABELLINGS`
    widths: Counts = added((16, 32, 64, 64, 96, 96))  # filters of each block
    pools: Annotated[tuple[bool, ...], Field(strict=False)] = added((True, True, False, False, True, False))

    def __post_init__(self):
        if not self.widths or len(self.widths) != len(self.pools):
            raise ValueError(
                f"each block needs a width and whether it pools, got {len(self.widths)} and {len(self.pools)}"
            )
