"""Sets of labelled things: where they come from, what they look like in memory, what training does to them."""

from lib.data.images import STATISTICS, ImageSet, decode, normalise
from lib.data.sets import Batch, LabelledSet, batches, readable, tensor
from lib.data.sources import SPLITS, known_sets, load, splits
from lib.data.text import Sentences, TextSet

__all__ = [
    "SPLITS",
    "STATISTICS",
    "Batch",
    "ImageSet",
    "LabelledSet",
    "Sentences",
    "TextSet",
    "batches",
    "decode",
    "known_sets",
    "load",
    "normalise",
    "readable",
    "splits",
    "tensor",
]
