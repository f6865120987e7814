"""Probes and measurement: against the formulas on stored activations, and silencing node by node."""

import numpy as np
import pytest
import torch

from bench.measures import one_node
from conftest import tiny_images
from lib import measure, snp
from lib.data import normalise
from lib.probes import Probe, ProbeRecipe, train_probes

RECIPE = ProbeRecipe(epochs=30, batch=20, lr=0.05, shift=0, flip=False)


@pytest.fixture
def probes(network):
    torch.manual_seed(1)
    made = {s: Probe(network.width(s), 5) for s in network.sites}
    for probe in made.values():
        torch.nn.init.normal_(probe.gate)
        torch.nn.init.normal_(probe.weight)
    return made


def activations(network, images, site):
    return network.activations(normalise(images.images, images.mean, images.std), [site])[site]


def test_a_field_is_that_of_the_probe_with_all_other_weights_silenced(network, probes, images):
    found = measure.measure(network, probes, images, batch=7)
    for site in ("1.mha", "2.ff_hidden"):
        probe = probes[site].requires_grad_(False)
        fields = snp.node_fields(found.class_means[site], probe.weight.numpy())
        h = activations(network, images, site)
        for node in (0, 5):
            alone = one_node(h, probe, torch.as_tensor(images.labels), node)
            np.testing.assert_allclose(fields[node], alone, atol=1e-5)


def test_silencing_the_input_recomputes_the_pooling_from_one_node(network, probes, images):
    site, node = "2.ff", 3
    probe = probes[site].requires_grad_(False)
    found = measure.measure(network, {site: probe}, images, "input")
    alone = activations(network, images, site).clone()
    alone[:, :, torch.arange(8) != node] = 0
    pooled = probe.pool(alone)[:, node].numpy()
    expected = [pooled[images.labels == i].mean() for i in range(5)]
    np.testing.assert_allclose(found.class_means[site][:, node], expected, rtol=1e-4, atol=1e-6)


def test_accuracy_is_that_of_the_probe(network, probes, images):
    found = measure.measure(network, probes, images, batch=16)
    right = probes["1.out"](activations(network, images, "1.out")).argmax(1).numpy() == images.labels
    assert found.accuracy("1.out") == pytest.approx(right.mean())
    assert found.label_accuracy["1.out"] == pytest.approx([right[images.labels == i].mean() for i in range(5)])


def test_training_all_sites_at_once_gives_what_training_one_gives(network, images):
    together, _ = train_probes(network, network.sites, images, RECIPE)
    again, curve = train_probes(network, network.sites, images, RECIPE)
    for site in network.sites:
        torch.testing.assert_close(together[site].weight, again[site].weight)
    assert curve[-1]["train_accuracy"] > curve[0]["train_accuracy"]
    assert {r["site"] for r in curve} == set(network.sites)
    first, _ = train_probes(network, network.sites[:1], images, RECIPE)
    torch.testing.assert_close(first["1.mha"].weight, together["1.mha"].weight)


def test_a_class_without_images_is_named(network, probes):
    images = tiny_images()
    with pytest.raises(ValueError, match="no image of 'label 4'"):
        measure.measure(network, probes, images.take(np.flatnonzero(images.labels != 4)))


def test_weights_that_are_not_finite_are_found_out(network, probes, images):
    network.encoders[0].linear1.weight.data[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"site 1.ff_hidden are not finite"):
        measure.measure(network, probes, images)


def test_an_unknown_silencing_is_refused(network, probes, images):
    with pytest.raises(ValueError, match="unknown silencing convention 'output'; known: readout, input"):
        measure.measure(network, probes, images, "output")
