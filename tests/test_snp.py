"""Single-nodal performance: properties that mathematics gives, and cases small enough to check by hand."""

import tracemalloc

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

tied = st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.3, 0.5, -0.5, 3.0, 1e-30, -1e-30, 1e-44, 1e15, -1e15])
alike = st.tuples(st.sampled_from([np.float32, np.float64]), st.integers(1, 9), st.integers(1, 4)).flatmap(
    lambda s: st.tuples(
        *[hnp.arrays(s[0], s[1:], elements=tied) | hnp.arrays(s[0], s[1:], elements=st.floats(-4, 4, width=32))] * 2
    )
)


def found(nodes: snp.Nodes, threshold: float, order=None) -> list[np.ndarray]:
    """Ones of all columns and clusters of all nodes."""
    return [np.concatenate(parts) for parts in zip(*snp.clusters(nodes, threshold, order), strict=True)]


def greedy(B: np.ndarray, order=None) -> list[list[int]]:
    """The definition of the clusters, word by word."""
    left = [i for i in (range(len(B)) if order is None else order) if B[i, i]]
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


def test_the_error_of_the_snr_is_that_of_leaving_one_node_out():
    nodes = snp.Nodes(*np.random.default_rng(0).normal(size=(2, 9, 400)))
    found = snp.site_statistics(nodes)
    without = [snp.site_statistics(nodes[np.delete(np.arange(400), n)])["snr"] for n in range(400)]
    jackknife = np.sqrt(399 * np.var(without))
    assert found["snr_error"] == pytest.approx(jackknife, rel=0.01)
    alike = snp.Nodes(*np.tile(np.random.default_rng(1).normal(size=(2, 9, 1)), 5))
    assert snp.site_statistics(alike)["snr_error"] == pytest.approx(0, abs=1e-12)
    assert np.isnan(snp.site_statistics(nodes[[0]])["snr_error"])


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
def test_clusters_in_another_order_follow_their_definition(B, random):
    order = list(range(len(B)))
    random.shuffle(order)
    index = snp.cluster_index(B[None], order)[0]
    assert [np.flatnonzero(index == c).tolist() for c in range(index.max() + 1)] == [
        sorted(c) for c in greedy(B, order)
    ]


@given(alike, st.data())
@settings(max_examples=200)
def test_nodes_show_what_their_matrices_show_ties_included(pair, data):
    nodes = snp.Nodes(*pair)
    normalised = snp.normalise(nodes.fields())
    values = [float(v) for v in np.unique(normalised) if 0 <= v < 1] or [0.0]
    threshold = data.draw(st.sampled_from(values) | st.floats(0, 0.99))
    order = data.draw(st.permutations(range(len(pair[0]))))
    clipped = snp.clip(normalised, threshold)
    index = snp.cluster_index(clipped, order)
    for of_nodes, of_matrices in zip(found(nodes, threshold, order), (clipped.sum(1), index), strict=True):
        assert np.array_equal(of_nodes, of_matrices)
    assert np.array_equal(snp.recognised(nodes, threshold), np.einsum("nii->ni", clipped))
    assert repr(snp.site_statistics(nodes, threshold, order)) == repr(snp.statistics(clipped, index))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_value_at_the_threshold_is_decided_as_in_the_matrix(dtype):
    for pair in np.random.default_rng(0).random((60, 2, 4, 1)).astype(dtype):
        nodes = snp.Nodes(*pair)
        normalised = snp.normalise(nodes.fields())
        for threshold in normalised[normalised < 1].tolist():
            clipped = snp.clip(normalised, threshold)
            ones, index = found(nodes, threshold)
            assert np.array_equal(ones, clipped.sum(1)) and np.array_equal(index, snp.cluster_index(clipped))


@given(alike)
def test_the_diagonal_needs_no_matrices(pair):
    expected = np.einsum("nii->ni", snp.normalise(snp.node_fields(*pair)))
    assert np.array_equal(snp.normalised_diagonal(*pair), expected)


def test_statistics_do_not_depend_on_how_many_nodes_are_worked_on_at_a_time(monkeypatch):
    random = np.random.default_rng(0)
    nodes, filters = snp.Nodes(*random.normal(size=(2, 9, 7))), snp.Nodes(*random.normal(size=(2, 9, 7, 3)))
    whole = [snp.site_statistics(n) for n in (nodes, nodes.fields(), filters, filters.fields())]
    assert whole[0] == whole[1] and whole[2] == whole[3] != whole[0]
    before = [snp.recognised(n) for n in (nodes, filters)]
    monkeypatch.setattr(snp, "PART", 2 * 16 * 9)
    assert [snp.site_statistics(n) for n in (nodes, nodes.fields(), filters, filters.fields())] == whole
    assert all(np.array_equal(snp.recognised(n), b) for n, b in zip((nodes, filters), before, strict=True))
    assert np.array_equal(before[1], np.einsum("nii->ni", snp.clip(snp.normalise(filters.fields()))))


def test_statistics_of_nodes_need_a_fraction_of_their_matrices_memory():
    nodes = snp.Nodes(*np.random.default_rng(0).normal(size=(2, 300, 60)))
    tracemalloc.start()
    snp.site_statistics(nodes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.1 * nodes.fields().nbytes


def test_some_of_the_nodes_are_those():
    nodes = snp.Nodes(*np.random.default_rng(0).normal(size=(2, 4, 5)))
    assert len(nodes) == 5 and np.array_equal(nodes[[3, 1]].fields(), nodes.fields()[[3, 1]])


@given(matrices)
def test_noise_is_what_lies_outside_the_blocks(B):
    index = snp.cluster_index(B[None])
    outside = B.copy()
    for c in snp.find_clusters(B):
        outside[np.ix_(c, c)] = False
    assert snp.column_noise(B[None], index)[0].tolist() == outside.sum(0).tolist()
    assert snp.statistics(B[None], index)["snr"] == snp.statistics(B[None].sum(1), index)["snr"] or not B.any()


def test_the_control_gives_outputs_other_names_and_cuts_what_recognition_adds():
    means = np.random.default_rng(0).random((30, 40)) ** 4
    nodes, random = snp.Nodes(means, means), np.random.default_rng(3)
    renamed = (nodes.fields()[:, :, random.permutation(30)] for _ in range(2))
    control = snp.relabelled_snr(nodes, repeats=2, seed=3)
    assert control == np.mean([snp.site_statistics(fields)["snr"] for fields in renamed])
    assert control < 0.7 * snp.site_statistics(nodes)["snr"]


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
    with pytest.raises(ValueError, match="class means hold 1 values that are NaN"):
        snp.Nodes(np.array([[np.nan], [1.0]]), np.ones((2, 1)))
    with pytest.raises(ValueError, match=r"\(K, nodes\)"):
        snp.node_fields(np.ones((2, 3)), np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"\(K, nodes\) or \(K, filters, positions\), got \(2,\) and"):
        snp.Nodes(np.ones(2), np.ones(2))
    with pytest.raises(ValueError, match=r"\(nodes, K, K\), got \(2, 2\)"):
        snp.site_statistics(np.ones((2, 2)))
    with pytest.raises(ValueError, match="one clipped matrix"):
        snp.find_clusters(np.ones((1, 2, 2), bool))


@pytest.mark.parametrize("shape", [(0, 3, 3), (2, 0, 0)])
def test_empty_matrices_are_refused(shape):
    for measure in (snp.normalise, snp.site_statistics, snp.recognised):
        with pytest.raises(ValueError, match="not empty, got"):
            measure(np.zeros(shape))
    with pytest.raises(ValueError, match="clipped matrices must be bool"):
        snp.cluster_index(np.zeros(shape, bool))
    with pytest.raises(ValueError, match="not empty, must both be"):
        snp.Nodes(np.zeros(shape[1::-1]), np.zeros(shape[1::-1]))


def test_fields_too_large_for_their_type_are_refused():
    large = np.full((2, 1), 1e30, np.float32)
    with pytest.raises(ValueError, match="fields hold 4 values that are NaN or infinite"):
        snp.site_statistics(snp.Nodes(large, large))


@given(matrices | pairs)
def test_partners_are_the_pairs_of_labels_in_one_cluster(given):
    fields = given[None].astype(float) if isinstance(given, np.ndarray) else snp.node_fields(*given)
    found = snp.partners(fields)
    expected = np.zeros_like(found)
    for B in snp.clip(snp.normalise(fields)):
        for cluster in snp.find_clusters(B):
            for i in cluster:
                expected[i, [j for j in cluster if j != i]] += 1
    assert np.array_equal(found, expected)
    if isinstance(given, tuple):
        assert np.array_equal(snp.partners(snp.Nodes(*given)), expected)


@given(pairs, st.floats(0.1, 10), st.randoms())
def test_an_answer_rests_on_no_more_nodes_than_there_are(pair, factor, random):
    nodes = snp.Nodes(*pair)
    found = snp.participation(nodes)
    known = np.isfinite(found)
    assert (found[known] >= 0).all() and (found[known] <= len(nodes) + 1e-9).all()
    np.testing.assert_allclose(snp.participation(snp.Nodes(factor * pair[0], pair[1])), found, atol=1e-6)
    order = random.sample(range(len(nodes)), len(nodes))
    np.testing.assert_allclose(snp.participation(nodes[order]), found, atol=1e-6)
    fields = nodes.fields()
    K = fields.shape[1]
    own = np.einsum("nii->ni", fields)
    lead = own - (fields.sum(2) - own) / (K - 1)
    squares = (lead**2).sum(0)
    some = squares > 0
    np.testing.assert_allclose(found[some], lead.sum(0)[some].clip(min=0) ** 2 / squares[some], rtol=1e-6, atol=1e-6)


def test_an_answer_rests_on_the_nodes_that_speak_for_it():
    weight = np.eye(4)
    alike = snp.Nodes(np.tile(weight, 3), np.tile(weight, 3))  # three nodes a label
    np.testing.assert_allclose(snp.participation(alike), 3)
    np.testing.assert_allclose(snp.participation(snp.Nodes(weight, weight)), 1)
    opposed = snp.Nodes(np.tile(weight, 2), np.concatenate([weight, -weight], 1))
    np.testing.assert_allclose(snp.participation(opposed), 0, atol=1e-12)
    np.testing.assert_allclose(snp.participation(snp.Nodes(weight, -weight)), 0)
    at_random = snp.participation(snp.Nodes(*np.random.default_rng(0).normal(size=(2, 400, 50))))
    assert at_random.mean() == pytest.approx(0.5, abs=0.15)
    assert np.isnan(snp.participation(snp.Nodes(np.zeros((4, 2)), weight[:, :2]))).all()
    with pytest.raises(ValueError, match="one weight for each"):
        snp.participation(snp.Nodes(*np.ones((2, 3, 2, 2))))
