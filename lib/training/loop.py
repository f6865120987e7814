"""Training a network, so that a run that was stopped ends with the same weights as one that was not.

Everything random in step t (`lib.training.feed`, and what dropout removes) is a function of (seed, t) alone. A
checkpoint therefore holds the weights, the optimiser's moments and the step: no random state.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lib.data import ImageSet, batches
from lib.recipes import Recipe
from lib.system import memory, parallel
from lib.system.errors import OutOfTime
from lib.system.identity import training_identity
from lib.system.progress import bar
from lib.system.seeds import seed_for
from lib.training import checkpoint as checkpoints
from lib.training.deadline import Deadline
from lib.training.feed import Feed
from lib.training.step import Learner

AGREE_EVERY = 16  # steps, between which several processes do not ask each other whether it is time to stop or save


def train(
    build: Callable[[], nn.Module],
    recipe: Recipe,
    images: ImageSet,
    seed: int = 0,
    checkpoint: Path | None = None,
    interval: float = 60,
    device: str | torch.device = "cpu",
    deadline: Deadline | None = None,
    compiled: bool = False,
    identity: str | None = None,
) -> tuple[nn.Module, list[dict]]:
    """Build a network and train it; returns it in evaluation mode, with its curve: one row an epoch.

    For `compiled`, precision on a GPU and several processes, see `lib.training.step.Learner`.

    `checkpoint` names a file that is written every `interval` seconds and at the end of each epoch; if it is there,
    training goes on from it. It is refused (ValueError) if it was written under another `identity`, which says whatever
    the result depends on (default: recipe, seed, name and size of the image set).
    Raises OutOfTime, with a checkpoint written, before a deadline comes.
    """
    memory.keep()
    device = torch.device(device)
    feed = Feed(images, recipe.augmentation, recipe.batch, seed, device)
    network = initialised(build, seed).to(device)
    learn = Learner(network, recipe, compiled)
    identity = identity or training_identity(recipe, seed, images)
    state = {"step": 0, "seconds": 0.0, "curve": [], "loss": 0.0, "correct": 0.0}
    if checkpoint and checkpoint.exists():
        state = checkpoints.resume(checkpoint, identity, learn.parts)

    steps = round(recipe.epochs * feed.per_epoch)
    first = state["step"]
    mine = 1.0 if parallel.rank() == 0 else 0.0  # what was summed before is counted once
    sums = torch.tensor([state["loss"], state["correct"]], dtype=torch.float64, device=device) * mine
    started, saved = time.monotonic() - state["seconds"], time.monotonic()
    network.train()
    if deadline:
        deadline.begin()
    progress = bar(steps, "training", first)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for step, (x, targets) in enumerate(feed.steps(first, steps), first):
            epoch, position = divmod(step, feed.per_epoch)
            torch.manual_seed(seed_for(seed, epoch, position, 2 + parallel.rank()))
            sums += learn(x, targets, lr := recipe.lr_at(step, steps), recipe.token_factor(step, steps))
            progress.update()
            if last := position == feed.per_epoch - 1 or step + 1 == steps:
                parallel.add(sums)
                row = _row(epoch, lr, sums / ((position + 1) * recipe.batch), time.monotonic() - started)
                state["curve"].append(row)
                sums.zero_()
                progress.set_postfix(
                    epoch=row["epoch"], loss=f"{row['loss']:.3f}", accuracy=f"{row['train_accuracy']:.3f}"
                )
            stop = deadline is not None and step + 1 < steps and deadline.near()
            save = time.monotonic() - saved > interval
            if parallel.size() > 1:
                asked = step % AGREE_EVERY == 0
                stop, save = parallel.any_of(stop, save) if asked else (False, False)
            if checkpoint and (last or stop or save):
                total = sums.clone()
                parallel.add(total)
                state |= {"step": step + 1, "seconds": time.monotonic() - started}
                state |= dict(zip(("loss", "correct"), total.tolist(), strict=True))
                checkpoints.save(checkpoint, identity, state, learn.parts)
                saved = time.monotonic()
            if stop:
                raise OutOfTime(f"training stopped after {step + 1} of {steps} steps; call it again to go on")
    progress.close()
    return learn.result, state["curve"]


def _row(epoch: int, lr: float, means: torch.Tensor, seconds: float) -> dict:
    loss, correct = means.tolist()
    if not math.isfinite(loss):
        raise FloatingPointError(f"the loss of epoch {epoch + 1} is {loss}: lower the learning rate")
    return {"epoch": epoch + 1, "lr": lr, "loss": loss, "train_accuracy": correct, "seconds": seconds}


@torch.no_grad()
def predict(network: nn.Module, images: ImageSet, batch: int = 250, precision: str = "fp32", **how) -> np.ndarray:
    """Logits of every image, float32 (N, K), in the order of the set; `how` goes to the network's forward pass.

    precision: of the products of matrices, "fp32" or "bf16".
    """
    memory.keep()
    device = next(network.parameters()).device
    network.eval()
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        return torch.cat([network(x, **how).cpu() for x, _ in batches(images, device, batch)]).float().numpy()


def accuracy(logits: np.ndarray, labels: np.ndarray, top: int = 1) -> float:
    """Share of images whose label is among the `top` largest logits."""
    best = np.argpartition(-logits, top - 1, axis=1)[:, :top]
    return float((best == labels[:, None]).any(1).mean())


def label_accuracy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Share of each label's images that get it as their largest logit, (K,); NaN for a label without images."""
    K = logits.shape[1]
    return np.bincount(labels, logits.argmax(1) == labels, K) / np.bincount(labels, minlength=K)


def initialised(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """The network as it is before its first step, the same for the same seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed_for(seed))
        return build()
