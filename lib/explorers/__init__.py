"""Explorers: the functions named `*_page` make pages that work without a kernel, the classes are live in Jupyter."""

from lib.explorers.heads import HeadExplorer, head_page
from lib.explorers.image import ImageExplorer
from lib.explorers.matrix import matrix_page
from lib.explorers.nodes import NodeExplorer, node_page
from lib.explorers.pruning import pruning_page
from lib.explorers.text import TextExplorer, text_explorer

__all__ = [
    "HeadExplorer", "ImageExplorer", "NodeExplorer", "TextExplorer", "head_page", "matrix_page", "node_page",
    "pruning_page", "text_explorer",
]  # fmt: skip
