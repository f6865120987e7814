"""Training a network, so that a run that was stopped ends with the same weights as one that was not.

Everything random in step t (which images, how they are augmented, what dropout removes) is a function of (seed, t)
alone. A checkpoint therefore holds the weights, the optimiser's moments and the step: no random state.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib import files
from lib.augment import shift_and_flip
from lib.data import ImageSet, batches, normalise
from lib.deadline import Deadline
from lib.errors import OutOfTime
from lib.progress import bar


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. AdamW, linear warm-up, then a cosine down to `final_lr`."""

    epochs: int = 40
    batch: int = 128  # images a step; the last, smaller batch of an epoch is left out
    lr: float = 2e-3  # at the end of the warm-up
    final_lr: float = 1e-5
    warmup_epochs: float = 2
    weight_decay: float = 0.05  # of matrices and kernels only
    label_smoothing: float = 0.1
    shift: int = 4  # pixels
    flip: bool = True

    def lr_at(self, step: int, steps: int) -> float:
        """Learning rate of step 0 ... steps - 1."""
        warmup = self.warmup_epochs * steps / self.epochs
        if step < warmup:
            return self.lr * (step + 1) / warmup
        progress = (step - warmup) / max(1, steps - warmup)
        return self.final_lr + (self.lr - self.final_lr) * (1 + math.cos(math.pi * progress)) / 2


def seed_for(*numbers: int) -> int:
    """An independent 63-bit seed for each tuple of numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def train(
    build: Callable[[], nn.Module],
    recipe: Recipe,
    images: ImageSet,
    seed: int = 0,
    checkpoint: Path | None = None,
    interval: float = 60,
    device: str | torch.device = "cpu",
    deadline: Deadline | None = None,
) -> tuple[nn.Module, list[dict]]:
    """Build a network and train it; returns it in evaluation mode, with its curve: one row an epoch.

    `checkpoint` names a file that is written every `interval` seconds and at the end of each epoch; if it is there,
    training goes on from it. It is refused (ValueError) if it was written under another recipe, seed or image set.
    Raises OutOfTime, with a checkpoint written, before a deadline comes.
    """
    network = initialised(build, seed).to(device)
    optimiser = _adamw(network, recipe)
    identity = f"{recipe} seed={seed} data={images.name}/{images.split}[{len(images)}]"
    state = {"step": 0, "seconds": 0.0, "curve": [], "loss": 0.0, "correct": 0.0}
    if checkpoint and checkpoint.exists():
        state = _resume(checkpoint, identity, network, optimiser)

    pixels, labels = (torch.as_tensor(a).to(device) for a in (images.images, images.labels))
    per_epoch = len(images) // recipe.batch
    if not per_epoch:
        raise ValueError(f"an epoch needs at least one batch of {recipe.batch} images, got {len(images)} images")
    steps = recipe.epochs * per_epoch
    loss_sum, correct = (torch.tensor(state[k], dtype=torch.float64, device=device) for k in ("loss", "correct"))
    started, saved = time.monotonic() - state["seconds"], time.monotonic()
    network.train()
    if deadline:
        deadline.begin()
    progress = bar(steps, "training", state["step"])
    with torch.random.fork_rng(devices=[device] if torch.device(device).type == "cuda" else []):
        for step in range(state["step"], steps):
            epoch, position = divmod(step, per_epoch)
            if position == 0 or step == state["step"]:
                order = np.random.default_rng(seed_for(seed, epoch)).permutation(len(images))
                order = torch.from_numpy(order).to(device)
            torch.manual_seed(seed_for(seed, epoch, position))
            chosen = order[position * recipe.batch : (position + 1) * recipe.batch]
            batch = shift_and_flip(pixels[chosen], recipe.shift, recipe.flip)
            logits = network(normalise(batch, images.mean, images.std))
            loss = F.cross_entropy(logits, labels[chosen], label_smoothing=recipe.label_smoothing)
            for group in optimiser.param_groups:
                group["lr"] = recipe.lr_at(step, steps)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            loss_sum += loss.detach()
            correct += (logits.detach().argmax(1) == labels[chosen]).sum()
            progress.update()
            if last := position == per_epoch - 1:
                row = {
                    "epoch": epoch + 1,
                    "lr": optimiser.param_groups[0]["lr"],
                    "loss": loss_sum.item() / per_epoch,
                    "train_accuracy": correct.item() / (per_epoch * recipe.batch),
                    "seconds": time.monotonic() - started,
                }
                if not math.isfinite(row["loss"]):
                    raise FloatingPointError(f"the loss of epoch {epoch + 1} is {row['loss']}: lower the learning rate")
                state["curve"].append(row)
                loss_sum.zero_(), correct.zero_()
                progress.set_postfix(
                    epoch=epoch + 1, loss=f"{row['loss']:.3f}", accuracy=f"{row['train_accuracy']:.3f}"
                )
            stop = deadline is not None and step + 1 < steps and deadline.near()
            if checkpoint and (last or stop or time.monotonic() - saved > interval):
                state |= {"step": step + 1, "seconds": time.monotonic() - started}
                state |= {"loss": loss_sum.item(), "correct": correct.item()}
                _save(checkpoint, identity, state, network, optimiser)
                saved = time.monotonic()
            if stop:
                raise OutOfTime(f"training stopped after {step + 1} of {steps} steps; call it again to go on")
    progress.close()
    return network.eval(), state["curve"]


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


def _adamw(network: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    trained = [p for p in network.parameters() if p.requires_grad]
    matrices, rest = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.lr, fused=True)


def _save(path: Path, identity: str, state: dict, network: nn.Module, optimiser: torch.optim.Optimizer):
    tensors = {f"network/{name}": tensor for name, tensor in network.state_dict().items()}
    for i, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{i}/{name}": torch.as_tensor(value) for name, value in moments.items()}
    files.write_tensors(path, tensors, {"identity": identity, "state": json.dumps(state)})


def _resume(path: Path, identity: str, network: nn.Module, optimiser: torch.optim.Optimizer) -> dict:
    tensors, metadata = files.read_tensors(path)
    if metadata.get("identity") != identity:
        raise ValueError(
            f"{path} is the checkpoint of another training ({metadata.get('identity')}), not of this one ({identity});"
            " move it away to start anew"
        )
    network.load_state_dict({n.removeprefix("network/"): t for n, t in tensors.items() if n.startswith("network/")})
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimiser/"):
            _, i, key = name.split("/")
            moments.setdefault(int(i), {})[key] = tensor
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
    return json.loads(metadata["state"])
