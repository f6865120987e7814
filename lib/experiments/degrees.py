"""Whom each mask leaves with what, beside the accuracy it costs: is it the partners, or how many a node keeps?

Two things set masks of as many weights apart: how many connections each node keeps, and with whom. Five masks take them
apart, each with one thing more than the one before:

random     even counts, any partners
dealt      the rule's counts dealt to other nodes: what unevenness costs
permuted   the rule's counts at the rule's nodes: what it costs that these nodes lose, and not others
andc       the rule's partners too: what the rule earns by its partners, given its counts
levelled   the counts of `random` with the rule's partners: what partners earn where counts are even
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from lib import andc
from lib.experiments import pruning_tables
from lib.experiments.masks import Masks

STEPS = {  # what one step adds, from which mask to which
    "uneven counts": ("random", "dealt"),
    "the nodes that lose": ("dealt", "permuted"),
    "partners, at the rule's counts": ("permuted", "andc"),
    "partners, at even counts": ("random", "levelled"),
}
METHODS = ("random", "exchanged", "dealt", "permuted", "andc", "levelled", "magnitude")


def of_run(run, thresholds: Iterable[float], methods: Iterable[str] = METHODS) -> pd.DataFrame:
    """One row a threshold and method: `andc.whom`, mean over feed-forward layers, and accuracies without retraining.

    top1: of the masked network; compensated: where its biases make up for the means; NaN where a mask was not tried.
    `alike`: share of the kept weights that the rule keeps too. From stored weights and class means, which are those of
    values as the probe of a layer's inputs pools them: no image is needed.
    """
    nodes = {s: andc.Nodes(run.class_means(s, "train"), run.weight(s)) for s in run.sites}
    masks = Masks(run.network(), nodes, run.definition.seed)
    layers = masks.network.layers
    measured = pruning_tables.select(pruning_tables.of_seeds([run]), layers="ff")
    accuracy = measured.groupby(["regime", "threshold", "method"])["top1"].mean()
    rows = []
    for threshold in thresholds:
        rule = masks.of("andc", threshold)
        for method in methods:
            found = masks.of(method, threshold)
            each = {name: (masks.weight(name), nodes[layers[name].inputs].class_means) for name in found}
            whom = pd.DataFrame([andc.whom(mask, *each[name]) for name, mask in found.items()]).mean()
            alike = np.mean([(mask & rule[name]).sum() / max(1, mask.sum()) for name, mask in found.items()])
            top1, made_up = (accuracy.get((r, threshold, method), np.nan) for r in ("none", "compensated"))
            about = {"threshold": threshold, "method": method, "top1": top1, "compensated": made_up, "alike": alike}
            rows.append(about | whom.to_dict())
    return pd.DataFrame(rows)


def steps(table: pd.DataFrame, regime: str = "none") -> pd.DataFrame:
    """What each of `STEPS` does to accuracy, one row a threshold, mean over seeds; NaN where no seed tried both masks.

    table: as of `pruning_tables.of_seeds`.
    """
    part = pruning_tables.select(table, regime=regime, layers="ff")
    accuracy = part[part["method"] != "dense"].pivot_table(index=["threshold", "seed"], columns="method", values="top1")
    accuracy = accuracy.reindex(columns=[*METHODS])
    of_seeds = pd.DataFrame({name: accuracy[after] - accuracy[before] for name, (before, after) in STEPS.items()})
    return of_seeds.groupby(level="threshold").mean()
