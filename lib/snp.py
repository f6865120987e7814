"""Single-nodal performance (SNP): what one node says about every label, and what follows from it.

Arrays only: no network, no images. Shapes use K labels and `nodes` nodes; in every K x K matrix a row is the true label
and a column the output unit. Definitions follow arXiv:2501.12900 and its sibling papers arXiv:2305.18078 and
arXiv:2309.07537; the book's appendix says which choices are this project's own.
"""

from collections.abc import Mapping, Sequence

import numpy as np

THRESHOLD = 0.3  # the siblings' value


def node_fields(class_means: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Mean field V_n[i, j] = m_n[i] W_jn that node n alone raises on output j, over the images of true label i.

    class_means: (K, nodes), mean pooled value of each node over the images of each label.
    weight: (K, nodes), the probe's linear read-out.
    Returns (nodes, K, K). The sum over nodes is the probe's mean field, `class_means @ weight.T`.
    """
    class_means, weight = np.asarray(class_means), np.asarray(weight)
    if class_means.ndim != 2 or class_means.shape != weight.shape:
        raise ValueError(f"class means and weights must both be (K, nodes), got {class_means.shape} and {weight.shape}")
    _finite(class_means, "class means")
    _finite(weight, "weights")
    return class_means.T[:, :, None] * weight.T[:, None, :]


def filter_fields(class_means: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """V_n[i, j] = sum_s W_j,(n,s) m_(n,s)[i]: the field of filter n at a read-out with a weight for each position s.

    class_means: (K, filters, positions), mean activation of each filter at each position over the images of each label;
    weight: likewise. Returns (filters, K, K). With one position this is `node_fields`; with more, a filter's field is
    no longer an outer product. The sum over filters is the mean field of the flattened read-out.
    """
    class_means, weight = np.asarray(class_means), np.asarray(weight)
    if class_means.ndim != 3 or class_means.shape != weight.shape:
        raise ValueError(
            f"class means and weights must both be (K, filters, positions), got {class_means.shape} and {weight.shape}"
        )
    _finite(class_means, "class means")
    _finite(weight, "weights")
    return class_means.transpose(1, 0, 2) @ weight.transpose(1, 2, 0)


def normalise(fields: np.ndarray) -> np.ndarray:
    """S_n = V_n / max(V_n), for one matrix (K, K) or many (..., K, K); all zeros for a silent node (max(V_n) <= 0)."""
    fields = _matrices(fields)
    largest = fields.max((-2, -1), keepdims=True)
    return np.divide(fields, largest, out=np.zeros_like(fields), where=largest > 0)


def clip(normalised: np.ndarray, threshold: float = THRESHOLD) -> np.ndarray:
    """B_n = 1 where S_n > threshold, strictly; bool of the same shape."""
    if not 0 <= threshold < 1:
        raise ValueError(f"the threshold must lie in [0, 1), got {threshold}: at 1 nothing is left, below 0 everything")
    normalised = np.asarray(normalised)
    _finite(normalised, "normalised fields")
    return normalised > threshold


def recognised(fields: np.ndarray, threshold: float = THRESHOLD) -> np.ndarray:
    """Labels on the diagonal of each node's clipped matrix, B_n[i, i] = 1: (nodes, K, K) -> (nodes, K) bool."""
    return np.einsum("nii->ni", clip(normalise(fields), threshold))


def normalised_diagonal(class_means: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """S_n[i, i] of every node, (nodes, K), from class means and weights (K, nodes) without forming any K x K matrix.

    The largest element of an outer product is a product of the factors' extremes.
    """
    m, w = np.asarray(class_means), np.asarray(weight)
    largest = np.max([x * y for x in (m.max(0), m.min(0)) for y in (w.max(0), w.min(0))], axis=0)[:, None]
    diagonal = (m * w).T
    return np.divide(diagonal, largest, out=np.zeros_like(diagonal), where=largest > 0)


def find_clusters(clipped: np.ndarray) -> list[list[int]]:
    """Clusters of one node's clipped matrix (K, K): disjoint groups of labels whose block of the matrix is all ones.

    Greedy, in label order: the first label left on the diagonal opens a cluster, and each later one joins if the block
    stays all ones. A label alone on the diagonal is a cluster of size one.
    """
    clipped = np.asarray(clipped)
    if clipped.ndim != 2:
        raise ValueError(f"expected one clipped matrix (K, K), got shape {clipped.shape}; see cluster_index for many")
    index = cluster_index(clipped[None])[0]
    return [np.flatnonzero(index == c).tolist() for c in range(index.max() + 1)]


def cluster_index(clipped: np.ndarray, order: Sequence[int] | None = None) -> np.ndarray:
    """Which cluster each label is in, for many nodes at once: (nodes, K, K) bool -> (nodes, K) int, -1 for none.

    `order` is the order in which labels are tried (default 0, 1, ...). Clusters count from 0 in the order found. All
    nodes take their k-th step together, so that the loop is as long as the fullest diagonal, not as the nodes are many.
    """
    clipped = np.asarray(clipped)
    if clipped.dtype != bool or clipped.ndim != 3 or clipped.shape[1] != clipped.shape[2]:
        raise ValueError(f"clipped matrices must be bool (nodes, K, K), got {clipped.dtype} {clipped.shape}")
    nodes, K, _ = clipped.shape
    order = np.arange(K) if order is None else np.asarray(order)
    if not np.array_equal(np.sort(order), np.arange(K)):
        raise ValueError(f"the order must name each label 0 to {K - 1} once, got {order}")
    mutual = (clipped & clipped.transpose(0, 2, 1))[:, order][:, :, order]
    left = np.einsum("nii->ni", mutual).copy()
    index = np.full((nodes, K), -1)
    count = np.zeros(nodes, dtype=int)
    candidates = left.copy()  # labels that may still join the cluster being built
    while (active := np.flatnonzero(left.any(1))).size:
        closed = active[~candidates[active].any(1)]  # the cluster is complete: open the next
        count[closed] += 1
        candidates[closed] = left[closed]
        label = candidates[active].argmax(1)
        index[active, label] = count[active]
        left[active, label] = False
        candidates[active] &= mutual[active, label]
        candidates[active, label] = False
    found = np.empty_like(index)
    found[:, order] = index
    return found


def permutation(index: np.ndarray) -> np.ndarray:
    """Order of labels (K,) with the clusters of one node's `index` (K,) first, the largest at the top; for display."""
    size = np.array([(index == c).sum() if c >= 0 else 0 for c in index])
    return np.lexsort((np.arange(len(index)), index, -size))


def site_statistics(fields: np.ndarray, threshold: float = THRESHOLD) -> dict[str, float]:
    """Clusters, noise and signal-to-noise ratio of the nodes of one site; fields: (nodes, K, K).

    clusters_per_node  N_c, mean number of clusters of a node
    cluster_size       C_s, mean size over all clusters
    noise              ones outside the cluster blocks, a node; `internal_noise`: those in the columns of labels that
                       belong to a cluster of the node; `external_noise`: the rest
    snr                mean over labels of signal_j / mean of noise_j, where signal_j is the number of nodes with j in a
                       cluster and noise_j the ones of column j outside blocks, summed over nodes, over K - 1

    The means are over nodes with at least one cluster; the same with the other nodes as zeros end in `_all`. Undefined
    means are NaN, an SNR without noise is infinite.
    """
    clipped = clip(normalise(fields), threshold)
    return statistics(clipped, cluster_index(clipped))


def statistics(clipped: np.ndarray, index: np.ndarray) -> dict[str, float]:
    """`site_statistics` of clipped matrices (nodes, K, K) and their clusters (nodes, K)."""
    nodes, K, _ = clipped.shape
    columns = _column_noise(clipped, index)
    per_node = _of_nodes(columns, index)
    clusters, inside = per_node["clusters_per_node"], index >= 0
    some = clusters > 0
    signal, noise = inside.sum(0), columns.sum(0) / max(K - 1, 1)
    result = {"nodes": nodes, "silent_nodes": int((~clipped.any((1, 2))).sum()), "nodes_with_clusters": int(some.sum())}
    result |= {name: _mean(values[some]) for name, values in per_node.items()}
    result |= {"cluster_size": inside.sum() / clusters.sum() if clusters.sum() else np.nan}
    result |= {f"{name}_all": _mean(values * some) for name, values in per_node.items()}
    result["snr"] = signal.mean() / noise.mean() if noise.any() else (np.inf if signal.any() else np.nan)
    return {name: value if isinstance(value, int) else float(value) for name, value in result.items()}


def node_statistics(clipped: np.ndarray, index: np.ndarray) -> dict[str, np.ndarray]:
    """What `statistics` averages over nodes, node by node: clusters and kinds of noise, (nodes,) each.

    All ones of a node without clusters are noise; `statistics` leaves such nodes out, or counts them as zeros.
    """
    return _of_nodes(_column_noise(clipped, index), index)


def _column_noise(clipped: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Ones outside the cluster blocks in each column, (nodes, K)."""
    blocks = (index[:, :, None] == index[:, None, :]) & (index >= 0)[:, :, None]
    return (clipped & ~blocks).sum(1)


def _of_nodes(column_noise: np.ndarray, index: np.ndarray) -> dict[str, np.ndarray]:
    inside = index >= 0
    return {
        "clusters_per_node": index.max(1) + 1,
        "noise": column_noise.sum(1),
        "internal_noise": (column_noise * inside).sum(1),
        "external_noise": (column_noise * ~inside).sum(1),
    }


def summarise(site_fields: Mapping[str, np.ndarray], threshold: float = THRESHOLD) -> list[dict]:
    """One row of `site_statistics` a site, with its name, encoder and place."""
    rows = []
    for site, fields in site_fields.items():
        encoder, place = site.split(".")
        rows.append({"site": site, "encoder": int(encoder), "place": place, **site_statistics(fields, threshold)})
    return rows


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else np.nan


def _matrices(fields: np.ndarray) -> np.ndarray:
    fields = np.asarray(fields)
    if fields.ndim < 2 or fields.shape[-1] != fields.shape[-2]:
        raise ValueError(f"fields must be (..., K, K), got {fields.shape}")
    if not np.issubdtype(fields.dtype, np.floating):
        fields = fields.astype(float)
    _finite(fields, "fields")
    return fields


def _finite(values: np.ndarray, what: str):
    if not np.isfinite(values).all():
        raise ValueError(
            f"the {what} hold {np.size(values) - np.isfinite(values).sum()} values that are NaN or infinite"
        )
