"""Reading the table "andc" of one or several runs: selections, and each ANDC network beside its control."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib.experiments.retraining import COLUMNS

LONGEST = "retrained for long"  # the regime of the longest retraining that was measured


def of_seeds(runs: Iterable) -> pd.DataFrame:
    """The tables "andc" of several runs as one, with the column seed; "controls" and "scratch" where they exist."""
    parts = []
    for run in runs:
        own = [run.table("andc")]
        if run.has("controls"):
            own.append(run.table("controls"))
        if run.has("scratch") and len(scratch := run.table("scratch")):
            facts = run.results
            unpruned = own[0][:1].assign(regime="scratch", top1=facts["test_accuracy"], images=facts["test_images"])
            own += [scratch, unpruned]
        parts += [part.assign(seed=run.definition.seed) for part in own]
    return pd.concat(parts, ignore_index=True)


def of_lengths(runs: Iterable) -> pd.DataFrame:
    """The tables "retraining" of those of several runs that have one, with the column seed; no rows if none has.

    Its other columns are those of `lib.experiments.retraining.COLUMNS`; length 0 is without retraining.
    """
    parts = [run.table("retraining").assign(seed=run.definition.seed) for run in runs if run.has("retraining")]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["seed", *COLUMNS])


def longest(lengths: pd.DataFrame) -> pd.DataFrame:
    """Of what `of_lengths` gives the rows of the longest retraining, as rows of `of_seeds`: its regime is `LONGEST`."""
    about = {"regime": LONGEST, "layers": "ff", "encoder": 0, "reading": "diagonal", "draw": 0}
    return lengths[lengths["epochs"] == lengths["epochs"].max()].assign(**about)


def select(table: pd.DataFrame, **values) -> pd.DataFrame:
    """Rows with the given values, a list meaning any of them; by default the plain rule on all encoders together."""
    for column, wanted in ({"encoder": 0, "reading": "diagonal"} | values).items():
        if wanted is not None:
            table = table[table[column].isin(wanted if isinstance(wanted, (list, tuple)) else [wanted])]
    return table


def dense(table: pd.DataFrame, regime: str = "none") -> float:
    """Accuracy without pruning in a regime, mean over seeds; NaN where the regime was not tried."""
    return float(table[(table["regime"] == regime) & (table["method"] == "dense")]["top1"].mean())


def gains(table: pd.DataFrame, control: str = "permuted") -> pd.DataFrame:
    """One row an ANDC network and seed: its accuracy less that of its control (mean over draws) as "gain".

    error is the standard error of a difference of two accuracies on that many images, taken as independent: the true
    one is smaller, since both networks see the same images.
    """
    keys = ["seed", "regime", "layers", "encoder", "reading", "threshold"]
    rule = table[table["method"] == "andc"].set_index(keys)
    other = table[table["method"] == control].groupby(keys)["top1"].mean()
    found = rule.join(other.rename("control"), how="inner").reset_index()
    p = (found["top1"] + found["control"]) / 2
    return found.assign(gain=found["top1"] - found["control"], error=np.sqrt(2 * p * (1 - p) / found["images"]))


@dataclass(frozen=True)
class Verdict:
    """ANDC in one regime at one threshold, both feed-forward layers pruned: accuracies, mean over seeds."""

    regime: str
    kept: float
    dense: float  # nothing pruned, the same training
    andc: float
    control: float  # permuted
    magnitude: float
    best: str  # of the other methods
    best_accuracy: float
    error: float  # standard error of a difference of two of these, see `gains`

    def against(self, other: str) -> str:
        """The difference to another method in points, and whether it is within two standard errors."""
        difference = self.andc - getattr(self, other)
        return f"{100 * difference:+.1f} points{self._within(difference)}"

    def _within(self, difference: float) -> str:
        return " (within two standard errors)" if abs(difference) <= 2 * self.error else ""

    def sentence(self) -> str:
        loss = 100 * (self.dense - self.andc)
        cost = f"{'loses' if loss > 0 else 'gains'} {abs(loss):.1f} points{self._within(loss / 100)}"
        return (
            f"**Regime {self.regime}**, {self.kept:.0%} of the weights kept: ANDC {cost} ({self.dense:.1%} to"
            f" {self.andc:.1%}); against its permuted control {self.against('control')}, against $|w|$"
            f" {self.against('magnitude')}. The best other method is {self.best} ({self.best_accuracy:.1%})."
        )


def verdict(table: pd.DataFrame, regime: str, threshold: float) -> Verdict:
    """What the table says about a regime; ValueError if it has no such networks."""
    part = select(table, layers="ff", threshold=threshold, regime=regime)
    if part.empty:
        known = sorted(set(select(table, layers="ff", regime=regime)["threshold"]))
        raise ValueError(f"no network was pruned at threshold {threshold} in regime {regime!r}; there are {known}")
    accuracy = part.groupby("method")["top1"].mean()
    error = gains(part)["error"].mean() / np.sqrt(part["seed"].nunique())
    best = accuracy.drop("andc").idxmax()
    return Verdict(
        regime, part["kept"].mean(), dense(table, regime), accuracy["andc"], accuracy["permuted"],
        accuracy["magnitude"], best, accuracy[best], float(error),
    )  # fmt: skip


def verdicts(table: pd.DataFrame, threshold: float) -> list[Verdict]:
    """One verdict a regime that was tried, at the tried threshold that is nearest to `threshold`."""
    tried = select(table, layers="ff", method="andc").groupby("regime", sort=False)["threshold"]
    return [verdict(table, regime, min(t, key=lambda x: abs(x - threshold))) for regime, t in tried]
