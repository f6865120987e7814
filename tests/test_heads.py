"""Heads: planted structure is found, its absence is not, and each control does what it says."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from conftest import shaped_nodes, tiny_config, tiny_images
from lib import cct, heads, measure, snp
from lib.experiments.heads import damage
from lib.probes import Probe
from lib.training import evaluate

K = 12


def planted(owner: np.ndarray) -> np.ndarray:
    """Fields of 32 nodes in 4 heads; a node recognises two of the labels that `owner` (K,) gives to its head."""
    random = np.random.default_rng(0)
    fields = np.zeros((32, K, K))
    for node in range(32):
        for label in random.choice(np.flatnonzero(owner == node // 8), 2, replace=False):
            fields[node, label, label] = 1
    return fields


def unstructured(nodes: int = 64) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(nodes, K, K))


def test_planted_experts_are_fully_polarised_and_pass_the_test():
    fields = planted(np.repeat(np.arange(4), 3))
    counts = heads.diagonal_counts(fields, 4)
    assert counts.dtype.kind == "i" and counts.sum() == 64
    assert np.nanmin(heads.polarisation(counts)) == 1
    found = heads.permutation_test(fields, 4)
    assert found.observed == pytest.approx(1) and found.p == pytest.approx(1 / 1001) and found.z > 5


def test_a_network_with_planted_experts_is_polarised_and_one_without_is_not():
    torch.manual_seed(0)
    network = cct.CCT(tiny_config(width=32, heads=4, stem_widths=(32,), classes=K)).eval()
    images, generator = tiny_images(120, classes=K), torch.Generator().manual_seed(0)
    probe = Probe(32, K).requires_grad_(False)
    probe.weight.normal_(generator=generator)
    plain = measure.measure(network, {"2.mha": probe}, images).class_means["2.mha"]
    assert heads.permutation_test(snp.node_fields(plain, probe.weight.numpy()), 4).p > 0.01
    own = torch.arange(K)[:, None] // 3 == torch.arange(32) // 8  # head h speaks for labels 3h to 3h + 2 only
    probe.weight.mul_(own)
    means = measure.measure(network, {"2.mha": probe}, images).class_means["2.mha"]
    planted = snp.node_fields(means, probe.weight.numpy())
    assert np.nanmin(heads.polarisation(heads.diagonal_counts(planted, 4))) == pytest.approx(1)
    assert heads.permutation_test(planted, 4).p < 0.01


def test_heads_without_structure_do_not_pass_though_their_polarisation_is_not_zero():
    found = heads.permutation_test(unstructured(), 4)
    assert found.null_mean > 0.05
    assert found.p > 0.05 and abs(found.z) < 2


def test_equal_counts_are_not_polarised_and_unknown_labels_are_undefined():
    found = heads.polarisation(np.array([[2, 0], [2, 0]]))
    assert found[0] == 0 and np.isnan(found[1])


def test_fields_of_the_heads_add_up():
    fields = unstructured()
    np.testing.assert_allclose(heads.head_fields(fields, 4).sum(0), fields.sum(0))


def test_the_same_seed_gives_the_same_test():
    assert heads.permutation_test(unstructured(), 4, permutations=50) == heads.permutation_test(
        unstructured(), 4, permutations=50
    )


def test_heads_may_differ_in_size():
    fields, sizes = planted(np.repeat(np.arange(4), 3)), (8, 4, 12, 8)
    counts = heads.diagonal_counts(fields, sizes)
    edges = np.cumsum((0, *sizes))
    expected = [snp.recognised(fields[a:b]).sum(0) for a, b in pairwise(edges)]
    assert np.array_equal(counts, expected)
    np.testing.assert_allclose(heads.head_fields(fields, sizes).sum(0), fields.sum(0))
    assert [len(part) for part in heads.by_head(fields, sizes)] == list(sizes)
    assert heads.permutation_test(fields, (8, 8, 8, 8)) == heads.permutation_test(fields, 4)
    assert heads.permutation_test(fields, (16, 8, 8)).p < 0.01


def test_a_large_head_is_no_expert_by_its_size():
    found = heads.permutation_test(unstructured(), (40, 12, 12), permutations=300)
    assert found.null_mean > 0.3 and found.p > 0.01


def test_nodes_give_what_their_fields_give():
    nodes = snp.Nodes(*np.random.default_rng(2).normal(size=(2, K, 48)))
    for many in (12, 16, (20, 28)):
        assert np.array_equal(heads.diagonal_counts(nodes, many), heads.diagonal_counts(nodes.fields(), many))
        assert heads.permutation_test(nodes, many, permutations=50) == heads.permutation_test(
            nodes.fields(), many, permutations=50
        )


def test_what_does_not_vary_or_is_undefined_is_never_significant():
    same = heads.permutation_test(unstructured(16), 16, permutations=50)
    assert np.isnan(same.z) and same.p == 1 and same.null_std == 0
    undefined = heads.against(np.nan, np.arange(5.0))
    assert np.isnan([undefined.z, undefined.p]).all()
    assert np.isnan(heads.against(1.0, np.array([0.0, np.nan, 0.5])).p)
    for few in (0, 1):
        with pytest.raises(ValueError, match=f"at least 2 random assignments are needed .* got {few}"):
            heads.permutation_test(unstructured(), 4, permutations=few)


def test_impossible_heads_are_refused():
    with pytest.raises(ValueError, match="got 5 heads and 64 nodes"):
        heads.diagonal_counts(unstructured(), 5)
    for sizes in ((12, 4, 8), (0, 64), ()):
        with pytest.raises(ValueError, match="must be positive and add up to the 64 nodes"):
            heads.diagonal_counts(unstructured(), sizes)
    with pytest.raises(ValueError, match="at least 2"):
        heads.polarisation(np.ones((1, 3)))
    with pytest.raises(ValueError, match="nothing to test"):
        heads.permutation_test(-np.ones((4, 3, 3)), 2)


def test_shares_are_those_of_the_label():
    found = heads.shares(np.array([[3.0, 0], [1, 0]]))
    assert found[:, 0].tolist() == [0.75, 0.25] and np.isnan(found[:, 1]).all()


def test_the_strongest_labels_of_a_head_are_its_own():
    counts = np.array([[5, 1, 2, 0], [5, 1, 0, 0], [0, 1, 0, 0]])
    assert heads.strongest(counts) == [[2, 0, 1], [], []]
    assert heads.strongest(counts, 1) == [[2], [], []]


@pytest.mark.parametrize("groups", [1, 4, (1, 20, 11)])
def test_a_rotation_keeps_the_field_of_each_group(groups):
    random = np.random.default_rng(0)
    means, weight = random.normal(size=(2, K, 32))
    turned = heads.rotated(means, weight, groups, random)
    before, after = (heads.head_fields(snp.node_fields(m, w), groups) for m, w in ((means, weight), turned))
    np.testing.assert_allclose(after, before, atol=1e-9)
    assert not np.allclose(turned[0], means)


def test_partitions_are_compared_whatever_the_heads_are_called():
    a = np.repeat([0, 1, 2, 3], 25)
    assert heads.same_partition(a, (a + 1) % 4) == pytest.approx(1)
    random = np.random.default_rng(0)
    chance = [heads.same_partition(a, random.permutation(a)) for _ in range(200)]
    assert abs(np.mean(chance)) < 0.01


def test_partitions_that_agree_are_told_from_those_that_do_not():
    a, random = np.repeat([0, 1, 2, 3], 25), np.random.default_rng(0)
    found = heads.partition_test(a, (a + 1) % 4, permutations=200)
    assert found.observed == pytest.approx(1) and found.p == pytest.approx(1 / 201) and abs(found.null_mean) < 0.02
    p = [heads.partition_test(a, random.permutation(a), permutations=50, seed=s).p for s in range(40)]
    assert 0.3 < np.mean(p) < 0.7


def test_labels_without_an_owner_are_left_out():
    a = np.repeat([0, 1, 2, 3], 25)
    some, both = np.where(np.arange(100) % 5 == 0, -1, a), np.arange(100) % 5 > 0
    alone = heads.partition_test(a[both], a[both] // 2, permutations=50)
    assert heads.partition_test(some, a // 2, permutations=50) == alone
    assert heads.partition_test(a // 2, some).observed == pytest.approx(alone.observed)
    assert np.isnan(heads.partition_test(np.full(100, -1), a).p)
    assert heads.together(some, a // 2) == heads.together(a[both], a[both] // 2)
    counts = np.array([[3, 0, 2, 1], [3, 0, 1, 2], [0, 0, 2, 0]])
    assert heads.owners(counts).tolist() == [-1, -1, -1, 1]
    assert np.array_equal(heads.owners(np.stack([counts, counts[::-1]])), [[-1, -1, -1, 1], [-1, -1, -1, 1]])
    assert heads.agreement(some, a) == (80, 80) and heads.agreement(some, some[::-1])[1] == 60
    with pytest.raises(ValueError, match="no head"):
        heads.same_partition(some, a)


def test_rotations_that_recognise_nothing_are_left_out(monkeypatch):
    means = np.random.default_rng(0).normal(size=(2, K, 8))
    turn, calls = heads.rotated, iter(range(100))
    silenced = lambda m, w, *others: turn(m, w, *others) if next(calls) % 2 else (m * 0, w * 0)  # noqa: E731
    monkeypatch.setattr(heads, "rotated", silenced)
    found = heads.rotation_test(*means, 4, rotations=20, permutations=10)
    assert np.isfinite([found.null_mean, found.null_std, found.p]).all() and found.p >= 1 / 11
    monkeypatch.setattr(heads, "rotated", lambda m, w, *_: (m * 0, w * 0))
    found = heads.rotation_test(*means, 4, rotations=20, permutations=10)
    assert np.isfinite(found.observed) and np.isnan([found.null_mean, found.p]).all()


def test_labels_of_one_group_are_together_by_chance_or_more():
    owner = np.array([0, 0, 1, 1])
    assert heads.together(owner, np.array([0, 0, 1, 1])) == (1.0, pytest.approx(1 / 3))
    assert heads.together(owner, np.array([0, 1, 0, 1]))[0] == 0
    assert np.isnan(heads.together(owner, np.arange(4))[0])


@given(st.floats(0, 0.9), st.floats(0, 1))
def test_excess_is_zero_by_chance_and_one_where_one_head_has_all(null, observed):
    assert heads.excess(null, null) == 0 and heads.excess(1.0, null) == pytest.approx(1)
    assert (heads.excess(observed, null) > 0) == (observed > null)


def test_nodes_that_training_shaped_are_told_from_subspaces():
    found = heads.rotation_test(*shaped_nodes(K, 4), 4, rotations=20, permutations=30)
    assert found.observed > 0.2 and found.null_mean < 0.1 and found.z > 2 and found.p == pytest.approx(1 / 21)
    owned = np.eye(K)[:, np.repeat(np.arange(K), 4)]  # a head has its own labels' space, however it is turned
    turned = heads.rotation_test(owned, owned, 4, rotations=20, permutations=30)
    assert turned.observed == turned.null_mean == pytest.approx(1) and turned.p == 1
    random = np.random.default_rng(0)
    z = [heads.rotation_test(*random.normal(size=(2, K, 48)), 4, rotations=20, permutations=30).z for _ in range(8)]
    assert abs(np.mean(z)) < 1


def test_damage_that_follows_the_experts_correlates_and_any_other_does_not():
    random = np.random.default_rng(0)
    share = random.random((4, 40))
    fragile, important = random.random(40), random.random((4, 1))
    found = heads.rank_correlation(share, 0.5 * share + fragile + important, draws=200)
    assert found["rho"] == pytest.approx(1) and found["low"] > 0.9 and found["p"] < 0.01
    noise = [random.random((4, 40)) + fragile + important for _ in range(12)]
    others = [heads.rank_correlation(share, damage, draws=60) for damage in noise]
    assert sum(o["low"] < 0 < o["high"] for o in others) >= 9
    assert abs(np.mean([o["rho"] for o in others])) < 0.1
    assert np.isnan(heads.rank_correlation(share, np.ones((4, 40)))["rho"])


def test_labels_without_damage_are_left_out_of_the_correlation():
    share, damage = np.random.default_rng(0).random((2, 4, 9))
    damage[:, 0] = np.nan
    known = heads.rank_correlation(share[:, 1:], damage[:, 1:], draws=20)
    assert heads.rank_correlation(share, damage, draws=20) == known and np.isfinite(list(known.values())).all()
    damage[:, :7] = np.nan
    assert np.isnan(list(heads.rank_correlation(share, damage).values())).all()


def test_the_last_of_a_growing_group_is_the_whole_group():
    random = np.random.default_rng(0)
    values, weight, labels = random.normal(size=(50, 6)), random.normal(size=(K, 6)), random.integers(0, K, 50)
    orders = np.array([[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]])
    curve = heads.growing_groups(values, weight, labels, orders, np.mean)
    assert curve.shape == (6,) and curve[-1] == ((values @ weight.T).argmax(1) == labels).mean()


def test_a_removed_head_is_one_that_nobody_hears(network, images, monkeypatch):
    with torch.no_grad():  # an untrained network tells nothing apart
        for encoder in network.encoders:
            encoder.attention.qkv.weight *= 40
            encoder.attention.projection.weight *= 40
    whole = evaluate.label_accuracy(evaluate.predict(network, images), images.labels)
    found = damage(network, images)
    for e, h in np.ndindex(2, 2):
        projection = network.encoders[e].attention.projection
        silence = projection.register_forward_pre_hook(
            lambda _, x, h=h: (x[0] * (torch.arange(8) // 4 != h),),
        )
        left = evaluate.label_accuracy(evaluate.predict(network, images), images.labels)
        silence.remove()
        np.testing.assert_allclose(found[e, h], whole - left)
    assert found.any(axis=2).all()
    monkeypatch.setattr("lib.system.device._bfloat16_pays", lambda: True)
    low = damage(network, images, "bf16")
    assert low.any(axis=2).all() and np.abs(low - found).mean() < np.abs(found).mean() / 2


def test_clusters_inside_groups_are_found_and_clusters_across_them_are_not():
    groups = np.repeat([0, 1, 2], 4)
    inside = (groups[:, None] == groups).astype(int) - np.eye(K, dtype=int)
    found = heads.kept_together(inside, groups)
    assert found.observed == 1 and found.p < 0.01
    assert found.null_mean == pytest.approx(3 / 11, abs=0.02)  # of 11 other labels 3 are of the same group
    assert heads.kept_together(1 - inside - np.eye(K, dtype=int), groups).p == 1
    random = np.random.default_rng(0)
    renamed, order = np.array([7, 3, 5])[groups], random.permutation(K)
    assert heads.kept_together(inside, renamed).observed == 1
    assert heads.kept_together(inside[order][:, order], groups[order]).observed == 1
    any_two = [np.triu(random.integers(0, 5, (K, K)), 1) for _ in range(20)]
    assert sum(heads.kept_together(one + one.T, groups, 99).p <= 0.05 for one in any_two) <= 4
    with pytest.raises(ValueError, match="no cluster has two labels"):
        heads.kept_together(np.zeros((K, K)), groups)


def test_heads_that_take_whole_groups_are_found():
    groups = np.repeat(np.arange(4), 3)
    assert heads.partition_test(groups[::-1], groups).p < 0.01
    random = np.random.default_rng(0)
    chance = [heads.partition_test(random.integers(0, 4, K), groups, 99) for _ in range(20)]
    assert sum(one.p <= 0.05 for one in chance) <= 4 and abs(np.mean([one.observed for one in chance])) < 0.1
    taken = heads.heads_in_groups(planted(groups), 4, groups)
    assert taken.observed == pytest.approx(1) and taken.p < 0.01
    unlike = heads.heads_in_groups(planted(groups), 4, np.tile(np.arange(4), 3))
    assert unlike.observed < 0.1 and unlike.p > 0.05


def test_nodes_that_keep_to_groups_make_no_head_take_them():
    groups, random = np.repeat(np.arange(4), 3), np.random.default_rng(0)
    fields = np.zeros((64, K, K))
    for node in range(64):  # the group of a node has nothing to do with its head
        for label in np.flatnonzero(groups == random.integers(4)):
            fields[node, label, label] = 1
    found = heads.heads_in_groups(fields, 4, groups)
    assert found.null_mean > 0.3 and found.p > 0.01


def test_labels_without_nodes_have_no_head():
    groups = np.repeat(np.arange(4), 3)
    fields = planted(groups)
    fields[:, 0, 0] = 0
    assert heads.heads_in_groups(fields, 4, groups).observed == pytest.approx(1)
    with pytest.raises(ValueError, match="no node recognises any label"):
        heads.heads_in_groups(-np.ones((4, 3, 3)), 2, np.arange(3))


def test_polarisation_beyond_chance_is_none_at_chance_and_whole_at_one():
    chance = np.array([0.1, 0.25, 0.6])
    assert not heads.excess(chance, chance).any()
    np.testing.assert_allclose(heads.excess(np.ones(3), chance), 1)
    assert (heads.excess(chance - 0.05, chance) < 0).all()
    structured, fields = (heads.permutation_test(f, 4) for f in (planted(np.repeat(np.arange(4), 3)), unstructured()))
    assert heads.excess(structured.observed, structured.null_mean) == pytest.approx(1)
    assert abs(heads.excess(fields.observed, fields.null_mean)) < 0.1
