"""Single-nodal performance (SNP): what one node says about every label, and what follows from it.

Arrays only: no network, no images. Shapes use K labels and `nodes` nodes; in every K x K matrix a row is the true label
and a column the output unit. Definitions follow arXiv:2501.12900 and its sibling papers arXiv:2305.18078 and
arXiv:2309.07537; the book's appendix says which choices are this project's own.

The definitions are about matrices (nodes, K, K). `Nodes` gives the same, number for number, from class means and
weights, and whatever takes fields takes `Nodes` as well.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

THRESHOLD = 0.3  # the siblings' value
RELABELLINGS = 5  # of the control
PART = 2**21  # elements of the matrices that are worked on at a time


def node_fields(class_means: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Mean field V_n[i, j] = m_n[i] W_jn that node n alone raises on output j, over the images of true label i.

    class_means: (K, nodes), mean pooled value of each node over the images of each label.
    weight: (K, nodes), the probe's linear read-out.
    Returns (nodes, K, K). The sum over nodes is the probe's mean field, `class_means @ weight.T`.
    """
    class_means, weight = _pair(class_means, weight, "(K, nodes)")
    return class_means.T[:, :, None] * weight.T[:, None, :]


def filter_fields(class_means: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """V_n[i, j] = sum_s W_j,(n,s) m_(n,s)[i]: the field of filter n at a read-out with a weight for each position s.

    class_means: (K, filters, positions), mean activation of each filter at each position over the images of each label;
    weight: likewise. Returns (filters, K, K). With one position this is `node_fields`; with more, a filter's field is
    no longer an outer product. The sum over filters is the mean field of the flattened read-out.
    """
    class_means, weight = _pair(class_means, weight, "(K, filters, positions)")
    return class_means.transpose(1, 0, 2) @ weight.transpose(1, 2, 0)


@np.errstate(over="ignore")
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
    if np.isnan(normalised).any():
        raise ValueError(f"the normalised fields hold {np.isnan(normalised).sum()} values that are NaN")
    return normalised > threshold


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

    `order` is the order in which labels are tried (default 0, 1, ...). Clusters count from 0 in the order found. That a
    label joins the first of the clusters that it can join is the greedy search, all clusters at once.
    """
    clipped = np.asarray(clipped)
    if clipped.dtype != bool or clipped.ndim != 3 or clipped.shape[1] != clipped.shape[2] or not clipped.size:
        raise ValueError(f"clipped matrices must be bool (nodes, K, K), got {clipped.dtype} {clipped.shape}")
    nodes, K, _ = clipped.shape
    index = np.full((nodes, K), -1)
    for label in _order(order, K):
        n = np.flatnonzero(clipped[:, label, label])
        apart = ~(clipped[n, label] & clipped[n, :, label])
        closed = np.zeros((len(n), K + 1), bool)  # clusters with a label that this one must stay apart from; last: none
        np.put_along_axis(closed, np.where(apart, index[n], -1), True, axis=1)
        index[n, label] = closed.argmin(1)
    return index


def cluster_sizes(index: np.ndarray) -> np.ndarray:
    """How many labels the cluster of each label has, 0 for a label in none; index and sizes: (nodes, K)."""
    nodes, K = index.shape
    slot = index + 1 + (K + 1) * np.arange(nodes)[:, None]
    return np.bincount(slot.ravel())[slot] * (index >= 0)


def permutation(index: np.ndarray) -> np.ndarray:
    """Order of labels (K,) with the clusters of one node's `index` (K,) first, the largest at the top; for display."""
    return np.lexsort((np.arange(len(index)), index, -cluster_sizes(index[None])[0]))


@dataclass(frozen=True, eq=False)
class Nodes:
    """The nodes of a site by class means and weights, (K, nodes) each; `nodes[[3, 5]]` is two of them.

    A field is an outer product, V[i, j] = m[i] w[j], and rounding keeps order: x <= y implies x w <= y w (w >= 0) and
    x / max V <= y / max V as computed. So the ones of a column are the labels with the largest m (where w[j] < 0 the
    smallest), and labels are a cluster if and only if all their m and w have one sign and the smallest |m| times the
    smallest |w| is a one. All decisions are about numbers that the matrix holds, computed as there: ties fall alike.

    Filters at a read-out with a weight for each position, (K, filters, positions) each, have no such fields; of these
    the matrices are formed, a few at a time. Raises ValueError for other or empty shapes and values not finite.
    """

    class_means: np.ndarray
    weight: np.ndarray

    def __post_init__(self):
        pair = _pair(self.class_means, self.weight, "(K, nodes)", "(K, filters, positions)")
        for name, values in zip(("class_means", "weight"), pair, strict=True):
            object.__setattr__(self, name, values[..., 0] if values.shape[2:] == (1,) else values)

    def __len__(self) -> int:
        return self.weight.shape[1]

    def __getitem__(self, chosen) -> "Nodes":
        return type(self)(self.class_means[:, chosen], self.weight[:, chosen])

    @property
    def outer(self) -> bool:
        """Whether the fields are outer products."""
        return self.weight.ndim == 2

    def fields(self) -> np.ndarray:
        """V_n of every node, (nodes, K, K)."""
        return (node_fields if self.outer else filter_fields)(self.class_means, self.weight)


Fields = np.ndarray | Nodes  # matrices (nodes, K, K), or what they follow from


@np.errstate(over="ignore")
def normalised_diagonal(class_means: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """S_n[i, i] of every node, (nodes, K), from class means and weights (K, nodes)."""
    m, w = _pair(class_means, weight, "(K, nodes)")
    return (m * w).T / _largest(m, w)


def recognised(fields: Fields, threshold: float = THRESHOLD) -> np.ndarray:
    """Labels on the diagonal of each node's clipped matrix, B_n[i, i] = 1: (nodes, K) bool."""
    if isinstance(fields, Nodes) and fields.outer:
        return clip(normalised_diagonal(fields.class_means, fields.weight), threshold)
    return np.concatenate([np.einsum("nii->ni", clip(normalise(part), threshold)) for part in _parts(fields)])


def clusters(
    fields: Fields, threshold: float = THRESHOLD, order: Sequence[int] | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Ones in each column of the clipped matrices, and `cluster_index`, both (nodes, K), for some nodes at a time."""
    for part in _parts(fields):
        if isinstance(part, Nodes):
            yield _of_outer_products(part, threshold, order)
        else:
            clipped = clip(normalise(part), threshold)
            yield clipped.sum(1), cluster_index(clipped, order)


@np.errstate(over="ignore")
def _of_outer_products(part: Nodes, threshold: float, order: Sequence[int] | None) -> tuple[np.ndarray, np.ndarray]:
    m, w = (np.ascontiguousarray(values.T) for values in (part.class_means, part.weight))
    (nodes, K), largest = m.shape, _largest(m.T, w.T)
    left, order = clip(m * w / largest, threshold), _order(order, K)

    ranked = np.sort(m, axis=1)
    ranked = np.concatenate([ranked[:, ::-1], ranked], axis=1)  # best label first: where w > 0, and where w < 0
    start = 2 * K * np.arange(nodes)[:, None] + K * (w < 0) - 1
    ones = np.zeros((nodes, K), int)
    for step in 2 ** np.arange(K.bit_length())[::-1]:
        tried = np.minimum(ones + step, K)  # is the label of this rank, from 1 for the best to K, a one?
        ones = np.where(ranked.take(start + tried) * w / largest > threshold, tried, ones)

    many = left.sum(1)
    queue = order[np.argsort(~left[:, order], axis=1, kind="stable")[:, : many.max()]]
    index, opened = np.full((nodes, K), -1), 1
    low_m, low_w = np.full((2, *queue.shape), np.inf, m.dtype)  # smallest |m| and |w| of each cluster
    sign = np.zeros(queue.shape, m.dtype)  # of a cluster's m and w; 0 before it is opened
    for step in range(queue.shape[1]):  # as in `cluster_index`; all nodes take their next label together
        n = np.flatnonzero(many > step)
        label = queue[n, step]
        s = np.sign(m[n, label])
        least_m = np.minimum(low_m[n, :opened], abs(m[n, label])[:, None])
        least_w = np.minimum(low_w[n, :opened], abs(w[n, label])[:, None])
        fits = (least_m * least_w / largest[n] > threshold) & (sign[n, :opened] * s[:, None] >= 0)
        c, here = fits.argmax(1), np.arange(len(n))
        low_m[n, c], low_w[n, c], sign[n, c], index[n, label] = least_m[here, c], least_w[here, c], s, c
        opened = max(opened, c.max() + 2)
    return ones, index


def site_statistics(
    fields: Fields, threshold: float = THRESHOLD, order: Sequence[int] | None = None
) -> dict[str, float]:
    """Clusters, noise and signal-to-noise ratio of the nodes of one site; `order` as of `cluster_index`.

    clusters_per_node  N_c, mean number of clusters of a node
    cluster_size       C_s, mean size over all clusters
    noise              ones outside the cluster blocks, a node; `internal_noise`: those in the columns of labels that
                       belong to a cluster of the node; `external_noise`: the rest
    snr                mean over labels of signal_j / mean of noise_j, where signal_j is the number of nodes with j in a
                       cluster and noise_j the ones of column j outside blocks, summed over nodes, over K - 1
    snr_error          its standard error over nodes, taken as independent: linearised error of a ratio of two sums

    The means are over nodes with at least one cluster; the same with the other nodes as zeros end in `_all`. Undefined
    means are NaN, an SNR without noise is infinite.
    """
    return _statistics(clusters(fields, threshold, order))


def statistics(clipped: np.ndarray, index: np.ndarray) -> dict[str, float]:
    """`site_statistics` of clipped matrices (nodes, K, K), or the ones of their columns (nodes, K), and clusters."""
    return _statistics([(clipped, index)])


def _statistics(parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    found, labels, silent, signal, noise = [], [], 0, 0, 0
    for clipped, index in parts:
        outside = column_noise(clipped, index)
        found.append(_of_nodes(outside, index))
        labels.append((index >= 0).sum(1))
        silent += int((~clipped.reshape(len(clipped), -1).any(1)).sum())
        signal, noise = signal + (index >= 0).sum(0), noise + outside.sum(0)
    noise = noise / max(len(noise) - 1, 1)
    per_node = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    count = per_node["clusters_per_node"]
    some = count > 0
    result = {"nodes": len(some), "silent_nodes": silent, "nodes_with_clusters": int(some.sum())}
    result |= {name: float(values[some].mean()) if some.any() else np.nan for name, values in per_node.items()}
    result |= {"cluster_size": signal.sum() / count.sum() if some.any() else np.nan}
    result |= {f"{name}_all": (values * some).mean() for name, values in per_node.items()}
    result["snr"] = signal.mean() / noise.mean() if noise.any() else (np.inf if signal.any() else np.nan)
    result["snr_error"] = _ratio_error(np.concatenate(labels), per_node["noise"], result["snr"])
    return {name: value if isinstance(value, int) else float(value) for name, value in result.items()}


def _ratio_error(labels: np.ndarray, noise: np.ndarray, snr: float) -> float:
    """Of the SNR, from labels in clusters and noise of each node, (nodes,) each; NaN for a node alone or no noise."""
    if len(labels) < 2 or not noise.any():
        return np.nan
    if not labels.any():
        return 0.0
    spread = labels / labels.sum() - noise / noise.sum()
    return snr * np.sqrt((spread**2).sum() * len(labels) / (len(labels) - 1))


def node_statistics(clipped: np.ndarray, index: np.ndarray) -> dict[str, np.ndarray]:
    """What `statistics` averages over nodes, node by node: clusters and kinds of noise, (nodes,) each.

    All ones of a node without clusters are noise; `statistics` leaves such nodes out, or counts them as zeros.
    """
    return _of_nodes(column_noise(clipped, index), index)


def median_node(nodes: Fields, threshold: float = THRESHOLD) -> int:
    """The node with the median noise among those that have clusters; among all where none has."""
    found = [node_statistics(*part) for part in clusters(nodes, threshold)]
    count, noise = (np.concatenate([part[name] for part in found]) for name in ("clusters_per_node", "noise"))
    some = np.flatnonzero(count) if count.any() else np.arange(len(noise))
    return int(some[np.argsort(noise[some], kind="stable")[len(some) // 2]])


def _of_nodes(noise: np.ndarray, index: np.ndarray) -> dict[str, np.ndarray]:
    inside = index >= 0
    return {
        "clusters_per_node": index.max(1) + 1,
        "noise": noise.sum(1),
        "internal_noise": (noise * inside).sum(1),
        "external_noise": (noise * ~inside).sum(1),
    }


def column_noise(clipped: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Ones outside the cluster blocks, which are all ones, in each column: (nodes, K); arguments as of `statistics`."""
    return (clipped.sum(1) if clipped.ndim == 3 else clipped) - cluster_sizes(index)


def relabelled(
    nodes: Nodes, threshold: float = THRESHOLD, repeats: int = RELABELLINGS, seed: int = 0
) -> dict[str, np.ndarray]:
    """Control: `site_statistics` of a site whose probe's outputs are given new names at random, (repeats,) of each.

    V'_n[i, j] = m_n[i] W_pi(j)n: each node keeps its class means and its weights, only the link between them is cut,
    the same way for all nodes.
    """
    random = np.random.default_rng(seed)
    renamed = (nodes.weight[random.permutation(len(nodes.weight))] for _ in range(repeats))
    found = [site_statistics(Nodes(nodes.class_means, w), threshold) for w in renamed]
    return {name: np.array([each[name] for each in found]) for name in found[0]}


def relabelled_snr(nodes: Nodes, threshold: float = THRESHOLD, repeats: int = RELABELLINGS, seed: int = 0) -> float:
    """The SNR under that control, mean over `repeats` namings."""
    return float(np.mean(relabelled(nodes, threshold, repeats, seed)["snr"]))


def partners(fields: Fields, threshold: float = THRESHOLD) -> np.ndarray:
    """How many nodes have two labels in one cluster, (K, K) int, with zeros on the diagonal."""
    found: np.ndarray | int = 0
    for _, index in clusters(fields, threshold):
        for cluster in range(index.max(initial=-1) + 1):
            member = (index == cluster).astype(np.float32)
            found = found + member.T @ member
        found = found + np.zeros((index.shape[1],) * 2)  # where no node has any
    np.fill_diagonal(found, 0)
    return found.astype(int)


def participation(nodes: Nodes) -> np.ndarray:
    """On how many nodes the answer to each label rests: (sum_n c_n)^2 / sum_n c_n^2, (K,); 0 where the sum is negative.

    c_n = V_n[i, i] less the mean of V_n[i, j] over the other outputs j: what node n adds to the lead of the right one.
    As many as there are nodes where all add alike, 1 where one adds all, about 1/2 on average where signs are random.
    NaN where no node says anything. ValueError for fields that are no outer products.
    """
    K = len(nodes.weight)
    if not nodes.outer or K < 2:
        raise ValueError("the lead of an output needs another output, and nodes with one weight for each")
    m, w = nodes.class_means.astype(float), nodes.weight.astype(float)
    lead = m * (w - (w.sum(0) - w) / (K - 1))
    squares = (lead**2).sum(1)
    return np.divide(lead.sum(1).clip(min=0) ** 2, squares, out=np.full(K, np.nan), where=squares > 0)


def _parts(fields: Fields) -> Iterator[Fields]:
    """Some nodes at a time, so that memory is bounded: `Nodes` where fields are outer products, else matrices."""
    if not isinstance(fields, Nodes) and (fields := _matrices(fields)).ndim != 3:
        raise ValueError(f"fields must be (nodes, K, K), got {fields.shape}")
    outer = isinstance(fields, Nodes) and fields.outer
    K = len(fields.weight) if isinstance(fields, Nodes) else fields.shape[2]
    size = max(1, PART // (16 * K if outer else K * K))  # without matrices, several arrays (nodes, K) are at work
    for start in range(0, len(fields), size):
        part = fields[start : start + size]
        yield part.fields() if isinstance(part, Nodes) and not outer else part


@np.errstate(over="ignore")
def _largest(m: np.ndarray, w: np.ndarray) -> np.ndarray:
    """max V_n (nodes, 1) from m and w (K, nodes), a product of extremes; inf for a silent node, so that S_n <= 0."""
    extremes = [x * y for x in (m.max(0), m.min(0)) for y in (w.max(0), w.min(0))]
    _finite(extremes, "fields")
    largest = np.max(extremes, axis=0)[:, None]
    return np.where(largest > 0, largest, np.inf)


def _order(order: Sequence[int] | None, K: int) -> np.ndarray:
    order = np.arange(K) if order is None else np.asarray(order)
    if not np.array_equal(np.sort(order), np.arange(K)):
        raise ValueError(f"the order must name each label 0 to {K - 1} once, got {order}")
    return order


def _pair(class_means: np.ndarray, weight: np.ndarray, *shapes: str) -> tuple[np.ndarray, np.ndarray]:
    pair = np.asarray(class_means), np.asarray(weight)
    if pair[0].shape != pair[1].shape or pair[0].ndim not in [s.count(",") + 1 for s in shapes] or not pair[0].size:
        raise ValueError(
            f"class means and weights, not empty, must both be {' or '.join(shapes)}, got {pair[0].shape} and"
            f" {pair[1].shape}"
        )
    _finite(pair[0], "class means")
    _finite(pair[1], "weights")
    dtype = np.result_type(*pair)
    return tuple(values.astype(dtype if dtype.kind == "f" else float, copy=False) for values in pair)


def _matrices(fields: np.ndarray) -> np.ndarray:
    fields = np.asarray(fields)
    if fields.ndim < 2 or fields.shape[-1] != fields.shape[-2] or not fields.size:
        raise ValueError(f"fields must be (..., K, K), not empty, got {fields.shape}")
    _finite(fields, "fields")
    return fields if fields.dtype.kind == "f" else fields.astype(float)


def _finite(values: np.ndarray, what: str):
    if wrong := np.size(values) - np.isfinite(values).sum():
        raise ValueError(f"the {what} hold {wrong} values that are NaN or infinite")
