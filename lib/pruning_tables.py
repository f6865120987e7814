"""Reading the table "andc" of one or several runs: selections, and each ANDC network beside its control."""

from collections.abc import Iterable

import numpy as np
import pandas as pd


def of_seeds(runs: Iterable) -> pd.DataFrame:
    """The tables "andc" of several runs as one, with the column seed."""
    return pd.concat([r.table("andc").assign(seed=r.definition.seed) for r in runs], ignore_index=True)


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


def verdicts(table: pd.DataFrame, threshold: float) -> list[str]:
    """What the table says about claim 4, a sentence a regime: at one threshold, both feed-forward layers pruned.

    A difference counts as one if it exceeds two standard errors of a difference of two accuracies (see `gains`); with
    several seeds all their means are used and the error is that of their mean.
    """
    found = []
    pruned = select(table, layers="ff", threshold=threshold)
    for regime in [r for r in ("none", "readout", "retrained", "scratch") if r in set(pruned["regime"])]:
        part, whole = pruned[pruned["regime"] == regime], dense(table, regime)
        accuracy = part.groupby("method")["top1"].mean()
        beside = gains(part).agg({"gain": "mean", "error": "mean", "kept": "mean"})
        error = beside["error"] / np.sqrt(part["seed"].nunique())
        lost, best = whole - accuracy["andc"], accuracy.drop(["andc"]).idxmax()
        cost = f"costs {lost:.1%}" if lost > 2 * error else "costs nothing that can be told from chance"
        earned = _compare(beside["gain"], error, "its permuted control")
        better = _compare(accuracy["andc"] - accuracy["magnitude"], error, "pruning by |w|")
        rival = (
            f"The best method is {best} ({accuracy[best]:.1%})"
            if accuracy[best] > accuracy["andc"]
            else "It is the best"
        )
        found.append(
            f"**Regime {regime}**, {beside['kept']:.0%} of the weights kept: ANDC {cost} ({whole:.1%} to"
            f" {accuracy['andc']:.1%}). It {earned}, and {better}. {rival}."
        )
    return found


def _compare(difference: float, error: float, other: str) -> str:
    if abs(difference) <= 2 * error:
        return f"cannot be told from {other} ({100 * difference:+.1f} points)"
    return f"is {'better' if difference > 0 else 'worse'} than {other} ({100 * difference:+.1f} points)"
