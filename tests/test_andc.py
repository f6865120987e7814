"""The ANDC rule and its readings against their definitions, and the baselines against what they promise to keep."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lib import andc, snp
from lib.sites import Layer

K = 6
LAYER = Layer("encoders.0.linear2", "1.ff_hidden", "1.ff", "1.out")


def nodes(count: int, seed: int) -> andc.Nodes:
    return andc.Nodes(*np.random.default_rng(seed).normal(size=(2, K, count)))


SITES = {"1.ff_hidden": nodes(9, 0), "1.ff": nodes(5, 1), "1.out": nodes(5, 2)}


def kept(reading: str, threshold: float = 0.3, weight=None) -> np.ndarray:
    return andc.layer_mask(LAYER, SITES, threshold, reading, weight)


def test_recognised_labels_are_those_with_a_cluster():
    fields = np.random.default_rng(1).normal(size=(10, K, K))
    index = snp.cluster_index(snp.clip(snp.normalise(fields)))
    assert np.array_equal(andc.label_sets(fields), index >= 0)


@given(hnp.arrays(float, (2, K, 4), elements=st.integers(-9, 9)), st.floats(0, 0.9))
def test_label_sets_need_no_matrices(pair, threshold):
    fields = snp.node_fields(*pair)
    assert np.array_equal(andc.Nodes(*pair).label_sets(threshold), andc.label_sets(fields, threshold))


@given(st.integers(1, 6).flatmap(lambda k: st.tuples(hnp.arrays(bool, (4, k)), hnp.arrays(bool, (3, k)))))
def test_a_weight_is_kept_if_both_nodes_share_enough_labels(sets):
    sets_in, sets_out = sets
    for overlap in (1, 2, 3):
        found = andc.mask(sets_in, sets_out, overlap)
        assert found.shape == (3, 4)
        assert all(found[b, a] == (sum(sets_in[a] & sets_out[b]) >= overlap) for a in range(4) for b in range(3))
    labels = np.eye(sets_in.shape[1], dtype=bool)
    assert np.array_equal(andc.mask(sets_in, labels), sets_in.T)


def test_every_reading_follows_its_sentence():
    hidden, ff, out = (SITES[s] for s in ("1.ff_hidden", "1.ff", "1.out"))
    weight = np.random.default_rng(3).normal(size=(5, 9))
    a, b, c = (n.label_sets(0.3) for n in (hidden, ff, out))
    index = [
        snp.find_clusters(snp.clip(snp.normalise(np.outer(*p))))
        for p in zip(hidden.class_means.T, hidden.weight.T, strict=True)
    ]
    large = [{i for cluster in clusters if len(cluster) > 1 for i in cluster} for clusters in index]
    assert [set(np.flatnonzero(row)) for row in hidden.cluster_sets(0.3)] == large
    for j, i in np.ndindex(5, 9):
        common = np.flatnonzero(a[i] & b[j])
        same = [k for k in common if (hidden.class_means[k, i] > 0) == (ff.class_means[k, j] > 0)]
        assert kept("diagonal")[j, i] == (len(common) >= 1)
        assert kept("overlap 2")[j, i] == (len(common) >= 2)
        assert kept("out")[j, i] == any(a[i] & c[j])
        agrees = len(same) > 0 if weight[j, i] > 0 else len(same) < len(common)
        assert kept("signed", weight=weight)[j, i] == agrees


def test_masks_of_several_layers_are_those_of_each():
    found = andc.masks({"1.linear2": LAYER}, SITES, 0.4)
    assert list(found) == ["1.linear2"] and np.array_equal(found["1.linear2"], kept("diagonal", 0.4))


def test_a_classifier_keeps_the_weights_to_the_labels_of_each_node():
    layer = Layer("classifier", "1.ff", None)
    sets = SITES["1.ff"].label_sets(0.3)
    assert np.array_equal(andc.layer_mask(layer, SITES, 0.3), sets.T)
    assert np.array_equal(andc.layer_mask(layer, SITES, 0.3, "overlap 2"), sets.T)
    signed = andc.layer_mask(layer, SITES, 0.3, "signed", np.ones((K, 5)))
    assert np.array_equal(signed, SITES["1.ff"].signed_sets(0.3)[0].T)


def test_what_cannot_be_masked_is_refused():
    with pytest.raises(ValueError, match="class means hold 1 values that are NaN"):
        andc.Nodes(np.array([[np.nan], [1.0]]), np.ones((2, 1)))
    with pytest.raises(ValueError, match="same K"):
        andc.mask(np.ones((2, 3), bool), np.ones((2, 4), bool))
    with pytest.raises(ValueError, match="unknown reading of the rule 'diagonals'.*did you mean 'diagonal'"):
        kept("diagonals")
    with pytest.raises(ValueError, match=r"needs the nodes of site 1\.ff, which were not measured"):
        andc.layer_mask(LAYER, {"1.ff_hidden": nodes(9, 0)}, 0.3)
    silent = andc.Nodes(-np.ones((K, 5)), np.ones((K, 5)))
    layers = {"1.linear2": LAYER, "2.linear2": Layer("", "1.ff_hidden", "2.ff")}
    with pytest.raises(ValueError, match=r"at threshold 0.3 no weight is left in 2\.linear2: lower the threshold"):
        andc.masks(layers, SITES | {"2.ff": silent})
    with pytest.raises(ValueError, match=r"threshold must lie in \[0, 1\)"):
        kept("diagonal", 1.5)


@given(hnp.arrays(bool, (7, 5)), st.integers(0, 99))
def test_baselines_keep_what_they_promise(mask, seed):
    generator = np.random.default_rng(seed)
    random, exchanged, permuted = (rule(mask, generator) for rule in (andc.random, andc.exchanged, andc.permuted))
    assert random.sum() == exchanged.sum() == permuted.sum() == mask.sum()
    for axis in (0, 1):
        assert np.array_equal(permuted.sum(axis), mask.sum(axis))
        assert np.array_equal(np.sort(exchanged.sum(axis)), np.sort(mask.sum(axis)))


def test_a_permuted_mask_is_another_mask():
    mask = np.random.default_rng(0).random((40, 30)) < 0.3
    assert all(
        rule(mask[:1], np.random.default_rng(0)).sum() == mask[0].sum() for rule in (andc.permuted, andc.levelled)
    )
    alike = (andc.permuted(mask, np.random.default_rng(1)) & mask).sum() / mask.sum()
    assert alike < 0.4  # two random masks of this density agree in 0.3


@given(hnp.arrays(bool, (7, 5)), st.integers(0, 99))
def test_controls_take_either_the_counts_or_the_partners_away(mask, seed):
    dealt, levelled, chance = (
        rule(mask, np.random.default_rng(seed)) for rule in (andc.dealt, andc.levelled, andc.random)
    )
    for axis in (0, 1):
        assert np.array_equal(np.sort(dealt.sum(axis)), np.sort(mask.sum(axis)))
        assert np.array_equal(levelled.sum(axis), chance.sum(axis))
    assert (levelled & mask).sum() >= (chance & mask).sum()


def test_levelled_masks_have_the_rules_partners_where_they_fit():
    blocks = np.kron(np.eye(4), np.ones((10, 8))).astype(bool)  # four groups that connect to their own kind only
    assert (andc.levelled(blocks, np.random.default_rng(0)) & blocks).sum() > 0.7 * blocks.sum()
    assert (andc.random(blocks, np.random.default_rng(0)) & blocks).sum() < 0.3 * blocks.sum()


def test_whom_a_mask_leaves_with_what():
    weight = np.outer([4.0, 1, 1, 1], np.ones(20))
    mask = np.ones((4, 20), bool)
    mask[0, 1:] = False  # the strongest output keeps one of its twenty inputs
    means = np.arange(60.0).reshape(3, 20)
    found = andc.whom(mask, weight, means)
    assert (found["starved"], found["unheard"]) == (0.25, 0) and found["leaning"] < 0
    assert found["magnitude"] == pytest.approx(64 / 140) and found["energy"] == pytest.approx((60 + 16) / (60 + 320))
    even = andc.whom(np.ones((4, 20), bool), weight, means)
    assert even["uneven"] == 0 and np.isnan(even["leaning"]) and even["energy"] == 1
    kept = andc.whom(andc.largest(weight, 20), weight, means)
    assert kept["leaning"] > 0 and kept["starved"] == 0.75
    assert even["shift"] == even["raised"] == even["blurred"] == 0


@given(hnp.arrays(bool, (6, 4)), st.integers(0, 99))
def test_what_a_mask_does_to_means_is_told_from_what_it_does_to_differences_of_labels(mask, seed):
    random = np.random.default_rng(seed)
    weight, means = random.normal(size=(6, 4)), random.normal(size=(5, 4))
    whole, masked = means @ weight.T, means @ (weight * mask).T
    found, unit = andc.whom(mask, weight, means), whole.std(0)
    assert found["raised"] == pytest.approx(np.mean((masked - whole).mean(0) / unit))
    assert found["shift"] == pytest.approx(np.sqrt(np.mean(((masked - whole).mean(0) / unit) ** 2)))
    centred = masked - masked.mean(0) - (whole - whole.mean(0))  # with the means made up for
    assert found["blurred"] == pytest.approx(np.sqrt(np.mean((centred.std(0) / unit) ** 2)))
    assert np.isnan(andc.whom(mask, weight, means[:1])["shift"])  # a single label: there is nothing to tell apart


def test_the_best_weights_are_those_with_the_largest_scores():
    assert andc.largest(np.array([[3.0, 1], [2, 5]]), 2).tolist() == [[True, False], [False, True]]
    assert not andc.largest(np.ones((2, 2)), 0).any()
