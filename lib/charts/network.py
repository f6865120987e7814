"""A drawing of the network and of the procedure, whole or small with a chapter's part lit.

Small pictures with words below them, not one large picture: they wrap on a phone, and their words stay readable.
"""

from html import escape
from pathlib import Path

import numpy as np

from lib import snp
from lib.charts.nodes import AGAINST, FOR
from lib.charts.palette import NOISE, PLACES, SIGNAL, TEXT
from lib.system.errors import unknown

ENCODERS = 7
SITE = (4, "ff")  # encoder, from 1, and place of the site that the probe reads, in both pictures
WORDS = {  # part -> what it is; first the parts of the network, then the steps of the procedure
    "image": "an image, or a sentence",
    "stem": "convolutions",
    "tokens": "vectors, one per place",
    "encoders": "attention and feed-forward, five sites in each",
    "pooling": "tokens, weighted, to one",
    "classifier": "one output per label",
    "freeze": "the trained network stays",
    "probe": "a read-out at a site",
    "silence": "one node speaks alone",
    "matrix": "true label, output",
    "clip": "ones above a threshold",
    "clusters": "labels in blocks, noise",
}
NETWORK = 6  # parts that are the network
EXAMPLE = np.array([[1, 0.2, 0.8, -0.4, 0.1, 0.7], [0.9, 0.1, 1, -0.8, -0.3, 0.2]])  # a node's class means, weights
STYLE = (Path(__file__).parent / "network.css").read_text(encoding="utf-8")


class Drawing:
    """What `drawing` returns: HTML in a page, one line as text."""

    def __init__(self, html: str, text: str):
        self.html, self.text = html, text

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.html


def drawing(*lit: str) -> Drawing:
    """The network and the procedure; with names of parts (`WORDS`) small, those parts lit.

    Raises ValueError for another name.
    """
    for name in lit:
        if name not in WORDS:
            raise unknown("part of the drawing", name, WORDS)
    network, procedure = list(WORDS)[:NETWORK], list(WORDS)[NETWORK:]
    told = f"The network: {', '.join(network)}. The procedure: {', '.join(procedure)}."
    told += f" Here: {', '.join(lit)}." if lit else ""
    rows = [f"<div>{''.join(_part(name, name in lit) for name in names)}</div>" for names in (network, procedure)]
    if lit:  # without room for words below the pictures, those of the lit parts stand below all
        kind, parts = "modus-drawing small", [*rows, f'<p class="named">{", ".join(lit)}</p>']
    else:
        kind, parts = "modus-drawing", [_title("The network"), rows[0], _key(), _title("The procedure"), rows[1]]
    html = f'<style>{STYLE}</style><div class="{kind}" role="img" aria-label="{escape(told)}">'
    return Drawing(f"{html}{''.join(parts)}</div>", told)


def _title(text: str) -> str:
    return f'<p class="title">{text}</p>'


def _key() -> str:
    sites = " ".join(f'<span><i style="background:{colour}"></i>{place}</span>' for place, colour in PLACES.items())
    return f'<p class="key">sites of an encoder: {sites}; the ringed one is read by the probe</p>'


def _part(name: str, lit: bool) -> str:
    kind = "part" + " wide" * (name == "encoders") + " lit" * lit
    return f'<div class="{kind}">{PICTURES[name]()}<b>{name}</b><span>{WORDS[name]}</span></div>'


def _svg(content: str, width: int = 56) -> str:
    lines = 'fill="none" stroke="currentColor" stroke-width="2" stroke-linejoin="round" stroke-linecap="round"'
    return f'<svg viewBox="0 0 {width} 56" aria-hidden="true" {lines}>{content}</svg>'


def _bar(x: float, y: float, width: float, height: float, fill: str, opacity: float = 1) -> str:
    size = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
    return f'<rect {size} fill="{fill}" fill-opacity="{opacity:g}" stroke="none"/>'


def _square(x: float, y: float, side: float, fill: str = TEXT, opacity: float = 1) -> str:
    return _bar(x, y, side, side, fill, opacity)


def _dot(x: float, y: float, radius: float, fill: str) -> str:
    return f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" fill="{fill}" stroke="none"/>'


def _image() -> str:
    hills = '<path d="M6 46l14-18 10 11 8-9 12 16"/>'
    return _svg(f'<rect x="5" y="5" width="46" height="46"/><circle cx="17" cy="17" r="4"/>{hills}')


def _stem() -> str:
    maps = "".join(f'<rect x="{4 + 7 * k}" y="{18 - 7 * k}" width="32" height="32"/>' for k in (2, 1, 0))
    return _svg(maps + _square(9, 23, 10, SIGNAL))


def _tokens() -> str:
    return _svg("".join(_square(6 + 12 * j, 6 + 12 * i, 9) for i in range(4) for j in range(4)))


def _encoders() -> str:
    boxes = []
    for e in range(ENCODERS):
        x = 2 + 30 * e
        sites = ""
        for k, (place, colour) in enumerate(PLACES.items()):
            at = (x + 11, 9 + 9.5 * k, 3.2, colour)
            sites += _ringed(*at, f"M{x + 17} {at[1]:g}h9V56") if (e + 1, place) == SITE else _dot(*at)
        joined = f'<path d="M{x + 22} 28h8"/>' if e < ENCODERS - 1 else ""
        boxes.append(f'<rect x="{x}" y="2" width="22" height="52" rx="4"/>{sites}{joined}')
    return _svg("".join(boxes), 30 * ENCODERS - 4)


def _ringed(x: float, y: float, radius: float, fill: str, line: str) -> str:
    """The site that the probe reads, with the line that leads out of the one picture and into the other."""
    return f'{_dot(x, y, radius, fill)}<circle cx="{x:g}" cy="{y:g}" r="{radius + 2.5:g}"/><path d="{line}"/>'


def _pooling() -> str:
    tokens = "".join(f'<path d="M10 {8 + 10 * k}L46 28"/>{_square(4, 4 + 10 * k, 8)}' for k in range(5))
    return _svg(tokens + _dot(46, 28, 6, SIGNAL))


def _classifier() -> str:
    lengths = (12, 20, 42, 8, 15)
    return _svg("".join(_bar(6, 6 + 9 * k, n, 6, SIGNAL if n == max(lengths) else TEXT) for k, n in enumerate(lengths)))


def _freeze() -> str:
    arm = '<path d="M28 28V6m-6 5l6 6 6-6" transform="rotate({} 28 28)"/>'
    return _svg("".join(arm.format(60 * k) for k in range(6)))


def _probe() -> str:
    outputs = "".join(f'<path d="M24 28L46 {8 + 10 * k}"/>{_square(44, 5 + 10 * k, 7)}' for k in range(5))
    return _svg(outputs + _ringed(12, 28, 6, PLACES[SITE[1]], "M12 0v19M21 28h3"))


def _silence() -> str:
    silent = '<circle cx="14" cy="{0}" r="3.6"/><path d="M22 {0}h10" stroke-dasharray="1 5"/>'
    speaks = _dot(14, 28, 4.5, SIGNAL) + '<path d="M21 28h28m-6-5l6 5-6 5"/>'
    return _svg(speaks + "".join(silent.format(y) for y in (8, 18, 38, 48)))


def _matrix() -> str:
    field = snp.normalise(np.outer(*EXAMPLE))
    return _cells([[(AGAINST if v < 0 else FOR, min(1, abs(v)) ** 0.5) for v in row] for row in field])


def _clip() -> str:
    return _ones(range(EXAMPLE.shape[1]), TEXT)


def _clusters() -> str:
    clipped = snp.clip(snp.normalise(np.outer(*EXAMPLE)))
    return _ones(snp.permutation(snp.cluster_index(clipped[None])[0]), SIGNAL)


def _ones(order, inside: str) -> str:
    """The example's ones in an order of labels, those of clusters in a colour of their own."""
    clipped = snp.clip(snp.normalise(np.outer(*EXAMPLE)))
    index = snp.cluster_index(clipped[None])[0]
    outside = NOISE if inside == SIGNAL else inside
    of = [[inside if index[i] == index[j] >= 0 else outside for j in order] for i in order]
    return _cells([[(of[y][x], clipped[i, j]) for x, j in enumerate(order)] for y, i in enumerate(order)])


def _cells(colours: list[list[tuple[str, float]]]) -> str:
    side = 48 / len(colours)
    cells = [
        _square(4 + side * j, 4 + side * i, side - 0.6, *cell)
        for i, row in enumerate(colours)
        for j, cell in enumerate(row)
    ]
    return _svg("".join(cells) + '<rect x="3" y="3" width="50" height="50" stroke-width="1"/>')


PICTURES = {
    "image": _image, "stem": _stem, "tokens": _tokens, "encoders": _encoders, "pooling": _pooling,
    "classifier": _classifier, "freeze": _freeze, "probe": _probe, "silence": _silence, "matrix": _matrix,
    "clip": _clip, "clusters": _clusters,
}  # fmt: skip
