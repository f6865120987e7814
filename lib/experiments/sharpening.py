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

    recognised: labels in clusters of a node, mean over all nodes, 0 for those without clusters.
    """
    measured = _with_recognised(snp.site_statistics(nodes, threshold))
    shuffled = _with_recognised(snp.relabelled(nodes, threshold))
    found = {name: float(measured[name]) for name in COMPARED}
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


def growth(found: pd.DataFrame) -> pd.DataFrame:
    """What becomes of the SNR from a place's first encoder to its last; index: place, silencing, threshold.

    found: as `table` gives. first, last: SNR; shuffled_first, shuffled_last: the same with shuffled output labels;
    change: of the SNR's excess over them.
    """
    rows = {}
    for key, part in found.groupby(["place", "silencing", "threshold"], sort=False):
        first, last = part.sort_values("encoder")[["snr", "shuffled_snr"]].to_numpy()[[0, -1]]
        change = (last[0] - last[1]) - (first[0] - first[1])
        rows[key] = (first[0], last[0], first[1], last[1], change)
    index = pd.MultiIndex.from_tuples(rows, names=["place", "silencing", "threshold"])
    return pd.DataFrame(list(rows.values()), index, ["first", "last", "shuffled_first", "shuffled_last", "change"])


def growth_of_seeds(runs: Iterable, places: Sequence[str]) -> pd.DataFrame:
    """`growth` of some runs at some places, with the columns seed, untrained and sharpens.

    untrained: the change in the untrained network, NaN where the run has not measured it; sharpens: whether the change
    is above zero and above that.
    """
    parts = []
    for run in runs:
        ends = [site for place in places for site in _ends(run, place)]
        found = growth(table(run, ends, THRESHOLDS)).assign(seed=run.definition.seed, untrained=np.nan)
        if run.has("untrained"):
            bare = run.table("untrained")
            found["untrained"] = growth(bare[bare["site"].isin(ends)])["change"].reindex(found.index)
        found["sharpens"] = found["change"] > found["untrained"].fillna(0.0).clip(lower=0.0)
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
    """`COMPARED` at a place of the last encoder, one row a run and network, with the columns seed, network and exceeds.

    network: "trained", "labels shuffled", "untrained" (where it was measured); exceeds: whether the trained one has
    more labels in clusters and a higher SNR, than with shuffled labels by two standard deviations over shufflings.
    """
    rows = []
    for run in runs:
        site, about = _ends(run, place)[1], {"seed": run.definition.seed}
        found = row(run.nodes(site))
        null = {name: found[f"shuffled_{name}"] for name in COMPARED}
        exceeds = all(found[name] > null[name] + 2 * found[f"shuffled_{name}_std"] for name in ("recognised", "snr"))
        networks = {"trained": {name: found[name] for name in COMPARED}, "labels shuffled": null | {"exceeds": exceeds}}
        if run.has("untrained"):
            bare = run.table("untrained").query(
                "site == @site and silencing == 'readout' and threshold == @snp.THRESHOLD"
            )
            null = bare.iloc[0][list(COMPARED)].to_dict()
            networks["untrained"] = null | {"exceeds": all(found[name] > null[name] for name in ("recognised", "snr"))}
        rows += [about | {"network": name} | values for name, values in networks.items()]
    return pd.DataFrame(rows)


def _ends(run, place: str) -> tuple[str, str]:
    sites = at(run.sites, place)
    return sites[0], sites[-1]
