"""Probes are trained on a network that stays as it is, at all sites in one pass over the images.

Their losses are independent, so each is computed and differentiated inside the forward pass, at the moment its site's
activations exist; the sum of memory is that of one site.
"""

import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lib.data import Batch, LabelledSet
from lib.probes import Probe
from lib.recipes import ProbeRecipe
from lib.sites import evaluating, record
from lib.system import parallel
from lib.system.device import bar, device_of, keep_memory, products, seed_for
from lib.system.errors import OutOfTime
from lib.system.identity import training_identity
from lib.training import resume
from lib.training.batches import shifted_and_flipped
from lib.training.resume import Deadline


@torch.inference_mode(False)  # probes learn, also where the caller does not
def train_probes(
    network: nn.Module,
    sites: Iterable[str],
    images: LabelledSet,
    recipe: ProbeRecipe,
    seed: int = 0,
    checkpoint: Path | None = None,
    deadline: Deadline | None = None,
    identity: str | None = None,
    interval: float = 60,
) -> tuple[dict[str, Probe], list[dict]]:
    """Train a probe at each site of a network; returns them with their curve: one row an epoch and site.

    The network is not trained and keeps its mode. What a forward pass shows is read in evaluation mode.

    The processes of a group (`lib.system.parallel`) share out each batch and add up their gradients.

    `checkpoint` names a file that is written every `interval` seconds and at the end, from which a later call goes on.
    ValueError for fewer images than a batch or the checkpoint of another training, which is told by its `identity`
    (default: recipe, seed, sites, and the image set with all that is in it); OutOfTime, with a checkpoint written,
    before a deadline comes.
    """
    keep_memory()
    device = device_of(network)
    with torch.random.fork_rng():
        torch.manual_seed(seed_for(seed, 1))
        probes = {s: Probe(network.width(s), len(images.label_names)).to(device) for s in sites}
    parameters = [p for probe in probes.values() for p in probe.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    make = shifted_and_flipped(images, recipe.shift, recipe.flip, device)
    per_epoch = images.steps(recipe.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.epochs * per_epoch)
    sums = {s: torch.zeros(2, device=device) for s in probes}
    mine = parallel.part(recipe.batch)
    share = (mine.stop - mine.start) * parallel.size() / recipe.batch  # 1, but for batches that do not divide
    batch: Batch

    def learn(site: str, h: Tensor):
        with torch.enable_grad(), torch.autocast(device.type, enabled=False):
            fields = probes[site](h.float(), batch.mask)
            loss = F.cross_entropy(fields, batch.labels)
            (loss * share).backward()
        sums[site] += share * torch.stack([loss.detach(), (fields.detach().argmax(1) == batch.labels).float().mean()])

    state = {"epoch": 0, "batches": 0, "sums": {}, "curve": [], "schedule": schedule.state_dict()}
    if checkpoint:
        identity = identity or training_identity(recipe, seed, images, sites=list(probes))
    together = nn.ModuleList(probes.values())
    if checkpoint and checkpoint.exists():
        state = resume.restore(checkpoint, identity, {"probes": together, "optimiser": optimiser})
        schedule.load_state_dict(state["schedule"])
        for group, lr in zip(optimiser.param_groups, schedule.get_last_lr(), strict=True):
            group["lr"] = lr
        if parallel.rank() == 0:  # what was summed before is counted once
            for site, total in state["sums"].items():
                sums[site] += torch.tensor(total, device=device)

    def keep(epoch: int, batches: int):
        """A checkpoint of so many epochs and batches of the next."""
        nonlocal saved
        totals = torch.stack(list(sums.values()))
        parallel.add(totals)
        state.update(epoch=epoch, batches=batches, schedule=schedule.state_dict())
        state["sums"] = dict(zip(sums, totals.tolist(), strict=True)) if batches else {}
        resume.save(checkpoint, identity, state, {"probes": together, "optimiser": optimiser})
        saved = time.monotonic()

    saved = time.monotonic()
    if deadline:
        deadline.begin()
    progress = bar(recipe.epochs * per_epoch, f"{len(probes)} probes", state["epoch"] * per_epoch + state["batches"])
    places = {s: network.site(s) for s in probes}
    with torch.random.fork_rng(), evaluating(network), record(network, places, learn):
        for epoch in range(state["epoch"], recipe.epochs):
            torch.manual_seed(seed_for(seed, 2, epoch))
            order = torch.from_numpy(images.shuffled(np.random.default_rng(seed_for(seed, 3, epoch)), recipe.batch))
            done = state["batches"] if epoch == state["epoch"] else 0
            for number, chosen in enumerate(order[: per_epoch * recipe.batch].split(recipe.batch), 1):
                batch = make(chosen, mine)
                if number <= done:  # drawn again, for the random numbers that follow
                    continue
                optimiser.zero_grad()
                with products(recipe.precision, device):
                    network(*batch.given)
                _share(parameters)
                optimiser.step()
                schedule.step()
                progress.update()
                if number == per_epoch:
                    parallel.add(*sums.values())
                    for site, total in sums.items():
                        loss, correct = (total / per_epoch / parallel.size()).tolist()
                        row = {"epoch": epoch + 1, "site": site, "loss": loss, "train_accuracy": correct}
                        state["curve"].append(row)
                        total.zero_()
                taken = epoch * per_epoch + number
                last = taken == recipe.epochs * per_epoch
                stop, late = deadline is not None and deadline.near(), time.monotonic() - saved > interval
                stop, late = parallel.any_of(stop and not last, late)
                if checkpoint and (last or stop or late):
                    keep(*divmod(taken, per_epoch))
                if stop:
                    raise OutOfTime(
                        f"probes stopped after {taken} of {recipe.epochs * per_epoch} batches; call it again to go on"
                    )
    progress.close()
    return probes, state["curve"]


def _share(parameters: list[nn.Parameter]):
    """Make each gradient the mean over all processes: one transfer for all parameters."""
    if parallel.size() > 1:
        together = torch.cat([p.grad.flatten() for p in parameters])
        parallel.add(together)
        parts = (together / parallel.size()).split([p.numel() for p in parameters])
        for p, part in zip(parameters, parts, strict=True):
            p.grad.copy_(part.view_as(p))
