"""Charts of networks of language: beside networks of images, beside chance, and of one sentence that somebody types."""

from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from lib.charts.base import SHARE, described
from lib.charts.palette import COLOURS, NEUTRAL, NOISE, PLACES, SIGNAL, TEXT, faded

MISSING = "not measured yet"
WIDTH = 150  # pixels of a panel: three stand side by side
WIDE = 3  # times the median width of a panel's bands: a band of more than this would flatten all else


def side_by_side(
    table: pd.DataFrame,
    value: str,
    title: str,
    percent: bool = False,
    control: str = "",
    networks: Sequence[str] = (),
) -> alt.Chart:
    """A quantity along the encoders, a panel a place and a colour a network; `table` as `language.over_seeds` gives it.

    Bars: smallest and largest of the seeds. Dashed: the column `control`. Click a network in the legend to mark it.
    networks: all that a page shows, in an order of their own, so that each has its colour in every chart of the page.
    """
    if table.empty:
        return nothing()
    number = ".1%" if percent else ".2f"
    chosen = alt.selection_point(fields=["network"], bind="legend")
    base = alt.Chart(width=WIDTH, height=230).encode(
        x=alt.X("encoder:O", title="encoder", axis=alt.Axis(labelAngle=0)),
        color=_by(table, "network", networks),
        opacity=alt.when(chosen).then(alt.value(1)).otherwise(alt.value(0.12)),
    )
    axis = alt.Y(f"{value}:Q", title=title, axis=alt.Axis(format=SHARE if percent else "~s"))
    tooltip = ["network:N", "place:N", "encoder:O", "seeds:Q"]
    tooltip += [alt.Tooltip(f"{c}:Q", format=number) for c in (value, "low", "high", control) if c]
    layers = [
        base.mark_line(point=alt.OverlayMarkDef(size=50)).encode(y=axis, tooltip=tooltip),
        base.mark_rule(strokeWidth=3).encode(y="low:Q", y2="high:Q"),
    ]
    if control:
        layers.append(base.mark_line(strokeDash=[4, 4], strokeWidth=1).encode(y=f"{control}:Q"))
    chart = alt.layer(*layers, data=table).add_params(chosen)
    chart = chart.facet(alt.Column("place:N", title=None, sort=list(PLACES)))
    return described(chart, f"{title} along the encoders, a panel a place and a line a network")


def beside_chance(
    table: pd.DataFrame, panels: str, title: str, networks: Sequence[str] = (), each_its_scale: bool = False
) -> alt.Chart:
    """A statistic along the encoders, with what chance gives (mean, and two standard deviations); mean over seeds.

    A colour a network; columns: those of `heads.PermutationTest`, network, encoder and `panels`. networks: as of
    `side_by_side`. each_its_scale: panels whose values differ much have a y axis each, and a band more than
    `WIDE` times as wide as its panel's usual ones is cut at the panel's edge; the tooltip has its true ends.
    """
    if table.empty:
        return nothing()
    rows = table.assign(low=table["null_mean"] - 2 * table["null_std"], high=table["null_mean"] + 2 * table["null_std"])
    keys = [panels, "network", "encoder"]
    rows = rows.groupby(keys, sort=False)[["observed", "null_mean", "low", "high", "z", "p"]].mean().reset_index()
    told, own, frame = "a line a network; dashed, with a band: by chance", {}, []
    if each_its_scale:
        rows = _framed(rows, panels)
        own = {"scale": alt.Scale(zero=False, nice=False), "axis": alt.Axis(labelBound=True)}  # titles at one height
        frame = [alt.Chart().mark_rule(opacity=0, aria=False).encode(y="bottom:Q", y2="top:Q")]
        cut = (rows["low"] < rows["bottom"]) | (rows["high"] > rows["top"])
        told += "; a band that reaches an edge of its panel goes on beyond it" if cut.any() else ""
    band = ("from:Q", "to:Q") if each_its_scale else ("low:Q", "high:Q")
    base = alt.Chart(width=WIDTH, height=230).encode(
        x=alt.X("encoder:O", axis=alt.Axis(labelAngle=0)), color=_by(rows, "network", networks)
    )
    numbers = [alt.Tooltip(f"{c}:Q", format=".3f") for c in ("observed", "null_mean", "low", "high", "p")]
    numbers.append(alt.Tooltip("z:Q", format=".1f"))
    chart = alt.layer(
        *frame,
        base.mark_area(opacity=0.2).encode(y=alt.Y(band[0], title=title, **own), y2=band[1]),
        base.mark_line(strokeDash=[4, 4], strokeWidth=1).encode(y="null_mean:Q"),
        base.mark_line(point=alt.OverlayMarkDef(size=50)).encode(
            y="observed:Q", tooltip=["network:N", f"{panels}:N", "encoder:O", *numbers]
        ),
        data=rows,
    )
    header = alt.Header(labelExpr="split(datum.label, ', ')")  # a title of two parts takes two lines
    chart = chart.facet(alt.Column(f"{panels}:N", title=None, sort=_order(rows, panels), header=header))
    if each_its_scale:
        chart = chart.resolve_scale(y="independent")
    return described(chart, f"{title} along the encoders, {told}")


def _framed(rows: pd.DataFrame, panels: str) -> pd.DataFrame:
    """The rows with the ends of their panel's axis (bottom, top) and of their band, cut there (from, to).

    An axis holds all values, and all bands that are not too wide.
    """
    width = rows["high"] - rows["low"]
    usual = width <= WIDE * width.groupby(rows[panels]).transform("median")
    reach = rows[["observed", "null_mean"]].assign(low=rows["low"].where(usual), high=rows["high"].where(usual))
    bottom, top = (reach.agg(end, axis=1).groupby(rows[panels]).transform(end) for end in ("min", "max"))
    rows = rows.assign(bottom=bottom - 0.05 * (top - bottom), top=top + 0.05 * (top - bottom))
    return rows.assign(**{"from": rows["low"].clip(rows["bottom"]), "to": rows["high"].clip(upper=rows["top"])})


def polarisation(table: pd.DataFrame, networks: Sequence[str] = ()) -> alt.Chart:
    """Polarisation beyond random heads along the encoders, a panel a control; `table`: `language.polarisation`.

    Bars: two standard deviations of random heads; several seeds are points of their own on the line of their mean.
    networks: as of `side_by_side`.
    """
    if table.empty:
        return nothing()
    names = {"network": "as it is", "untrained": "untrained network", "shuffled": "probe on shuffled labels"}
    rows = table.assign(what=table["what"].map(names))
    rows = rows.assign(low=rows["beyond"] - rows["error"], high=rows["beyond"] + rows["error"])
    base = alt.Chart(width=WIDTH, height=230).encode(
        x=alt.X("encoder:O", axis=alt.Axis(labelAngle=0)), color=_by(rows, "network", networks)
    )
    tooltip = ["network:N", "what:N", "seed:O", "encoder:O", alt.Tooltip("z:Q", format=".1f")]
    tooltip += [alt.Tooltip(f"{c}:Q", format=".3f") for c in ("beyond", "polarisation", "chance")]
    chart = alt.layer(
        base.mark_rule(strokeWidth=2, opacity=0.5).encode(y="low:Q", y2="high:Q"),
        base.mark_line().encode(y=alt.Y("mean(beyond):Q", title="polarisation beyond random heads")),
        base.mark_circle(size=50, opacity=1).encode(y="beyond:Q", tooltip=tooltip),
        data=rows,
    )
    chart = chart.facet(alt.Column("what:N", title=None, sort=list(names.values())))
    return described(
        chart, "Polarisation beyond that of random heads along the encoders, of networks and their controls"
    )


def removal(table: pd.DataFrame) -> alt.Chart:
    """Rank correlation of recognising a label and being missed for it, with interval; a panel a network and seed."""
    if table.empty:
        return nothing()
    several = table.groupby("network")["seed"].transform("nunique") > 1
    rows = table.assign(panel=table["network"] + (", seed " + table["seed"].astype(str)).where(several, ""))
    base = alt.Chart(width=WIDTH, height=200).encode(x=alt.X("encoder:O", axis=alt.Axis(labelAngle=0)))
    numbers = [alt.Tooltip(f"{c}:Q", format=".3f") for c in ("rho", "low", "high", "p")]
    chart = alt.layer(
        alt.Chart().mark_rule(color=TEXT).encode(y=alt.datum(0)),  # over the whole width, hence without an x
        base.mark_rule(strokeWidth=3, color=SIGNAL, opacity=0.5).encode(
            y=alt.Y("low:Q", title="rank correlation"), y2="high:Q"
        ),
        base.mark_circle(size=80, color=SIGNAL, opacity=1).encode(
            y="rho:Q", tooltip=["panel:N", "encoder:O", *numbers]
        ),
        data=rows,
    )
    chart = chart.facet(alt.Facet("panel:N", title=None, sort=_order(rows, "panel")), columns=3)
    return described(chart, "Rank correlation between a head's share of a label and the damage its removal does to it")


def sentence(parts: list[np.ndarray], attention: np.ndarray, words: list[str], label: str, most: int = 12) -> alt.Chart:
    """Who speaks for a label when a network reads a sentence, and where a head looks.

    parts: [(nodes of the head,)], what each node of each head adds to the label's output; attention: (T, T), query by
    key token, of one head; words: the T tokens.
    """
    of_heads = pd.DataFrame({"name": [f"head {h}" for h in range(1, len(parts) + 1)], "part": [p.sum() for p in parts]})
    every = np.concatenate(parts)
    nodes = np.argsort(-np.abs(every))[:most]
    of_nodes = pd.DataFrame({"name": [f"node {n}" for n in nodes], "part": every[nodes]})
    names = [f"{t} {word}" for t, word in enumerate(words)]  # a word can stand twice
    cells = [
        {"from": names[i], "to": names[j], "weight": float(attention[i, j])} for i, j in np.ndindex(attention.shape)
    ]
    colour = alt.Color("weight:Q", scale=alt.Scale(domain=[0, 1], range=[faded(SIGNAL, 0), SIGNAL], interpolate="rgb"))
    size = {"width": {"step": 24}, "height": {"step": 18}}
    seen = (
        alt.Chart(alt.InlineData(cells), title="attention", **size)
        .mark_rect()
        .encode(
            x=alt.X("to:N", title="seen", sort=names, axis=alt.Axis(labelAngle=-60)),
            y=alt.Y("from:N", title="seen from", sort=names),
            color=colour,
            tooltip=["from:N", "to:N", alt.Tooltip("weight:Q", format=".2f")],
        )
    )
    chart = (_bars(of_heads, f"heads: {label}") | _bars(of_nodes, f"nodes: {label}")) & seen
    return described(
        chart, f"Heads and nodes that speak for or against {label}, and the attention of a head, word by word"
    )


def _bars(rows: pd.DataFrame, title: str) -> alt.Chart:
    return alt.Chart(rows, width=200, height={"step": 16}, title=title).mark_bar().encode(
        x=alt.X("part:Q", title="field"),
        y=alt.Y("name:N", title=None, sort=None),
        color=alt.when(alt.datum.part > 0).then(alt.value(SIGNAL)).otherwise(alt.value(NOISE)),
        tooltip=["name:N", alt.Tooltip("part:Q", format=".3f")],
    )  # fmt: skip


def nothing(text: str = MISSING) -> alt.Chart:
    """In place of a chart whose runs have no result."""
    chart = alt.Chart(alt.InlineData([{"text": text}]), width=460, height=60).mark_text(fontSize=14, color=NEUTRAL)
    return described(chart.encode(text="text:N"), text)


def _order(table: pd.DataFrame, column: str) -> list[str]:
    return list(dict.fromkeys(table[column]))


def _by(table: pd.DataFrame, column: str, among: Sequence[str] = ()) -> alt.Color:
    """The colours of a column's names, each that of its place in `among`, which holds them all."""
    names = _order(table, column)
    colours = dict(zip(among or names, COLOURS, strict=False))
    scale = alt.Scale(domain=names, range=[colours[name] for name in names])
    return alt.Color(
        f"{column}:N", title=None, scale=scale, legend=alt.Legend(columns=3, labelLimit=260, symbolOpacity=1)
    )
