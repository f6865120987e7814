"""Accuracy, clusters and SNR along the encoders beside their controls: the numbers behind the first three claims.

Controls: shuffled output labels (`lib.snp.relabelled`), and the untrained network where a run has measured it.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from lib import snp
from lib.measure import SILENCING
from lib.sites import at, parse
from lib.study import Measures

THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
COMPARED = ("clusters_per_node", "cluster_size", "recognised", "noise", "snr")


def row(nodes: snp.Nodes, threshold: float = snp.THRESHOLD) -> dict[str, float]:
    """`COMPARED` of a site, "shuffled_..." of each under shuffled output labels, "shuffled_..._std" over shufflings.

    recognised: labels in clusters of a node, mean over all nodes, 0 for those without clusters; snr_error: standard
    error of the SNR over nodes.
    """
    measured = _with_recognised(snp.site_statistics(nodes, threshold))
    shuffled = _with_recognised(snp.relabelled(nodes, threshold))
    found = {name: float(measured[name]) for name in (*COMPARED, "snr_error")}
    found |= {f"shuffled_{name}": float(np.mean(shuffled[name])) for name in COMPARED}
    return found | {f"shuffled_{name}_std": float(np.std(shuffled[name], ddof=1)) for name in COMPARED}


def _with_recognised(found: dict) -> dict:
    return found | {"recognised": found["clusters_per_node_all"] * np.nan_to_num(found["cluster_size"])}


def table(
    measures: Measures,
    sites: Iterable[str] | None = None,
    thresholds: Sequence[float] = (snp.THRESHOLD,),
    silencings: Sequence[str] = SILENCING,
) -> pd.DataFrame:
    """One `row` a site (default: all), silencing convention and threshold, on test images; with encoder and place."""
    rows = []
    for site in measures.sites if sites is None else sites:
        for silencing in silencings:
            nodes = measures.nodes(site, "test", silencing)
            for threshold in thresholds:
                about = {"site": site, **parse(site)._asdict(), "silencing": silencing, "threshold": threshold}
                rows.append(about | row(nodes, threshold))
    return pd.DataFrame(rows)


def growth(
    found: pd.DataFrame,
    by: Sequence[str] = ("place", "silencing", "threshold"),
    along: str = "encoder",
    control: str = "shuffled_snr",
) -> pd.DataFrame:
    """What becomes of the SNR from the first layer to the last; the columns `by` are the index.

    found: a row a layer, as `table` gives: its number (along), SNR, and SNR with shuffled output labels (control).
    first, last: SNR; null_first, null_last: with shuffled labels; change: of the excess over them; error: standard
    error of the change, from that of the SNR over nodes and that of the mean over shufflings, without the controls' own
    over nodes; NaN where an end has none.
    """
    rows = {}
    for key, part in found.groupby(list(by), sort=False):
        ends = part.sort_values(along).iloc[[0, -1]]
        (first, last), (null_first, null_last) = ends["snr"], ends[control]
        squares = ends.get("snr_error", np.nan) ** 2 + ends.get("shuffled_snr_std", 0.0) ** 2 / snp.RELABELLINGS
        error = np.sqrt(np.sum(np.broadcast_to(squares, 2)))  # of an array: NaN at one end is NaN
        rows[key] = (first, last, null_first, null_last, (last - null_last) - (first - null_first), error)
    index = pd.MultiIndex.from_tuples(rows, names=by)
    columns = ["first", "last", "null_first", "null_last", "change", "error"]
    return pd.DataFrame(list(rows.values()), index if len(by) > 1 else index.get_level_values(0), columns)


def growth_of_seeds(
    runs: Iterable,
    places: Sequence[str],
    thresholds: Sequence[float] = THRESHOLDS,
    silencings: Sequence[str] = SILENCING,
) -> pd.DataFrame:
    """`growth` of some runs at some places, with the columns seed, untrained and sharpens.

    untrained: the change in the untrained network, NaN where the run has not measured it; sharpens: whether the change
    is above zero and above that, by more than two of its standard errors (the untrained network's is left out). It does
    not where the error is unknown, or the change in an untrained network that was measured.
    """
    parts = []
    for run in runs:
        ends = [site for place in places for site in _ends(run, place)]
        found = growth(table(run, ends, thresholds, silencings)).assign(seed=run.definition.seed, untrained=np.nan)
        least = 0.0
        if run.has("untrained"):
            bare = run.table("untrained")
            found["untrained"] = growth(bare[bare["site"].isin(ends)])["change"].reindex(found.index)
            least = found["untrained"].clip(lower=0.0)
        found["sharpens"] = found["change"] - least > 2 * found["error"]
        parts.append(found)
    return pd.concat(parts)


def accuracy_of_seeds(runs: Iterable, places: Sequence[str]) -> pd.DataFrame:
    """Accuracy of the probes at the first and the last encoder, one row a run and place, with the column seed.

    untrained_first, untrained_last: the same in the untrained network, NaN where the run has not measured it; rises:
    whether the accuracy grows, and by more than there.
    """
    rows = []
    for run in runs:
        tables = {"": run.table("probes")} | ({"untrained_": run.table("untrained")} if run.has("untrained") else {})
        for place in places:
            found = {"seed": run.definition.seed, "place": place, "untrained_first": np.nan, "untrained_last": np.nan}
            for name, measured in tables.items():
                by_site = measured.groupby("site")["test_accuracy"].first()
                found |= {
                    f"{name}{end}": by_site[s] for end, s in zip(("first", "last"), _ends(run, place), strict=True)
                }
            there = np.nan_to_num(found["untrained_last"] - found["untrained_first"])
            rows.append(found | {"rises": found["last"] - found["first"] > max(0.0, there)})
    return pd.DataFrame(rows)


def clusters_of_seeds(runs: Iterable, place: str) -> pd.DataFrame:
    """`COMPARED` at a place of the last encoder, one row a run and network, with their columns and two of the controls.

    network: "trained", or a control, "labels shuffled" or "untrained" (where it was measured); fewer_labels, lower_snr:
    whether a control has fewer labels in a node's clusters and a lower SNR than the trained network: with shuffled
    labels by two standard deviations over shufflings, untrained by two standard errors over the trained nodes.
    """
    rows = []
    for run in runs:
        site, about = _ends(run, place)[1], {"seed": run.definition.seed, "place": place}
        nodes = run.nodes(site)
        found = row(nodes)
        margins = {
            "labels shuffled": {name: 2 * found[f"shuffled_{name}_std"] for name in COMPARED},
            "untrained": {"recognised": 2 * _recognised_error(nodes), "snr": 2 * found["snr_error"]},
        }
        networks = {"trained": found, "labels shuffled": {name: found[f"shuffled_{name}"] for name in COMPARED}}
        if run.has("untrained"):
            bare = run.table("untrained").query(
                "site == @site and silencing == 'readout' and threshold == @snp.THRESHOLD"
            )
            networks["untrained"] = bare.iloc[0].to_dict()
        for name, values in networks.items():
            below = {}
            if name != "trained":
                below = {
                    column: bool(found[c] > values[c] + margins[name][c])
                    for column, c in (("fewer_labels", "recognised"), ("lower_snr", "snr"))
                }
            rows.append(about | {"network": name} | {c: values[c] for c in COMPARED} | below)
    return pd.DataFrame(rows)


def _recognised_error(nodes: snp.Nodes) -> float:
    """Standard error over nodes of the number of labels in their clusters."""
    labels = np.concatenate([(index >= 0).sum(1) for _, index in snp.clusters(nodes)])
    return float(labels.std(ddof=1) / np.sqrt(len(labels))) if len(labels) > 1 else np.nan


def _ends(run, place: str) -> tuple[str, str]:
    sites = at(run.sites, place)
    return sites[0], sites[-1]
