"""The book's colours: one palette for light and dark pages.

Each colour has a contrast of 3 to 1 or more against both backgrounds, white and the dark page's, so that a chart needs
no second set. They were searched for among all such colours, starting from the blue and vermilion of Okabe and Ito's
palette: nearly as far apart as that one's, also as colour-blind readers see them (tests/test_palette.py says how far).
Text, axes and rules are in "currentColor": they follow the page.
"""

import colorsys

import numpy as np

SIGNAL, NOISE, NEUTRAL = "#0072b2", "#d55e00", "#7f7f7f"
POSITIVE, NEGATIVE = "#027552", "#c779ba"
COLOURS = [SIGNAL, NOISE, "#42a667", NEGATIVE, NEUTRAL, "#777bf9", POSITIVE, "#99498b"]  # tell one thing from another
PLACES = {"mha": NEGATIVE, "ff_in": "#777bf9", "ff_hidden": NOISE, "ff": "#42a667", "out": NEUTRAL}
ORDERED = ["#2a63c9", "#6a5cd6", "#9a52c6", "#bd4ca0", "#d1566f", "#d06a3a", "#b9871e"]  # from first to last
TEXT = "currentColor"


def colours(n: int) -> list[str]:
    """So many colours that tell things apart: the first of `COLOURS`, or where they are too few, hues in two shades."""
    return COLOURS[:n] if n <= len(COLOURS) else [_shade(k / n, (0.15, 0.28)[k % 2]) for k in range(n)]


def ordered(n: int) -> list[str]:
    """So many colours in an order, from the first of `ORDERED` to its last."""
    anchors = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in ORDERED])
    at = np.linspace(0, len(anchors) - 1, n)
    return [_hex([np.interp(x, range(len(anchors)), channel) for channel in anchors.T]) for x in at]


def luminance(colour: str) -> float:
    """Relative luminance of "#rrggbb", 0 to 1, by the definition of WCAG 2."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in _channels(colour)]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def faded(colour: str, opacity: float) -> str:
    """The colour, so much of it over what lies behind."""
    return f"rgba({', '.join(str(round(255 * c)) for c in _channels(colour))}, {opacity:g})"


def _shade(hue: float, wanted: float) -> str:
    """The colour of a hue, 0 to 1, with a given luminance."""
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        found = _hex([255 * c for c in colorsys.hls_to_rgb(hue, middle, 0.7)])
        low, high = (middle, high) if luminance(found) < wanted else (low, middle)
    return found


def _channels(colour: str) -> list[float]:
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def _hex(channels) -> str:
    return "#" + "".join(f"{round(float(c)):02x}" for c in channels)
