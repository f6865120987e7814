"""Images on a page: what a network is shown, and where its heads look."""

import html
from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np
from IPython.display import HTML
from PIL import Image

from lib.charts.base import png

MOST = 4  # images of one name that stay together: a phone has room for them
DIMMED = 0.3  # what is left of a pixel to which a head pays no attention


ALIKE = [  # characters that look alike, and what they are called
    {"I": "capital i", "l": "small L", "1": "one", "|": "bar"},
    {"O": "capital o", "o": "small o", "0": "zero"},
]


def sheet(images: np.ndarray, names: Sequence[str]) -> HTML:
    """Images uint8 (n, H, W, 3) side by side, each with its name below.

    Where as many follow each other under each name, they stay together, with the name once.
    """
    images, names = list(images), list(names)
    groups = [len(list(group)) for _, group in groupby(names)]
    size = groups[0] if len(set(groups)) == 1 and groups[0] <= MOST else 1
    captions = told_apart(names)
    parts = range(0, len(names), size)
    return _pictures((_figure(images[k : k + size], captions[k], captions[k]) for k in parts), size=size)


def told_apart(names: Sequence[str]) -> list[str]:
    """Names as captions: a character with others beside it that look alike is also called by its name."""
    called = {}
    for alike in ALIKE:
        present = {name: word for name, word in alike.items() if name in names}
        called |= {name: f"{name} ({word})" for name, word in present.items()} if len(present) > 1 else {}
    return [called.get(name, name) for name in names]


def attended(images: np.ndarray, names: Sequence[str], maps: np.ndarray) -> HTML:
    """Each image beside what every head attends to: pixels as bright as the attention that their token receives.

    images: uint8 (n, H, W, 3); maps: (n, heads, side, side), the brightest token of each head as it is.
    """
    found = []
    for image, name, seen in zip(images, names, maps, strict=True):
        found.append(_figure([image], name, name))
        for head, weights in enumerate(seen, 1):
            found.append(_figure([dimmed(image, weights)], f"head {head}", f"{name}, as head {head} attends to it"))
    return _pictures(found, columns=1 + maps.shape[1])


def dimmed(image: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """An image uint8 (H, W, 3), each pixel as bright as the weight of its token, of (side, side), allows."""
    found = Image.fromarray((weights / weights.max()).astype(np.float32))
    share = np.asarray(found.resize(image.shape[1::-1], Image.Resampling.BILINEAR))
    return (image * (DIMMED + (1 - DIMMED) * share)[..., None]).round().astype(np.uint8)


def _figure(images: Iterable[np.ndarray], caption: str, text: str) -> str:
    pictures = "".join(_picture(image, text) for image in images)
    return f'<figure style="margin: 0; padding: 0">{pictures}<figcaption>{html.escape(caption)}</figcaption></figure>'


def _picture(image: np.ndarray, text: str) -> str:
    style = (
        "display: inline-block; width: min(64px, 100% - 8px); height: auto; aspect-ratio: 1; margin: 0 4px; padding: 0"
    )
    style += "; background: none; border-radius: 0; image-rendering: pixelated"  # a theme's slab, frame and corners
    return f'<img src="{png(image)}" alt="{html.escape(text)}" width="64" height="64" style="{style}">'


def _pictures(found: Iterable[str], columns: int | None = None, size: int = 1) -> HTML:
    """Figures of so many pictures in rows of so many figures (default: as many as the page has room for)."""
    track, width = ("auto-fill", f"{72 * size}px") if columns is None else (str(columns), f"minmax(0, {72 * size}px)")
    style = f"display: grid; grid-template-columns: repeat({track}, {width}); gap: 0.4rem; overflow-x: auto"
    reached = 'tabindex="0" role="group" aria-label="pictures"'  # to scroll them by keyboard
    return HTML(f'<div class="pictures" {reached} style="{style}">{"".join(found)}</div>')
