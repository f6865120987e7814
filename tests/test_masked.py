"""Masked networks: removed weights stay removed, compacted networks compute the same, costs are those of the model."""

import dataclasses
from typing import get_args

import numpy as np
import pytest
import torch

from conftest import tiny_config
from lib import cct
from lib.data.augment.plan import Augmentation
from lib.encoders import READOUT
from lib.experiments import cost, masked, masks, pruning, pruning_tables, smaller
from lib.recipes import Method, PruningRecipe, Rule, ScratchRecipe, TrainingRecipe
from lib.system import timing
from lib.system.errors import OutOfTime
from lib.system.files import Journal
from lib.training import evaluate
from lib.training.resume import Deadline

RECIPE = TrainingRecipe(2, 20, lr=1e-2, warmup_epochs=0, augmentation=Augmentation(shift=1))


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
    pruned = masked.make_permanent(masked.apply(network, masks))
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


def test_a_masked_network_can_be_averaged_while_it_is_trained(network, images):
    found = masked.retrain(network, half(network), dataclasses.replace(RECIPE, average=0.5), images, seed=0)
    assert removed_are_zero(found, half(network))


def test_retraining_that_is_stopped_goes_on(network, images, tmp_path):
    expected = masked.retrain(network, half(network), RECIPE, images, seed=0).state_dict()
    stops = 0
    while True:
        how = {"checkpoint": tmp_path / "network", "identity": "x", "deadline": Deadline(0)}
        try:
            found = masked.retrain(network, half(network), RECIPE, images, 0, **how)
            break
        except OutOfTime:
            stops += 1
    assert stops > 1 and all(torch.equal(found.state_dict()[name], value) for name, value in expected.items())


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_retraining_the_read_out_leaves_the_encoders_alone(network, images, optimiser):
    recipe = dataclasses.replace(RECIPE, parts="readout", optimiser=optimiser)
    found = masked.retrain(network, half(network), recipe, images, seed=0)
    network = masked.make_permanent(masked.apply(network, half(network)))
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


@pytest.mark.parametrize("biased", [True, False])
def test_biases_make_up_for_the_mean_of_what_was_removed(network, images, biased):
    masks = half(network)
    if not biased:
        network.encoders[0].linear1.bias = None
    means = {n: np.random.default_rng(0).normal(size=m.shape[1]).astype(np.float32) for n, m in masks.items()}
    found = masked.compensated(network, masks, means)
    assert removed_are_zero(found, masks)
    for name, mean in means.items():
        x = torch.from_numpy(mean)
        whole, pruned = (n.get_submodule(network.layers[name].module) for n in (network, found))
        torch.testing.assert_close(pruned(x), whole(x), atol=1e-5, rtol=0)
        assert not torch.allclose(pruned(2 * x), whole(2 * x), atol=1e-2)
    every = masked.compensated(network, {n: np.ones_like(m) for n, m in masks.items()}, means)
    torch.testing.assert_close(evaluate.predict(every, images), evaluate.predict(network, images), atol=1e-5, rtol=0)


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
    small = smaller.without_idle_nodes(idle(network))
    assert [e.linear1.out_features for e in small.encoders] == [6, 6]
    torch.testing.assert_close(small(images), network(images), atol=1e-5, rtol=0)
    torch.testing.assert_close(smaller.sparse(network)(images), network(images), atol=1e-5, rtol=0)
    assert cost.cost(small)["macs"].sum() <= cost.cost(network)["macs"].sum()


def test_what_is_compared_is_counted_and_computes_the_same(network, images):
    recipe = PruningRecipe(latency_batches=(2,), latency_rounds=1)
    sizes, times = smaller.compared(idle(network), {0.3: half(network)}, images, recipe)
    dense, zeros, small = sizes
    assert [row["network"] for row in sizes] == ["dense", "masked", "compacted"]
    assert dense["weights"] > zeros["weights"] > small["weights"] and dense["bytes"] == zeros["bytes"] > small["bytes"]
    assert zeros["difference"] == 0 and small["difference"] < 1e-5
    assert {row["network"] for row in times} == {"dense", "masked", "csr", "compacted"}


def test_all_forms_of_a_pruned_network_compute_the_same(network):
    images = torch.randn(4, 3, 8, 8)
    for pruned in (network, masked.make_permanent(masked.apply(network, half(network))), idle(network)):
        gathered = smaller.gathered(pruned)
        assert not torch.equal(gathered.encoders[0].linear1.weight, pruned.encoders[0].linear1.weight)
        for same in (gathered, smaller.sparse(gathered, block=4)):
            torch.testing.assert_close(same(images), pruned(images), atol=1e-5, rtol=0)


def test_blocks_that_hold_a_weight_are_counted():
    weight = torch.zeros(8, 20)
    assert smaller.occupied(weight, 4) == 0
    weight[5, 17] = weight[0, :5] = 1
    assert smaller.occupied(weight, 4) == pytest.approx(3 / 10)
    assert smaller.occupied(torch.ones(5, 5), 4) == 1


def test_what_masks_save_is_compared_in_one_table(network):
    masks = {("andc", 0.3): half(network), ("magnitude", 0.3): half(network, 1)}
    rows = smaller.beside(idle(network), masks, batches=(1, 2), rounds=1)
    assert [(r["method"], r["form"]) for r in rows if r["batch"] == 2] == [
        ("dense", "dense"), ("andc", "csr"), ("andc", "compacted"), ("magnitude", "csr"), ("magnitude", "compacted"),
    ]  # fmt: skip
    dense, *others = rows
    assert dense["ratio"] == 1 and all(0 < r["bytes"] < dense["bytes"] for r in others if r["method"] != "dense")
    assert all(r["hidden_nodes"] < 24 for r in rows if r["form"] == "compacted") and dense["hidden_nodes"] == 24


def test_a_packed_network_holds_all_that_is_not_zero(network):
    pruned = masked.make_permanent(masked.apply(network, half(network)))
    tensors = smaller.packed(pruned)
    for name, value in pruned.state_dict().items():
        if name not in tensors:
            assert torch.equal(tensors[f"{name}:values"], value[value != 0])
            bits = np.unpackbits(tensors[f"{name}:bits"].numpy(), count=value.numel()).reshape(value.shape)
            assert np.array_equal(bits, value != 0)
    assert "1.linear1" not in tensors and "encoders.0.linear1.weight:bits" in tensors


def test_an_encoder_without_hidden_nodes_is_named(network):
    with torch.no_grad():
        network.encoders[1].linear1.weight.zero_()
    with pytest.raises(ValueError, match="no hidden node of encoder 2"):
        smaller.without_idle_nodes(network)


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
    rows = timing.latency({"dense": network, "again": network}, batches=(1,), rounds=3)
    assert [r["network"] for r in rows] == ["dense", "again"] and rows[0]["ratio"] == 1


def test_the_cells_of_a_study_are_distinct_and_cover_every_regime():
    recipe = PruningRecipe()
    cells = [
        *pruning.cells(recipe, 3),
        *pruning.compensated_cells(recipe),
        *pruning.scratch_cells(ScratchRecipe((0.5,))),
    ]
    assert len({tuple(c.values()) for c in cells}) == len(cells)
    assert {c["regime"] for c in cells} == set(pruning_tables.REGIMES) - {pruning_tables.LONGEST}


def test_fewer_methods_are_retrained_where_a_recipe_says_so():
    def tried(**said) -> dict[str, set[str]]:
        found = list(pruning.cells(PruningRecipe(**said), 3))
        return {regime: {c["method"] for c in found if c["regime"] == regime} for regime in ("readout", "retrained")}

    assert tried()["retrained"] - tried()["readout"] == {"activation", "gradient"}
    few = tried(retrained_methods=("andc", "permuted", "gradient"))
    assert few == {"readout": {"dense", "andc", "permuted"}, "retrained": {"dense", "andc", "permuted", "gradient"}}
    assert next(pruning.cells(PruningRecipe(few_thresholds=()), 3))["method"] == "dense"


def test_a_recipe_may_name_every_method():
    assert ScratchRecipe((0.5,), masks.EVERY).methods == masks.EVERY
    assert set(get_args(Method)) == set(masks.EVERY)
    assert set(get_args(Rule)) == set(masks.EVERY) - {"activation", "gradient"}


def test_methods_of_a_study_keep_as_many_weights_in_each_layer(network, images):
    network = cct.CCT(tiny_config())
    site = dict.fromkeys(network.sites, 8) | {f"{e}.ff_hidden": 12 for e in (1, 2)} | {READOUT: 8}
    random = np.random.default_rng(0)
    nodes = {s: pruning.andc.Nodes(*random.normal(size=(2, 5, n))) for s, n in site.items()}
    study = pruning.PruningExperiment(None, network, nodes, images, images, RECIPE, PruningRecipe(), 0)
    base = {"regime": "none", "layers": "all", "encoder": 0, "reading": "diagonal", "threshold": 0.3, "draw": 0}
    rule = study.masks(base | {"method": "andc"})
    assert list(rule) == list(network.layers)
    for method in pruning.METHODS:
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


def test_operations_of_a_staged_training_are_the_mean_of_its_stages(network):
    recipe = TrainingRecipe(epochs=4, warmup_epochs=0, token_stages=((1, 4), (2, 2)))
    macs = [float(cost.cost(network, factor)["macs"].sum()) for factor in (4, 2, 1)]
    assert macs[0] < macs[1] < macs[2]
    assert cost.operations(network, recipe) == pytest.approx(6 * (macs[0] + 2 * macs[1] + macs[2]) / 4)
    assert cost.operations(network) == pytest.approx(6 * macs[2])
