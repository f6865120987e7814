"""The colours of charts and explorers: readable on light and dark pages, told apart by colour-blind readers."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from lib.charts import heads, layers, nodes, palette, pruning

BACKGROUNDS = ("#ffffff", "#14181e", "#121212")  # white, the theme's dark page, the book theme's
LEAST = 3.0  # WCAG 2.2, 1.4.11: graphical objects
CONVERSIONS = {  # of linear light, as Machado, Oliveira and Fernandes (2009) see it with no cone of one kind
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def linear(colour: str) -> np.ndarray:
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    low, high = sorted(linear(c) @ [0.2126, 0.7152, 0.0722] for c in (one, other))
    return (high + 0.05) / (low + 0.05)


def oklab(rgb: np.ndarray) -> np.ndarray:
    """Ottosson's perceptual coordinates of linear light."""
    cones = [[0.412221, 0.536333, 0.051446], [0.211904, 0.6807, 0.107397], [0.088302, 0.281719, 0.62998]]
    axes = [[0.210454, 0.793618, -0.004072], [1.977998, -2.428592, 0.450594], [0.025904, 0.782772, -0.808676]]
    return np.array(axes) @ np.cbrt(np.clip(np.array(cones) @ np.clip(rgb, 0, 1), 0, None))


def nearest(colours: list[str], seen: str) -> float:
    """The smallest distance between two of the colours as readers with a colour-blindness see them."""
    points = [oklab(np.array(CONVERSIONS[seen]) @ linear(c)) for c in colours]
    return min(np.linalg.norm(a - b) for i, a in enumerate(points) for b in points[:i])


def test_contrast_is_that_of_the_definition():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)
    assert contrast("#e69f00", "#ffffff") < 2.3 and contrast("#444444", "#14181e") < 2


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_every_colour_stands_out_from_light_and_dark_pages(background):
    several = [c for n in (2, 7, 8, 12, 16) for c in (*palette.colours(n), *palette.ordered(n))]
    methods = list(pruning.METHODS.values())
    found = {c: contrast(c, background) for c in {*several, *palette.PLACES.values(), *methods, palette.POSITIVE}}
    assert min(found.values()) >= LEAST, found


@pytest.mark.parametrize("seen", CONVERSIONS)
def test_colours_are_told_apart_by_colour_blind_readers(seen):
    """Okabe and Ito's eight colours are 0.076 apart at least, by this measure; tritanopia is a thousand times rarer."""
    sets = [palette.COLOURS, list(palette.PLACES.values()), list(pruning.METHODS.values())]
    for colours in (*sets, [nodes.FOR, nodes.AGAINST], [palette.SIGNAL, palette.NOISE, palette.NEUTRAL]):
        assert nearest(colours, seen) > (0.05 if seen == "tritanopia" else 0.07), (colours, seen)


def drawn() -> dict:
    """One chart of each kind, by what it shows."""
    table = pd.DataFrame({"encoder": [1, 2], "place": ["ff", "mha"], "snr": [1.0, 2.0], "threshold": [0.1, 0.2]})
    labels, field = list("abcd"), np.arange(16.0).reshape(4, 4) - 5
    pruned = pd.DataFrame({"kept": [0.5, 1], "top1": [0.3, 0.4], "method": ["andc", "random"], "threshold": 0.3})
    return {
        "places": layers.along_encoders(table, "snr", "SNR"),
        "control": layers.with_control(table.assign(control=1.0), "snr", "SNR"),
        "threshold": layers.by_threshold(table, "snr", "SNR"),
        "steps": nodes.node_steps(field, labels),
        "map": heads.head_map(np.eye(4, dtype=int), labels, "map"),
        "pruning": pruning.accuracy_by_kept(pruned, 0.4),
    }


def test_charts_have_no_colour_of_their_own():
    allowed = {*palette.COLOURS, *palette.PLACES.values(), *pruning.METHODS.values(), palette.POSITIVE}
    for name, chart in drawn().items():
        text = json.dumps(chart.to_dict())
        found = set(re.findall(r"#[0-9a-fA-F]{3,8}\b", text)) - allowed - set(palette.ordered(2))
        assert not found and '"white"' not in text and '"scheme"' not in text, (name, found)


def test_nothing_in_a_matrix_and_in_a_share_is_the_page_itself():
    for name in ("steps", "map"):
        text = json.dumps(drawn()[name].to_dict())
        for colour in re.findall(r"rgba\(([^)]*)\)", text):
            assert float(colour.split(", ")[-1]) < 1, (name, colour)
        assert "rgba(" in text
