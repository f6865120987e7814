"""Does ANDC cost accuracy, and does it beat its controls? The rule of claim 4, and what pruning saves where it holds.

All networks that are compared were retrained alike. A difference counts if it exceeds its margin of error, as
`lib.experiments.chance` has it, over seeds and over images. A wide margin is no excuse for a loss: that ANDC costs
nothing has to hold within two standard errors over images alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib.experiments import chance, pruning_tables
from lib.experiments.pruning_tables import NAMES, REGIMES
from lib.system.words import count


@dataclass(frozen=True)
class Difference:
    """Accuracy of ANDC less that of another network at one threshold, mean over seeds."""

    threshold: float
    other: str  # its method
    kept: float  # share of the weights of the pruned layers
    andc: float
    accuracy: float  # of the other
    margin: float  # of error, of the mean difference
    over_images: float  # two standard errors over test images
    seeds: int

    @property
    def mean(self) -> float:
        return self.andc - self.accuracy

    @property
    def sign(self) -> int:
        """1 where ANDC is better by more than the margin of error, -1 where it is worse, 0 within it."""
        return int(np.sign(self.mean)) * (abs(self.mean) > self.margin)

    @property
    def lost(self) -> bool:
        """Whether ANDC is worse by more than two standard errors over test images, whatever seeds say."""
        return self.mean < -self.over_images

    def __str__(self) -> str:
        points = f"{100 * self.mean:+.1f}"
        return points if self.sign else f"({points})"


@dataclass(frozen=True)
class Judgement:
    """ANDC against everything else in one regime: all differences, by threshold, the unpruned network's first."""

    retraining: str  # how long, in words
    seeds: int
    differences: tuple[Difference, ...]
    longest: bool = True  # whether it is the end of an axis of lengths
    before: float = float("nan")  # accuracy of the unpruned network before it was retrained, mean over seeds

    @property
    def by_itself(self) -> str:
        """What the retraining does to the unpruned network, the predicate of a sentence about it."""
        after = self.against("dense")[0].accuracy
        return f"by itself takes the unpruned network from {self.before:.1%} to {after:.1%}"

    @property
    def how(self) -> str:
        """How networks were retrained, and in how many seeds."""
        longer = "" if self.longest else "longer retraining was not measured; "
        return f"{self.retraining} ({longer}{count(self.seeds, 'seed')})"

    def against(self, other: str) -> list[Difference]:
        """The differences to one method, by threshold."""
        return [d for d in self.differences if d.other == other]

    @property
    def thresholds(self) -> list[float]:
        """Those at which ANDC was judged."""
        return [d.threshold for d in self.against("dense")]

    def points(self, other: str) -> str:
        """The differences to one method in points, by threshold; in brackets those within the margin of error."""
        found = {d.threshold: self.told(d) for d in self.against(other)}
        return ", ".join(found.get(t, "–") for t in self.thresholds)

    def told(self, difference: Difference) -> str:
        """A difference in points, with its seeds where it has fewer of them than others have."""
        seeds = f" of {count(difference.seeds, 'seed')} only"
        return f"{difference}" + seeds * (difference.seeds < self.seeds)

    def named(self, difference: Difference) -> str:
        """The same, with the name of what ANDC is compared with."""
        return f"{NAMES[difference.other]} {self.told(difference)}"

    @property
    def controls(self) -> list[str]:
        """The methods other than the unpruned network, in the order of `NAMES`."""
        found = {d.other for d in self.differences}
        return [name for name in NAMES if name in found and name != "dense"]

    @property
    def harmless(self) -> list[Difference]:
        """Where ANDC loses no more against the unpruned network than two standard errors over test images."""
        return [d for d in self.against("dense") if not d.lost]


def sentences(found: Judgement) -> list[str]:
    """What a judgement says, threshold by threshold: the loss against the unpruned network, and every control."""
    said = []
    for dense in found.against("dense"):
        alike = f"{100 * abs(dense.mean):.1f}" == f"{100 * dense.margin:.1f}"
        digits = 2 if alike else 1  # as many as tell the two apart
        change = f"{'loses' if dense.mean < 0 else 'gains'} {100 * abs(dense.mean):.{digits}f} points"
        beyond = "more than" if dense.sign or dense.lost else "no more than"
        margin = f"the margin of error ({100 * dense.margin:.{digits}f})"
        if dense.lost and not dense.sign:
            images = f"two standard errors over test images ({100 * dense.over_images:.1f})"
            margin = f"{images}, though within the margin of error over so few seeds ({100 * dense.margin:.{digits}f})"
        others = {d.other: d for d in found.differences if d.threshold == dense.threshold}
        each = ", ".join(found.named(others[name]) for name in found.controls if name in others)
        said.append(
            f"At threshold {dense.threshold:g}, {dense.kept:.0%} of the weights kept, ANDC {change} against the"
            f" unpruned network ({dense.accuracy:.1%} to {dense.andc:.1%}), {beyond} {margin}."
            f" Against its controls, in points: {each}; brackets: within the margin."
        )
    return said


def losses(differences: Iterable[Difference]) -> dict[str, float]:
    """What each method, by its name in a sentence, loses against the unpruned network; of one threshold and regime."""
    found = {d.other: d for d in differences}
    whole = found.pop("dense")
    return {NAMES["andc"]: -whole.mean} | {NAMES[other]: whole.accuracy - d.accuracy for other, d in found.items()}


def judge(runs: Iterable, thresholds: Iterable[float]) -> Judgement:
    """ANDC by the runs of some seeds, at those of the thresholds that were measured.

    At the longest retraining, where its length was measured; else after the short one of stage andc. ValueError where
    none of the thresholds was measured.
    """
    runs, thresholds = list(runs), list(thresholds)
    lengths = pruning_tables.of_lengths(runs)
    if len(lengths):
        table = pruning_tables.longest(lengths)
        before = lengths[(lengths["epochs"] == 0) & (lengths["method"] == "dense")]["top1"].mean()
        retraining = f"retrained for {count(lengths['epochs'].max(), 'epoch')}"
    else:
        table = pruning_tables.of_seeds(runs)
        table = table[table["regime"] == "retrained"]
        before = np.mean([run.results["test_accuracy"] for run in runs])
        recipe = runs[0].definition.andc
        images = f" on {recipe.retraining_images:,} examples" if recipe.retraining_images else ""
        retraining = f"retrained for {count(recipe.retraining_epochs, 'epoch')}{images}"
    known = sorted(set(pruning_tables.select(table, layers="ff", method="andc")["threshold"]))
    if not (judged := [t for t in thresholds if t in known]):
        raise ValueError(f"no network was pruned at the thresholds {thresholds} and retrained; there are {known}")
    found = [d for t in judged for d in differences(table, t)]
    return Judgement(retraining, max(d.seeds for d in found), tuple(found), len(lengths) > 0, float(before))


def regimes(table: pd.DataFrame, threshold: float) -> list[Judgement]:
    """One judgement a regime that was tried, at the threshold tried there that is nearest to `threshold`.

    table: as `pruning_tables.of_seeds` gives it.
    """
    rule = pruning_tables.select(table, layers="ff", method="andc")
    found = []
    for regime in (name for name in REGIMES if name in set(rule["regime"])):
        nearest = min(rule["threshold"][rule["regime"] == regime], key=lambda t: abs(t - threshold))
        there = tuple(differences(table[table["regime"] == regime], nearest))
        found.append(Judgement(REGIMES[regime], max(d.seeds for d in there), there))
    return found


def differences(table: pd.DataFrame, threshold: float) -> list[Difference]:
    """ANDC's differences at one threshold to each other method, both feed-forward layers of all encoders pruned.

    table: of one regime, as `pruning_tables.of_seeds` gives it. Draws count as their mean; a difference is between
    networks of the same seed.
    """
    pruned = pruning_tables.select(table, layers="ff", threshold=threshold)
    by_seed = pruned[pruned["method"] != "dense"].groupby(["seed", "method"])["top1"].mean().unstack()
    by_seed["dense"] = table[table["method"] == "dense"].groupby("seed")["top1"].mean()
    rule = pruned[pruned["method"] == "andc"]
    found = []
    for other in by_seed.columns.drop("andc"):
        both = by_seed[["andc", other]].dropna()
        if both.empty:
            continue
        andc, accuracy = map(float, both.mean())
        seeds, std = len(both), (both["andc"] - both[other]).std()
        over_images = chance.of_images((andc + accuracy) / 2, rule["images"].mean()) / np.sqrt(seeds)
        margin, lost = float(chance.margin(over_images, std, seeds)), float(2 * over_images)
        found.append(Difference(threshold, other, float(rule["kept"].mean()), andc, accuracy, margin, lost, seeds))
    return sorted(found, key=lambda d: list(NAMES).index(d.other))


def savings(lengths: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """What each method saves, and where it costs nothing: the smallest file and the fastest form, dense = 1.

    lengths: as of `pruning_tables.of_lengths`; costs: the table "retraining_cost" of one run. One row a method and
    threshold: kept, loss (accuracy of the unpruned network less its own, mean over seeds) and its margin of error;
    equal, whether the loss lies within two standard errors over test images; bytes; fastest and its form for each
    batch; occupied.
    """
    last = pruning_tables.longest(lengths)
    dense = costs[costs["method"] == "dense"].set_index("batch")
    rows = []
    for (threshold, method), part in costs[costs["method"] != "dense"].groupby(["threshold", "method"], sort=False):
        renamed = last[last["method"].isin([method, "dense"])].replace({"method": {method: "andc"}})
        found = next(d for d in differences(renamed, threshold) if d.other == "dense")
        row = {
            "method": method,
            "threshold": threshold,
            "kept": found.kept,
            "loss": -found.mean,
            "margin": found.margin,
            "equal": not found.lost,
            "bytes": part["bytes"].min() / dense["bytes"].iloc[0],
            "occupied": part["occupied"].iloc[0],
        }
        for batch, forms in part.groupby("batch"):
            best = forms.loc[forms["ratio"].idxmin()]
            row |= {f"time, {batch}": best["ratio"], f"form, {batch}": best["form"]}
        rows.append(row)
    return pd.DataFrame(rows)
