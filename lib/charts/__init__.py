"""Altair charts of the book, by what they show: `charts.layers.along_encoders(table, "snr", "SNR")` and so on."""

from lib.charts import base, heads, layers, nodes, palette, pruning

__all__ = ["base", "heads", "layers", "nodes", "palette", "pruning"]
