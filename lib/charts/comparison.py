"""Charts that compare networks: along their layers, by the accuracy of their probes, by their size."""

import altair as alt
import pandas as pd

from lib.charts.base import PANEL, SHARE, described, lines, told_apart
from lib.charts.layers import SHUFFLED, UNTRAINED, beside
from lib.charts.palette import COLOURS, NEUTRAL, NOISE, SIGNAL, TEXT


def beside_control(table: pd.DataFrame) -> alt.Chart:
    """SNR along the layers beside its control, one panel per network; columns network, layer, snr, control."""
    curves = beside(table, "snr", "signal-to-noise ratio", "layer", "network", "block or encoder")
    chart = (
        curves.properties(width=PANEL, height=170)
        .facet(alt.Facet("network:N", title=None, sort=_order(table)), columns=3)
        .resolve_axis(x="independent")
        .resolve_scale(x="independent")
    )
    return described(
        chart, "Signal-to-noise ratio along the layers of several networks, measured and with labels shuffled"
    )


def along_layers(table: pd.DataFrame, value: str, title: str) -> alt.Chart:
    """A quantity along the layers, one line per network; columns network, layer and `value`."""
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
    return described(chart, f"{title} along the layers, one line per network")


def snr_by_accuracy(table: pd.DataFrame) -> alt.Chart:
    """SNR against the accuracy of the probe, one point per layer; columns network, layer, accuracy, snr.

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
    return described(chart, "Signal-to-noise ratio against the accuracy of the probe, one point per layer")


def trained_and_untrained(table: pd.DataFrame) -> alt.Chart:
    """SNR along the blocks of CNNs, one panel per run and read-out, mean over seeds.

    table: as `lib.experiments.filters.of_runs` gives. Lines: trained, untrained, trained with shuffled output labels.
    """
    kind, readout = (table["network"].str.split(", ").str[i] for i in (0, 1))
    measured = table.assign(what=kind.replace("CNN", "trained"), value=table["snr"])
    control = table[kind == "CNN"].assign(what=SHUFFLED, value=table["control"])
    long = pd.concat([measured, control]).assign(panel=table["run"] + ", " + readout)
    long = long.groupby(["panel", "what", "layer"], sort=False, as_index=False)["value"].mean()
    colours = {"trained": SIGNAL, UNTRAINED: NOISE, SHUFFLED: NEUTRAL}
    chart = lines(long, colours, "signal-to-noise ratio", "layer", "panel", "block", ".2f")
    panels = list(dict.fromkeys(long["panel"]))
    chart = chart.properties(width=PANEL, height=150)
    chart = chart.facet(alt.Facet("panel:N", title=None, sort=panels), columns=2).resolve_axis(x="independent")
    return described(chart, "Signal-to-noise ratio along the blocks of CNNs, trained and untrained, by run")


def by_size(table: pd.DataFrame, marked: int) -> alt.Chart:
    """Quantities of claims in networks of several sizes, one panel per quantity: points are seeds, ticks their means.

    table: as `lib.experiments.sizes.side_by_side` gives; marked: the width whose runs are printed in bold.
    """
    table = table.assign(
        panel=table["quantity"] + "; control: " + table["against"],
        name=table["run"] + ", " + table["width"].astype(str),
    ).sort_values(["width", "parameters"], kind="stable")
    names, panels = (list(dict.fromkeys(part)) for part in (table["name"], table.sort_index()["panel"]))
    bold = table["name"][table["width"] == marked].unique().tolist()
    about = ["name", "run", "width", "parameters", "seed", "panel"]
    long = table.rename(columns={"value": "measured"}).melt(about, ["measured", "control"], "what", "value")
    weight = {"condition": {"test": f"indexof({bold}, datum.value) >= 0", "value": "bold"}, "value": "normal"}
    kinds = told_apart("what", {"measured": SIGNAL, "control": NEUTRAL})
    base = alt.Chart(width=PANEL, height={"step": 19}).encode(
        y=alt.Y("name:N", title=None, sort=names, axis=alt.Axis(labelFontWeight=weight, labelLimit=0, grid=True)),
        color=kinds["color"],
    )
    points = base.mark_point(filled=True, size=45, opacity=0.85).encode(
        x=alt.X("value:Q", title=None, scale=alt.Scale(padding=8, nice=False)),  # no point on the frame
        shape=kinds["shape"],
        tooltip=["run:N", "width:Q", "parameters:Q", "seed:O", "what:N", alt.Tooltip("value:Q", format=".3~f")],
    )
    means = base.mark_tick(thickness=2, size=13).encode(x=alt.X("mean(value):Q", title=None))
    zero = alt.Chart().transform_aggregate(n="count()").mark_rule(color=TEXT).encode(x=alt.datum(0))  # one per panel
    header = alt.Header(labelLimit=300, labelExpr="split(datum.label, '; ')")
    chart = alt.layer(zero, points, means, data=long.dropna(subset="value")).facet(
        alt.Facet("panel:N", title=None, sort=panels, header=header), columns=2
    )
    chart = chart.resolve_scale(x="independent").resolve_axis(x="independent")
    return described(chart, "Main numbers of the claims beside their controls, in networks of several sizes, by seed")


def _order(table: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(table["network"]))


def _networks(table: pd.DataFrame, columns: int = 1) -> dict:
    return told_apart("network", dict(zip(_order(table), COLOURS, strict=False)), columns=columns, labelLimit=220)
