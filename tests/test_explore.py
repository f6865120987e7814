"""Charts and explorers: each makes a valid chart, and the live explorer follows its controls."""

import io
import json
import re
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from conftest import STRANGE, FewNodes, tiny_config, tiny_images
from lib import cct, charts, data, explorers, heads, snp
from lib.experiments import sharpening
from lib.explorers import packing
from lib.probes import Probe
from lib.runs.definition import Definition


def test_every_chart_is_valid_and_says_what_it_shows():
    table = pd.DataFrame({"encoder": [1, 2], "place": ["ff", "ff"], "snr": [1.0, 2.0]})
    control = table.assign(control=1.0)
    layers = pd.DataFrame({"network": ["a", "b"], "layer": [1, 1], "snr": [1.0, 2.0]})
    field = FewNodes().fields("1.ff")[0]
    curve = pd.DataFrame({"epoch": [1], "loss": [2.0], "train_accuracy": [0.5]})
    made = [
        charts.layers.along_encoders(table, "snr", "SNR"),
        charts.layers.with_control(control, "snr", "SNR"),
        charts.layers.by_threshold(table.assign(threshold=0.3), "snr", "SNR"),
        charts.nodes.node_steps(field, list("abcdef")),
        charts.layers.training(curve, [1]),
        charts.comparison.beside_control(layers.assign(control=1.0)),
        charts.comparison.along_layers(layers, "snr", "SNR"),
        charts.comparison.snr_by_accuracy(layers.assign(accuracy=0.5)),
    ]
    for chart in made:
        content = chart.to_dict()
        assert content["description"] and content["config"]["background"] == "transparent"


def test_a_matrix_reaches_the_page_as_one_row_a_label():
    chart = charts.nodes.matrix(np.arange(4.0).reshape(2, 2), ["a", "b"], "field").to_dict()
    rows = chart["datasets"][chart["data"]["name"]]
    assert [r["v"] for r in rows] == [[0, 1], [2, 3]] and [r["true"] for r in rows] == ["a", "b"]


@pytest.mark.parametrize("labels", [STRANGE, list(np.array(STRANGE)), list(range(9))])
def test_charts_take_any_label(labels):
    K, names = len(labels), [str(name) for name in labels]
    matrix = charts.nodes.matrix(np.eye(K), labels, "t").to_dict()
    expression = next(t["calculate"] for t in matrix["transform"] if "calculate" in t)
    assert json.loads(expression.removesuffix("[datum.j - 1]")) == names
    clipped = charts.nodes.clipped_matrix(np.eye(K), np.arange(K), labels, "t").to_dict()
    mapped = charts.heads.head_map(np.ones((2, K)), labels, "t").to_dict()
    shared = charts.heads.partition({"one": np.arange(K) % 2}, labels).to_dict()
    for chart, column in ((matrix, "true"), (clipped, "true"), (mapped, "name"), (shared, "name")):
        rows = chart["datasets"][chart["data"]["name"]]
        assert {r[column] for r in rows} == set(names)


def test_the_live_explorer_follows_its_controls():
    run = FewNodes()
    explorer = explorers.NodeExplorer(run)
    explorer.site.value, explorer.node.value, explorer.threshold.value = "1.mha", 2, 0.5
    expected = snp.find_clusters(snp.clip(snp.normalise(run.fields("1.mha")[2]), 0.5))
    assert explorer.clusters == [[run.label_names[i] for i in c] for c in expected]
    explorer.silencing.value = "input"
    other = snp.find_clusters(snp.clip(snp.normalise(run.fields("1.mha", "test", "input")[2]), 0.5))
    assert explorer.clusters == [[run.label_names[i] for i in c] for c in other]
    assert len(explorer.picture.outputs) == 1


def test_the_live_explorer_counts_noise_of_nodes_with_and_without_clusters():
    run = FewNodes()
    one, other = np.eye(6)[0], np.eye(6)[1]
    run.class_means, run.weight = lambda *_: np.stack([one, one, -one], 1), lambda _: np.stack([one, other, one], 1)
    explorer = explorers.NodeExplorer(run)
    for node, clusters, noise in ((0, 1, 0), (1, 0, 1), (2, 0, 0)):
        explorer.node.value = node
        assert (len(explorer.clusters), explorer.statistics["noise"]) == (clusters, noise)
        assert explorer.statistics["clusters_per_node"] == clusters
        assert f"Noise: {noise} ones" in explorer.words.value
        assert ("silent" in explorer.words.value) == (node == 2)


def test_the_live_explorer_shows_other_orders_of_the_clustering():
    run = FewNodes()
    run.class_means, run.weight = (
        lambda *_, v=v: np.array([v] * 3).T for v in ([1, 0.5, 0.8, 0, 0, 0], [0.5, 1, 0.8, 0, 0, 0])
    )
    explorer = explorers.NodeExplorer(run)
    explorer.threshold.value = 0.35

    def drawn() -> str:
        return re.sub("altair-viz-[0-9a-f]{32}", "", str(explorer.picture.outputs))

    before, picture = explorer.clusters, drawn()
    explorer.order.value = 1
    assert explorer.clusters == before == [["a", "c"], ["b"]] and drawn() == picture
    explorer.order.value = 4
    assert explorer.clusters == [["b", "c"], ["a"]] and drawn() != picture


def test_the_live_explorer_recomputes_one_node_and_draws_what_can_be_seen():
    run, random = FewNodes(), np.random.default_rng(0)
    run.label_names = [f"label {i}" for i in range(400)]
    run.class_means, run.weight = (lambda *_, v=v: v for v in random.normal(size=(2, 400, 3)))
    run.fields = None  # nothing asks for the fields of the whole site
    explorer = explorers.NodeExplorer(run)
    expected = snp.find_clusters(snp.clip(snp.normalise(run.nodes("1.ff").fields()[0])))
    assert explorer.clusters == [[run.label_names[i] for i in c] for c in expected]
    text = json.dumps(explorer.picture.outputs)
    assert "120 of 400 labels" in text and len(text) < 2e6


def test_as_many_heads_as_a_vit_has_get_a_colour_each():
    joined = pd.DataFrame({"encoder": 1, "head": range(1, 17), "nodes": 1, "accuracy": 0.1, "expert_accuracy": 0.2})
    made = [
        charts.heads.cooperation(joined.assign(random_group=0.1), 1),
        charts.heads.partition({"one": np.arange(16), "two": np.arange(16)[::-1]}, list("abcdefghijklmnop")),
        charts.heads.head_map(np.eye(16, dtype=int), list("abcdefghijklmnop"), "map"),
    ]
    for chart in made[:2]:
        scale = chart.to_dict()["spec"]["layer"][0] if "spec" in chart.to_dict() else chart.to_dict()
        colours = scale["encoding"]["color"]["scale"]["range"]
        assert len(set(colours)) == 16
    assert made[2].to_dict()["height"] == 26 * 16
    assert charts.palette.colours(4) == charts.palette.COLOURS[:4]


@pytest.mark.parametrize(("nodes", "most"), [([3, 3, 2, 2], 0.3), ([31, 23, 23, 23], 0.35), ([1, 0, 0, 0], 1)])
def test_the_full_colour_of_the_map_of_heads_is_about_the_largest_share(nodes, most):
    chart = charts.heads.head_map(np.array(nodes)[:, None], ["a"], "map").to_dict()
    assert chart["encoding"]["color"]["scale"]["domain"] == [0, most] and f"{most:.0%}" in chart["description"]


def test_a_map_of_heads_that_recognise_nothing_is_a_chart():
    assert charts.heads.head_map(np.zeros((4, 3), int), list("abc"), "map").to_dict()["description"]


def test_live_explorers_show_any_label_as_text():
    run, images = WithNetwork(), tiny_images(split="test")
    run.label_names = STRANGE[3:8]
    live = explorers.NodeExplorer(run), explorers.HeadExplorer(run, images), explorers.ImageExplorer(run, images)
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
    explorer = explorers.ImageExplorer(run, images)
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
    explorer = explorers.HeadExplorer(run, images)
    explorer.encoder.value, explorer.threshold.value, explorer.head.value, explorer.label.value = 1, 0.5, 2, 3
    assert np.array_equal(explorer.counts, heads.diagonal_counts(run.fields("1.mha"), 2, 0.5))
    assert explorer.attention.shape == (4, 4) and explorer.attention.sum() == pytest.approx(1, abs=1e-4)
    assert len(explorer.picture.outputs) == 2
    assert explorers.HeadExplorer(run).attention is None


@pytest.mark.parametrize("threshold", [0.0, 0.05, 0.3, 0.55, 0.95])
def test_the_page_decides_on_thresholds_as_the_library_does(threshold):
    run = WithNetwork()
    packed = packing.steps(run.nodes("1.mha"))
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
        charts.pruning.accuracy_by_kept(pruned, 0.4),
        charts.pruning.accuracy_by_kept(pruned.assign(regime="none"), 0.4, "regime"),
        charts.pruning.gain_over_control(gains, "reading", "reading"),
        charts.pruning.by_label(pd.DataFrame({"name": ["a"], "dense": [0.5], "pruned": [0.4]})),
        charts.pruning.latency(timed),
        charts.heads.head_map(np.array([[1, 0], [2, 0]]), ["a", "b"], "map"),
        charts.heads.against_chance(encoders),
        charts.heads.rotations(encoders),
        charts.layers.sharpening(sharpening.table(FewNodes(), thresholds=(0.2, 0.5))),
        charts.heads.removal(encoders),
        charts.heads.cooperation(joined.assign(random_group=0.1), 1),
        charts.heads.partition({"one": np.array([0, 1]), "two": np.array([1, 1])}, ["a", "b"]),
    ]
    assert all(chart.to_dict()["description"] for chart in made)
