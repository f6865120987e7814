"""Heads and ANDC on arrays: planted structure is found, its absence is not, masks follow their definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lib import andc, heads, snp

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


def test_impossible_heads_are_refused():
    with pytest.raises(ValueError, match="got 5 heads and 64 nodes"):
        heads.diagonal_counts(unstructured(), 5)
    with pytest.raises(ValueError, match="at least 2"):
        heads.polarisation(np.ones((1, 3)))
    with pytest.raises(ValueError, match="nothing to test"):
        heads.permutation_test(-np.ones((4, 3, 3)), 2)


def test_recognised_labels_are_those_with_a_cluster():
    fields = unstructured(10)
    index = snp.cluster_index(snp.clip(snp.normalise(fields)))
    assert np.array_equal(andc.label_sets(fields), index >= 0)


@given(st.integers(1, 6).flatmap(lambda k: st.tuples(hnp.arrays(bool, (4, k)), hnp.arrays(bool, (3, k)))))
def test_a_weight_is_kept_if_both_nodes_share_a_label(sets):
    sets_in, sets_out = sets
    kept = andc.mask(sets_in, sets_out)
    assert kept.shape == (3, 4)
    assert all(kept[b, a] == any(sets_in[a] & sets_out[b]) for a in range(4) for b in range(3))
    labels = np.eye(sets_in.shape[1], dtype=bool)
    assert np.array_equal(andc.mask(sets_in, labels), sets_in.T)


def test_sets_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="same K"):
        andc.mask(np.ones((2, 3), bool), np.ones((2, 4), bool))
