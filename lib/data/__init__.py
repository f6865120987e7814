"""Sets of labelled things: where they come from, what they look like in memory, what training does to them."""

from lib.data.images import STATISTICS, ImageSet, normalise
from lib.data.sets import LabelledSet, batches
from lib.data.sources import SPLITS, known_sets, load

__all__ = ["SPLITS", "STATISTICS", "ImageSet", "LabelledSet", "batches", "known_sets", "load", "normalise"]
