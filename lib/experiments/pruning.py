"""What ANDC costs in accuracy, and whether its rule earns anything: masks by many rules, in five regimes, as a table.

One row of the table is one masked network, told apart by the columns of `KEY`:

regime     "none": masked and tested; "compensated": nothing trained either, but biases make up for the mean over
           labels of what was removed; "readout": then only the read-out trained; "retrained": then the whole network
           trained shortly, masks in place; "scratch": a new network trained with the mask from the start, as the
           unpruned one was
layers     "linear1", "linear2", "classifier", "ff" (linear1 and linear2) or "all"
encoder    the only encoder pruned, or 0 for all of them
reading    of the rule, as in `andc.READINGS`
threshold  of the label sets; 1 where nothing is pruned
method     "dense", "andc", or a baseline with as many weights in each layer as ANDC keeps there
draw       of a random baseline
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from lib import andc
from lib.andc import CONTROLS, DRAWN, SCORED
from lib.data import LabelledSet
from lib.encoders import Encoders
from lib.experiments import masked
from lib.experiments.masks import METHODS, Masks, kept
from lib.recipes import PruningRecipe, ScratchRecipe, TrainingRecipe
from lib.system import identity
from lib.system.device import bar
from lib.system.files import Journal
from lib.training import evaluate, loop
from lib.training.resume import Deadline

UNTRAINED = ("none", "compensated")  # regimes in which nothing is trained; they may be tested on fewer images
KEY = ("regime", "layers", "encoder", "reading", "threshold", "method", "draw")

COMPENSATED = ("andc", "permuted", "random", "dealt", "levelled", "magnitude")


def row(regime, layers, threshold, method, draw=0, encoder=0, reading="diagonal") -> dict:
    """The key of one row of the table."""
    return dict(zip(KEY, (regime, layers, encoder, reading, threshold, method, draw), strict=True))


def cells(recipe: PruningRecipe, depth: int) -> Iterator[dict]:
    """The keys of all rows, in the order in which they are computed."""
    yield row("none", "all", 1.0, "dense")
    for threshold, method in itertools.product(recipe.thresholds, METHODS):
        for draw in range(recipe.draws if method in DRAWN else 1):
            yield row("none", "ff", threshold, method, draw)
    few = list(itertools.product(recipe.few_thresholds, ("andc", "permuted", "magnitude")))
    for layers, (threshold, method) in itertools.product(("linear1", "linear2", "classifier", "all"), few):
        yield row("none", layers, threshold, method)
    for encoder, threshold, method in itertools.product(
        range(1, depth + 1), recipe.few_thresholds[1::2], ("andc", "permuted", "magnitude")
    ):
        yield row("none", "ff", threshold, method, encoder=encoder)
    for reading, threshold, method in itertools.product(
        list(andc.READINGS)[1:], recipe.few_thresholds, ("andc", "permuted")
    ):
        yield row("none", "ff", threshold, method, reading=reading)
    for regime, methods in (
        ("readout", ("andc", "permuted", "random", "magnitude")),
        ("retrained", ("andc", "permuted", "random", *SCORED)),
    ):
        yield row(regime, "all", 1.0, "dense")
        wanted = [method for method in methods if method in recipe.retrained_methods]
        for threshold, method in itertools.product(recipe.retrained_thresholds, wanted):
            yield row(regime, "ff", threshold, method)


def control_cells(recipe: PruningRecipe) -> Iterator[dict]:
    """The keys of the rows of the controls that tell the choice of partners from that of counts."""
    for threshold, method in itertools.product(recipe.thresholds, CONTROLS):
        for draw in range(recipe.draws):
            yield row("none", "ff", threshold, method, draw)
    for threshold, method in itertools.product(recipe.retrained_thresholds, CONTROLS):
        yield row("retrained", "ff", threshold, method)


def compensated_cells(recipe: PruningRecipe) -> Iterator[dict]:
    """The keys of the rows of networks whose biases make up for the mean of what was removed, one draw of each mask."""
    yield row("compensated", "all", 1.0, "dense")
    for threshold, method in itertools.product(recipe.thresholds, COMPENSATED):
        yield row("compensated", "ff", threshold, method)


def scratch_cells(recipe: ScratchRecipe) -> list[dict]:
    """The keys of the rows of networks that are trained from scratch."""
    return [row("scratch", "ff", t, m) for t, m in itertools.product(recipe.thresholds, recipe.methods)]


class PruningExperiment:
    """Masks of one trained network by every rule, and what becomes of it; see `rows`."""

    def __init__(
        self,
        build: Callable[[], Encoders],
        network: Encoders,
        nodes: Mapping[str, andc.Nodes],
        train_images: LabelledSet,
        test_images: LabelledSet,
        training: TrainingRecipe,
        recipe: PruningRecipe,
        seed: int,
        checkpoint: Path | None = None,
    ):
        """checkpoint: for the networks that are trained, each in its turn."""
        self.checkpoint, self.deadline, self.inputs = checkpoint, Deadline(), ""
        self.build, self.network, self.nodes = build, network, nodes
        self.train_images, self.test_images = train_images, test_images
        self.training, self.recipe, self.seed = training, recipe, seed
        self.sweep_images = test_images.balanced(recipe.sweep_images)
        self.of = Masks(network, nodes, seed, lambda: self.scores).of

    @cached_property
    def scores(self) -> dict[str, masked.Scores]:
        """What the baselines score weights by; a study whose rows are all in the journal needs none."""
        images = self.train_images.balanced(self.recipe.score_images, self.seed)
        return masked.scores(self.network, self.network.layers, images)

    def rows(self, keys: list[dict], journal: Journal, deadline: Deadline) -> tuple[list[dict], list[dict]]:
        """One row a cell, and the accuracy per label of the cells of regime "retrained"; goes on from the journal.

        Raises OutOfTime before the deadline comes.
        """
        progress = bar(len(keys), "masked networks")
        self.deadline, self.inputs = deadline, journal.inputs
        deadline.begin()
        for key in keys:
            if key not in journal:
                deadline.check(f"pruning, after {len(journal.found)} of {len(keys)} networks")
                journal.add(key, self.measure(key))
                if self.checkpoint:
                    self.checkpoint.unlink(missing_ok=True)
            progress.update()
        progress.close()
        done = [(key, journal[key]) for key in keys]
        rows = [key | {k: v for k, v in found.items() if k != "labels"} for key, found in done]
        names = ("threshold", "method")
        labels = [
            {k: key[k] for k in names} | {"label": i, "accuracy": a}
            for key, found in done
            for i, a in enumerate(found.get("labels", ()))
        ]
        return rows, labels

    def measure(self, key: dict) -> dict:
        """Test accuracy of the network masked as `key` says, and the share of weights that the pruned layers keep."""
        masks = self.masks(key)
        untrained = key["regime"] in UNTRAINED
        images = self.sweep_images if untrained else self.test_images
        precision = self.recipe.precision if untrained else "fp32"
        logits = evaluate.predict(self.trained(key, masks), images, precision=precision)
        top1, top5 = (evaluate.accuracy(logits, images.labels, k) for k in (1, 5))
        found = {"kept": kept(masks), "top1": top1, "top5": top5, "images": len(images)}
        found["empty"] = " ".join(name for name, m in masks.items() if not m.any())
        if key["regime"] == "retrained":
            found["labels"] = evaluate.label_accuracy(logits, images.labels).round(5).tolist()
        return found

    def trained(self, key: dict, masks: Mapping[str, np.ndarray]) -> Encoders:
        """The masked network, trained as the cell's regime says."""
        cell = identity.text(inputs=self.inputs, cell=key)
        stops = {"checkpoint": self.checkpoint, "deadline": self.deadline, "identity": cell}
        if key["regime"] == "scratch":
            device = next(self.network.parameters()).device
            new, _ = loop.train(
                lambda: masked.apply(self.build(), masks), self.training, self.train_images, self.seed,
                device=device, **stops,
            )  # fmt: skip
            return masked.make_permanent(new)
        if key["regime"] == "none":
            return masked.make_permanent(masked.apply(self.network, masks))
        if key["regime"] == "compensated":
            sites = {name: self.network.layers[name].inputs for name in masks}
            means = {name: self.nodes[site].class_means.mean(0) for name, site in sites.items()}
            return masked.compensated(self.network, masks, means)
        short = dataclasses.replace(
            self.training,
            epochs=self.recipe.retraining_epochs,
            warmup_epochs=0,
            cooldown_epochs=0,
            lr=self.training.lr * self.recipe.retraining_lr,
            token_stages=self.recipe.retraining_token_stages,
            parts="all" if key["regime"] == "retrained" else "readout",
        )
        images = self.train_images.balanced(self.recipe.retraining_images, self.seed)
        return masked.retrain(self.network, masks, short, images, self.seed, **stops)

    def masks(self, key: dict) -> dict[str, np.ndarray]:
        """The mask of each layer that the cell prunes."""
        return self.of(**{k: v for k, v in key.items() if k != "regime"})
