"""What `test_parallel.py` runs under torchrun, in each process: train, probe and measure; the first writes it down."""

import sys
from pathlib import Path

import numpy as np
import torch

from conftest import tiny_config, tiny_images
from lib import cct, measure
from lib.data import ImageSet
from lib.data.augment.policy import Augmentation
from lib.probes import Probe, ProbeRecipe, train_probes
from lib.recipes import Recipe
from lib.system import files, parallel
from lib.system.errors import OutOfTime
from lib.training import loop as train
from lib.training.deadline import Deadline

RECIPE = Recipe(
    epochs=3, batch=12, lr=1e-2, augmentation=Augmentation(1, True, 0.8, operations=2, erase=0.5, mixup=0.8, cutmix=1)
)


def build() -> cct.CCT:
    return cct.CCT(tiny_config(attention_dropout=0.0, drop_path=0.0))


class Near(Deadline):
    """Comes at the sixth step, and only for the last process."""

    asked = 0

    def near(self) -> bool:
        self.asked += 1
        return self.asked == 6 and parallel.rank() == parallel.size() - 1


def stopped_probes(network: cct.CCT, images: ImageSet, recipe: ProbeRecipe, checkpoint: Path) -> list[dict]:
    """The curve of probes that a deadline stopped in their second epoch, and a second call finished."""
    arguments = network, network.sites, images, recipe, 7, checkpoint
    try:
        train_probes(*arguments, Near(None))
    except OutOfTime:
        return train_probes(*arguments)[1]
    raise AssertionError("the deadline was not heeded")


def work(folder: Path) -> dict[str, torch.Tensor]:
    """Everything that processes share, as tensors. An odd number of images, so that shares differ."""
    images = tiny_images(61)
    network, curve = train.train(build, RECIPE, images, 7, folder / "training", interval=0)
    recipe = ProbeRecipe(2, 15, shift=1)
    _, probe_curve = train_probes(network, network.sites, images, recipe, seed=7)
    resumed = stopped_probes(network, images, recipe, folder / "probes")
    torch.manual_seed(1)
    untrained = build()
    found = measure.measure(untrained, {s: Probe(untrained.width(s), 5) for s in untrained.sites}, images)
    cancels = "pool.bias"  # its gradient is rounding alone, which AdamW makes large
    return {
        "curve": torch.tensor([[r["loss"], r["train_accuracy"]] for r in curve]),
        "weights": torch.cat([p.detach().flatten() for n, p in network.named_parameters() if n != cancels]),
        "probe_curve": torch.tensor([[r["loss"], r["train_accuracy"]] for r in probe_curve]),
        "resumed_curve": torch.tensor([[r["loss"], r["train_accuracy"]] for r in resumed]),
        "class_means": torch.from_numpy(np.concatenate([m.ravel() for m in found.class_means.values()])),
        "accuracy": torch.from_numpy(np.concatenate([a.ravel() for a in found.label_accuracy.values()])),
    }


if __name__ == "__main__":
    parallel.begin()
    torch.set_num_threads(1)
    results = work(Path(sys.argv[1]))
    results["size"] = torch.tensor(parallel.size())
    files.write_tensors(Path(sys.argv[1]) / "found", results)
    parallel.wait()
    parallel.end()
