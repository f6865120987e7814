"""Charts of pruning: accuracy against kept weights, the rule against its control, what pruning does to each label."""

import altair as alt
import pandas as pd

from lib.charts.base import GAIN, PANEL, SHARE, described, told_apart
from lib.charts.palette import COLOURS, NEUTRAL, NOISE, SIGNAL, TEXT

METHODS = {  # method -> colour; the rule, its controls, and the criteria that look at weights
    "andc": SIGNAL,
    "permuted": NOISE,
    "exchanged": "#99498b",
    "random": NEUTRAL,
    "magnitude": "#42a667",
    "activation": "#777bf9",
    "gradient": "#c779ba",
}
PANELS = ("linear1", "linear2", "classifier", "all", "none", "readout", "retrained", "scratch")


def _methods(table: pd.DataFrame) -> dict:
    present = set(table["method"])
    return told_apart("method", {m: colour for m, colour in METHODS.items() if m in present}, "method")


def accuracy_by_kept(table: pd.DataFrame, dense: float, facet: str | None = None, width: int = 460) -> alt.Chart:
    """Test accuracy against the share of kept weights, one line a method, with the range over draws and seeds.

    table: columns kept, top1, method, threshold and, with `facet`, that column; dense: accuracy of the whole network,
    drawn as a rule. Click a method in the legend to bring it out.
    """
    keys = ["method", "threshold"] + ([facet] if facet else [])
    spread = table.groupby(keys, sort=False).agg(
        kept=("kept", "mean"),
        top1=("top1", "mean"),
        low=("top1", "min"),
        high=("top1", "max"),
        networks=("top1", "size"),
    )
    chosen = alt.selection_point(fields=["method"], bind="legend")
    dim = alt.when(chosen).then(alt.value(1)).otherwise(alt.value(0.12))
    points = alt.Chart(width=width, height=240).encode(
        x=alt.X("kept:Q", title="share of weights kept", axis=alt.Axis(format=SHARE)),
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
    whole = alt.Chart().mark_rule(strokeDash=[4, 4], color=TEXT).encode(y=alt.datum(dense))
    chart = alt.layer(whole, bars, lines, data=spread.reset_index()).add_params(chosen)
    if facet:
        order = [v for v in PANELS if v in set(table[facet])]
        chart = chart.facet(alt.Facet(f"{facet}:N", title=None, sort=order), columns=2).resolve_axis(x="independent")
    return described(
        chart, "Test accuracy against the share of weights kept, one line a pruning method; dashed: nothing pruned"
    )


def gain_over_control(table: pd.DataFrame, colour: str, title: str) -> alt.Chart:
    """Accuracy of ANDC less that of its permuted control; columns kept, gain, seed and `colour`; zero is a rule."""
    names = list(table[colour].unique())
    colours = alt.Color(f"{colour}:N", title=title, scale=alt.Scale(domain=names, range=COLOURS[: len(names)]))
    base = alt.Chart(table, width=460, height=240)
    points = base.mark_line(point=alt.OverlayMarkDef(size=60)).encode(
        x=alt.X("mean(kept):Q", title="share of weights kept", axis=alt.Axis(format=SHARE)),
        y=alt.Y("mean(gain):Q", title="ANDC less permuted", axis=alt.Axis(format=GAIN)),
        color=colours,
        detail="threshold:Q",
        tooltip=[f"{colour}:N", "threshold:Q", alt.Tooltip("mean(kept):Q", format=".1%"),
                 alt.Tooltip("mean(gain):Q", format="+.1%")],
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
