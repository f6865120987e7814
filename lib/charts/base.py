"""What all charts share: a theme, colours, lines, and text that is safe in a specification."""

import os

import altair as alt
import numpy as np
import pandas as pd

# Okabe and Ito's palette, safe for colour-blind readers; COLOURS where a colour only tells one thing from another
SIGNAL, NOISE, NEUTRAL = "#0072b2", "#d55e00", "#8c8c8c"
COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#444444"]
PLACES = {"mha": "#cc79a7", "ff_in": "#56b4e9", "ff_hidden": "#e69f00", "ff": "#009e73", "out": "#444444"}


def colours(n: int) -> list[str]:
    """So many colours that tell things apart: the first of `COLOURS`, or where they are too few, hues in two shades."""
    if n <= len(COLOURS):
        return COLOURS[:n]
    return [f"hsl({360 * k / n:.0f}, 75%, {(34, 62)[k % 2]}%)" for k in range(n)]


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


def measured_and_control(
    table: pd.DataFrame, value: str, title: str, along: str, panel: str, along_title: str = "", number: str = ".3~f"
) -> alt.Chart:
    """Two lines along a column of layers, the quantity and its control, to be divided into panels."""
    long = table.rename(columns={value: "measured"}).melt(
        [c for c in table.columns if c in (along, panel)], ["measured", "control"], "what", "value"
    )
    return lines(long, {"measured": SIGNAL, "control": NEUTRAL}, title, along, panel, along_title or along, number)


def named(labels) -> list[str]:
    """Names of labels as a chart takes them: text, whatever they were."""
    return [str(name) for name in labels]


def described(chart, text: str):
    """The chart with a text alternative, which Vega puts into the page as the drawing's aria-label."""
    return chart.properties(description=text)


def absent(text: str) -> alt.Chart:
    """What stands in place of a chart for which a run has no numbers: a sentence that says what is missing."""
    chart = alt.Chart(alt.InlineData([{"text": text}]), width=460, height=60).mark_text(fontSize=13, color="#555555")
    return described(chart.encode(text="text:N"), text)


def pixels(image: np.ndarray, title: str, size: int = 200) -> alt.Chart:
    """An image uint8 (H, W, 3), one mark a pixel."""
    rows = [{"x": x, "y": y, "c": "#{:02x}{:02x}{:02x}".format(*image[y, x])} for y, x in np.ndindex(image.shape[:2])]
    chart = alt.Chart(alt.InlineData(rows), width=size, height=size, title=title).mark_rect()
    return chart.encode(x=alt.X("x:O", axis=None), y=alt.Y("y:O", axis=None), color=alt.Color("c:N", scale=None))
