"""Images on a page: what a network is shown, and where its heads look."""

import base64
import html
import io
from collections.abc import Sequence

import numpy as np
from IPython.display import HTML
from PIL import Image

DIMMED = 0.3  # what is left of a pixel to which a head pays no attention


def sheet(images: np.ndarray, names: Sequence[str]) -> HTML:
    """Images uint8 (n, H, W, 3) side by side, each with its name below."""
    return _pictures(_picture(image, name, name) for image, name in zip(images, names, strict=True))


def attended(images: np.ndarray, names: Sequence[str], maps: np.ndarray) -> HTML:
    """Each image beside what every head attends to: pixels as bright as the attention that their token receives.

    images: uint8 (n, H, W, 3); maps: (n, heads, side, side), the brightest token of each head as it is.
    """
    found = []
    for image, name, seen in zip(images, names, maps, strict=True):
        found.append(_picture(image, name, name))
        for head, weights in enumerate(seen, 1):
            found.append(_picture(dimmed(image, weights), f"head {head}", f"{name}, as head {head} attends to it"))
    return _pictures(found, columns=1 + maps.shape[1])


def dimmed(image: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """An image uint8 (H, W, 3), each pixel as bright as the weight of its token, of (side, side), allows."""
    found = Image.fromarray((weights / weights.max()).astype(np.float32))
    share = np.asarray(found.resize(image.shape[1::-1], Image.Resampling.BILINEAR))
    return (image * (DIMMED + (1 - DIMMED) * share)[..., None]).round().astype(np.uint8)


def _picture(image: np.ndarray, caption: str, text: str) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", optimize=True)
    address = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    return (
        f'<figure><img src="{address}" alt="{html.escape(text)}" width="64" height="64"'
        f' style="image-rendering: pixelated"><figcaption>{html.escape(caption)}</figcaption></figure>'
    )


def _pictures(found, columns: int | None = None) -> HTML:
    """Pictures in rows of so many (default: as many as the page has room for)."""
    track = "auto-fill" if columns is None else str(columns)
    style = f"display: grid; grid-template-columns: repeat({track}, 4.5rem); gap: 0.25rem; overflow-x: auto"
    reached = 'tabindex="0" role="group" aria-label="pictures"'  # to scroll them by keyboard
    return HTML(f'<div class="pictures" {reached} style="{style}">{"".join(found)}</div>')
