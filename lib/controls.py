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
    random = np.random.default_rng(seed)
    shuffled = (weight[random.permutation(len(weight))] for _ in range(repeats))
    return np.array([snp.site_statistics(snp.node_fields(class_means, w), threshold)["snr"] for w in shuffled])
