"""Altair charts of the book, by what they show: `charts.layers.along_encoders(table, "snr", "SNR")` and so on."""

from lib.charts import base, heads, language, layers, matrices, nodes, palette, pictures, pruning, verdicts

__all__ = [
    "base",
    "heads",
    "language",
    "layers",
    "matrices",
    "nodes",
    "palette",
    "pictures",
    "pruning",
    "verdicts",
]
