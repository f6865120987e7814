"""Applied nodal diagonal connection (ANDC): which weights connect nodes that recognise a common label.

The name and the idea are those of arXiv:2501.12900; the rule below is this project's reading of it: between two fully
connected layers the weight from node a to node b is kept if and only if D_a and D_b, the labels on the diagonals of
their clipped matrices, share a label. Label sets come from training images, never from those that accuracy is reported
on. `READINGS` holds other readings of the rule, so that they can be compared. Arrays only.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from lib import snp
from lib.system.errors import unknown

READINGS = {
    "diagonal": "the two nodes share at least one label of their diagonals",
    "overlap 2": "they share at least two",
    "overlap 3": "they share at least three",
    "clusters": "they share a label of a cluster of two or more labels",
    "signed": "they share a label, and the weight's sign carries one node's answer to it into the other's",
    "out": "as diagonal, the outputs of linear2 measured after the residual sum, at `out`",
}


class Nodes(snp.Nodes):
    """What the rule knows of the nodes of a site."""

    def label_sets(self, threshold: float) -> np.ndarray:
        """D_n, (nodes, K) bool."""
        return snp.recognised(self, threshold)

    def signed_sets(self, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """D_n in two: the labels that the node answers with a positive mean value, and with a negative one."""
        sets, positive = self.label_sets(threshold), (self.class_means > 0).T
        return sets & positive, sets & ~positive

    def cluster_sets(self, threshold: float) -> np.ndarray:
        """The labels of D_n that lie in a cluster of two or more labels, (nodes, K) bool."""
        return np.concatenate([snp.cluster_sizes(index) >= 2 for _, index in snp.clusters(self, threshold)])


def label_sets(fields: np.ndarray, threshold: float = snp.THRESHOLD) -> np.ndarray:
    """D_n of every node, (nodes, K, K) -> (nodes, K) bool: the labels that the node recognises."""
    return snp.recognised(fields, threshold)


def mask(sets_in: np.ndarray, sets_out: np.ndarray, overlap: int = 1) -> np.ndarray:
    """Which weights of a layer are kept: sets (a, K) of its inputs and (b, K) of its outputs -> (b, a) bool.

    A weight is kept if its two nodes share at least `overlap` labels. The layout is that of `torch.nn.Linear.weight`.
    For a classifier, whose output j stands for label j, `sets_out` is the identity.
    """
    sets_in, sets_out = np.asarray(sets_in), np.asarray(sets_out)
    if sets_in.dtype != bool or sets_out.dtype != bool or sets_in.shape[1:] != sets_out.shape[1:] or sets_in.ndim != 2:
        raise ValueError(
            f"label sets must be bool (nodes, K) with the same K, got {sets_in.dtype} {sets_in.shape} and"
            f" {sets_out.dtype} {sets_out.shape}"
        )
    return (sets_out.astype(np.float32) @ sets_in.astype(np.float32).T) >= overlap


def layer_mask(
    layer, nodes: Mapping[str, Nodes], threshold: float, reading: str = "diagonal", weight: np.ndarray | None = None
) -> np.ndarray:
    """Mask of one layer under a reading of the rule.

    layer: what names the sites of its `inputs`, its `outputs` (None: they are the labels) and its outputs when they are
    `summed` with the residual stream, as `lib.sites.Layer` does; nodes: of these sites; weight: (b, a), which the
    reading "signed" needs.

    Raises ValueError for an unknown reading or a site that is missing from `nodes`.
    """
    if reading not in READINGS:
        raise unknown("reading of the rule", reading, READINGS)
    inputs = _at(nodes, layer.inputs)
    measured_at = layer.summed if reading == "out" and layer.summed else layer.outputs
    outputs = None if measured_at is None else _at(nodes, measured_at)
    every = np.eye(inputs.class_means.shape[0], dtype=bool)  # an output stands for its own label
    if reading == "signed":
        if weight is None:
            raise ValueError("the reading 'signed' needs the layer's weights")
        positive_in, negative_in = inputs.signed_sets(threshold)
        positive_out, negative_out = outputs.signed_sets(threshold) if outputs else (every, ~every & False)
        alike = mask(positive_in, positive_out) | mask(negative_in, negative_out)
        opposed = mask(positive_in, negative_out) | mask(negative_in, positive_out)
        return np.where(np.asarray(weight) > 0, alike, opposed)
    if reading == "clusters":
        return mask(inputs.cluster_sets(threshold), outputs.cluster_sets(threshold) if outputs else every)
    overlap = int(reading.split()[1]) if reading.startswith("overlap") and outputs else 1
    return mask(inputs.label_sets(threshold), outputs.label_sets(threshold) if outputs else every, overlap)


def masks(
    layers: Mapping,
    nodes: Mapping[str, Nodes],
    threshold: float = snp.THRESHOLD,
    reading: str = "diagonal",
    weights: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Masks of several layers by name, ready for `masked.apply`; arguments as of `layer_mask`.

    Raises ValueError that names the layers which the threshold leaves without any weight.
    """
    found = {n: layer_mask(layer, nodes, threshold, reading, (weights or {}).get(n)) for n, layer in layers.items()}
    if empty := [name for name, kept in found.items() if not kept.any()]:
        raise ValueError(
            f"at threshold {threshold} no weight is left in {', '.join(empty)}: lower the threshold or leave these"
            " layers out"
        )
    return found


def _at(nodes: Mapping[str, Nodes], site: str) -> Nodes:
    if site not in nodes:
        raise ValueError(f"ANDC needs the nodes of site {site}, which were not measured; there are {', '.join(nodes)}")
    return nodes[site]


# ---- masks that keep as many weights by other rules: what pruning with ANDC has to be compared with


def largest(scores: np.ndarray, kept: int) -> np.ndarray:
    """The `kept` weights with the largest scores (outputs, inputs)."""
    chosen = np.zeros(scores.size, bool)
    chosen[np.argsort(-scores, axis=None, kind="stable")[:kept]] = True
    return chosen.reshape(scores.shape)


def random(mask: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """As many weights anywhere."""
    return generator.permuted(mask.ravel()).reshape(mask.shape)


def exchanged(mask: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The same connections between other nodes: rows and columns in random order."""
    rows, columns = (generator.permutation(n) for n in mask.shape)
    return mask[rows][:, columns]


def _pairs(rows: int, trades: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Two rows at a time, `trades` times the number of rows, drawn as they are asked for; none of a single row."""
    for _ in range(trades * rows if rows > 1 else 0):
        yield generator.choice(rows, 2, replace=False)


def permuted(mask: np.ndarray, generator: np.random.Generator, trades: int = 5) -> np.ndarray:
    """Every node keeps its number of connections, with random partners: the counts of rows and columns stay.

    Curveball trades (Strona et al., Nature Communications 5, 4114, 2014): two rows pool the columns that only one of
    them has and deal them out again, `trades` times the number of rows.
    """
    dealt = mask.copy()
    for i, j in _pairs(len(dealt), trades, generator):
        pool = np.flatnonzero(dealt[i] ^ dealt[j])
        size = int(dealt[i, pool].sum())
        generator.shuffle(pool)
        dealt[i, pool[:size]], dealt[i, pool[size:]] = True, False
        dealt[j, pool[:size]], dealt[j, pool[size:]] = False, True
    return dealt


def dealt(mask: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The counts of `permuted`, dealt to other nodes: as uneven as the rule, but not where the rule is."""
    return permuted(exchanged(mask, generator), generator)


def levelled(mask: np.ndarray, generator: np.random.Generator, trades: int = 20) -> np.ndarray:
    """The counts of `random`, with the rule's partners: as even as chance, and as many of the mask's weights as fit.

    Beside `random`, which the same generator gives and from which it starts, it differs in partners alone. Two rows
    pool the columns that only one of them has, as in `permuted`, and each takes those that the mask gives to it and not
    to the other; ties fall by lot. No trade lowers the number of the mask's weights.
    """
    found = random(mask, generator)
    for i, j in _pairs(len(found), trades, generator):
        pool = generator.permutation(np.flatnonzero(found[i] ^ found[j]))
        pool = pool[np.argsort(mask[j, pool].astype(int) - mask[i, pool], kind="stable")]
        size = int(found[i, pool].sum())
        found[i, pool], found[j, pool] = np.arange(len(pool)) < size, np.arange(len(pool)) >= size
    return found


def whom(mask: np.ndarray, weight: np.ndarray, class_means: np.ndarray, few: float = 0.1) -> dict[str, float]:
    """Whom a mask leaves with what; mask and weight: (outputs, inputs), class_means: (K, inputs), of the inputs.

    starved    share of the outputs that keep fewer than `few` of their inputs
    unheard    share of the inputs that fewer than `few` of the outputs keep
    uneven     standard deviation of the share that a node keeps, over nodes, mean of outputs and inputs
    leaning    correlation of that share with the node's mean |w|, likewise, of those that vary: are strong nodes kept?
    magnitude  share of the summed |w| that is kept; `energy`: of the summed squares
    shift      by how much the mean over labels of what an output gets moves, root mean square over outputs, in units of
               that output's standard deviation over labels; `raised`: mean over outputs, upward positive
    blurred    the same of what is left when the means are made up for: what no longer tells labels apart as it did
    """
    size = np.abs(weight)
    shares, strengths = [mask.mean(axis) for axis in (1, 0)], [size.mean(axis) for axis in (1, 0)]
    leaning = [
        np.corrcoef(share, strength)[0, 1]
        for share, strength in zip(shares, strengths, strict=True)
        if share.std() > 0 and strength.std() > 0
    ]
    whole, removed = class_means @ weight.T, class_means @ (weight * ~mask).T
    told = (spread := whole.std(0)) > 0
    moved = -removed[:, told].mean(0) / spread[told]
    blurred = removed[:, told].std(0) / spread[told]
    return {
        "starved": float((shares[0] < few).mean()),
        "unheard": float((shares[1] < few).mean()),
        "uneven": float(np.mean([share.std() for share in shares])),
        "leaning": float(np.mean(leaning)) if leaning else np.nan,
        "magnitude": float(size[mask].sum() / size.sum()),
        "energy": float((size[mask] ** 2).sum() / (size**2).sum()),
        "shift": float(np.sqrt((moved**2).mean())) if told.any() else np.nan,
        "raised": float(moved.mean()) if told.any() else np.nan,
        "blurred": float(np.sqrt((blurred**2).mean())) if told.any() else np.nan,
    }


DRAWN = {"permuted": permuted, "exchanged": exchanged, "random": random}
CONTROLS = {"dealt": dealt, "levelled": levelled}  # what tells the choice of partners from that of counts
SCORED = ("magnitude", "activation", "gradient")  # the weights with the largest scores of `masked.scores`
