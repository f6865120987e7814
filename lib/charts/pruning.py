"""Charts of pruning: accuracy against kept weights, the rule against its control, what pruning does to each label."""

from collections.abc import Mapping

import altair as alt
import pandas as pd

from lib.charts.base import PANEL, SHARE, described, told_apart
from lib.charts.palette import COLOURS, NEUTRAL, NOISE, SIGNAL, TEXT, colours
from lib.experiments.pruning_tables import NAMES, REGIMES

METHODS = {  # method -> colour; the rule, its controls, and the criteria that look at weights
    "andc": SIGNAL,
    "permuted": NOISE,
    "exchanged": "#99498b",
    "random": NEUTRAL,
    "dealt": "#027552",
    "levelled": "#b43b04",
    "magnitude": "#42a667",
    "activation": "#777bf9",
    "gradient": "#c779ba",
}
UNPRUNED = {"dense": TEXT}
PANELS = {name: name for name in ("linear1", "linear2", "classifier", "all")} | REGIMES  # in their order, with titles


def _methods(table: pd.DataFrame) -> dict:
    present = set(table["method"])
    colours = {m: colour for m, colour in (UNPRUNED | METHODS).items() if m in present}
    return told_apart("method", colours, "method", labelExpr=f"{NAMES}[datum.label] || datum.label")


def accuracy_by_kept(
    table: pd.DataFrame, dense: float | Mapping[str, float], facet: str | None = None, width: int = 460
) -> alt.Chart:
    """Test accuracy against the share of kept weights, one line per method, with the range over draws and seeds.

    table: columns kept, top1, method, threshold and, with `facet`, that column; dense: accuracy of the whole network,
    drawn as a rule, or one for each value of `facet`. Click a method in the legend to bring it out.
    """
    keys = ["method", "threshold"] + ([facet] if facet else [])
    spread = (
        table.groupby(keys, sort=False)
        .agg(
            kept=("kept", "mean"),
            top1=("top1", "mean"),
            low=("top1", "min"),
            high=("top1", "max"),
            networks=("top1", "size"),
        )
        .reset_index()
    )
    spread["dense"] = spread[facet].map(dense) if isinstance(dense, Mapping) else dense
    chosen = alt.selection_point(fields=["method"], bind="legend")
    dim = alt.when(chosen).then(alt.value(1)).otherwise(alt.value(0.12))
    points = alt.Chart(width=width, height=240).encode(
        x=alt.X("kept:Q", title="share of weights kept", axis=alt.Axis(format=SHARE, labelFlush=False)),
        color=_methods(table)["color"],
        opacity=dim,
        tooltip=[
            "method:N", "threshold:Q", alt.Tooltip("kept:Q", format=".1%"), alt.Tooltip("top1:Q", format=".1%"),
            alt.Tooltip("low:Q", format=".1%"), alt.Tooltip("high:Q", format=".1%"), "networks:Q",
        ],
    )  # fmt: skip
    axis = alt.Y("top1:Q", title="test accuracy", axis=alt.Axis(format=SHARE), scale=alt.Scale(zero=False))
    lines = points.mark_line(point=alt.OverlayMarkDef(size=40)).encode(y=axis, shape=_methods(table)["shape"])
    bars = points.mark_rule(strokeWidth=2).encode(y="low:Q", y2="high:Q")
    whole = alt.Chart().mark_rule(strokeDash=[4, 4], color=TEXT).encode(y="mean(dense):Q")
    chart = alt.layer(whole, bars, lines, data=spread).add_params(chosen)
    if facet:
        order = [v for v in PANELS if v in set(table[facet])]
        columns, header = 3 if len(order) == 3 else 2, alt.Header(labelExpr=f"{PANELS}[datum.label]")
        chart = chart.facet(alt.Facet(f"{facet}:N", title=None, sort=order, header=header), columns=columns)
        chart = chart.resolve_axis(x="independent")
    return described(
        chart, "Test accuracy against the share of weights kept, one line per method of pruning; dashed: nothing pruned"
    )


def accuracy_by_length(table: pd.DataFrame) -> alt.Chart:
    """Test accuracy against the length of retraining, one line per method, a panel for each threshold.

    table: as of `pruning_tables.of_lengths`. Lines are means over seeds, bands reach from the smallest to the largest;
    length 0 is without retraining. Click a method in the legend to bring it out.
    """
    pruned = table[table["method"] != "dense"]
    names = {t: f"threshold {t:g}, {part['kept'].mean():.0%} kept" for t, part in pruned.groupby("threshold")}
    dense = table[table["method"] == "dense"]
    shown = pd.concat([pruned, *(dense.assign(threshold=t) for t in names)])
    shown = shown.assign(panel=shown["threshold"].map(names))
    spread = shown.groupby(["panel", "method", "epochs"], sort=False)["top1"].agg(["mean", "min", "max", "size"])
    chosen = alt.selection_point(fields=["method"], bind="legend")
    dim = alt.when(chosen).then(alt.value(1)).otherwise(alt.value(0.12))
    lengths = sorted(set(table["epochs"]))
    base = alt.Chart(width=260, height=260).encode(
        x=alt.X("epochs:Q", title="epochs of retraining", scale=alt.Scale(type="symlog"),
                axis=alt.Axis(values=lengths, grid=False)),
        **_methods(shown),
    )  # fmt: skip
    axis = alt.Y("mean:Q", title="test accuracy", axis=alt.Axis(format=SHARE), scale=alt.Scale(zero=False))
    band = base.mark_area(opacity=0.2).encode(y=alt.Y("min:Q", title="test accuracy"), y2="max:Q")
    lines = base.mark_line(point=alt.OverlayMarkDef(size=50)).encode(
        y=axis,
        opacity=dim,
        tooltip=["method:N", "epochs:Q", *(alt.Tooltip(f"{c}:Q", format=".2%") for c in ("mean", "min", "max")),
                 alt.Tooltip("size:Q", title="seeds")],
    )  # fmt: skip
    chart = alt.layer(band, lines, data=spread.reset_index()).add_params(chosen)
    chart = chart.facet(alt.Facet("panel:N", title=None, sort=list(names.values())), columns=2)
    return described(
        chart,
        "Test accuracy against epochs of retraining, one line per method of pruning and one for the unpruned network",
    )


def whom(table: pd.DataFrame, column: str, title: str) -> alt.Chart:
    """Accuracy without retraining against a share that a mask leaves, a column of `degrees.of_run`.

    Masks of one threshold, which keep as many weights, are joined by a line.
    """
    shown = table.dropna(subset="top1").rename(columns={column: "value"})
    base = alt.Chart(shown, width=460, height=260).encode(
        x=alt.X("value:Q", title=title, axis=alt.Axis(format=SHARE), scale=alt.Scale(zero=False, padding=8)),
        y=alt.Y("top1:Q", title="test accuracy", axis=alt.Axis(format=SHARE), scale=alt.Scale(zero=False, padding=8)),
    )
    lines = base.mark_line(color=NEUTRAL, strokeWidth=1).encode(detail="threshold:N", order="value:Q")
    points = base.mark_point(size=80, filled=True, opacity=1).encode(
        **_methods(shown),
        tooltip=["method:N", "threshold:Q", alt.Tooltip("value:Q", format=".1%"), alt.Tooltip("top1:Q", format=".1%")],
    )
    return described(lines + points, f"Test accuracy without retraining against the {title}, one point per mask")


def gains(table: pd.DataFrame) -> alt.Chart:
    """ANDC less each control in every cell, with its margin of error; table: as of `gains.everything`.

    One panel per control; cells by kept weights, a colour for each run; filled: beyond chance after adjustment.
    """
    table = table.assign(**{name: 100 * table[name] for name in ("gain", "margin")})  # points
    runs = list(table["run"].unique())
    shown = table.assign(low=table["gain"] - table["margin"], high=table["gain"] + table["margin"])
    base = alt.Chart(width=PANEL, height=240).encode(
        x=alt.X("kept:Q", title="share of weights kept", axis=alt.Axis(format=SHARE)),
        y=alt.Y("gain:Q", title="points gained by ANDC", axis=alt.Axis(format="+d")),
        color=alt.Color("run:N", title=None, scale=alt.Scale(domain=runs, range=colours(len(runs))),
                        legend=alt.Legend(symbolOpacity=1)),
        tooltip=["run:N", "regime:N", "layers:N", "encoder:O", "reading:N", "threshold:Q",
                 *(alt.Tooltip(f"{c}:Q", format="+.1f") for c in ("gain", "margin")),
                 alt.Tooltip("adjusted:Q", format=".2g")],
    )  # fmt: skip
    bars = base.mark_rule(opacity=0.35).encode(y="low:Q", y2="high:Q")
    hollow = base.transform_filter("!datum.beyond").mark_point(size=35, filled=False)
    filled = base.transform_filter("datum.beyond").mark_point(size=35, filled=True, opacity=1)
    zero = alt.Chart().mark_rule(color=TEXT).encode(y=alt.datum(0))
    chart = alt.layer(zero, bars, hollow, filled, data=shown).facet(
        alt.Column("control:N", title=None, sort=list(table["control"].unique()))
    )
    return described(chart, "Accuracy of ANDC less that of each control in every cell that was measured, by run")


def gain_over_control(table: pd.DataFrame, colour: str, title: str) -> alt.Chart:
    """Accuracy of ANDC less that of its permuted control; columns kept, gain, seed and `colour`; zero is a rule."""
    names, table = list(table[colour].unique()), table.assign(gain=100 * table["gain"])  # points
    colours = alt.Color(f"{colour}:N", title=title, scale=alt.Scale(domain=names, range=COLOURS[: len(names)]))
    base = alt.Chart(table, width=460, height=240)
    points = base.mark_line(point=alt.OverlayMarkDef(size=60)).encode(
        x=alt.X("mean(kept):Q", title="share of weights kept", axis=alt.Axis(format=SHARE)),
        y=alt.Y("mean(gain):Q", title="points gained on permuted", axis=alt.Axis(format="+d")),
        color=colours,
        detail="threshold:Q",
        tooltip=[f"{colour}:N", "threshold:Q", alt.Tooltip("mean(kept):Q", format=".1%"),
                 alt.Tooltip("mean(gain):Q", format="+.1f")],
    )  # fmt: skip
    lines = base.mark_line().encode(x="kept:Q", y="gain:Q", color=colours, order="threshold:Q")
    zero = alt.Chart(pd.DataFrame({"y": [0]})).mark_rule(color=TEXT).encode(y="y:Q")
    return described(zero + lines + points, f"Accuracy of ANDC less that of its permuted control, one line a {title}")


def by_label(table: pd.DataFrame) -> alt.Chart:
    """Accuracy of each label in two networks; columns name, dense, pruned."""
    chart = alt.Chart(table, width=300, height=300).mark_circle(size=60, color=SIGNAL).encode(
        x=alt.X("dense:Q", title="whole network, retrained", axis=alt.Axis(format=SHARE)),
        y=alt.Y("pruned:Q", title="pruned, retrained", axis=alt.Axis(format=SHARE)),
        tooltip=["name:N", alt.Tooltip("dense:Q", format=".0%"), alt.Tooltip("pruned:Q", format=".0%")],
    )  # fmt: skip
    line = alt.Chart(pd.DataFrame({"v": [0, 1]})).mark_line(color=NEUTRAL, strokeDash=[4, 4]).encode(x="v:Q", y="v:Q")
    return described(line + chart, "Accuracy of each label in the pruned network against that in the whole network")


def latency(table: pd.DataFrame) -> alt.Chart:
    """Time of a forward pass, dense network = 1; columns threshold, network, batch, ratio, milliseconds."""
    order = ["masked", "compacted", "csr"]
    table = table[table["network"] != "dense"].sort_values(["threshold", "batch"])
    images = table["batch"].map({1: "1 image"}).fillna(table["batch"].map("{} images".format))
    table = table.assign(panel="threshold " + table["threshold"].astype(str) + ", " + images)
    bars = alt.Chart(table, width=PANEL, height={"step": 18}).mark_bar().encode(
        x=alt.X("ratio:Q", title="time, dense = 1"),
        y=alt.Y("network:N", title=None, sort=order),
        color=alt.Color("network:N", legend=None, scale=alt.Scale(domain=order, range=[NEUTRAL, SIGNAL, NOISE])),
        tooltip=["network:N", "panel:N", alt.Tooltip("milliseconds:Q", format=".2f"),
                 alt.Tooltip("ratio:Q", format=".2f")],
    )  # fmt: skip
    panels = alt.Facet("panel:N", title=None, sort=list(dict.fromkeys(table["panel"])))
    bars = bars.facet(panels, columns=2).resolve_axis(x="independent")
    return described(bars, "Time of a forward pass of masked, compacted and sparse networks, in units of the dense one")
