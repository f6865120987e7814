"""Sets of labelled things: where they come from, what they look like in memory, what training does to them."""

from lib.data.images import STATISTICS, ImageSet, normalise
from lib.data.sets import Batch, LabelledSet, batches
from lib.data.sources import SPLITS, known_sets, load

from lib.data.text import Sentences, TextSet

__all__ = [
    "SPLITS", "STATISTICS", "Batch", "ImageSet", "LabelledSet", "Sentences", "TextSet", "batches", "known_sets",
    "load", "normalise",
]  # fmt: skip
