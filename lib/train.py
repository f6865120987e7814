"""Training a network, so that a run that was stopped ends with the same weights as one that was not.

Everything random in step t (`lib.feed`, and what dropout removes) is a function of (seed, t) alone. A checkpoint
therefore holds the weights, the optimiser's moments and the step: no random state.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from lib import checkpoint as checkpoints
from lib import parallel
from lib.data import ImageSet, batches
from lib.deadline import Deadline
from lib.errors import OutOfTime
from lib.feed import Feed
from lib.progress import bar
from lib.recipe import Recipe
from lib.seeds import seed_for

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
) -> tuple[nn.Module, list[dict]]:
    """Build a network and train it; returns it in evaluation mode, with its curve: one row an epoch.

    On a GPU matrices are multiplied in bfloat16 and weights kept in float32; `compiled` also compiles the network. The
    processes of a group (`lib.parallel`) share out each batch and add up their gradients.

    `checkpoint` names a file that is written every `interval` seconds and at the end of each epoch; if it is there,
    training goes on from it. It is refused (ValueError) if it was written under another recipe, seed or image set.
    Raises OutOfTime, with a checkpoint written, before a deadline comes.
    """
    device = torch.device(device)
    feed = Feed(images, recipe.augmentation, recipe.batch, seed, device)
    network = initialised(build, seed).to(device)
    if device.type == "cuda":
        network = network.to(memory_format=torch.channels_last)
    optimiser = adamw(network, recipe)
    identity = f"{recipe} seed={seed} data={images.name}/{images.split}[{len(images)}]"
    state = {"step": 0, "seconds": 0.0, "curve": [], "loss": 0.0, "correct": 0.0}
    if checkpoint and checkpoint.exists():
        state = checkpoints.resume(checkpoint, identity, network, optimiser)
    step_forward = prepare(network, device, compiled)

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
            for group in optimiser.param_groups:
                group["lr"] = recipe.lr_at(step, steps)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                logits = step_forward(x)
            loss = targets.loss(logits.float(), recipe.label_smoothing)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            sums += torch.stack([loss.detach() * len(x), targets.correct(logits.detach())])
            progress.update()
            if last := position == feed.per_epoch - 1 or step + 1 == steps:
                parallel.add(sums)
                row = _row(epoch, optimiser, sums / ((position + 1) * recipe.batch), time.monotonic() - started)
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
                checkpoints.save(checkpoint, identity, state, network, optimiser)
                saved = time.monotonic()
            if stop:
                raise OutOfTime(f"training stopped after {step + 1} of {steps} steps; call it again to go on")
    progress.close()
    return network.eval(), state["curve"]


def _row(epoch: int, optimiser: torch.optim.Optimizer, means: torch.Tensor, seconds: float) -> dict:
    loss, correct = means.tolist()
    if not math.isfinite(loss):
        raise FloatingPointError(f"the loss of epoch {epoch + 1} is {loss}: lower the learning rate")
    lr = optimiser.param_groups[0]["lr"]
    return {"epoch": epoch + 1, "lr": lr, "loss": loss, "train_accuracy": correct, "seconds": seconds}


@torch.no_grad()
def predict(network: nn.Module, images: ImageSet, batch: int = 250) -> np.ndarray:
    """Logits of every image, float32 (N, K), in the order of the set."""
    device = next(network.parameters()).device
    network.eval()
    return torch.cat([network(x).cpu() for x, _ in batches(images, device, batch)]).float().numpy()


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


def prepare(network: nn.Module, device: torch.device, compiled: bool) -> Callable:
    """The network's forward pass as training calls it: compiled, if wanted, and shared among processes."""
    forward = torch.compile(network) if compiled else network
    if parallel.size() > 1:
        return DistributedDataParallel(
            forward, device_ids=[torch.cuda.current_device()] if device.type == "cuda" else None
        )
    return forward


def adamw(network: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW with weight decay on all parameters of two or more dimensions, the others without."""
    trained = [p for p in network.parameters() if p.requires_grad]
    matrices, rest = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.lr, fused=True)
