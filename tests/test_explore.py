"""Charts and explorers: each makes a valid chart, and the live explorer follows its controls."""

import json

import numpy as np
import pandas as pd
import pytest

from lib import charts, explore, snp


class FewNodes:
    """What an explorer asks a run for, from random numbers: 2 sites, 3 nodes, 6 labels."""

    name = "few"
    sites = ("1.mha", "1.ff")
    label_names = tuple("abcdef")

    def class_means(self, site, split="test", silencing="readout"):
        return np.random.default_rng([self.sites.index(site), silencing == "input"]).normal(size=(6, 3))

    def weight(self, site):
        return self.class_means(site) + 0.1 * np.random.default_rng(5).normal(size=(6, 3))

    def fields(self, site, split="test", silencing="readout"):
        return snp.node_fields(self.class_means(site, split, silencing), self.weight(site))


def test_every_chart_is_valid_and_says_what_it_shows():
    table = pd.DataFrame({"encoder": [1, 2], "place": ["ff", "ff"], "snr": [1.0, 2.0]})
    control = table.assign(control=1.0)
    field = FewNodes().fields("1.ff")[0]
    curve = pd.DataFrame({"epoch": [1], "loss": [2.0], "train_accuracy": [0.5]})
    made = [
        charts.along_encoders(table, "snr", "SNR"),
        charts.with_control(control, "snr", "SNR"),
        charts.by_threshold(table.assign(threshold=0.3), "snr", "SNR"),
        charts.node_steps(field, list("abcdef")),
        charts.training(curve),
    ]
    for chart in made:
        content = chart.to_dict()
        assert content["description"] and content["config"]["background"] == "#ffffff"


def test_a_matrix_reaches_the_page_as_one_row_a_label():
    chart = charts.matrix(np.arange(4.0).reshape(2, 2), ["a", "b"], "field").to_dict()
    rows = chart["datasets"][chart["data"]["name"]]
    assert [r["v"] for r in rows] == [[0, 1], [2, 3]] and [r["true"] for r in rows] == ["a", "b"]


def test_the_live_explorer_follows_its_controls():
    run = FewNodes()
    explorer = explore.NodeExplorer(run)
    explorer.site.value, explorer.node.value, explorer.threshold.value = "1.mha", 2, 0.5
    expected = snp.find_clusters(snp.clip(snp.normalise(run.fields("1.mha")[2]), 0.5))
    assert explorer.clusters == [[run.label_names[i] for i in c] for c in expected]
    explorer.silencing.value = "input"
    other = snp.find_clusters(snp.clip(snp.normalise(run.fields("1.mha", "test", "input")[2]), 0.5))
    assert explorer.clusters == [[run.label_names[i] for i in c] for c in other]
    assert len(explorer.picture.outputs) == 1


def test_the_page_gets_class_means_and_weights_of_every_node():
    run = FewNodes()
    html = explore.page(run).data
    start = html.index('{"labels"')
    content = json.loads(html[start : html.index("})</script>") + 1])
    assert list(content["sites"]) == list(run.sites)
    for values, packed in zip((run.class_means("1.ff"), run.weight("1.ff")), content["sites"]["1.ff"], strict=True):
        np.testing.assert_allclose(explore.unpacked(packed), values, rtol=1e-3, atol=1e-4 * np.abs(values).max())


@pytest.mark.parametrize("name", ["</script>", "naïve \u2028"])
def test_label_names_cannot_break_out_of_the_script(name):
    run = FewNodes()
    run.label_names = (name, *run.label_names[1:])
    assert explore.page(run).data.count("</script>") == 1
