"""Masked networks: removed weights stay removed, compacted networks compute the same, costs are those of the model."""

import dataclasses

import numpy as np
import pytest
import torch

from conftest import tiny_config
from lib import cct
from lib.data.augment.policy import Augmentation
from lib.experiments import cost, masked
from lib.experiments import pruning as andc_study
from lib.experiments import smaller as compact
from lib.recipes import Recipe
from lib.system import latency
from lib.system.files import Journal

RECIPE = Recipe(2, 20, lr=1e-2, warmup_epochs=0, augmentation=Augmentation(shift=1))


def half(network: cct.CCT, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        name: random.random(network.get_submodule(layer.module).weight.shape) < 0.5
        for name, layer in network.layers.items()
    }


def removed_are_zero(network: cct.CCT, masks) -> bool:
    return all(not network.get_submodule(network.layers[n].module).weight[~m].any() for n, m in masks.items())


def test_a_mask_removes_weights_from_a_copy(network):
    masks = half(network)
    pruned = masked.settle(masked.apply(network, masks))
    assert removed_are_zero(pruned, masks) and not removed_are_zero(network, masks)
    assert pruned.state_dict().keys() == network.state_dict().keys()
    with pytest.raises(ValueError, match=r"the mask of 1\.linear1 must be \(12, 8\), got \(8, 12\)"):
        masked.apply(network, {"1.linear1": masks["1.linear1"].T})


def test_retraining_never_revives_a_weight(network, images):
    masks = half(network)
    found = masked.retrain(network, masks, RECIPE, images, seed=0)
    assert removed_are_zero(found, masks)
    kept = masks["1.linear1"]
    before, after = (n.encoders[0].linear1.weight[kept] for n in (network, found))
    assert not torch.allclose(before, after)


def test_retraining_the_read_out_leaves_the_encoders_alone(network, images):
    found = masked.retrain(network, {}, RECIPE, images, seed=0, parts="readout")
    for name, value in network.state_dict().items():
        assert torch.equal(value, found.state_dict()[name]) != name.startswith(("norm.", "pool.", "classifier"))


def test_scores_are_what_their_names_say(network, images):
    found = masked.scores(network, ["2.linear1", "classifier"], images, batch=7)["2.linear1"]
    weight = network.encoders[1].linear1.weight.detach()
    whole = masked.scores(network, ["2.linear1"], images, batch=60)["2.linear1"]
    np.testing.assert_allclose(found.magnitude, weight.abs())
    np.testing.assert_allclose(found.activation, whole.activation, rtol=1e-4)
    np.testing.assert_allclose(found.gradient, whole.gradient, rtol=1e-3, atol=1e-6)
    assert not any(p.grad is not None for p in network.parameters())


def idle(network: cct.CCT) -> cct.CCT:
    """Some hidden nodes without incoming and some without outgoing weights."""
    with torch.no_grad():
        for encoder in network.encoders:
            encoder.linear1.weight[:3] = 0
            encoder.linear1.bias.normal_()
            encoder.linear2.weight[:, 2:6] = 0
    return network


def test_a_compacted_network_computes_the_same_with_fewer_nodes(network):
    images = torch.randn(4, 3, 8, 8)
    smaller = compact.without_idle_nodes(idle(network))
    assert [e.linear1.out_features for e in smaller.encoders] == [6, 6]
    torch.testing.assert_close(smaller(images), network(images), atol=1e-5, rtol=0)
    torch.testing.assert_close(compact.sparse(network)(images), network(images), atol=1e-5, rtol=0)
    assert cost.cost(smaller)["macs"].sum() <= cost.cost(network)["macs"].sum()


def test_a_compacted_network_is_stored_without_its_zeros(network, tmp_path):
    pruned = masked.settle(masked.apply(idle(network), half(network)))
    smaller = compact.without_idle_nodes(pruned)
    compact.save(tmp_path / "small.safetensors", smaller)
    found = compact.load(tmp_path / "small.safetensors", network.config)
    images = torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(found(images), pruned(images), atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="does not hold a network of this configuration"):
        compact.load(tmp_path / "small.safetensors", dataclasses.replace(network.config, depth=1))


def test_an_encoder_without_hidden_nodes_is_named(network):
    with torch.no_grad():
        network.encoders[1].linear1.weight.zero_()
    with pytest.raises(ValueError, match="no hidden node of encoder 2"):
        compact.without_idle_nodes(network)


def test_the_cost_of_the_reference():
    table = cost.cost(cct.cct_7_3x1_32())
    products = table["module"].str.endswith("products")
    assert round(table["macs"].sum() / 1e9, 2) == 1.18
    assert round(table["macs"][~products].sum() / 1e9, 3) == 0.947


def test_zero_weights_cost_nothing(network):
    dense = cost.cost(network).set_index("module")
    network.encoders[0].linear1.weight.data[0] = 0
    pruned = cost.cost(network).set_index("module")
    assert dense["macs"].sum() - pruned["macs"].sum() == 8 * 16  # width times tokens


def test_latency_is_a_ratio_to_the_first_network(network):
    rows = latency.latency({"dense": network, "again": network}, 8, batches=(1,), rounds=3)
    assert [r["network"] for r in rows] == ["dense", "again"] and rows[0]["ratio"] == 1


def test_the_cells_of_a_study_are_distinct_and_cover_every_regime():
    cells = list(andc_study.cells(andc_study.Recipe(), 3)) + andc_study.ScratchRecipe((0.5,)).cells()
    assert len({tuple(c.values()) for c in cells}) == len(cells)
    assert {c["regime"] for c in cells} == {"none", "readout", "retrained", "scratch"}


def test_methods_of_a_study_keep_as_many_weights_in_each_layer(network, images):
    network = cct.CCT(tiny_config())
    site = dict.fromkeys(network.sites, 8) | {f"{e}.ff_hidden": 12 for e in (1, 2)} | {cct.READOUT: 8}
    random = np.random.default_rng(0)
    nodes = {s: andc_study.andc.Nodes(*random.normal(size=(2, 5, n))) for s, n in site.items()}
    study = andc_study.Study(None, network, nodes, images, images, RECIPE, andc_study.Recipe(), 0)
    base = {"regime": "none", "layers": "all", "encoder": 0, "reading": "diagonal", "threshold": 0.3, "draw": 0}
    rule = study.masks(base | {"method": "andc"})
    assert list(rule) == list(network.layers)
    for method in andc_study.METHODS:
        found = study.masks(base | {"method": method})
        assert all(found[n].sum() == rule[n].sum() for n in rule)
    assert list(study.masks(base | {"method": "andc", "layers": "ff", "encoder": 2})) == ["2.linear1", "2.linear2"]
    assert list(study.masks(base | {"method": "andc", "layers": "classifier"})) == ["classifier"]


def test_a_journal_goes_on_where_it_was_cut_off(tmp_path):
    path = tmp_path / "journal"
    journal = Journal(path, "inputs")
    journal.add({"a": 1}, 1.5)
    journal.add({"a": 2}, [1])
    path.write_bytes(path.read_bytes()[:-4])  # as after a crash
    again = Journal(path, "inputs")
    assert {"a": 1} in again and again[{"a": 1}] == 1.5 and {"a": 2} not in again
    again.add({"a": 2}, [2])
    last = Journal(path, "inputs")
    assert last[{"a": 2}] == [2] and last.seconds == pytest.approx(again.seconds, abs=0.01)
    assert {"a": 1} not in Journal(path, "other inputs")
