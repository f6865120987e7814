"""Altair charts of the book, by what they show: `charts.layers.along_encoders(table, "snr", "SNR")` and so on.

`charts.tables.table` shows numbers, `charts.drawing` the network and the procedure.
"""

from lib.charts import (
    base,
    comparison,
    heads,
    language,
    layers,
    matrices,
    nodes,
    palette,
    pictures,
    pruning,
    tables,
    verdicts,
)
from lib.charts.network import drawing

__all__ = [
    "base",
    "comparison",
    "drawing",
    "heads",
    "language",
    "layers",
    "matrices",
    "nodes",
    "palette",
    "pictures",
    "pruning",
    "tables",
    "verdicts",
]
