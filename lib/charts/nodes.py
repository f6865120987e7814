"""Altair charts of the book: one theme, one colour for each meaning, readable in light and dark pages."""

import json
import os

import altair as alt
import numpy as np
import pandas as pd

from lib import snp

# Okabe and Ito's palette, safe for colour-blind readers; COLOURS where a colour only tells one thing from another
SIGNAL, NOISE, NEUTRAL = "#0072b2", "#d55e00", "#8c8c8c"
COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#444444"]
PLACES = {"mha": "#cc79a7", "ff_in": "#56b4e9", "ff_hidden": "#e69f00", "ff": "#009e73", "out": "#444444"}


@alt.theme.register("modus", enable=True)
def theme() -> alt.theme.ThemeConfig:
    """An opaque light card, so that a chart reads the same on a dark page."""
    return {
        "config": {
            "background": "#ffffff",
            "padding": 12,
            "view": {"continuousWidth": 460, "continuousHeight": 260, "stroke": None},
            "axis": {"labelFontSize": 12, "titleFontSize": 12, "gridColor": "#e8e8e8"},
            "legend": {"labelFontSize": 12, "titleFontSize": 12, "orient": "bottom"},
            "header": {"labelFontSize": 12, "titleFontSize": 12, "labelFontWeight": "bold"},
            "title": {"fontSize": 14, "anchor": "start", "subtitleColor": "#555555"},
        }
    }


def _for_jupyter(spec: dict, **_) -> dict:
    """JupyterLab draws this kind of output by itself, so that charts need no network; Altair's HTML would load Vega."""
    return {"application/vnd.vegalite.v5+json": spec, "text/plain": spec.get("description", "a chart")}


alt.renderers.register("modus-jupyter", _for_jupyter)
if "JPY_SESSION_NAME" in os.environ:  # set by a Jupyter server for its kernels
    alt.renderers.enable("modus-jupyter")


def training(curve: pd.DataFrame) -> alt.Chart:
    """Loss and training accuracy by epoch; `curve` is a run's table "training"."""
    base = alt.Chart(curve, width=220, height=200).encode(x=alt.X("epoch:Q", title="epoch"))
    tooltip = [
        alt.Tooltip("epoch:Q"),
        alt.Tooltip("loss:Q", format=".3f"),
        alt.Tooltip("train_accuracy:Q", format=".1%"),
    ]
    loss = base.mark_line(color=NEUTRAL, point=alt.OverlayMarkDef(color=NEUTRAL)).encode(
        y=alt.Y("loss:Q", title="training loss"), tooltip=tooltip
    )
    accuracy = base.mark_line(color=SIGNAL, point=alt.OverlayMarkDef(color=SIGNAL)).encode(
        y=alt.Y("train_accuracy:Q", title="training accuracy", axis=alt.Axis(format="%")), tooltip=tooltip
    )
    return described(loss | accuracy, "Training loss and accuracy of the network by epoch")


def along_encoders(table: pd.DataFrame, value: str, title: str, percent: bool = False, width: int = 360) -> alt.Chart:
    """A quantity along the encoders, one line a place; `table` has the columns encoder, place and `value`.

    Click a place in the legend to bring it out.
    """
    chosen = alt.selection_point(fields=["place"], bind="legend")
    places = [p for p in PLACES if p in set(table["place"])]
    colours = alt.Scale(domain=places, range=[PLACES[p] for p in places])
    number = ".1%" if percent else ".3~f"
    chart = (
        alt.Chart(table[["encoder", "place", value]], width=width)
        .mark_line(point=alt.OverlayMarkDef(size=60))
        .encode(
            x=alt.X("encoder:O", title="encoder", axis=alt.Axis(labelAngle=0)),
            y=alt.Y(
                f"{value}:Q", title=title, axis=alt.Axis(format="%" if percent else "~s"), scale=alt.Scale(zero=False)
            ),
            color=alt.Color("place:N", title="place", scale=colours),
            opacity=alt.when(chosen).then(alt.value(1)).otherwise(alt.value(0.15)),
            tooltip=["encoder:O", "place:N", alt.Tooltip(f"{value}:Q", format=number, title=title)],
        )
        .add_params(chosen)
    )
    return described(chart, f"{title} along the encoders, one line a place in the encoder")


def with_control(table: pd.DataFrame, value: str, title: str) -> alt.Chart:
    """A quantity along the encoders beside its control, one panel a place; columns encoder, place, `value`, control."""
    chart = measured_and_control(table, value, title, "encoder", "place").properties(width=150)
    chart = chart.facet(alt.Column("place:N", title=None, sort=list(PLACES)))
    return described(chart, f"{title} along the encoders, measured and under the control")


def measured_and_control(
    table: pd.DataFrame, value: str, title: str, along: str, panel: str, along_title: str = "", number: str = ".3~f"
) -> alt.Chart:
    """Two lines along a column of layers, the quantity and its control, to be divided into panels."""
    long = table.rename(columns={value: "measured"}).melt(
        [c for c in table.columns if c in (along, panel)], ["measured", "control"], "what", "value"
    )
    return lines(long, {"measured": SIGNAL, "control": NEUTRAL}, title, along, panel, along_title or along, number)


def lines(
    long: pd.DataFrame, colours: dict[str, str], title: str, along: str, panel: str, along_title: str, number: str
) -> alt.Chart:
    """One line a colour along a column of layers, to be divided into panels; other columns what (its line), value."""
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    return (
        alt.Chart(long)
        .mark_line(point=alt.OverlayMarkDef(size=60))
        .encode(
            x=alt.X(f"{along}:O", title=along_title, axis=alt.Axis(labelAngle=0)),
            y=alt.Y("value:Q", title=title),
            color=alt.Color("what:N", title=None, scale=scale),
            tooltip=[f"{panel}:N", f"{along}:O", "what:N", alt.Tooltip("value:Q", format=number)],
        )
    )


def by_threshold(table: pd.DataFrame, value: str, title: str) -> alt.Chart:
    """A quantity against the clipping threshold, one line an encoder; columns threshold, encoder and `value`."""
    chart = (
        alt.Chart(table[["threshold", "encoder", value]], width=240)
        .mark_line(point=True)
        .encode(
            x=alt.X("threshold:Q", title="clipping threshold"),
            y=alt.Y(f"{value}:Q", title=title),
            color=alt.Color("encoder:O", title="encoder", scale=alt.Scale(scheme="viridis")),
            tooltip=["threshold:Q", "encoder:O", alt.Tooltip(f"{value}:Q", format=".3~f")],
        )
    )
    return described(chart, f"{title} against the clipping threshold, one line an encoder")


def matrix(values: np.ndarray, labels: list[str], title: str, unit: str = "field", size: int = 240) -> alt.Chart:
    """One K x K matrix as a heat map, row = true label; negative values in one hue, positive in another.

    The page receives one row of numbers a label and unfolds them itself, which keeps 10,000 cells small.
    """
    labels = named(labels)
    rows = [
        {"true": name, "i": i, "v": [float(f"{x:.3g}") for x in row]}
        for i, (name, row) in enumerate(zip(labels, values, strict=True))
    ]
    largest = float(np.abs(values).max()) or 1.0
    chart = (
        alt.Chart(alt.InlineData(rows), width=size, height=size, title=title)
        .transform_flatten(["v"])
        .transform_window(j="row_number()", groupby=["i"])
        .transform_calculate(output=f"{json.dumps(labels)}[datum.j - 1]", column="datum.j - 1")
        .mark_rect()
        .encode(
            x=alt.X("column:O", title="output unit", axis=alt.Axis(labels=False, ticks=False)),
            y=alt.Y("i:O", title="true label", axis=alt.Axis(labels=False, ticks=False)),
            color=alt.Color(
                "v:Q",
                title=unit,
                legend=alt.Legend(orient="bottom"),
                scale=alt.Scale(
                    domain=[-largest, 0, largest], range=["#cc79a7", "#ffffff", "#006b4f"], interpolate="rgb"
                ),
            ),
            tooltip=["true:N", "output:N", alt.Tooltip("v:Q", title=unit, format=".3")],
        )
    )
    return described(chart, f"{title}: heat map with one row a true label and one column an output unit")


def clipped_matrix(clipped: np.ndarray, index: np.ndarray, labels: list[str], title: str, size: int = 240) -> alt.Chart:
    """A clipped matrix: ones inside a cluster block in the signal's colour, those outside in the noise's."""
    rows, columns = np.nonzero(clipped)
    labels = named(labels)
    kind = np.where((index[rows] == index[columns]) & (index[rows] >= 0), "cluster", "noise")
    table = pd.DataFrame({"i": rows, "j": columns, "kind": kind})
    table["true"], table["output"] = ([labels[k] for k in table[c]] for c in "ij")
    domain = list(range(len(labels)))
    chart = (
        alt.Chart(alt.InlineData(table.to_dict("records")), width=size, height=size, title=title)
        .mark_rect()
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


def node_steps(field: np.ndarray, labels: list[str], threshold: float = snp.THRESHOLD) -> alt.Chart:
    """The four steps from a node's field (K, K) to its clusters, side by side."""
    normalised = snp.normalise(field)
    clipped = snp.clip(normalised, threshold)
    index = snp.cluster_index(clipped[None])[0]
    order = snp.permutation(index)
    names = [labels[i] for i in order]
    first = alt.hconcat(matrix(field, labels, "1. field"), matrix(normalised, labels, "2. normalised", "normalised"))
    second = alt.hconcat(
        clipped_matrix(clipped, index, labels, f"3. clipped at {threshold}"),
        clipped_matrix(clipped[order][:, order], index[order], names, "4. permuted: clusters on the diagonal"),
    )
    chart = alt.vconcat(first.resolve_scale(color="independent"), second)
    return described(chart, "One node's field, normalised, clipped, and with its clusters moved to the diagonal")


def named(labels) -> list[str]:
    """Names of labels as a chart takes them: text, whatever they were."""
    return [str(name) for name in labels]


def described(chart, text: str):
    """The chart with a text alternative, which Vega puts into the page as the drawing's aria-label."""
    return chart.properties(description=text)


def pixels(image: np.ndarray, title: str, size: int = 200) -> alt.Chart:
    """An image uint8 (H, W, 3), one mark a pixel."""
    rows = [{"x": x, "y": y, "c": "#{:02x}{:02x}{:02x}".format(*image[y, x])} for y, x in np.ndindex(image.shape[:2])]
    chart = alt.Chart(alt.InlineData(rows), width=size, height=size, title=title).mark_rect()
    return chart.encode(x=alt.X("x:O", axis=None), y=alt.Y("y:O", axis=None), color=alt.Color("c:N", scale=None))


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
    return described(pixels(image, "image") | bars, f"An image, and the nodes that add most to the output {label}")
