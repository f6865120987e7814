"""Tables of numbers: what they show, and that a reader who cannot see them can read them."""

import re

import numpy as np
import pandas as pd
import pytest

from lib.charts.tables import table


def test_columns_are_named_in_words_and_places_as_in_the_code():
    frame = pd.DataFrame({"ff_hidden": [-0.0001], "null_mean": [2_500], "snr": [1.0], "found in": [True], "of": ["x"]})
    html = table(frame, "names", digits=2, index=False)._repr_html_()
    assert cells(html, "th") == ["ff_hidden", "null mean", "SNR", "found in", "of"]
    assert cells(html) == ["0", "2,500", "1", "yes", "x"]
    assert re.findall(r'<t[dh][^>]*class="words">(.*?)<', html) == ["found in", "of", "yes", "x"]


def cells(html: str, tag: str = "td") -> list[str]:
    return re.findall(rf"<{tag}\b[^>]*>(.*?)</{tag}>", html)


def test_numbers_get_the_digits_they_need_and_no_more():
    columns = {"threshold": [0.1, 0.25], "kept": [0.5, 0.25], "nodes": [64, 12_345], "noise": [3.0, 4.0]}
    frame = pd.DataFrame(columns | {"top1": [0.12345, 0.5]})
    shown = cells(table(frame, "numbers", percent=("kept",), index=False)._repr_html_())
    assert shown == ["0.10", "50.0%", "64", "3", "0.123", "0.25", "25.0%", "12,345", "4", "0.500"]


def test_nothing_is_a_nan():
    frame = pd.DataFrame({"a": [1.5, np.nan, np.inf], "b": ["x", None, ""]}, index=["one", "two", "three"])
    made = table(frame, "missing")
    html = made._repr_html_()
    assert html.count("not measured") == 2 and "∞" in html
    for text in (html, repr(made)):
        assert not re.search(r"\bnan\b|None", text, re.IGNORECASE)


def test_rows_and_columns_of_several_levels_are_headed():
    long = pd.DataFrame(
        {"regime": list("aabb"), "threshold": [0.1, 0.3, 0.1, 0.3], "method": list("xyxy"), "top1": 0.5}
    )
    wide = long.pivot_table(index=["regime", "threshold"], columns="method", values="top1")
    html = table(wide, "wide")._repr_html_()
    assert html.count('scope="rowgroup" rowspan="2"') == 2
    assert cells(html, "th") == ["regime", "threshold", "x", "y", "a", "0.1", "0.3", "b", "0.1", "0.3"]
    two = long.pivot_table(index="regime", columns=["threshold", "method"], values="top1", dropna=False)
    html = table(two, "two levels")._repr_html_()
    assert 'scope="colgroup" colspan="2"' in html and html.count("<tr>") == 4
    cells_of = [re.findall(r'<t[dh]\b(?:[^>]*colspan="(\d+)")?', row) for row in html.split("<tr>")[1:3]]
    rows = [sum(int(n or 1) for n in row) for row in cells_of]
    assert rows[0] == rows[1]


def test_a_table_has_a_name_and_scrolls_by_keys_and_text_is_only_text():
    html = table(pd.DataFrame({"<b>": ["<script>"]}), "a & b")._repr_html_()
    assert 'role="region"' in html and 'tabindex="0"' in html and "<caption>a &amp; b</caption>" in html
    assert "<script>" not in html and "&lt;b&gt;" in html


NOTHING = pd.DataFrame({"a": [], "b": [], "c": [], "d": []})


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": []}),
        pd.DataFrame(index=["x"], columns=["y"], dtype=float),
        NOTHING.pivot_table(index="a", columns=["b", "c"], values="d"),
    ],
)
def test_an_empty_table_is_one(frame):
    assert "<table>" in table(frame, "empty")._repr_html_()
