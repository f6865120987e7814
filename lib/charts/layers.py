"""Charts along an axis: the epochs of a training, the encoders of a network, the layers of several, thresholds."""

import altair as alt
import numpy as np
import pandas as pd

from lib.charts.base import PANEL, SHARE, described, lines, measured_and_control, told_apart
from lib.charts.palette import COLOURS, NEUTRAL, NOISE, PLACES, SIGNAL, ordered


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
        y=alt.Y("train_accuracy:Q", title="training accuracy", axis=alt.Axis(format=SHARE)), tooltip=tooltip
    )
    return described(loss | accuracy, "Training loss and accuracy of the network by epoch")


def along_encoders(table: pd.DataFrame, value: str, title: str, percent: bool = False, width: int = 360) -> alt.Chart:
    """A quantity along the encoders, one line a place; `table` has the columns encoder, place and `value`.

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
    return described(chart, f"{title} along the encoders, one line a place in the encoder")


def with_control(table: pd.DataFrame, value: str, title: str, percent: bool = False) -> alt.Chart:
    """A quantity along the encoders beside its control, one panel a place; columns encoder, place, `value`, control."""
    chart = measured_and_control(table, value, title, "encoder", "place", percent=percent).properties(width=PANEL)
    chart = chart.facet(alt.Column("place:N", title=None, sort=list(PLACES)))
    return described(chart, f"{title} along the encoders, measured and under the control")


def by_threshold(table: pd.DataFrame, value: str, title: str) -> alt.Chart:
    """A quantity against the clipping threshold, one line an encoder; columns threshold, encoder and `value`."""
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
    return described(chart, f"{title} against the clipping threshold, one line an encoder")


def sharpening(table: pd.DataFrame) -> alt.Chart:
    """SNR along the encoders at several thresholds, by both conventions of silencing; dashed: labels shuffled.

    table: as of `lib.experiments.sharpening.table`. One row of panels a convention, one column a place.
    """
    long = table.melt(["encoder", "place", "silencing", "threshold"], ["snr", "shuffled_snr"], "what", "value").replace(
        {"what": {"snr": "measured", "shuffled_snr": "labels shuffled"}}
    )
    long = long[np.isfinite(long["value"]) & (long["value"] > 0)]
    kinds, thresholds = ["measured", "labels shuffled"], sorted(long["threshold"].unique())
    colours = alt.Scale(domain=thresholds, range=ordered(len(thresholds)))
    chart = (
        alt.Chart(long, width=150, height=190)
        .mark_line(point=alt.OverlayMarkDef(size=25))
        .encode(
            x=alt.X("encoder:O", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("value:Q", title="signal-to-noise ratio", scale=alt.Scale(type="log", nice=False)),
            color=alt.Color("threshold:O", title="threshold", scale=colours),
            strokeDash=alt.StrokeDash(
                "what:N",
                title=None,
                scale=alt.Scale(domain=kinds, range=[[1, 0], [4, 3]]),
                legend=alt.Legend(symbolType="stroke", symbolSize=400, symbolFillColor="transparent"),
            ),
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
            row=alt.Row("silencing:N", title="what is silenced of the other nodes", sort=["readout", "input"]),
        )
    )
    return described(
        chart,
        "Signal-to-noise ratio along the encoders at several thresholds, read-out or input silenced; dashed: labels"
        " shuffled",
    )


def beside_control(table: pd.DataFrame) -> alt.Chart:
    """SNR along the layers beside its control, one panel a network; columns network, layer, snr, control."""
    curves = measured_and_control(
        table, "snr", "signal-to-noise ratio", "layer", "network", "block or encoder", number=".2f"
    )
    chart = (
        curves.properties(width=PANEL, height=170)
        .facet(alt.Facet("network:N", title=None, sort=_order(table)), columns=3)
        .resolve_axis(x="independent")
        .resolve_scale(x="independent")
    )
    return described(chart, "Signal-to-noise ratio along the layers of several networks, measured and with the control")


def along_layers(table: pd.DataFrame, value: str, title: str) -> alt.Chart:
    """A quantity along the layers, one line a network; columns network, layer and `value`."""
    chart = (
        alt.Chart(table[["network", "layer", value]], width=PANEL, height=200)
        .mark_line(point=alt.OverlayMarkDef(size=60))
        .encode(
            x=alt.X("layer:O", title="block", axis=alt.Axis(labelAngle=0)),
            y=alt.Y(f"{value}:Q", title=title),
            **_networks(table),
            tooltip=["network:N", "layer:O", alt.Tooltip(f"{value}:Q", format=".3~f", title=title)],
        )
    )
    return described(chart, f"{title} along the layers, one line a network")


def snr_by_accuracy(table: pd.DataFrame) -> alt.Chart:
    """SNR against the accuracy of the probe, one point a layer; columns network, layer, accuracy, snr.

    Points of one network are joined in the order of its layers. Click a network in the legend to bring it out.
    """
    chosen = alt.selection_point(fields=["network"], bind="legend")
    base = alt.Chart(table, width=380, height=280).encode(
        x=alt.X("accuracy:Q", title="test accuracy of the probe", axis=alt.Axis(format=SHARE)),
        y=alt.Y("snr:Q", title="signal-to-noise ratio"),
        order="layer:Q",
        **_networks(table, columns=2),
        opacity=alt.when(chosen).then(alt.value(1)).otherwise(alt.value(0.15)),
        tooltip=["network:N", "layer:O", alt.Tooltip("accuracy:Q", format=".1%"), alt.Tooltip("snr:Q", format=".2f")],
    )
    chart = base.mark_line(strokeWidth=1) + base.mark_point(filled=True, size=70, opacity=1).add_params(chosen)
    return described(chart, "Signal-to-noise ratio against the accuracy of the probe, one point a layer")


def trained_and_untrained(table: pd.DataFrame) -> alt.Chart:
    """SNR along the blocks of CNNs, one panel a run and read-out, mean over seeds; `table` as `filters.of_runs` gives.

    Lines: trained, untrained, and trained with shuffled output labels.
    """
    kind, readout = (table["network"].str.split(", ").str[i] for i in (0, 1))
    measured = table.assign(what=kind.replace("CNN", "trained"), value=table["snr"])
    control = table[kind == "CNN"].assign(what="labels shuffled", value=table["control"])
    long = pd.concat([measured, control]).assign(panel=table["run"] + ", " + readout)
    long = long.groupby(["panel", "what", "layer"], sort=False, as_index=False)["value"].mean()
    colours = {"trained": SIGNAL, "untrained": NOISE, "labels shuffled": NEUTRAL}
    chart = lines(long, colours, "signal-to-noise ratio", "layer", "panel", "block", ".2f")
    panels = list(dict.fromkeys(long["panel"]))
    chart = chart.properties(width=PANEL, height=150)
    chart = chart.facet(alt.Facet("panel:N", title=None, sort=panels), columns=2).resolve_axis(x="independent")
    return described(chart, "Signal-to-noise ratio along the blocks of CNNs, trained and untrained, by run")


def _order(table: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(table["network"]))


def _networks(table: pd.DataFrame, columns: int = 1) -> dict:
    return told_apart("network", dict(zip(_order(table), COLOURS, strict=False)), columns=columns, labelLimit=220)


def by_size(table: pd.DataFrame) -> alt.Chart:
    """Quantities of claims in networks of several sizes, one panel a quantity, one point a seed; a tick is their mean.

    table: as `lib.experiments.sizes.side_by_side` gives.
    """
    table = table.assign(panel=table["quantity"] + "; control: " + table["against"])
    long = table.melt(["run", "parameters", "seed", "panel"], ["value", "control"], "what", "y").dropna(subset="y")
    long["what"] = long["what"].replace({"value": "measured"})
    runs = list(table.sort_values("parameters")["run"].unique())
    scale = alt.Scale(domain=["measured", "control"], range=[SIGNAL, NEUTRAL])
    base = alt.Chart(width=PANEL, height=130).encode(
        x=alt.X("run:N", title=None, sort=runs, axis=alt.Axis(labelAngle=-20, labelOverlap=False)),
        y=alt.Y("y:Q", title=None),
        color=alt.Color("what:N", title=None, scale=scale),
    )
    points = base.mark_point(filled=True, size=55, opacity=0.85).encode(
        tooltip=["run:N", "parameters:Q", "seed:O", "what:N", alt.Tooltip("y:Q", format=".3~f")]
    )
    means = base.mark_tick(thickness=2, width=22).encode(y=alt.Y("mean(y):Q", title=None))
    panels = list(dict.fromkeys(table["panel"]))
    header = alt.Header(labelLimit=240, labelExpr="split(datum.label, '; ')")
    chart = alt.layer(points, means, data=long).facet(
        alt.Facet("panel:N", title=None, sort=panels, header=header), columns=3
    )
    chart = chart.resolve_scale(y="independent", x="independent").resolve_axis(x="independent")
    return described(chart, "Main numbers of the claims beside their controls, in networks of several sizes, by seed")
