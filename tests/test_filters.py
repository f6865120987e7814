"""Filters of a CNN: fields at both read-outs, growth along the blocks, and the stage that stores them."""

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import tiny_images
from lib import charts, cnn, runs, snp
from lib.experiments import filters
from lib.recipes import CNNRecipe, ProbeRecipe
from lib.training import evaluate


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return cnn.CNN(5, widths=(4, 6), pools=(True, False)).eval()


@pytest.mark.parametrize("readout", filters.READOUTS)
def test_the_fields_of_all_filters_add_up_to_the_mean_field_of_the_probe(network, readout):
    images = tiny_images()
    study = filters.study(network, images, images, ProbeRecipe(1, 20), readout)
    for site in network.sites:
        fields = filters.nodes(study, site, network.width(site)).fields()
        assert fields.shape == (network.width(site), 5, 5)
        whole = study.class_means(site) @ study.weight(site).T
        np.testing.assert_allclose(fields.sum(0), whole, atol=1e-5)
        if readout == "pooled":
            np.testing.assert_allclose(fields, study.fields(site), atol=1e-6)


def test_a_row_says_what_the_statistics_say(network):
    images = tiny_images()
    found = filters.rows("CNN, pooled", network, filters.study(network, images, images, ProbeRecipe(1, 20)), 2)
    assert [(r["network"], r["layer"], r["nodes"]) for r in found] == [("CNN, pooled", 1, 4), ("CNN, pooled", 2, 6)]
    assert set(found[0]) >= {"accuracy", "control", "snr", "clusters_per_node"}


def test_the_typical_filter_is_the_one_nearest_to_the_mean():
    one, two, three = ([1.0] * n + [0.0] * (6 - n) for n in (1, 2, 3))  # a cluster of so many labels, as outer products
    silent = [0.0] * 6
    nodes = snp.Nodes(*(np.array([silent, one, three, two]).T,) * 2)
    assert filters.typical(nodes) == 3
    with pytest.raises(ValueError, match="no filter has clusters"):
        filters.typical(nodes[[0]])


def test_the_control_has_one_number_of_repeats():
    assert CNNRecipe().relabelled == snp.RELABELLINGS


def test_growth_counts_what_exceeds_the_control():
    rows = {"layer": [1, 2, 3], "accuracy": [0.1, 0.2, 0.3]}
    up = pd.DataFrame(rows | {"network": "up", "snr": [1.0, 3.0, 2.5], "control": [1.0, 1.0, 1.0]})
    level = pd.DataFrame(rows | {"network": "level", "snr": [1.0, 2.0, 3.0], "control": [1.0, 2.0, 3.0]})
    found = filters.growth(pd.concat([up, level]))
    assert found.loc["up", ["change", "rising", "steps", "best", "rho"]].tolist() == pytest.approx([1.5, 1, 2, 2, 0.5])
    assert found.loc["level", ["change", "rising", "rho"]].tolist() == pytest.approx([0, 2, 1])
    gap = up.assign(snr=[1.5, np.nan, 2.0])  # where no node recognises any label
    assert filters.growth(gap).loc["up", "best"] == 3
    assert np.isnan(filters.growth(up.assign(snr=np.nan)).loc["up", "best"])


def test_an_effect_counts_where_it_exceeds_that_of_no_training():
    change, untrained = np.array([1.0, 1.0, -0.1, 0.1]), np.array([0.5, 1.5, -1.0, np.nan])
    assert filters.beyond(change, untrained).tolist() == [True, False, False, False]


def test_the_published_cnn_reaches_what_is_recorded(monkeypatch):
    monkeypatch.delenv("MODUS_RUNS", raising=False)
    run = runs.load("glyphs", ["cnn"])
    test = run.images("test")
    reached = evaluate.accuracy(evaluate.predict(run.cnn(), test), test.labels)
    assert reached == pytest.approx(run.results["cnn_test_accuracy"], abs=0.002)
    stored = filters.of_runs([run, None, runs.load("glyphs-s1", ["cnn"])])
    assert set(stored["run"]) == {"glyphs"} and set(stored["seed"]) == {0, 1, 2}
    assert (stored["snr"] > 0).all()
    drawn = charts.comparison.trained_and_untrained(stored).to_dict()
    assert len(next(iter(drawn["datasets"].values()))) == 2 * 3 * 6  # read-outs, lines, blocks
