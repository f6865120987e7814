"""Masks that keep as many weights as another mask, by other rules: what pruning with ANDC has to be compared with.

Arrays only. Masks and scores of a layer are (outputs, inputs), the layout of `torch.nn.Linear.weight`.
"""

import numpy as np


def best(scores: np.ndarray, kept: int) -> np.ndarray:
    """The `kept` weights with the largest scores."""
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


def permuted(mask: np.ndarray, generator: np.random.Generator, trades: int = 5) -> np.ndarray:
    """Every node keeps its number of connections, with random partners: the counts of rows and columns stay.

    Curveball trades (Strona et al., Nature Communications 5, 4114, 2014): two rows pool the columns that only one of
    them has and deal them out again, `trades` times the number of rows.
    """
    rows = [set(np.flatnonzero(row)) for row in mask]
    for _ in range(trades * len(rows)):
        i, j = generator.choice(len(rows), 2, replace=False)
        common, pool = rows[i] & rows[j], sorted(rows[i] ^ rows[j])
        generator.shuffle(pool)
        size = len(rows[i]) - len(common)
        rows[i], rows[j] = common | set(pool[:size]), common | set(pool[size:])
    dealt = np.zeros_like(mask)
    for row, columns in zip(dealt, rows, strict=True):
        row[list(columns)] = True
    return dealt
