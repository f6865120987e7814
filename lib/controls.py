"""Controls: what the measures give where there is nothing to find."""

import numpy as np

from lib import snp


def relabelled_snr(
    class_means: np.ndarray, weight: np.ndarray, repeats: int = 10, threshold: float = snp.THRESHOLD, seed: int = 0
) -> np.ndarray:
    """SNR of a site whose probe's outputs were given new names at random, `repeats` times; returns (repeats,).

    class_means, weight: (K, nodes). V'_n[i, j] = m_n[i] W_pi(j)n: each node keeps its class means and its weights, only
    the link between them is cut, the same way for all nodes.
    """
    return relabelled_fields_snr(snp.node_fields(class_means, weight), repeats, threshold, seed)


def relabelled_fields_snr(
    fields: np.ndarray, repeats: int = 10, threshold: float = snp.THRESHOLD, seed: int = 0
) -> np.ndarray:
    """`relabelled_snr` of nodes or filters whatever the read-out, from their fields (nodes, K, K)."""
    random = np.random.default_rng(seed)
    shuffled = (fields[:, :, random.permutation(fields.shape[2])] for _ in range(repeats))
    return np.array([snp.site_statistics(f, threshold)["snr"] for f in shuffled])
