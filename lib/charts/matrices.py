"""K x K matrices side by side, each as a picture: a node of each of some layers."""

import altair as alt
import numpy as np
import pandas as pd

from lib import snp
from lib.charts.base import described, pictures, png, rgba
from lib.charts.palette import NOISE, SIGNAL
from lib.sites import at, parse
from lib.study import Measures

ORDERS = ("labels in their order", "clusters first", "labels shuffled")


def median_nodes(measures: Measures, place: str, threshold: float = snp.THRESHOLD, seed: int = 0) -> alt.Chart:
    """The clipped matrix of one node of the first, the middle and the last encoder, a row of pictures each.

    In a row: labels in their order, clusters first, and clusters first where labels are shuffled. Of a site's nodes
    that have clusters it is the one with the median noise. Shuffled: output labels renamed at random
    (`lib.snp.relabelled`), and again the median node.
    """
    rows, sites = [], at(measures.sites, place)
    for site in dict.fromkeys([sites[0], sites[len(sites) // 2], sites[-1]]):
        nodes = measures.nodes(site)
        names = np.random.default_rng(seed).permutation(len(nodes.weight))
        shuffled = snp.Nodes(nodes.class_means, nodes.weight[names])
        for kinds, given in ((ORDERS[:2], nodes), (ORDERS[2:], shuffled)):
            chosen, clipped, index = _median(given, threshold)
            order = snp.permutation(index)
            for kind in kinds:
                shown = (clipped, index) if kind == ORDERS[0] else (clipped[np.ix_(order, order)], index[order])
                about = {"encoder": f"encoder {parse(site).encoder}", "order": kind, "node": chosen}
                rows.append(about | _counts(clipped, index) | {"url": _clusters(*shown)})
    text = f"Clipped matrices of one node of {place} in some encoders: clusters in one colour, noise in another"
    chart = pictures(
        pd.DataFrame(rows), *(f"{count}:Q" for count in ("node", "clusters", "labels", "noise")), smooth=False
    )
    encoders = list(dict.fromkeys(row["encoder"] for row in rows))
    chart = chart.facet(
        column=alt.Column("order:O", title=None, sort=list(ORDERS), header=alt.Header(labelPadding=2)),
        row=alt.Row("encoder:N", title=None, sort=encoders, header=alt.Header(labelAngle=-90)),
        spacing=6,
    )
    return described(chart, text)


def _median(nodes: snp.Nodes, threshold: float) -> tuple[int, np.ndarray, np.ndarray]:
    chosen = snp.median_node(nodes, threshold)
    clipped = snp.clip(snp.normalise(nodes[[chosen]].fields()[0]), threshold)
    return chosen, clipped, snp.cluster_index(clipped[None])[0]


def _counts(clipped: np.ndarray, index: np.ndarray) -> dict[str, int]:
    return {
        "clusters": int(index.max() + 1),
        "labels": int((index >= 0).sum()),
        "noise": int(snp.column_noise(clipped[None], index[None]).sum()),
    }


def _clusters(clipped: np.ndarray, index: np.ndarray) -> str:
    """Ones in clusters in the signal's colour, other ones in the noise's."""
    inside = clipped & (index[:, None] == index) & (index >= 0)
    return png(np.where(inside[..., None], rgba(SIGNAL), np.where(clipped[..., None], rgba(NOISE), 0)))
