"""Training a network, so that a run that was stopped ends with the same weights as one that was not.

Everything random in step t (`lib.training.batches`, and what dropout removes) is a function of (seed, t) alone. A
checkpoint therefore holds the weights, the optimiser's moments and the step: no random state.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from lib.data import LabelledSet
from lib.recipes import TrainingRecipe
from lib.system import parallel
from lib.system.device import bar, keep_memory, seed_for
from lib.system.errors import OutOfTime
from lib.system.identity import training_identity
from lib.training import resume
from lib.training.batches import training_batches
from lib.training.resume import Deadline
from lib.training.step import TrainingStep

INTERVAL = 60.0  # seconds from one checkpoint to the next
AGREE_EVERY = 16  # steps, between which several processes do not ask each other whether it is time to stop or save


class Trunk(NamedTuple):
    """What trainings of several lengths by the schedule "stable" have in common: the checkpoint of its last step.

    `identity` names all that the trunk depends on, which is everything but the length.
    """

    path: Path
    identity: str


def train(
    build: Callable[[], nn.Module],
    recipe: TrainingRecipe,
    images: LabelledSet,
    seed: int = 0,
    checkpoint: Path | None = None,
    interval: float | None = None,
    device: str | torch.device = "cpu",
    deadline: Deadline | None = None,
    compiled: bool = False,
    identity: str | None = None,
    trunk: Trunk | None = None,
) -> tuple[nn.Module, list[dict]]:
    """Build a network and train it; returns it in evaluation mode, with its curve: one row an epoch.

    For `compiled`, precision on a GPU and several processes, see `lib.training.step.TrainingStep`.

    `checkpoint` names a file that is written every `interval` seconds (default: INTERVAL) and at the end; if it is
    there, training goes on from it. It is refused (ValueError) if it was written under another `identity`, which says
    whatever the result depends on (default: recipe, seed, and the image set with all that is in it).
    trunk: where the schedule is "stable", training begins with what is there, and leaves there what it is when its rate
    begins to fall, so that a longer one goes on from it; its curve and seconds are those of a training of its own.
    Raises OutOfTime, with a checkpoint written, before a deadline comes, and ValueError for less than one step.
    """
    keep_memory()
    device = torch.device(device)
    batches = training_batches(images, recipe.augmentation, recipe.batch, seed, device)
    steps = round(recipe.epochs * batches.per_epoch)
    if not steps:
        raise ValueError(
            f"epochs = {recipe.epochs:g} is no step of training: an epoch of {len(images)} {images.thing}s has"
            f" {batches.per_epoch} steps of {recipe.batch}; set at least {1 / batches.per_epoch:.2g}"
        )
    network = learning(initialised(build, seed), recipe.parts).to(device)
    learn = TrainingStep(network, recipe, compiled)
    if checkpoint:
        identity = identity or training_identity(recipe, seed, images)
    state = {"step": 0, "seconds": 0.0, "curve": [], "loss": 0.0, "correct": 0.0}
    if checkpoint and checkpoint.exists():
        state = resume.restore(checkpoint, identity, learn.parts)
    elif trunk and trunk.path.exists():
        state = resume.restore(trunk.path, trunk.identity, learn.parts)
        if state["step"] > recipe.branch(steps):
            raise ValueError(
                f"{trunk.path} has {state['step']} steps, more than the {recipe.branch(steps)} after which this"
                " training leaves it: train the shorter lengths first, or remove it"
            )

    first = state["step"]
    mine = 1.0 if parallel.rank() == 0 else 0.0  # what was summed before is counted once
    sums = torch.tensor([state["loss"], state["correct"]], dtype=torch.float64, device=device) * mine
    started, saved = time.monotonic() - state["seconds"], time.monotonic()
    network.train()
    if deadline:
        deadline.begin()
    progress = bar(steps, "training", first)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for step, batch in enumerate(batches.steps(first, steps), first):
            epoch, position = divmod(step, batches.per_epoch)
            torch.manual_seed(seed_for(seed, epoch, position, 2 + parallel.rank()))
            sums += learn(*batch[:2], lr := recipe.lr_at(step, steps), recipe.token_factor(step, steps), batch.mask)
            progress.update()
            last = step + 1 == steps
            if last or position == batches.per_epoch - 1:
                parallel.add(sums)
                row = _row(epoch, lr, sums / ((position + 1) * recipe.batch), time.monotonic() - started)
                state["curve"].append(row)
                sums.zero_()
                progress.set_postfix(
                    epoch=row["epoch"], loss=f"{row['loss']:.3f}", accuracy=f"{row['train_accuracy']:.3f}"
                )
            stop = deadline is not None and not last and deadline.near()
            save = time.monotonic() - saved > (INTERVAL if interval is None else interval)
            if parallel.size() > 1:
                asked = step % AGREE_EVERY == 0
                stop, save = parallel.any_of(stop, save) if asked else (False, False)
            kept = [trunk] if trunk and step + 1 == recipe.branch(steps) else []
            if checkpoint and (last or stop or save):
                kept.append((checkpoint, identity))
                saved = time.monotonic()
            if kept:
                total = sums.clone()
                parallel.add(total)
                state |= {"step": step + 1, "seconds": time.monotonic() - started}
                state |= dict(zip(("loss", "correct"), total.tolist(), strict=True))
            for path, name in kept:
                resume.save(path, name, state, learn.parts)
            if stop:
                raise OutOfTime(f"training stopped after {step + 1} of {steps} steps; call it again to go on")
    progress.close()
    return learn.result, state["curve"]


def _row(epoch: int, lr: float, means: torch.Tensor, seconds: float) -> dict:
    loss, correct = means.tolist()
    if not math.isfinite(loss):
        raise FloatingPointError(f"the loss of epoch {epoch + 1} is {loss}: lower the learning rate")
    return {"epoch": epoch + 1, "lr": lr, "loss": loss, "train_accuracy": correct, "seconds": seconds}


def learning(network: nn.Module, parts: str) -> nn.Module:
    """The network, of which only some parts can learn: "all" leaves it as it is, "readout" what its `readout` names."""
    if parts == "readout":
        network.requires_grad_(False)
        for name in network.readout:
            network.get_submodule(name).requires_grad_(True)
    return network


def initialised(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """The network as it is before its first step, the same for the same seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed_for(seed))
        return build()
