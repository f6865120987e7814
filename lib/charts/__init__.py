"""Altair charts of the book."""

from lib.charts.nodes import (
    along_encoders,
    by_threshold,
    clipped_matrix,
    matrix,
    named,
    node_steps,
    pixels,
    speakers,
    training,
    with_control,
)

__all__ = [
    "along_encoders",
    "by_threshold",
    "clipped_matrix",
    "matrix",
    "named",
    "node_steps",
    "pixels",
    "speakers",
    "training",
    "with_control",
]
