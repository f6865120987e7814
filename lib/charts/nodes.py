"""Charts of single nodes: matrices, the steps from field to clusters, the nodes that speak when an image is seen."""

import json

import altair as alt
import numpy as np
import pandas as pd

from lib import snp
from lib.charts.base import described, named, on_canvas, pixels
from lib.charts.palette import COLOURS, NEGATIVE, NOISE, SIGNAL, TEXT, faded

FRAME = alt.ViewBackground(stroke=TEXT, strokeOpacity=0.4)

FOR, AGAINST = COLOURS[2], NEGATIVE  # shades of a field: as far from a light page as from a dark one
MOST_LABELS = 120  # that a matrix of 240 pixels can show


def matrix(
    values: np.ndarray, labels: list[str], title: str, unit: str = "field", size: int = 240, above: float | None = None
) -> alt.Chart:
    """One K x K matrix as a heat map, row = true label; negative values in one hue, positive in another.

    Shades go with the root of the size, so that small values are seen beside the few large ones; above: shade what is
    greater than that, and nothing else. The page receives one row of numbers per label and unfolds them itself, which
    keeps 10,000 cells small. The rows are a tuple because Altair would copy and check each element of a list, many
    times over.
    """
    labels = named(labels)
    rows = [
        {"true": name, "i": i, "v": [float(f"{x:.3g}") for x in row]}
        for i, (name, row) in enumerate(zip(labels, values, strict=True))
    ]
    largest = float(np.abs(values).max()) or 1.0
    domain, exponent = [-largest, -1e-9 * largest, 1e-9 * largest, largest], 0.5
    shades = [AGAINST, faded(AGAINST, 0), faded(FOR, 0), FOR]
    if above is not None:
        domain, exponent = [-1e-9, above, above + 1e-9, float(values.max()) or 1.0], 1
        shades = [faded(FOR, 0), faded(FOR, 0), faded(FOR, 0.5), FOR]
    chart = (
        alt.Chart({"values": tuple(rows)}, width=size, height=size, title=title, view=FRAME)
        .transform_flatten(["v"])
        .transform_window(j="row_number()", groupby=["i"])
        .transform_calculate(output=f"{json.dumps(labels)}[datum.j - 1]", column="datum.j - 1")
        .mark_rect(aria=False)
        .encode(
            x=alt.X("column:O", title="output unit", axis=alt.Axis(labels=False, ticks=False)),
            y=alt.Y("i:O", title="true label", axis=alt.Axis(labels=False, ticks=False)),
            color=alt.Color(
                "v:Q",
                title=unit,
                legend=alt.Legend(orient="bottom"),
                scale=alt.Scale(
                    type="pow", exponent=exponent, domain=domain, range=shades, interpolate="rgb", clamp=True
                ),
            ),
            tooltip=["true:N", "output:N", alt.Tooltip("v:Q", title=unit, format=".3")],
        )
    )
    return described(chart, f"{title}: heat map with a row for each true label and a column for each output unit")


def clipped_matrix(clipped: np.ndarray, index: np.ndarray, labels: list[str], title: str, size: int = 240) -> alt.Chart:
    """A clipped matrix: ones inside a cluster block in the signal's colour, those outside in the noise's."""
    member, labels = index.tolist(), named(labels)
    rows = [
        {
            "i": i,
            "j": j,
            "kind": "cluster" if member[i] == member[j] >= 0 else "noise",
            "true": labels[i],
            "output": labels[j],
        }
        for i, j in np.argwhere(clipped).tolist()
    ]
    domain = list(range(len(labels)))
    chart = (
        alt.Chart({"values": tuple(rows)}, width=size, height=size, title=title, view=FRAME)
        .mark_rect(aria=False)
        .encode(
            x=alt.X(
                "j:O", title="output unit", scale=alt.Scale(domain=domain), axis=alt.Axis(labels=False, ticks=False)
            ),
            y=alt.Y(
                "i:O", title="true label", scale=alt.Scale(domain=domain), axis=alt.Axis(labels=False, ticks=False)
            ),
            color=alt.Color("kind:N", title=None, scale=alt.Scale(domain=["cluster", "noise"], range=[SIGNAL, NOISE])),
            tooltip=["true:N", "output:N", "kind:N"],
        )
    )
    return described(chart, f"{title}: ones of the clipped matrix, clusters and noise in two colours")


def node_steps(
    field: np.ndarray, labels: list[str], threshold: float = snp.THRESHOLD, index: np.ndarray | None = None
) -> alt.Chart:
    """A node's field (K, K) and what the steps to its clusters make of it; index (K,): the clusters, if known.

    Of more than `MOST_LABELS` labels only so many are drawn, as the first title says: those in the largest clusters,
    then those with most ones in their row and column.
    """
    normalised = snp.normalise(field)
    clipped = snp.clip(normalised, threshold)
    index = snp.cluster_index(clipped[None])[0] if index is None else index
    told = "One node's field, normalised, clipped, and with its clusters moved to the diagonal"
    told += f": {index.max() + 1} clusters of {(index >= 0).sum()} labels, {clipped.sum()} ones, of which"
    told += f" {snp.column_noise(clipped[None], index[None]).sum()} are noise"
    some = ""
    if len(field) > MOST_LABELS:
        size = snp.cluster_sizes(index[None])[0]
        best = np.lexsort((-clipped.sum(0) - clipped.sum(1), index, -size))[:MOST_LABELS]
        shown = np.sort(best)
        some = f", {MOST_LABELS} of {len(field):,} labels"
        field, normalised, clipped = (values[np.ix_(shown, shown)] for values in (field, normalised, clipped))
        labels, index = [labels[i] for i in shown], index[shown]
    order = snp.permutation(index)
    names = [labels[i] for i in order]
    first = alt.hconcat(
        matrix(field, labels, f"field{some}"),
        matrix(normalised, labels, f"normalised: what exceeds {threshold:g}", "normalised", above=threshold),
    )
    second = alt.hconcat(
        clipped_matrix(clipped, index, labels, "clipped, in the order of labels"),
        clipped_matrix(clipped[order][:, order], index[order], names, "permuted: clusters on the diagonal"),
    )
    chart = alt.vconcat(first.resolve_scale(color="independent"), second)
    return described(on_canvas(chart), told)


def speakers(image: np.ndarray, parts: np.ndarray, label: str, most: int = 12) -> alt.Chart:
    """An image beside the nodes that add most to one output, for or against; parts: (nodes,)."""
    nodes = np.argsort(-np.abs(parts))[:most]
    rows = pd.DataFrame({"node": [str(n) for n in nodes], "part": parts[nodes]})
    bars = alt.Chart(rows, width=260, height=200, title=f"nodes that speak for or against {label}").mark_bar().encode(
        x=alt.X("part:Q", title="field"),
        y=alt.Y("node:N", sort=None),
        color=alt.when(alt.datum.part > 0).then(alt.value(SIGNAL)).otherwise(alt.value(NOISE)),
        tooltip=["node:N", alt.Tooltip("part:Q", format=".3f")],
    )  # fmt: skip
    told = f"An image, and the nodes that add most to the output {label}"
    return described(on_canvas(pixels(image, "image") | bars), told)
