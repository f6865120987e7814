"""The length of retraining as an axis: networks masked by each rule, and the unpruned one, trained on for some lengths.

All lengths of one network have a trunk in common, see `lib.recipes.ScheduleRecipe`: a length is what a training of its
own would be, bit by bit, and costs only what the shorter ones have not done. Length 0 is the network as it was pruned.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from lib.data import LabelledSet
from lib.encoders import Encoders
from lib.experiments import masked
from lib.experiments.masks import Masks, kept
from lib.recipes import RetrainingRecipe, ScheduleRecipe, TrainingRecipe
from lib.system import identity
from lib.system.device import bar, device_of, precision
from lib.system.files import Journal
from lib.training import evaluate, loop
from lib.training.loop import Trunk
from lib.training.resume import Deadline

COLUMNS = [
    "method",
    "threshold",
    "epochs",
    "rate",
    "kept",
    "top1",
    "top5",
    "images",
    "loss",
    "train_accuracy",
    "seconds",
]


class Further:
    """Trains one network on, masked or not, for each of some lengths; goes on where it was stopped.

    unfinished: gives the path of a hidden file by name; the journal's inputs say whatever else the results depend on.
    """

    def __init__(
        self,
        network: Encoders,
        images: LabelledSet,
        training: TrainingRecipe,
        schedule: ScheduleRecipe,
        seed: int,
        unfinished: Callable[[str], Path],
        journal: Journal,
        deadline: Deadline,
        compiled: bool = False,
    ):
        self.network, self.training, self.schedule, self.seed = network, training, schedule, seed
        self.images = images.balanced(schedule.images, seed)
        self.unfinished, self.journal, self.deadline, self.compiled = unfinished, journal, deadline, compiled

    def lengths(
        self, name: str, about: dict, masks: Callable[[], Mapping[str, np.ndarray]], rate: float,
        lengths: Iterable[int], report: Callable[[Encoders], dict],
    ) -> list[dict]:  # fmt: skip
        """One row a length: what `report` finds of the network after it, the share of weights kept, how training went.

        name: of the hidden files; about: tells this network and rate from others; masks: called only if there is
        something to do. Raises OutOfTime before the deadline comes.
        """
        keys = [about | {"epochs": epochs} for epochs in lengths]
        chosen = masks() if any(key not in self.journal for key in keys) else {}
        trunk = Trunk(self.unfinished(f"{name}-trunk.safetensors"), self._identity(about, "trunk"))
        rows = []
        for key in keys:
            checkpoint = self.unfinished(f"{name}-{key['epochs']}.safetensors")
            if key not in self.journal:
                self.deadline.check(f"retraining, before {', '.join(map(str, key.values()))}")
                trained, how = self._trained(key, chosen, rate, checkpoint, trunk)
                self.journal.add(key, {"kept": kept(chosen)} | report(trained) | how)
            checkpoint.unlink(missing_ok=True)
            rows.append(key | {"rate": rate} | self.journal[key])
        trunk.path.unlink(missing_ok=True)
        return rows

    @property
    def precision(self) -> str:
        """In which networks are trained, and tested."""
        return precision(self.schedule.of(self.training, 1, 1.0).precision, device_of(self.network))

    def _trained(
        self, key: dict, masks: Mapping[str, np.ndarray], rate: float, checkpoint: Path, trunk: Trunk
    ) -> tuple[Encoders, dict]:
        if not key["epochs"]:
            network = masked.make_permanent(masked.apply(self.network, masks))
            return network, {"loss": None, "train_accuracy": None, "seconds": 0.0}
        recipe = self.schedule.of(self.training, key["epochs"], rate)
        trained, curve = loop.train(
            lambda: masked.apply(self.network, masks), recipe, self.images, self.seed, checkpoint,
            device=device_of(self.network), deadline=self.deadline, compiled=self.compiled,
            identity=self._identity(key), trunk=trunk,
        )  # fmt: skip
        how = {name: curve[-1][name] for name in ("loss", "train_accuracy", "seconds")}
        return masked.make_permanent(trained).requires_grad_(True), how

    def _identity(self, about: dict, part: str = "") -> str:
        return identity.text(inputs=self.journal.inputs, about=about, part=part)


def lines(recipe: RetrainingRecipe) -> list[tuple[str, float]]:
    """Method and threshold of each network that is retrained, the unpruned one first."""
    return [("dense", 1.0), *((method, t) for t in recipe.thresholds for method in recipe.methods)]


def rows(further: Further, masks: Masks, recipe: RetrainingRecipe, test: LabelledSet) -> tuple[list[dict], list[dict]]:
    """One row a network and length, `COLUMNS`; and of the longest the accuracy for each label."""
    found, labels = [], []
    networks = lines(recipe)
    progress = bar(len(networks), "retrained networks")

    def report(network: Encoders) -> dict:
        logits = evaluate.predict(network, test, precision=further.precision)
        top1, top5 = (evaluate.accuracy(logits, test.labels, k) for k in (1, 5))
        of_labels = evaluate.label_accuracy(logits, test.labels).round(5).tolist()
        return {"top1": top1, "top5": top5, "images": len(test), "labels": of_labels}

    for place, line in enumerate(networks):
        about = dict(zip(("method", "threshold"), line, strict=True))
        made = further.lengths(
            f"retraining-{place}", about, partial(masks.of, *line), recipe.rate, (0, *recipe.epochs), report
        )
        labels += [about | {"label": i, "accuracy": a} for i, a in enumerate(made[-1]["labels"])]
        found += [{name: row[name] for name in COLUMNS} for row in made]
        progress.update()
    progress.close()
    return found, labels


def tried(further: Further, schedule: ScheduleRecipe, held: LabelledSet) -> list[dict]:
    """The unpruned network trained on at each of the schedule's rates, judged on images that it has never learnt from.

    One row a rate and length: held_out_accuracy, that of the network as it was ("before"), the difference, and `error`,
    the standard error of this difference, in which each image is compared with itself.
    """

    def right_of(network: Encoders) -> np.ndarray:
        return evaluate.largest(evaluate.predict(network, held, precision=further.precision)) == held.labels

    before = right_of(further.network)
    found = []

    def report(network: Encoders) -> dict:
        right = right_of(network)
        change = right.astype(float) - before
        return {
            "held_out_accuracy": float(right.mean()),
            "before": float(before.mean()),
            "difference": float(change.mean()),
            "error": float(change.std(ddof=1) / np.sqrt(len(change))),
            "images": len(held),
        }

    for place, rate in enumerate(schedule.rates):
        found += further.lengths(f"rates-{place}", {"rate": rate}, dict, rate, schedule.trial_epochs, report)
    return found


def chosen(trial: pd.DataFrame) -> float:
    """The rate by what `tried` found: the largest at which the unpruned network does not lose.

    It loses at a rate where, after any of the lengths, its held-out accuracy lies more than one standard error below
    that before. If it loses at all rates, the one at which its largest loss is smallest. A rate is chosen for the
    unpruned network alone: no pruned one has been looked at.
    """
    losses = (-trial["difference"]).groupby(trial["rate"]).max()
    lost = (-trial["difference"] > trial["error"]).groupby(trial["rate"]).any()
    return float(losses.idxmin() if lost.all() else lost.index[~lost].max())
