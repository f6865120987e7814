"""Charts along layers beside their controls, and of networks of several sizes."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lib import charts
from lib.experiments import sizes

BARE = pd.DataFrame(
    [
        {"encoder": e, "place": "ff", "silencing": s, "threshold": t, "snr": e + t + 10 * (s == "input")}
        for e in (1, 2) for s in ("readout", "input") for t in (0.3, 0.5)
    ]
)  # fmt: skip
MEASURED = SimpleNamespace(has=lambda stage: stage == "untrained", table=lambda name: BARE)


def rows(chart) -> list[dict]:
    return [row for part in chart.to_dict()["datasets"].values() for row in part]


def test_the_untrained_network_stands_beside_what_it_compares_with():
    table = pd.DataFrame({"encoder": [1, 2], "place": "ff", "snr": [5.0, 6.0], "control": [1.0, 1.1]})
    beside = charts.layers.beside_untrained(table, MEASURED)
    assert beside["untrained"].tolist() == pytest.approx([1.3, 2.3])  # read-out silenced, the book's threshold
    every = charts.layers.beside_untrained(BARE.drop(columns="snr"), MEASURED)
    assert every["untrained"].tolist() == BARE["snr"].tolist()
    drawn = charts.layers.with_control(beside, "snr", "SNR")
    assert {row["what"] for row in rows(drawn)} == {"measured", "labels shuffled", "untrained"}
    unmeasured = charts.layers.beside_untrained(table, SimpleNamespace(has=lambda stage: False))
    drawn = charts.layers.with_control(unmeasured, "snr", "SNR", columns=2)
    assert {row["what"] for row in rows(drawn)} == {"measured", "labels shuffled"}
    drawn = charts.layers.with_control(table, "snr", "SNR", control="untrained")
    assert {row["what"] for row in rows(drawn)} == {"measured", "untrained"}


def test_all_rows_of_the_chart_of_sharpening_have_one_scale():
    table = charts.layers.beside_untrained(BARE.assign(snr=[1.5] * 7 + [30.0], shuffled_snr=1.0), MEASURED)
    drawn = charts.layers.sharpening(table)
    y = drawn.to_dict()["spec"]["encoding"]["y"]
    assert y["scale"]["domain"] == pytest.approx([1 / 1.1, 33]) and y["axis"]["values"] == [1, 2, 5, 10, 20]
    assert {row["silencing"] for row in rows(drawn)} == {"read-out silenced", "input silenced"}


def test_a_band_of_chance_much_wider_than_the_others_is_cut_and_the_chart_says_so():
    tests = pd.DataFrame(
        {"network": "a", "encoder": [1, 2, 3], "observed": [0.03, 0.05, 0.02], "null_mean": 0.0, "z": 1.0, "p": 0.1}
    )
    even, wide = (tests.assign(null_std=s, what=name) for name, s in (("even", 0.01), ("wide", [0.01, 0.01, 0.5])))
    drawn = charts.language.beside_chance(pd.concat([even, wide]), "what", "index", each_its_scale=True)
    found = pd.DataFrame(rows(drawn)).set_index(["what", "encoder"])
    assert (found["bottom"] < found[["observed", "from"]].min(axis=1)).sum() == 5  # all but the one that is cut
    assert found.loc[("wide", 3), ["from", "to"]].tolist() == found.loc[("wide", 3), ["bottom", "top"]].tolist()
    assert found.loc[("wide", 3), "high"] == 1 and found["top"].max() < 0.1
    assert "goes on beyond" in drawn.to_dict()["description"]
    whole = charts.language.beside_chance(even, "what", "index", each_its_scale=True)
    assert "goes on beyond" not in whole.to_dict()["description"]


def sized(run: str, width: int, *values: tuple[str, float, str, float]) -> list[dict]:
    names = ("quantity", "value", "against", "control")
    about = {"run": run, "width": width, "parameters": 10 * width, "seed": 0}
    return [about | dict(zip(names, each, strict=True)) for each in values]


def test_networks_of_a_width_are_counted_apart_from_the_others():
    table = pd.DataFrame(
        sized("wide", 256, ("a", 2.0, "untrained", 1.0), ("b", -1.0, "zero", np.nan))
        + sized("small", 64, ("a", 0.5, "untrained", 1.0), ("b", 1.0, "zero", np.nan))
        + sized("small", 64, ("a", 3.0, "untrained", 1.0))  # another seed: the mean is above
        + sized("bare", 64, ("a", 9.0, "untrained", np.nan))  # without the control
    )
    found = sizes.above_control(table, 256)
    assert found.loc["a"].tolist() == [1, 1, 1, 1] and found.loc["b"].tolist() == [0, 1, 1, 1]
    drawn = charts.comparison.by_size(table, 256).to_dict()
    assert "['wide, 256']" in drawn["spec"]["layer"][1]["encoding"]["y"]["axis"]["labelFontWeight"]["condition"]["test"]
    points = [row for row in rows(charts.comparison.by_size(table, 256)) if row["what"] == "control"]
    assert len(points) == 3 and all("zero" not in row["panel"] for row in points)
