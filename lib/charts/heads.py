"""Charts of attention heads: who recognises which label, and each finding beside its control."""

import altair as alt
import numpy as np
import pandas as pd

from lib.charts.base import PANEL, SHARE, described, named, on_canvas, pictures, pixels, png, rgba
from lib.charts.nodes import AGAINST, FOR
from lib.charts.palette import NEGATIVE, NEUTRAL, NOISE, SIGNAL, TEXT, colours, faded
from lib.heads import by_head, diagonal_counts, shares
from lib.study import Measures

CONTROLS = {  # column prefix in the table "heads_encoders" -> what it is
    "": "trained",
    "untrained_": "untrained network",
    "shuffled_": "probe on shuffled labels",
}
PIXELS = 400  # of a head's field, about: some for each label, so that lines between labels can be seen


def head_map(counts: np.ndarray, names: list[str], title: str) -> alt.Chart:
    """Share of each head in the nodes that recognise a label, labels grouped by their strongest head.

    counts: (heads, K), as `heads.diagonal_counts` gives them. The full colour is the largest share here, rounded up to
    a twentieth. Click a label to mark it.
    """
    share, names = shares(counts.astype(float)), named(names)
    known = np.flatnonzero(np.isfinite(share[0]))
    strongest = share[:, known].argmax(0)
    order = [names[i] for i in known[np.lexsort((-share[strongest, known], strongest))]]
    rows = [
        {"name": names[i], "head": h + 1, "share": round(float(share[h, i]), 3), "nodes": int(counts[h, i])}
        for h in range(len(counts))
        for i in known
    ]
    chosen, few = alt.selection_point(fields=["name"]), len(order) <= 30  # labels that an axis has room for
    most = max(1, int(np.ceil(share[:, known].max(initial=0) * 20 - 1e-9))) / 20
    scale = alt.Scale(domain=[0, most], range=[faded(SIGNAL, 0), SIGNAL], interpolate="rgb")
    legend = alt.Legend(format=SHARE, values=[0, most / 2, most])
    chart = (
        alt.Chart(alt.InlineData(rows), width=550, height=26 * len(counts), title=title)
        .mark_rect(stroke=TEXT, strokeOpacity=0.2, strokeWidth=0.3, aria=False)
        .encode(
            x=alt.X("name:N", title="label", sort=order, axis=alt.Axis(labels=few, ticks=few)),
            y=alt.Y("head:O", title="head"),
            color=alt.Color("share:Q", title="share of nodes", scale=scale, legend=legend),
            opacity=alt.when(chosen).then(alt.value(1)).otherwise(alt.value(0.25)),
            tooltip=["name:N", "head:O", "nodes:Q", alt.Tooltip("share:Q", format=".0%")],
        )
        .add_params(chosen)
    )
    told = f"share of each head in the nodes that recognise each label, full colour: {most:.0%}"
    return described(chart, f"{title}: {told}")


def fields(measures: Measures, encoder: int, H: int) -> alt.Chart:
    """The field of each head, the sum of its nodes', in one order of the labels, two heads in a row.

    Labels are grouped by the head that has most of the nodes that recognise them, those that no node recognises last.
    Lines stand between the groups; a head's own group is outlined. The largest hundredth of the values is drawn alike.
    """
    nodes = measures.nodes(f"{encoder}.mha")
    counts = diagonal_counts(nodes, H)
    owner = np.where(counts.any(0), counts.argmax(0), H)
    order, ends = np.lexsort((-counts.max(0), owner)), np.cumsum(np.bincount(owner, minlength=H + 1))
    found = [
        (nodes.class_means[:, own] @ nodes.weight[:, own].T)[np.ix_(order, order)]
        for own in by_head(np.arange(len(nodes)), H)
    ]
    largest = np.quantile(np.abs(found), 0.99) or 1.0
    rows = [
        {"head": f"head {h + 1}", "labels": int((owner == h).sum()), "url": _field(field / largest, ends, h)}
        for h, field in enumerate(found)
    ]
    facet = alt.Facet("head:N", title=None, sort=[row["head"] for row in rows])
    chart = pictures(pd.DataFrame(rows), "head:N", "labels:Q").facet(facet, columns=2, spacing=10)
    return described(
        chart,
        f"The field of each head of encoder {encoder}, one hue for, another against an output; labels grouped by the"
        " head that has most of their nodes, its own group outlined",
    )


def _field(values: np.ndarray, ends: np.ndarray, own: int) -> str:
    """A data address of a field's picture, values of 1 and more full, with lines where groups of labels end."""
    several = max(4, round(PIXELS / len(values)))
    shades = np.where((values > 0)[..., None], rgba(FOR), rgba(AGAINST)).astype(float)
    shades[..., 3] *= np.sqrt(np.minimum(abs(values), 1))
    pixels = shades.repeat(several, 0).repeat(several, 1)
    for end in ends[:-1] * several:
        pixels[end : end + 1] = pixels[:, end : end + 1] = rgba(NEUTRAL)
    low, high = (several * (ends[own - 1] if own else 0), several * ends[own])
    for k in (low, max(low, high - 3)):
        pixels[k : k + 3, low:high] = pixels[low:high, k : k + 3] = rgba(SIGNAL)
    return png(pixels)


def against_chance(table: pd.DataFrame) -> alt.Chart:
    """Mean polarisation along the encoders beside what random heads give; table: a run's "heads_encoders".

    One panel for the trained network, one for each control; the band is two standard deviations of random assignments.
    """
    rows = [
        {"encoder": int(r["encoder"]), "what": what, "polarisation": r[f"{p}observed"], "chance": r[f"{p}null_mean"],
         "low": r[f"{p}null_mean"] - 2 * r[f"{p}null_std"], "high": r[f"{p}null_mean"] + 2 * r[f"{p}null_std"],
         "z": r[f"{p}z"]}
        for p, what in CONTROLS.items()
        for _, r in table.iterrows()
    ]  # fmt: skip
    base = alt.Chart(pd.DataFrame(rows).dropna(), width=PANEL, height=220).encode(
        x=alt.X("encoder:O", axis=alt.Axis(labelAngle=0))
    )
    tooltip = ["what:N", "encoder:O", *(alt.Tooltip(f"{c}:Q", format=".3f") for c in ("polarisation", "chance", "z"))]
    band = base.mark_area(color=NEUTRAL, opacity=0.35).encode(y=alt.Y("low:Q", title="polarisation"), y2="high:Q")
    line = base.mark_line(color=SIGNAL, point=alt.OverlayMarkDef(size=60, color=SIGNAL)).encode(
        y="polarisation:Q", tooltip=tooltip
    )
    chart = (band + line).facet(alt.Column("what:N", title=None, sort=list(CONTROLS.values())))
    return described(chart, "Mean polarisation of the labels along the encoders; grey: nodes dealt to heads at random")


def rotations(table: pd.DataFrame) -> alt.Chart:
    """Polarisation beyond random heads of the nodes as they are (line), and after rotations inside the heads (band).

    table: one row per encoder, with the fields of `heads.rotation_test`; the band is two standard deviations.
    """
    table = table.assign(
        low=table["null_mean"] - 2 * table["null_std"], high=table["null_mean"] + 2 * table["null_std"]
    )
    base = alt.Chart(table, width=360, height=220).encode(x=alt.X("encoder:O", axis=alt.Axis(labelAngle=0)))
    title = "polarisation beyond random heads"
    band = base.mark_area(color=NOISE, opacity=0.3).encode(y=alt.Y("low:Q", title=title), y2="high:Q")
    middle = base.mark_line(color=NOISE, strokeDash=[4, 4]).encode(y="null_mean:Q")
    line = base.mark_line(color=SIGNAL, point=alt.OverlayMarkDef(size=60, color=SIGNAL)).encode(
        y="observed:Q",
        tooltip=["encoder:O", *(alt.Tooltip(f"{c}:Q", format=".3f") for c in ("observed", "null_mean", "z", "p"))],
    )
    return described(
        band + middle + line,
        "Polarisation beyond random heads along the encoders: nodes as they are, and rotated inside their heads",
    )


def over_runs(table: pd.DataFrame) -> alt.Chart:
    """Polarisation beyond random heads in several runs, and what each control leaves; `heads_tables.of_families`.

    Zero is what random heads give. Bars: one standard deviation over seeds.
    """
    names = {
        "excess": "nodes as they are",
        "rotated": "rotated inside each head",
        "untrained": "untrained network",
        "shuffled": "probe on shuffled labels",
    }
    long = table.melt(["run", "nodes", "seeds", "excess_std"], list(names), "kind", "value").dropna(subset="value")
    long["kind"] = long["kind"].map(names)
    colours = alt.Scale(domain=list(names.values()), range=[SIGNAL, NOISE, NEUTRAL, NEGATIVE])
    base = alt.Chart(long, width=360, height={"step": 34}).encode(
        y=alt.Y("run:N", title=None, sort=list(table["run"]), axis=alt.Axis(labelLimit=0))
    )
    points = base.mark_circle(size=90, opacity=1).encode(
        x=alt.X("value:Q", title="polarisation beyond random heads", scale=alt.Scale(padding=8, nice=False)),
        color=alt.Color("kind:N", title=None, scale=colours, legend=alt.Legend(columns=2)),
        tooltip=[
            "run:N",
            "kind:N",
            alt.Tooltip("value:Q", format=".3f"),
            alt.Tooltip("nodes:Q", title="nodes per head"),
            "seeds:Q",
        ],
    )
    own = base.transform_filter(alt.datum.kind == names["excess"]).transform_filter("isValid(datum.excess_std)")
    bars = own.transform_calculate(
        low="datum.value - datum.excess_std", high="datum.value + datum.excess_std"
    ).mark_rule(color=SIGNAL, strokeWidth=2).encode(x="low:Q", x2="high:Q")  # fmt: skip
    zero = alt.Chart(pd.DataFrame({"x": [0]})).mark_rule(color=TEXT).encode(x="x:Q")
    return described(zero + bars + points, "Polarisation beyond that of random heads, by run, beside its controls")


def superclasses(owner: np.ndarray, names: list[str], heads: int) -> alt.Chart:
    """How many labels of each superclass each head is the expert for.

    owner: the head of each label, (K,) from 0, -1 for none; names: the superclass of each label, (K,).
    """
    counts = pd.crosstab(pd.Series(named(names), name="superclass"), pd.Series(owner + 1, name="head"))
    counts = counts.reindex(columns=range(1, heads + 1), fill_value=0)
    order = list(counts.index[np.lexsort((-counts.to_numpy().max(1), counts.to_numpy().argmax(1)))])
    long = counts.stack().rename("labels").reset_index()
    base = alt.Chart(long, width=34 * heads, height={"step": 17}).encode(
        x=alt.X("head:O", axis=alt.Axis(labelAngle=0)), y=alt.Y("superclass:N", title=None, sort=order)
    )
    shades = [faded(SIGNAL, 0), faded(SIGNAL, 0.6)]  # text of the page's colour stays readable on the strongest
    scale = alt.Scale(domain=[0, int(counts.to_numpy().max())], range=shades, interpolate="rgb")
    cells = base.mark_rect(stroke=TEXT, strokeOpacity=0.2).encode(
        color=alt.Color("labels:Q", scale=scale, legend=None), tooltip=["superclass:N", "head:O", "labels:Q"]
    )
    text = base.mark_text(fontSize=11, color=TEXT).encode(text="labels:Q").transform_filter("datum.labels > 0")
    return described(cells + text, "Number of labels of each superclass that each head is the expert for")


def cooperation(table: pd.DataFrame, encoder: int) -> alt.Chart:
    """Accuracy of each head as its nodes join, over the labels it is the expert for and over all; grey: any nodes."""
    part = table[table["encoder"] == encoder]
    names = {"expert_accuracy": "labels it is the expert for", "accuracy": "all labels"}
    long = part.melt(["head", "nodes"], list(names), "labels", "value")
    long["labels"] = long["labels"].map(names)
    anyone = part.drop_duplicates("nodes")[["nodes", "random_group"]].assign(labels=names["accuracy"])
    base = alt.Chart(width=240, height=220)
    x = alt.X("nodes:Q", title="nodes that speak")
    heads = base.mark_line(point=True).transform_filter("isValid(datum.value)").encode(
        x=x, y=alt.Y("value:Q", title="test accuracy", axis=alt.Axis(format=SHARE)),
        color=_by_head(part["head"].max()),
        tooltip=["head:N", "nodes:Q", alt.Tooltip("value:Q", format=".1%")],
    )  # fmt: skip
    anyone_line = base.mark_line(color=NEUTRAL, strokeDash=[4, 4]).transform_filter("isValid(datum.random_group)")
    grey = anyone_line.encode(x=x, y="random_group:Q")
    chart = alt.layer(heads, grey, data=pd.concat([long, anyone])).facet(
        alt.Column("labels:N", title=None, sort=list(names.values()))
    )
    return described(
        chart.resolve_scale(y="independent"),
        f"Encoder {encoder}: test accuracy of each head as its nodes join one by one; dashed: nodes of any heads",
    )


def removal(table: pd.DataFrame) -> alt.Chart:
    """Rank correlation of recognising a label and being missed for it, with its interval, along the encoders."""
    base = alt.Chart(table, width=360, height=220).encode(x=alt.X("encoder:O", axis=alt.Axis(labelAngle=0)))
    bars = base.mark_rule(strokeWidth=3, color=SIGNAL, opacity=0.5).encode(
        y=alt.Y("damage_low:Q", title="rank correlation"), y2="damage_high:Q"
    )
    points = base.mark_circle(size=90, color=SIGNAL, opacity=1).encode(
        y="damage_rho:Q",
        tooltip=["encoder:O", *(alt.Tooltip(f"damage_{c}:Q", format=".3f") for c in ("rho", "low", "high", "p"))],
    )
    zero = alt.Chart(pd.DataFrame({"y": [0]})).mark_rule(color=TEXT).encode(y="y:Q")
    return described(
        zero + bars + points, "Rank correlation between a head's share of a label and the damage its removal does to it"
    )


def partition(experts: dict[str, np.ndarray], names: list[str]) -> alt.Chart:
    """The expert head of each label in several runs, one row per run; experts: run -> (K,), from 0, -1 for none."""
    first, names = next(iter(experts.values())), named(names)
    order = [names[i] for i in np.argsort(first, kind="stable")]
    rows = [
        {"run": run, "name": names[i], "head": int(h) + 1}
        for run, found in experts.items()
        for i, h in enumerate(found)
        if h >= 0
    ]
    table = pd.DataFrame(rows, columns=["run", "name", "head"])
    chart = alt.Chart(table, width=520, height=26 * len(experts)).mark_rect(aria=False).encode(
        x=alt.X("name:N", title="label", sort=order, axis=alt.Axis(labels=False, ticks=False)),
        y=alt.Y("run:N", title=None, sort=list(experts)),
        color=_by_head(max((row["head"] for row in rows), default=1), "expert"),
        tooltip=["run:N", "name:N", "head:N"],
    )  # fmt: skip
    return described(chart, "The head that tells each label best alone, one row per run")


def _by_head(heads: int, title: str = "head") -> alt.Color:
    """A colour for each head, 1 to `heads`, in a legend that stays as narrow as a panel."""
    scale = alt.Scale(domain=list(range(1, int(heads) + 1)), range=colours(heads))
    return alt.Color("head:N", title=title, scale=scale, legend=alt.Legend(columns=8))


def attention(image: np.ndarray, received: np.ndarray) -> alt.Chart:
    """An image uint8 (H, W, 3) beside the attention its tokens receive, (side, side); white: most."""
    tokens = [{"x": x, "y": y, "v": float(received[y, x])} for y, x in np.ndindex(received.shape)]
    axes = {"x": alt.X("x:O", axis=None), "y": alt.Y("y:O", axis=None)}
    right = alt.Chart(alt.InlineData(tokens), width=200, height=200, title="attention received").mark_rect(aria=False)
    chart = pixels(image, "image") | right.encode(
        **axes, color=alt.Color("v:Q", title="weight", scale=alt.Scale(scheme="greys", reverse=True)), tooltip=["v:Q"]
    )
    told = "An image beside the attention that each of its tokens receives from a head"
    return described(on_canvas(chart), told)
