"""Many K x K matrices side by side, each as a small picture: a node of each of some layers, the field of each head."""

from collections.abc import Iterable

import altair as alt
import numpy as np
import pandas as pd

from lib import snp
from lib.charts.base import described, png, rgba
from lib.charts.palette import NOISE, SIGNAL, TEXT
from lib.sites import at, parse
from lib.study import Measures

SIZE = 240  # pixels of a picture
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
    return _grid(rows, "order", "encoder", ["node", "clusters", "labels", "noise"], text)


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


def _grid(
    rows: list[dict],
    across: str,
    down: str,
    told: Iterable[str],
    text: str,
    size: int = SIZE,
    title: str | None = None,
) -> alt.Chart:
    """Pictures by two columns of a table, which name the pictures of a row and the rows; told: columns of a tooltip."""
    table = pd.DataFrame(rows)
    chart = (
        alt.Chart(table, width=size, height=size, view=alt.ViewBackground(stroke=TEXT, strokeOpacity=0.4))
        .mark_image(width=size, height=size, aspect=False, smooth=False)
        .encode(
            url="url:N",
            x=alt.value(size / 2),
            y=alt.value(size / 2),
            tooltip=[f"{name}:Q" for name in told],
        )
    )
    names = {name: list(dict.fromkeys(table[name])) for name in (across, down)}
    header = alt.Header(labelPadding=2)
    facets = {"column": alt.Column(f"{across}:O", title=title, header=header, sort=names[across])}
    if len(names[down]) > 1:
        facets["row"] = alt.Row(f"{down}:N", title=None, sort=names[down], header=alt.Header(labelAngle=-90))
    return described(chart.facet(**facets, spacing=6), text)


def _clusters(clipped: np.ndarray, index: np.ndarray) -> str:
    """Ones in clusters in the signal's colour, other ones in the noise's."""
    inside = clipped & (index[:, None] == index) & (index >= 0)
    return png(np.where(inside[..., None], rgba(SIGNAL), np.where(clipped[..., None], rgba(NOISE), 0)))
