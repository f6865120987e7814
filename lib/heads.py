"""Attention heads: which labels the nodes of each head recognise, and whether that is more than chance.

Arrays only. The nodes of a site `mha` belong to H heads in equal, contiguous groups, as in `lib.cct.Attention`. Claim 5
of arXiv:2501.12900 is that the heads' symmetry breaks: each becomes the expert for some labels.
"""

from dataclasses import dataclass

import numpy as np

from lib import snp


@dataclass(frozen=True)
class PermutationTest:
    """A statistic against its distribution when nodes are assigned to heads at random."""

    observed: float
    null_mean: float
    null_std: float
    z: float  # (observed - null_mean) / null_std; NaN where the null does not vary
    p: float  # share of assignments, the real one included, that reach the observed value; at least 1 / (n + 1)


def by_head(values: np.ndarray, heads: int) -> np.ndarray:
    """(nodes, ...) -> (heads, nodes / heads, ...); ValueError if the heads do not divide the nodes."""
    nodes = len(values)
    if heads < 1 or nodes % heads:
        raise ValueError(f"the number of heads must divide the number of nodes, got {heads} heads and {nodes} nodes")
    return values.reshape(heads, nodes // heads, *values.shape[1:])


def head_fields(fields: np.ndarray, heads: int) -> np.ndarray:
    """Field of each head, the sum of its nodes' fields: (nodes, K, K) -> (heads, K, K)."""
    return by_head(fields, heads).sum(1)


def diagonal_counts(fields: np.ndarray, heads: int, threshold: float = snp.THRESHOLD) -> np.ndarray:
    """c_h(i), how many nodes of head h have B[i, i] = 1: (nodes, K, K) -> (heads, K) int."""
    return by_head(snp.recognised(fields, threshold), heads).sum(1)


def polarisation(counts: np.ndarray) -> np.ndarray:
    """P(i) = (max_h c_h(i) / sum_h c_h(i) - 1/H) / (1 - 1/H) of each label: (..., H, K) -> (..., K).

    0 where all heads count alike, 1 where one head has all; NaN where no node recognises the label.
    """
    H = counts.shape[-2]
    if H < 2:
        raise ValueError(f"polarisation compares heads: at least 2 are needed, got {H}")
    total = counts.sum(-2)
    share = np.divide(counts.max(-2), total, out=np.full(total.shape, np.nan), where=total > 0)
    return (share - 1 / H) / (1 - 1 / H)


def permutation_test(
    fields: np.ndarray, heads: int, threshold: float = snp.THRESHOLD, permutations: int = 1000, seed: int = 0
) -> PermutationTest:
    """Mean polarisation over labels, against `permutations` random assignments of the nodes to heads of equal size.

    fields: (nodes, K, K). A maximum over few small counts is far from 1/H by chance alone; this says how far. All
    permutations are one product of matrices. ValueError if no node recognises any label.
    """
    recognised = snp.recognised(fields, threshold)
    if not recognised.any():
        raise ValueError(f"no node recognises any label at threshold {threshold}: there is nothing to test")
    head = np.repeat(np.arange(heads), by_head(recognised, heads).shape[1])
    random = np.random.default_rng(seed)
    assigned = np.concatenate([head[None], random.permuted(np.tile(head, (permutations, 1)), axis=1)])
    member = (assigned[:, None] == np.arange(heads)[:, None]).astype(np.float32)  # (1 + permutations, heads, nodes)
    values = np.nanmean(polarisation(member @ recognised.astype(np.float32)), axis=-1)
    observed, null = values[0], values[1:]
    std = null.std(ddof=1)
    p = (1 + np.sum(null >= observed - 1e-9)) / (1 + permutations)
    z = (observed - null.mean()) / std if std > 0 else np.nan
    return PermutationTest(float(observed), float(null.mean()), float(std), float(z), float(p))
