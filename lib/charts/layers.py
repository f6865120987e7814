"""Charts along an axis of one network: the epochs of its training, its encoders, thresholds."""

from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from lib import snp
from lib.charts.base import PANEL, SHARE, described, lines, told_apart
from lib.charts.palette import NEUTRAL, NOISE, PLACES, SIGNAL, TEXT, ordered
from lib.system.words import listed

SHUFFLED, UNTRAINED = "labels shuffled", "untrained"  # controls, by their names in legends
TICKS = (0.5, 1, 2, 5, 10, 20, 50, 100)  # of a logarithmic axis


def training(curve: pd.DataFrame, changes: Sequence[float] = ()) -> alt.Chart:
    """Loss and training accuracy by epoch; `curve` is a run's table "training".

    changes: epochs after which something else begins, such as another grid of tokens; a dashed rule each.
    """
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
        y=alt.Y("train_accuracy:Q", title="training accuracy", axis=alt.Axis(format=SHARE)), tooltip=tooltip
    )
    where = alt.Chart(pd.DataFrame({"epoch": [e + 0.5 for e in changes]}))
    rules = where.mark_rule(strokeDash=[4, 3], color=TEXT, opacity=0.6).encode(x="epoch:Q")
    return described((loss + rules) | (accuracy + rules), "Training loss and accuracy of the network by epoch")


def along_encoders(table: pd.DataFrame, value: str, title: str, percent: bool = False, width: int = 360) -> alt.Chart:
    """A quantity along the encoders, one line per place; `table` has the columns encoder, place and `value`.

    Click a place in the legend to bring it out.
    """
    chosen = alt.selection_point(fields=["place"], bind="legend")
    places = {place: colour for place, colour in PLACES.items() if place in set(table["place"])}
    number = ".1%" if percent else ".3~f"
    chart = (
        alt.Chart(table[["encoder", "place", value]], width=width)
        .mark_line(point=alt.OverlayMarkDef(size=60))
        .encode(
            x=alt.X("encoder:O", title="encoder", axis=alt.Axis(labelAngle=0)),
            y=alt.Y(
                f"{value}:Q", title=title, axis=alt.Axis(format=SHARE if percent else "~s"), scale=alt.Scale(zero=False)
            ),
            **told_apart("place", places, "place"),
            opacity=alt.when(chosen).then(alt.value(1)).otherwise(alt.value(0.15)),
            tooltip=["encoder:O", "place:N", alt.Tooltip(f"{value}:Q", format=number, title=title)],
        )
        .add_params(chosen)
    )
    return described(chart, f"{title} along the encoders, one line per place in the encoder")


def with_control(
    table: pd.DataFrame,
    value: str,
    title: str,
    percent: bool = False,
    control: str = SHUFFLED,
    columns: int | None = None,
) -> alt.Chart:
    """A quantity along the encoders beside its control, one panel per place; columns encoder, place, `value`, control.

    A column `untrained`, where it has numbers, makes a third line (`beside_untrained` adds it). control: its name in
    the legend; columns: panels in a row.
    """
    order = [*(p for p in PLACES if p in set(table["place"])), *(p for p in table["place"].unique() if p not in PLACES)]
    chart = beside(table, value, title, "encoder", "place", control=control, percent=percent)
    facet = alt.Facet if columns else alt.Column
    chart = chart.properties(width=PANEL).facet(
        facet("place:N", title=None, sort=order), **({"columns": columns} if columns else {})
    )
    chart = chart.resolve_axis(x="independent") if columns else chart
    return described(chart, f"{title} along the encoders, measured and {listed(_controls(table, control))}")


def beside_untrained(table: pd.DataFrame, run, value: str = "snr") -> pd.DataFrame:
    """The table with the column untrained: `value` in the untrained network at the same encoder and place.

    Also at the same silencing and threshold, where the table has such columns; else with the read-out silenced, at the
    book's threshold. NaN where the run has not measured it.
    """
    if not run.has("untrained"):
        return table.assign(untrained=np.nan)
    bare, keys = run.table("untrained"), ["encoder", "place"]
    for column, usual in (("silencing", "readout"), ("threshold", snp.THRESHOLD)):
        if column in table:
            keys.append(column)
        else:
            bare = bare[bare[column] == usual]
    return table.merge(bare[[*keys, value]].rename(columns={value: UNTRAINED}), "left", keys)


def _controls(table: pd.DataFrame, control: str) -> list[str]:
    """Names of the controls of a table that a chart can show."""
    return [control, *([UNTRAINED] if UNTRAINED in table and table[UNTRAINED].notna().any() else [])]


def beside(
    table: pd.DataFrame,
    value: str,
    title: str,
    along: str,
    panel: str,
    along_title: str = "",
    control: str = SHUFFLED,
    percent: bool = False,
) -> alt.Chart:
    """Lines along a column of layers, the quantity and its controls, to be divided into panels."""
    named = table.rename(columns={value: "measured", "control": control})
    long = named.melt([along, panel], ["measured", *_controls(table, control)], "what", "value").dropna(subset="value")
    hues = {"measured": SIGNAL, control: NOISE if control == UNTRAINED else NEUTRAL, UNTRAINED: NOISE}
    colours = {name: hues[name] for name in ("measured", *_controls(table, control))}
    number = ".1%" if percent else ".3~f"
    return lines(long, colours, title, along, panel, along_title or along, number, percent)


def by_threshold(table: pd.DataFrame, value: str, title: str) -> alt.Chart:
    """A quantity against the clipping threshold, one line per encoder; columns threshold, encoder and `value`."""
    encoders = sorted(table["encoder"].unique())
    colours = alt.Scale(domain=encoders, range=ordered(len(encoders)))
    chart = (
        alt.Chart(table[["threshold", "encoder", value]], width=240)
        .mark_line(point=True)
        .encode(
            x=alt.X("threshold:Q", title="clipping threshold"),
            y=alt.Y(f"{value}:Q", title=title),
            color=alt.Color("encoder:O", title="encoder", scale=colours),
            tooltip=["threshold:Q", "encoder:O", alt.Tooltip(f"{value}:Q", format=".3~f")],
        )
    )
    return described(chart, f"{title} against the clipping threshold, one line per encoder")


def sharpening(table: pd.DataFrame) -> alt.Chart:
    """SNR along the encoders at several thresholds, by both conventions of silencing, beside shuffled labels.

    table: as of `lib.experiments.sharpening.table`; with the column that `beside_untrained` adds, also beside the
    untrained network. One row of panels per convention, one column per place, all on one logarithmic scale.
    """
    names = {"snr": "measured", "shuffled_snr": SHUFFLED, UNTRAINED: UNTRAINED}
    names = {column: name for column, name in names.items() if column in table and table[column].notna().any()}
    long = table.melt(["encoder", "place", "silencing", "threshold"], list(names), "what", "value")
    long = long[np.isfinite(long["value"]) & (long["value"] > 0)].assign(
        what=long["what"].map(names),
        silencing=long["silencing"].map({"readout": "read-out silenced", "input": "input silenced"}),
    )
    kinds, thresholds = list(names.values()), sorted(long["threshold"].unique())
    low, high = (long["value"].min(), long["value"].max()) if len(long) else (1, 10)
    axis = alt.Axis(values=[t for t in TICKS if low / 1.1 <= t <= high * 1.1], labelExpr="format(datum.value, '~g')")
    scale = alt.Scale(type="log", domain=[low / 1.1, high * 1.1], nice=False)
    dashes = alt.Scale(domain=kinds, range=[[1, 0], [4, 3], [1, 3]][: len(kinds)])
    strokes = alt.Legend(
        orient="top", columns=3, symbolType="stroke", symbolSize=400, symbolFillColor="transparent", symbolOpacity=1
    )
    chart = (
        alt.Chart(long, width=150, height=190)
        .mark_line(point=alt.OverlayMarkDef(size=25))
        .encode(
            x=alt.X("encoder:O", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("value:Q", title="signal-to-noise ratio (log)", axis=axis, scale=scale),
            color=alt.Color(
                "threshold:O",
                title="threshold",
                scale=alt.Scale(domain=thresholds, range=ordered(len(thresholds))),
                legend=alt.Legend(orient="top", columns=len(thresholds)),
            ),
            strokeDash=alt.StrokeDash("what:N", title=None, scale=dashes, legend=strokes),
            opacity=alt.when(alt.datum.what == kinds[0]).then(alt.value(1)).otherwise(alt.value(0.6)),
            tooltip=[
                "place:N",
                "silencing:N",
                "encoder:O",
                "threshold:O",
                "what:N",
                alt.Tooltip("value:Q", format=".2f"),
            ],
        )
        .facet(
            column=alt.Column("place:N", title=None, sort=list(PLACES)),
            row=alt.Row("silencing:N", title=None, sort=["read-out silenced", "input silenced"]),
        )
    )
    return described(
        chart,
        "Signal-to-noise ratio along the encoders at several thresholds, read-out or input silenced: " + listed(kinds),
    )
