"""What all charts share: a theme, lines, and text that is safe in a specification."""

import base64
import io
import os
import textwrap

import altair as alt
import numpy as np
import pandas as pd
from PIL import Image, ImageColor

from lib.charts.palette import SIGNAL, TEXT

PANEL = 180  # pixels of a panel beside others; the page makes it wider or puts it below them
PICTURE = 240  # of a picture beside others
SHARE = ".1~%"  # format of shares: 30.4%, 30%
FORMS = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left"]


@alt.theme.register("modus", enable=True)
def theme() -> alt.theme.ThemeConfig:
    """Charts stand on the page's own background, their text and lines in the page's colour, light or dark."""
    text = {"labelFontSize": 12, "titleFontSize": 12, "labelColor": TEXT, "titleColor": TEXT}
    lines = {"gridColor": TEXT, "gridOpacity": 0.15, "domainColor": TEXT, "domainOpacity": 0.6}
    ticks = {"tickColor": TEXT, "tickOpacity": 0.6}
    return {
        "config": {
            "background": "transparent",
            "padding": 4,
            "mark": {"color": SIGNAL},
            "view": {"continuousWidth": 460, "continuousHeight": 260, "stroke": None},
            "axis": text | lines | ticks,
            "axisX": {"labelOverlap": True, "labelSeparation": 6},
            "legend": text | {"orient": "bottom"},
            "header": text | {"labelFontWeight": "bold"},
            "title": {"fontSize": 14, "anchor": "start", "color": TEXT, "subtitleColor": TEXT},
        }
    }


def _for_jupyter(spec: dict, **_) -> dict:
    """JupyterLab draws this kind of output by itself, so that charts need no network; Altair's HTML would load Vega."""
    return {"application/vnd.vegalite.v5+json": spec, "text/plain": spec.get("description", "a chart")}


alt.renderers.register("modus-jupyter", _for_jupyter)
if "JPY_SESSION_NAME" in os.environ:  # set by a Jupyter server for its kernels
    alt.renderers.enable("modus-jupyter")


def lines(
    long: pd.DataFrame,
    colours: dict[str, str],
    title: str,
    along: str,
    panel: str,
    along_title: str,
    number: str,
    percent: bool = False,
) -> alt.Chart:
    """One line a colour along a column of layers, to be divided into panels; other columns what (its line), value."""
    return (
        alt.Chart(long)
        .mark_line(point=alt.OverlayMarkDef(size=60))
        .encode(
            x=alt.X(f"{along}:O", title=along_title, axis=alt.Axis(labelAngle=0)),
            y=alt.Y("value:Q", title=title, axis=alt.Axis(format=SHARE if percent else "~s")),
            **told_apart("what", colours),
            tooltip=[f"{panel}:N", f"{along}:O", "what:N", alt.Tooltip("value:Q", format=number)],
        )
    )


def told_apart(column: str, colours: dict[str, str], title: str | None = None, **legend) -> dict:
    """Encodings by which lines are told apart: a colour each and, for whom colours are not enough, a form of point."""
    names, shared = list(colours), {"title": title, "legend": alt.Legend(**legend)}
    hues = alt.Scale(domain=names, range=list(colours.values()))
    forms = alt.Scale(domain=names, range=[FORMS[k % len(FORMS)] for k in range(len(names))])
    return {
        "color": alt.Color(f"{column}:N", scale=hues, **shared),
        "shape": alt.Shape(f"{column}:N", scale=forms, **shared),
    }


def named(labels) -> list[str]:
    """Names of labels as a chart takes them: text, whatever they were."""
    return [str(name) for name in labels]


def described(chart, text: str):
    """The chart with a text alternative, which Vega puts into the page as the drawing's aria-label."""
    return chart.properties(description=text)


def in_a_row(*charts) -> alt.HConcatChart:
    """Charts side by side as one drawing, with their text alternatives one after the other."""
    return described(alt.hconcat(*charts), ". ".join(chart.description for chart in charts))


def on_canvas(chart):
    """The chart drawn as one picture, not a shape a mark: for matrices and images, with thousands of marks."""
    return chart.properties(usermeta={"embedOptions": {"renderer": "canvas"}})


def absent(text: str) -> alt.Chart:
    """What stands in place of a chart for which a run has no numbers: a sentence that says what is missing."""
    lines = textwrap.wrap(text, 40)
    chart = alt.Chart(alt.InlineData([{"lines": lines}]), width=280, height=20 * len(lines))
    chart = chart.mark_text(fontSize=13, color=TEXT, baseline="bottom")
    return described(chart.encode(text="lines:N"), text)


def pixels(image: np.ndarray, title: str, size: int = 200) -> alt.Chart:
    """An image uint8 (H, W, 3), one mark a pixel: to be drawn `on_canvas`."""
    rows = [{"x": x, "y": y, "c": "#{:02x}{:02x}{:02x}".format(*image[y, x])} for y, x in np.ndindex(image.shape[:2])]
    chart = alt.Chart(alt.InlineData(rows), width=size, height=size, title=title).mark_rect(aria=False)
    return chart.encode(x=alt.X("x:O", axis=None), y=alt.Y("y:O", axis=None), color=alt.Color("c:N", scale=None))


def rgba(colour: str) -> np.ndarray:
    """The four channels of a colour, 0 to 255."""
    return np.array(ImageColor.getcolor(colour, "RGBA"))


def pictures(table: pd.DataFrame, *told: str, smooth: bool = True) -> alt.Chart:
    """The picture of each row of a table, to be divided into panels; column url; told: columns of a tooltip."""
    frame, size = alt.ViewBackground(stroke=TEXT, strokeOpacity=0.4), PICTURE
    chart = alt.Chart(table, width=size, height=size, view=frame)
    chart = chart.mark_image(width=size, height=size, aspect=False, smooth=smooth)
    return chart.encode(url="url:N", x=alt.value(size / 2), y=alt.value(size / 2), tooltip=list(told))


def png(pixels: np.ndarray) -> str:
    """A data address of an image, (H, W, 3) or (H, W, 4), 0 to 255."""
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
