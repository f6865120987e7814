"""Does a claim need scale? Each claim's main number beside its control, in networks of several sizes."""

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from lib import snp
from lib.experiments import filters, pruning_tables, pruning_verdict, sharpening

PLACES = ("mha", "ff")


def side_by_side(runs: Iterable) -> pd.DataFrame:
    """One row per run, seed and quantity: run (named as its first seed), width, parameters, seed, quantity, value, and
    of its control the name (against) and the value (control).

    runs: of which those with other seeds are found. What a run has not measured is left out. Quantities, with controls:
    the rise of the probes' accuracy from first to last encoder (untrained network); labels in a node's clusters and the
    SNR at the last encoder (shuffled output labels or the untrained network, whichever has more); the growth of the
    SNR's excess over shuffled labels (untrained network); what ANDC costs against the unpruned network, both retrained
    (permuted masks); polarisation at the last encoder (random heads); rank correlation of what a head recognises with
    what its removal costs (zero, without a value); growth of the excess for the filters of a CNN (untrained CNN).
    """
    rows = []
    for run in runs:
        for each in run.seeds("fields"):
            network = {"width": each.definition.network.width, "parameters": each.results["parameters"]}
            about = {"run": run.name, **network, "seed": each.definition.seed}
            found = [q for part in (_encoders, _heads, _pruning, _filters) for q in part(each)]
            rows += [about | dict(zip(("quantity", "value", "against", "control"), q, strict=True)) for q in found]
    return pd.DataFrame(rows)


def above_control(table: pd.DataFrame, width: int) -> pd.DataFrame:
    """In how many networks a quantity lies above its control, one row per quantity; `table` as `side_by_side` gives.

    above, of: those of a width; above_others, of_others: all others. Means over seeds; zero where the control is that.
    A network without the control does not count.
    """
    known = table[table["control"].notna() | (table["against"] == "zero")]
    means = known.groupby(["quantity", "run", "width"], sort=False)[["value", "control"]].mean().reset_index()
    above, own = means["value"] > means["control"].fillna(0.0), means["width"] == width
    counted = means.assign(above=above & own, of=own, above_others=above & ~own, of_others=~own)
    return counted.groupby("quantity", sort=False)[["above", "of", "above_others", "of_others"]].sum()


Quantities = Iterator[tuple[str, float, str, float]]  # name, value, name of the control, its value


def _encoders(run) -> Quantities:
    accuracy = sharpening.accuracy_of_seeds([run], PLACES).set_index("place")
    growth = sharpening.growth_of_seeds([run], PLACES).xs(("readout", snp.THRESHOLD), level=("silencing", "threshold"))
    for place, row in accuracy.iterrows():
        untrained = row["untrained_last"] - row["untrained_first"]
        yield f"accuracy, rise at {place} (points)", 100 * (row["last"] - row["first"]), "untrained", 100 * untrained
    for place in PLACES:
        clusters = sharpening.clusters_of_seeds([run], place).set_index("network")
        for name, title in (("recognised", "labels in a node's clusters"), ("snr", "SNR")):
            controls = clusters[name].drop("trained")
            trained = clusters.loc["trained", name]
            yield f"{title}, last {place}", trained, "labels shuffled or untrained", controls.max()
    for place, row in growth.iterrows():
        yield f"SNR, growth of its excess at {place}", row["change"], "untrained", row["untrained"]


def _heads(run) -> Quantities:
    if run.has("heads"):
        last = run.table("heads_encoders").iloc[-1]
        yield "polarisation of heads, last encoder", last["observed"], "random heads", last["null_mean"]
        yield "removal of heads, rank correlation", last["damage_rho"], "zero", np.nan


def _pruning(run) -> Quantities:
    if run.has("andc"):
        table = pruning_tables.of_seeds([run])
        (found,) = pruning_verdict.regimes(table[table["regime"] == "retrained"], snp.THRESHOLD)
        (dense,), (permuted,) = found.against("dense"), found.against("permuted")
        yield "ANDC less unpruned (points)", 100 * dense.mean, "permuted", 100 * (permuted.accuracy - dense.accuracy)


def _filters(run) -> Quantities:
    if run.has("cnn"):
        found = filters.growth(run.table("cnn"))["change"]
        yield "CNN: SNR, growth of its excess (pooled)", found["CNN, pooled"], "untrained", found["untrained, pooled"]
