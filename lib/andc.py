"""Applied nodal diagonal connection (ANDC): which weights connect nodes that recognise a common label.

The name and the idea are those of arXiv:2501.12900; the rule below is this project's reading of it: between two fully
connected layers the weight from node a to node b is kept if and only if D_a and D_b, the labels on the diagonals of
their clipped matrices, share a label. Label sets come from training images, never from those that accuracy is reported
on.
"""

import numpy as np

from lib import snp


def label_sets(fields: np.ndarray, threshold: float = snp.THRESHOLD) -> np.ndarray:
    """D_n of every node, (nodes, K, K) -> (nodes, K) bool: the labels that the node recognises."""
    return snp.recognised(fields, threshold)


def mask(sets_in: np.ndarray, sets_out: np.ndarray) -> np.ndarray:
    """Which weights of a layer are kept: sets (a, K) of its inputs and (b, K) of its outputs -> (b, a) bool.

    The layout is that of `torch.nn.Linear.weight`. For a classifier, whose output j stands for label j, `sets_out` is
    the identity.
    """
    sets_in, sets_out = np.asarray(sets_in), np.asarray(sets_out)
    if sets_in.dtype != bool or sets_out.dtype != bool or sets_in.shape[1:] != sets_out.shape[1:] or sets_in.ndim != 2:
        raise ValueError(
            f"label sets must be bool (nodes, K) with the same K, got {sets_in.dtype} {sets_in.shape} and"
            f" {sets_out.dtype} {sets_out.shape}"
        )
    return (sets_out.astype(np.float32) @ sets_in.astype(np.float32).T) > 0
