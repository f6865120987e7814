"""Single-nodal performance: properties that mathematics gives, and cases small enough to check by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lib import snp

matrices = st.integers(1, 9).flatmap(lambda K: hnp.arrays(bool, (K, K)))
pairs = st.tuples(st.integers(2, 7), st.integers(1, 5)).flatmap(
    lambda s: st.tuples(*[hnp.arrays(np.float64, s, elements=st.floats(-4, 4, width=16))] * 2)
)


def greedy(B: np.ndarray) -> list[list[int]]:
    """The definition of the clusters, word by word."""
    left = [i for i in range(len(B)) if B[i, i]]
    found = []
    while left:
        c = [left[0]]
        for b in left[1:]:
            if B[np.ix_([*c, b], [*c, b])].all():
                c.append(b)
        found.append(c)
        left = [i for i in left if i not in c]
    return found


@given(pairs)
def test_fields_of_all_nodes_add_up_to_the_probes_mean_field(pair):
    means, weight = pair
    np.testing.assert_allclose(snp.node_fields(means, weight).sum(0), means @ weight.T, atol=1e-9)


def test_a_row_is_the_true_label():
    fields = snp.node_fields(np.array([[1.0], [2.0]]), np.array([[3.0], [5.0]]))
    assert fields.tolist() == [[[3, 5], [6, 10]]]


@given(matrices)
@settings(max_examples=300)
def test_clusters_follow_their_definition(B):
    found = snp.find_clusters(B)
    assert found == greedy(B)
    members = [i for c in found for i in c]
    assert sorted(members) == np.flatnonzero(B.diagonal()).tolist()
    assert all(B[np.ix_(c, c)].all() for c in found)


@given(matrices, st.randoms())
def test_relabelling_permutes_clusters(B, random):
    order = list(range(len(B)))
    random.shuffle(order)
    renamed = snp.cluster_index(B[order][:, order][None])[0]
    same = snp.cluster_index(B[None], order)[0][order]
    assert renamed.tolist() == same.tolist()


@given(pairs, st.floats(0.01, 100))
def test_scaling_a_node_changes_nothing(pair, scale):
    fields = snp.node_fields(*pair)
    np.testing.assert_allclose(snp.normalise(fields * scale), snp.normalise(fields), atol=1e-9)


def test_a_node_that_is_nowhere_positive_is_silent():
    fields = -np.ones((1, 3, 3))
    assert not snp.clip(snp.normalise(fields), 0).any()
    found = snp.site_statistics(fields)
    assert found["silent_nodes"] == 1 and found["nodes_with_clusters"] == 0
    assert np.isnan(found["clusters_per_node"]) and found["clusters_per_node_all"] == 0


def test_the_threshold_is_strict():
    assert snp.clip(np.array([0.3, 0.31])).tolist() == [False, True]


def test_statistics_of_a_node_checked_by_hand():
    B = np.array([[1, 1, 0, 1], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0]], bool)
    found = snp.site_statistics(B[None].astype(float))
    assert snp.find_clusters(B) == [[0, 1], [2]]
    assert found["clusters_per_node"] == 2 and found["cluster_size"] == 1.5
    assert (found["noise"], found["internal_noise"], found["external_noise"]) == (3, 2, 1)
    assert found["snr"] == pytest.approx((3 / 4) / (3 / 3 / 4))


def test_statistics_are_means_over_nodes_with_clusters_and_over_all_with_zeros():
    clipped = np.stack([np.eye(3), np.eye(3)[::-1], np.zeros((3, 3)), np.roll(np.eye(3), 1, 1)]).astype(bool)
    index = snp.cluster_index(clipped)
    nodes, mean = snp.node_statistics(clipped, index), snp.statistics(clipped, index)
    assert nodes["noise"].tolist() == [0, 2, 0, 3] and nodes["clusters_per_node"].tolist() == [3, 1, 0, 0]
    some = nodes["clusters_per_node"] > 0
    for name, values in nodes.items():
        assert mean[name] == values[some].mean()
        assert mean[f"{name}_all"] == (values * some).mean()
    assert np.array_equal(nodes["noise"], nodes["internal_noise"] + nodes["external_noise"])


def test_permutation_puts_clusters_first():
    index = snp.cluster_index(np.array([[[0, 0, 0], [0, 1, 1], [0, 1, 1]]], bool))[0]
    assert snp.permutation(index).tolist() == [1, 2, 0]


@pytest.mark.parametrize("threshold", [-0.1, 1, 1.5, np.nan])
def test_a_threshold_out_of_range_is_refused(threshold):
    with pytest.raises(ValueError, match=r"threshold must lie in \[0, 1\)"):
        snp.clip(np.zeros((2, 2)), threshold)


def test_nan_and_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        snp.node_fields(np.full((2, 3), np.nan), np.ones((2, 3)))
    with pytest.raises(ValueError, match="NaN"):
        snp.site_statistics(np.full((1, 2, 2), np.nan))
    with pytest.raises(ValueError, match=r"\(K, nodes\)"):
        snp.node_fields(np.ones((2, 3)), np.ones((3, 2)))
    with pytest.raises(ValueError, match="one clipped matrix"):
        snp.find_clusters(np.ones((1, 2, 2), bool))
