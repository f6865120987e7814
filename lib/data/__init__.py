"""Sets of labelled things: where they come from, what they look like in memory, what training does to them."""

from lib.data.images import SPLITS, STATISTICS, ImageSet, batches, known_sets, load, normalise

__all__ = ["SPLITS", "STATISTICS", "ImageSet", "batches", "known_sets", "load", "normalise"]
