"""Charts and explorers: each makes a valid chart, and the live explorer follows its controls."""

import io
import json
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from conftest import tiny_config, tiny_images
from lib import cct, charts, data, heads, snp
from lib.charts import heads as head_charts
from lib.charts import layers as layer_charts
from lib.charts import pruning as pruning_charts
from lib.explorers import heads as explore_heads
from lib.explorers import image as explore_image
from lib.explorers import nodes as explore
from lib.probes import Probe
from lib.runs.definition import Definition


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
    layers = pd.DataFrame({"network": ["a", "b"], "layer": [1, 1], "snr": [1.0, 2.0]})
    field = FewNodes().fields("1.ff")[0]
    curve = pd.DataFrame({"epoch": [1], "loss": [2.0], "train_accuracy": [0.5]})
    made = [
        charts.along_encoders(table, "snr", "SNR"),
        charts.with_control(control, "snr", "SNR"),
        charts.by_threshold(table.assign(threshold=0.3), "snr", "SNR"),
        charts.node_steps(field, list("abcdef")),
        charts.training(curve),
        layer_charts.beside_control(layers.assign(control=1.0)),
        layer_charts.along_layers(layers, "snr", "SNR"),
        layer_charts.snr_by_accuracy(layers.assign(accuracy=0.5)),
    ]
    for chart in made:
        content = chart.to_dict()
        assert content["description"] and content["config"]["background"] == "#ffffff"


def test_a_matrix_reaches_the_page_as_one_row_a_label():
    chart = charts.matrix(np.arange(4.0).reshape(2, 2), ["a", "b"], "field").to_dict()
    rows = chart["datasets"][chart["data"]["name"]]
    assert [r["v"] for r in rows] == [[0, 1], [2, 3]] and [r["true"] for r in rows] == ["a", "b"]


STRANGE = ["it's", '"', "\\", "<unk>", "<!--<script>", "</script>", "<img src=x onerror=alert()>", "&lt;", "é \u2028"]


@pytest.mark.parametrize("labels", [STRANGE, list(np.array(STRANGE)), list(range(9))])
def test_charts_take_any_label(labels):
    K, names = len(labels), [str(name) for name in labels]
    matrix = charts.matrix(np.eye(K), labels, "t").to_dict()
    expression = next(t["calculate"] for t in matrix["transform"] if "calculate" in t)
    assert json.loads(expression.removesuffix("[datum.j - 1]")) == names
    clipped = charts.clipped_matrix(np.eye(K), np.arange(K), labels, "t").to_dict()
    mapped = head_charts.head_map(np.ones((2, K)), labels, "t").to_dict()
    shared = head_charts.partition({"one": np.arange(K) % 2}, labels).to_dict()
    for chart, column in ((matrix, "true"), (clipped, "true"), (mapped, "name"), (shared, "name")):
        rows = chart["datasets"][chart["data"]["name"]]
        assert {r[column] for r in rows} == set(names)


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


def test_the_live_explorer_counts_noise_of_nodes_with_and_without_clusters():
    run = FewNodes()
    run.fields = lambda *_: np.stack([np.eye(6), np.eye(6)[::-1] + 0.2 * np.eye(6), -np.eye(6)])
    explorer = explore.NodeExplorer(run)
    for node, clusters, noise in ((0, 6, 0), (1, 0, 6), (2, 0, 0)):
        explorer.node.value = node
        assert (len(explorer.clusters), explorer.statistics["noise"]) == (clusters, noise)
        assert explorer.statistics["clusters_per_node"] == clusters
        assert f"Noise: {noise} ones" in explorer.words.value
        assert ("silent" in explorer.words.value) == (node == 2)


def test_the_page_gets_class_means_and_weights_of_every_node():
    run = FewNodes()
    html = explore.page(run).data
    start = html.index('{"labels"')
    content = json.loads(html[start : html.index("})</script>") + 1])
    assert list(content["sites"]) == list(run.sites)
    for values, packed in zip((run.class_means("1.ff"), run.weight("1.ff")), content["sites"]["1.ff"], strict=True):
        np.testing.assert_allclose(explore.unpacked(packed), values, rtol=1e-3, atol=1e-4 * np.abs(values).max())


def test_explorers_in_a_page_take_any_label_and_do_not_disturb_each_other(browser):
    run = FewNodes()
    run.name, run.label_names = '"a b:ü', STRANGE[3:]
    other = FewNodes()
    page, wrong = browser.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(dialog.message) or dialog.dismiss())
    page.goto("data:text/html,")
    page.set_content("".join(explore.page(r).data for r in (run, run, other)))
    roots = page.locator(".node-explorer")
    ids = roots.evaluate_all("all => all.map(root => root.id)")
    assert ids == ['node-explorer-"a b:ü', 'node-explorer-"a b:ü-2', "node-explorer-few"]
    drawn = "root => [...root.querySelector('[name=label]').options].map(o => o.textContent)"
    for i, names in enumerate((run.label_names, run.label_names, other.label_names)):
        assert roots.nth(i).evaluate(drawn) == ["none", *names]
        assert roots.nth(i).get_attribute("data-clusters")
    assert not wrong
    page.close()


def test_live_explorers_show_any_label_as_text():
    run, images = WithNetwork(), tiny_images(split="test")
    run.label_names = STRANGE[3:8]
    live = explore.NodeExplorer(run), explore_heads.HeadExplorer(run, images), explore_image.ImageExplorer(run, images)
    for explorer in live:
        for i in range(5):
            (explorer.label if hasattr(explorer, "label") else explorer.node).value = i
            assert "<u" not in explorer.words.value and "<i" not in explorer.words.value
    assert "&lt;unk&gt;" in live[1].words.value + live[2].words.value


class WithNetwork(FewNodes):
    """A run with a network, 2 encoders of 2 heads, 5 labels, without any stored table."""

    label_names = tuple("abcde")
    device = "cpu"
    definition = Definition("tiny", 0, tiny_config())

    def __init__(self):
        torch.manual_seed(0)
        self.built = cct.CCT(tiny_config()).eval()
        self.sites = self.built.sites

    def network(self):
        return self.built

    def probe(self, site):
        torch.manual_seed(1)
        return Probe(self.built.width(site), 5)

    def class_means(self, site, split="test", silencing="readout"):
        return np.random.default_rng(self.sites.index(site)).normal(size=(5, self.built.width(site)))

    def weight(self, site):
        return self.class_means(site) + 0.1


def test_the_image_explorer_shows_what_each_node_adds():
    run, images = WithNetwork(), tiny_images(split="test")
    explorer = explore_image.ImageExplorer(run, images)
    explorer.site.value, explorer.image.value = "1.ff", 7
    x = data.normalise(images.images[7:8], images.mean, images.std)
    fields = run.probe("1.ff")(run.network().activations(x, ["1.ff"])["1.ff"]).detach().numpy()[0]
    np.testing.assert_allclose(explorer.parts.sum(0), fields, atol=1e-5)
    assert explorer.answer[0] == "abcde"[fields.argmax()]
    before = explorer.parts
    file = io.BytesIO()
    Image.fromarray(np.full((20, 30), 200 * 257, np.uint16)).save(file, "PNG")  # 16 bits
    upload = {"name": "own.png", "type": "image/png", "size": 1, "last_modified": datetime.now(UTC)}
    for _ in range(2):  # the second time after another image
        explorer.upload.value = (upload | {"content": memoryview(file.getvalue())},)
        assert explorer.own.shape == (8, 8, 3) and (explorer.own == 200).all()
        assert not np.allclose(before, explorer.parts)
        assert len(explorer.picture.outputs) == 1
        explorer.image.value += 1
        assert explorer.own is None
    explorer.upload.value = (upload | {"content": memoryview(b"no image")},)
    assert "own.png is not an image" in explorer.words.value and explorer.own is None


def test_the_live_head_explorer_follows_its_controls():
    run, images = WithNetwork(), tiny_images(split="test")
    explorer = explore_heads.HeadExplorer(run, images)
    explorer.encoder.value, explorer.threshold.value, explorer.head.value, explorer.label.value = 1, 0.5, 2, 3
    assert np.array_equal(explorer.counts, heads.diagonal_counts(run.fields("1.mha"), 2, 0.5))
    assert explorer.attention.shape == (4, 4) and explorer.attention.sum() == pytest.approx(1, abs=1e-4)
    assert len(explorer.picture.outputs) == 2
    assert explore_heads.HeadExplorer(run).attention is None


@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.3, 0.55, 0.95])
def test_the_page_decides_on_thresholds_as_the_library_does(threshold):
    run = WithNetwork()
    packed = explore_heads.diagonal(run, "1.mha")
    assert np.array_equal(packed > round(200 * threshold), snp.recognised(run.fields("1.mha"), threshold))


def test_charts_of_pruning_and_heads_are_valid():
    pruned = pd.DataFrame(
        {"kept": [0.5, 1.0], "top1": [0.3, 0.4], "method": ["andc", "random"], "threshold": [0.3, 0.1]}
    )
    gains = pd.DataFrame({"kept": [0.5], "gain": [0.1], "seed": [0], "reading": ["diagonal"], "threshold": [0.3]})
    timed = pd.DataFrame({"threshold": [0.3], "network": ["csr"], "batch": [1], "ratio": [1.5], "milliseconds": [2.0]})
    joined = pd.DataFrame({"encoder": [1], "head": [1], "nodes": [1], "accuracy": [0.1], "expert_accuracy": [0.2]})
    names = [f"{p}{c}" for p in ("", "untrained_", "shuffled_") for c in ("observed", "null_mean", "null_std", "z")]
    names += ["rotated_mean", "mixed_mean", "damage_rho", "damage_low", "damage_high", "damage_p"]
    encoders = pd.DataFrame({"encoder": [1, 2], **{name: [0.1, 0.2] for name in names}})
    made = [
        pruning_charts.accuracy_by_kept(pruned, 0.4),
        pruning_charts.accuracy_by_kept(pruned.assign(regime="none"), 0.4, "regime"),
        pruning_charts.gain_over_control(gains, "reading", "reading"),
        pruning_charts.by_label(pd.DataFrame({"name": ["a"], "dense": [0.5], "pruned": [0.4]})),
        pruning_charts.latency(timed),
        head_charts.head_map(np.array([[1, 0], [2, 0]]), ["a", "b"], "map"),
        head_charts.against_chance(encoders),
        head_charts.rotations(encoders),
        head_charts.removal(encoders),
        head_charts.cooperation(joined.assign(random_group=0.1), 1),
        head_charts.partition({"one": np.array([0, 1]), "two": np.array([1, 1])}, ["a", "b"]),
    ]
    assert all(chart.to_dict()["description"] for chart in made)
