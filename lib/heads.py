"""Attention heads: which labels the nodes of each head recognise, and whether that is more than chance.

Arrays only. The nodes of a site `mha` belong to H heads in contiguous groups: `heads` is their number where they have
equal sizes, as in `lib.cct.Attention`, or a sequence of their sizes, as (12, 4, 8). Claim 5 of arXiv:2501.12900 is that
the heads' symmetry breaks: each becomes the expert for some labels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from lib import snp

Heads = int | Sequence[int]


@dataclass(frozen=True)
class PermutationTest:
    """A statistic against its distribution when nodes are assigned to heads at random."""

    observed: float
    null_mean: float
    null_std: float
    z: float  # (observed - null_mean) / null_std; NaN where the null does not vary
    p: float  # share of assignments, the real one included, that reach the observed value; at least 1 / (n + 1)


def head_of(nodes: int, heads: Heads) -> np.ndarray:
    """The head, from 0, of each of so many nodes, (nodes,) int; ValueError if these heads do not have as many."""
    if np.ndim(heads) == 0:
        if heads < 1 or nodes < 1 or nodes % heads:
            raise ValueError(
                f"the number of heads must divide the number of nodes, got {heads} heads and {nodes} nodes; give the"
                " sizes of the heads where they differ"
            )
        heads = np.repeat(nodes // heads, heads)
    if min(heads, default=0) < 1 or sum(heads) != nodes:
        raise ValueError(f"sizes of heads must be positive and add up to the {nodes} nodes, got {list(heads)}")
    return np.repeat(np.arange(len(heads)), heads)


def by_head(values: np.ndarray, heads: Heads) -> list[np.ndarray]:
    """The values of each head's nodes, one array a head: (nodes, ...) -> [(nodes of the head, ...)]."""
    return np.split(values, np.flatnonzero(np.diff(head_of(len(values), heads))) + 1)


def head_fields(fields: np.ndarray, heads: Heads) -> np.ndarray:
    """Field of each head, the sum of its nodes' fields: (nodes, K, K) -> (heads, K, K)."""
    return np.stack([part.sum(0) for part in by_head(fields, heads)])


def diagonal_counts(fields: snp.Fields, heads: Heads, threshold: float = snp.THRESHOLD) -> np.ndarray:
    """c_h(i), how many nodes of head h have B[i, i] = 1, (heads, K) int; fields: (nodes, K, K) or `snp.Nodes`."""
    return head_fields(snp.recognised(fields, threshold), heads)


def shares(counts: np.ndarray) -> np.ndarray:
    """c_h(i) / sum_h c_h(i), (..., H, K); NaN for a label that no node recognises."""
    total = np.broadcast_to(counts.sum(-2, keepdims=True), counts.shape)
    return np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)


def polarisation(counts: np.ndarray) -> np.ndarray:
    """P(i) = (max_h c_h(i) / sum_h c_h(i) - 1/H) / (1 - 1/H) of each label: (..., H, K) -> (..., K).

    0 where all heads count alike, 1 where one head has all; NaN where no node recognises the label. A larger head has a
    larger share by its size alone: compare with `permutation_test`, which keeps the sizes.
    """
    H = counts.shape[-2]
    if H < 2:
        raise ValueError(f"polarisation compares heads: at least 2 are needed, got {H}")
    return (shares(counts).max(-2) - 1 / H) / (1 - 1 / H)


def strongest(counts: np.ndarray, most: int = 6) -> list[list[int]]:
    """For each head the labels of which it has the largest share, (heads, K) counts -> lists of at most `most` labels.

    Only labels of which it has the most nodes; those with more nodes first where shares are equal.
    """
    share = np.nan_to_num(shares(counts.astype(float)))
    owner = share.argmax(0)
    order = np.lexsort((-counts.sum(0), -share.max(0)))
    return [[int(i) for i in order if owner[i] == h and counts[h, i]][:most] for h in range(len(counts))]


def permutation_test(
    fields: snp.Fields, heads: Heads, threshold: float = snp.THRESHOLD, permutations: int = 1000, seed: int = 0
) -> PermutationTest:
    """Mean polarisation over labels, against `permutations` random assignments of the nodes to heads of these sizes.

    fields: (nodes, K, K) or `snp.Nodes`. A maximum over few small counts is far from 1/H by chance alone; this says how
    far. All permutations are one product of matrices. ValueError if no node recognises any label, or for fewer than two
    permutations.
    """
    recognised = snp.recognised(fields, threshold)
    if not recognised.any():
        raise ValueError(f"no node recognises any label at threshold {threshold}: there is nothing to test")
    values = np.nanmean(polarisation(_dealt(recognised, heads, permutations, seed)), axis=-1)
    return against(values[0], values[1:])


def _dealt(recognised: np.ndarray, heads: Heads, permutations: int, seed: int) -> np.ndarray:
    """c_h(i) of the heads as they are, then of random ones of these sizes: (1 + permutations, heads, K) float32."""
    head = head_of(len(recognised), heads)
    random = np.random.default_rng(seed)
    assigned = np.concatenate([head[None], random.permuted(np.tile(head, (permutations, 1)), axis=1)])
    member = (assigned[:, None] == np.unique(head)[:, None]).astype(np.float32)  # (1 + permutations, heads, nodes)
    counts = member.reshape(-1, len(head)) @ recognised.astype(np.float32)  # in one product
    return counts.reshape(*member.shape[:2], -1)


def excess(observed: np.ndarray | float, null_mean: np.ndarray | float) -> np.ndarray | float:
    """Polarisation beyond that of random heads, (P - P_null) / (1 - P_null): 0 as by chance, 1 where one head has all.

    With fewer nodes chance gives more polarisation, so that bare values of heads of different sizes do not compare. NaN
    where random heads give 1 too.
    """
    observed, chance = np.broadcast_arrays(np.asarray(observed, float), np.asarray(null_mean, float))
    return np.divide(observed - chance, 1 - chance, out=np.full(chance.shape, np.nan), where=chance < 1)[()]


def rotation_test(
    class_means: np.ndarray,
    weight: np.ndarray,
    heads: Heads,
    threshold: float = snp.THRESHOLD,
    rotations: int = 100,
    permutations: int = 100,
    seed: int = 0,
) -> PermutationTest:
    """Do single nodes break the symmetry, or only the subspaces of the heads? `excess` against that of rotated nodes.

    class_means, weight: (K, nodes). A rotation inside the heads leaves the fields of all heads as they are and turns
    every node into a mixture. It changes how many nodes recognise a label, so each is compared with random heads of its
    own. Large values speak for the nodes. Rotations of which that is undefined (no node recognises a label, or random
    heads are as polarised as can be) are left out; where fewer than two are left, nothing but `observed` is known.
    ValueError as of `permutation_test`.
    """
    generator = np.random.default_rng(seed)

    def measured(pair: tuple[np.ndarray, np.ndarray]) -> float:
        if not snp.recognised(snp.Nodes(*pair), threshold).any():
            return np.nan
        found = permutation_test(snp.Nodes(*pair), heads, threshold, permutations, seed)
        return float(excess(found.observed, found.null_mean))

    own = permutation_test(snp.Nodes(class_means, weight), heads, threshold, permutations, seed)
    null = np.array([measured(rotated(class_means, weight, heads, generator)) for _ in range(rotations)])
    known = null[np.isfinite(null)]
    return against(float(excess(own.observed, own.null_mean)), known if len(known) > 1 else null)


def against(observed: float, null: np.ndarray) -> PermutationTest:
    """An observed statistic against its values under the null hypothesis; large values speak against it.

    z is NaN where the null does not vary beyond rounding; z and p are where any value is undefined. ValueError if the
    null has fewer than two values.
    """
    if len(null) < 2:
        raise ValueError(f"at least 2 random assignments are needed to see how much they vary, got {len(null)}")
    std = null.std(ddof=1) if np.ptp(null) > 1e-9 else 0.0
    z = (observed - null.mean()) / std if std > 0 else np.nan
    p = (1 + np.sum(null >= observed - 1e-9)) / (1 + len(null))
    if not np.isfinite([observed, *null]).all():
        std = z = p = np.nan
    return PermutationTest(float(observed), float(null.mean()), float(std), float(z), float(p))


def rotated(
    class_means: np.ndarray, weight: np.ndarray, heads: Heads, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Class means and weights, both (K, nodes), after a random rotation of the nodes inside each head.

    Every head's field stays as it is; which of its nodes carries what changes. With `heads` = 1 the rotation mixes all
    nodes, so that the groups that remain are heads no longer.
    """
    sizes = [len(part) for part in by_head(class_means.T, heads)]
    turns = [stats.ortho_group.rvs(size, random_state=generator) for size in sizes]

    def turned(values: np.ndarray) -> np.ndarray:
        return np.concatenate([turn @ part for turn, part in zip(turns, by_head(values.T, heads), strict=True)]).T

    return turned(class_means), turned(weight)


def expert_margin(accuracy: np.ndarray) -> float:
    """How much better the best head is than the average one, mean over labels; accuracy: (heads, K)."""
    return float((accuracy.max(0) - accuracy.mean(0)).mean())


def rank_correlation(share: np.ndarray, damage: np.ndarray, draws: int = 1000, seed: int = 0) -> dict[str, float]:
    """Do the heads that recognise a label matter for it? Spearman's rho of two (heads, K), with a 95 % interval.

    Both lose their mean over heads for each label and over labels for each head first: some labels are fragile and some
    heads matter for everything, and neither makes an expert. The interval is that of `draws` bootstraps over labels;
    p is the share of random assignments of the share's columns to labels that reach rho. Labels of which either is
    undefined are left out; all is NaN where fewer than 3 are left or nothing varies.
    """
    known = np.isfinite(share).all(0) & np.isfinite(damage).all(0)
    a, b = (_centred(v[:, known]) for v in (share, damage))
    if a.shape[1] < 3 or not a.any() or not b.any():
        return {"rho": np.nan, "low": np.nan, "high": np.nan, "p": np.nan}
    generator = np.random.default_rng(seed)

    def rho(a: np.ndarray, b: np.ndarray) -> float:
        return float(stats.spearmanr(a.ravel(), b.ravel()).statistic)

    observed, labels = rho(a, b), np.arange(a.shape[1])
    chosen = (generator.choice(labels, len(labels)) for _ in range(draws))
    low, high = np.nanquantile([rho(a[:, c], b[:, c]) for c in chosen], (0.025, 0.975))
    null = np.array([rho(a[:, generator.permutation(labels)], b) for _ in range(draws)])
    return {"rho": observed, "low": float(low), "high": float(high), "p": against(observed, null).p}


def _centred(values: np.ndarray) -> np.ndarray:
    """Without the means of rows and columns; rounded, so that ties stay ties."""
    return np.round(values - values.mean(0) - values.mean(1, keepdims=True) + values.mean(), 6)


def owners(counts: np.ndarray) -> np.ndarray:
    """The head, from 0, that has most of each label, (K,) int; -1 where heads have as much, or none has any.

    counts: (..., heads, K), of nodes that recognise a label or of accuracies. Which of equal heads comes first is a
    matter of numbering, and would make labels that all heads tell alike look owned by one.
    """
    tied = (counts == counts.max(-2, keepdims=True)).sum(-2) > 1
    return np.where(tied, -1, counts.argmax(-2))


def agreement(a: np.ndarray, b: np.ndarray) -> tuple[int, int]:
    """For how many labels two maps label -> head (K,) name the same head, and how many have one in both (not -1)."""
    both = (a >= 0) & (b >= 0)
    return int((a == b)[both].sum()), int(both.sum())


def same_partition(a: np.ndarray, b: np.ndarray) -> float:
    """Adjusted Rand index of two maps label -> head (K,): 1 if they group the labels alike, 0 on average by chance.

    Heads need not have the same numbers in both (Hubert and Arabie, Journal of Classification 2, 193, 1985).
    ValueError for a label without a head, which `partition_test` leaves out.
    """
    if min(np.min(a, initial=0), np.min(b, initial=0)) < 0:
        raise ValueError("some labels have no head (-1): leave them out, as `partition_test` does")
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1)

    def pairs(n: np.ndarray) -> float:
        return float((n * (n - 1) / 2).sum())

    together, rows, columns = pairs(table), pairs(table.sum(1)), pairs(table.sum(0))
    expected = rows * columns / max(1.0, pairs(table.sum()))
    most = (rows + columns) / 2
    return (together - expected) / (most - expected) if most > expected else 1.0


def kept_together(partners: np.ndarray, groups: np.ndarray, permutations: int = 1000, seed: int = 0) -> PermutationTest:
    """Do clusters keep to groups of labels (superclasses)? The share of partners that are of one group.

    partners: (K, K), how often two labels are in one cluster, as `snp.partners` gives it; groups: (K,), of each label.
    By chance: the groups are dealt to the labels at random, sizes kept, while the clusters stay as they are.
    ValueError if no cluster has two labels.
    """
    if not (total := np.sum(partners)):
        raise ValueError("no cluster has two labels: there is nothing to test")

    def share(of: np.ndarray) -> float:
        return float(partners[of[:, None] == of].sum() / total)

    random = np.random.default_rng(seed)
    return against(share(groups), np.array([share(random.permutation(groups)) for _ in range(permutations)]))


def partition_test(a: np.ndarray, b: np.ndarray, permutations: int = 1000, seed: int = 0) -> PermutationTest:
    """`same_partition` of two maps of labels (K,), against its values where the labels of one are mixed up at random.

    Do heads keep superclasses together, do seeds agree? The sizes of all groups stay, as in the index itself. Labels
    that either map gives to none (-1) are left out; all is NaN where fewer than two are left.
    """
    known = (np.asarray(a) >= 0) & (np.asarray(b) >= 0)
    if known.sum() < 2:
        return PermutationTest(np.nan, np.nan, np.nan, np.nan, np.nan)
    a, b = (np.unique(np.asarray(v)[known], return_inverse=True)[1] for v in (a, b))
    generator = np.random.default_rng(seed)
    null = np.array([same_partition(a, generator.permutation(b)) for _ in range(permutations)])
    return against(same_partition(a, b), null)


def heads_in_groups(
    fields: snp.Fields,
    heads: Heads,
    groups: np.ndarray,
    threshold: float = snp.THRESHOLD,
    permutations: int = 1000,
    seed: int = 0,
) -> PermutationTest:
    """`same_partition` of the heads that have most nodes of each label and of groups of labels, against random heads.

    Where nodes keep to a group of labels, random heads do so a little as well: this asks whether heads do it more.
    Labels that no node recognises are left out; of heads with as many nodes the first counts, among random heads alike:
    without such labels small heads would have hardly any left. ValueError if no node recognises any label.
    """
    recognised = snp.recognised(fields, threshold)
    known = recognised.any(0)
    if not known.any():
        raise ValueError(f"no node recognises any label at threshold {threshold}: there is nothing to test")
    counts = _dealt(recognised[:, known], heads, permutations, seed)
    of_known = np.unique(np.asarray(groups)[known], return_inverse=True)[1]
    values = np.array([same_partition(owner, of_known) for owner in counts.argmax(1)])
    return against(values[0], values[1:])


def together(owner: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """Of the pairs of labels of one group, the share whose labels have the same owner; and of all pairs, by chance.

    owner, groups: (K,) int; labels without an owner (-1) are left out. NaN where no group has two labels.
    """
    groups, owner = (np.asarray(v)[np.asarray(owner) >= 0] for v in (groups, owner))
    pairs = np.triu(np.ones((len(owner), len(owner)), bool), 1)
    same = owner[:, None] == owner
    kin = pairs & (groups[:, None] == groups)
    return float(same[kin].mean()) if kin.any() else np.nan, float(same[pairs].mean())


def growing_groups(
    values: np.ndarray, weight: np.ndarray, labels: np.ndarray, orders: np.ndarray, report: Callable
) -> np.ndarray:
    """How well a group of nodes does as they join one by one; mean over orders, (nodes, ...).

    values: (images, nodes) pooled; weight: (K, nodes); orders: (draws, nodes); `report` turns right or wrong (images,)
    into a number or several.
    """
    curves = []
    for order in orders:
        field = np.zeros((len(values), len(weight)), np.float32)
        curve = []
        for n in order:
            field += values[:, n : n + 1] * weight[:, n]
            curve.append(report(field.argmax(1) == labels))
        curves.append(curve)
    return np.mean(curves, axis=0)
