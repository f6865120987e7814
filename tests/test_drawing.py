"""The drawing of network and procedure: all its parts, whole or small, in the page's colours."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from lib import charts, snp
from lib.charts import network, palette


def test_the_drawing_shows_and_names_every_part():
    html = charts.drawing()._repr_html_()
    pictures = re.findall(r"<svg.*?</svg>", html)
    assert len(pictures) == len(network.WORDS)
    for picture in pictures:
        ElementTree.fromstring(picture)
    for name in network.WORDS:
        assert f"<b>{name}</b>" in html and name in repr(charts.drawing())
    assert "The network</p>" in html and "The procedure</p>" in html
    assert " lit" not in re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)


def test_a_small_drawing_lights_its_parts():
    html = re.sub(r"<style>.*?</style>", "", charts.drawing("matrix", "clip")._repr_html_(), flags=re.DOTALL)
    assert re.findall(r'class="part[^"]* lit">.*?<b>(\w+)</b>', html) == ["matrix", "clip"]
    assert 'role="img"' in html and "Here: matrix, clip." in html and '<p class="named">matrix, clip</p>' in html
    with pytest.raises(ValueError, match="unknown part of the drawing 'probes'.*did you mean 'probe'"):
        charts.drawing("probes")


def test_the_site_that_the_probe_reads_is_marked_where_it_is_and_where_it_is_read():
    place = f'fill="{palette.PLACES[network.SITE[1]]}"'
    for part in ("encoders", "probe"):
        ringed = re.findall(r'(fill="#\w+") stroke="none"/><circle [^>]* r="[^"]*"/>', network.PICTURES[part]())
        assert ringed == [place]


def test_its_colours_are_the_page_s_and_the_palette_s():
    html = charts.drawing()._repr_html_()
    assert set(re.findall(r"#[0-9a-f]{6}\b", html)) <= {*palette.COLOURS, *palette.PLACES.values()}


def test_its_example_is_what_the_library_finds():
    clipped = snp.clip(snp.normalise(np.outer(*network.EXAMPLE)))
    sizes = [len(cluster) for cluster in snp.find_clusters(clipped)]
    drawn = network.PICTURES["clusters"]()
    assert len(re.findall(f'fill="{palette.SIGNAL}" fill-opacity="1"', drawn)) == sum(n * n for n in sizes)
    assert len(re.findall(f'fill="{palette.NOISE}" fill-opacity="1"', drawn)) == clipped.sum() - sum(
        n * n for n in sizes
    )
    assert max(sizes) > 1 and clipped.sum() > sum(n * n for n in sizes)
