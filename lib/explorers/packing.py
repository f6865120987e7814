"""How numbers travel to a page: short, as text, and exact where a decision hangs on them."""

import base64

import numpy as np

from lib import snp

STEPS = 200  # of a normalised value from 0 to 1; the thresholds that explorers offer are whole numbers of them


def packed(values: np.ndarray) -> dict:
    """(K, nodes) -> base64 of int16 (nodes, K), little endian, and the unit of each node."""
    unit = np.maximum(np.abs(values).max(0), 1e-30) / 32767
    integers = np.rint(values / unit).astype("<i2").T
    return {"q": base64.b64encode(integers.tobytes()).decode(), "unit": [float(f"{u:.5g}") for u in unit]}


def unpacked(packed: dict) -> np.ndarray:
    """The inverse of `packed`, up to its rounding: (K, nodes)."""
    integers = np.frombuffer(base64.b64decode(packed["q"]), "<i2")
    return integers.reshape(len(packed["unit"]), -1).T * np.array(packed["unit"])


def steps(nodes: snp.Nodes) -> np.ndarray:
    """S_n[i, i] of nodes in 200ths, rounded up, negative as zero: uint8 (nodes, K).

    Rounding up makes "greater than a threshold" exact for thresholds that are whole 200ths.
    """
    found = snp.normalised_diagonal(nodes.class_means.astype(float), nodes.weight.astype(float))
    return np.ceil(np.clip(found, 0, 1) * STEPS - 1e-9).astype(np.uint8)


def diagonal(nodes: snp.Nodes) -> str:
    """`steps` as base64."""
    return base64.b64encode(steps(nodes).tobytes()).decode()
