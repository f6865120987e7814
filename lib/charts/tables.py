"""Tables of numbers as pages show them: small, in a box of their own that scrolls, and readable by ear."""

from collections.abc import Sequence
from html import escape
from itertools import groupby
from numbers import Integral, Real

import numpy as np
import pandas as pd

from lib.charts.palette import PLACES

WORDS = {"snr": "SNR", "top1": "accuracy"}  # names of columns that are no words
MISSING = '<abbr title="not measured">–</abbr>'


class Table:
    """What `table` returns: Jupyter and the book show it as HTML, `print` as text."""

    def __init__(self, frame: pd.DataFrame, caption: str, index: bool, words: Sequence[bool]):
        self.frame, self.caption, self.index = frame, caption, index  # of texts; None where nothing was measured
        self.words = words  # of each column, whether it holds words

    def __repr__(self) -> str:
        return f"{self.caption}\n{self.frame.fillna('–').to_string(index=self.index)}"

    def _repr_html_(self) -> str:
        width, caption = self.frame.index.nlevels if self.index else 0, escape(self.caption)
        head, body = _head(self.frame, width, self.words), _body(self.frame, width, self.words)
        return (
            f'<div class="modus-table" role="region" aria-label="{caption}" tabindex="0"><table>'
            f"<caption>{caption}</caption><thead>{head}</thead><tbody>{body}</tbody></table></div>"
        )


def table(
    frame: pd.DataFrame, caption: str, digits: int = 3, index: bool = True, percent: tuple[str, ...] = ()
) -> Table:
    """A data frame for a page, with a caption that says what to see.

    Numbers of a column get as many digits behind the point as they need, at most `digits`; those named in `percent` are
    shares, shown in percent with one digit. What is NaN or None was not measured. index: whether rows have names, which
    are never rounded. Names of columns are shown as words, but for places, which keep the name they have in the code.
    """
    names = frame.columns if frame.columns.nlevels > 1 else map(str, frame.columns)
    shown = [_column(frame.iloc[:, i], digits, name in percent) for i, name in enumerate(names)]
    words = [not all(map(_is_number, frame.iloc[:, i].dropna())) for i in range(len(shown))]
    texts = pd.DataFrame(dict(enumerate(shown)), index=frame.index, dtype=object)
    texts.columns = _words(frame.columns)
    texts.index = _texts(frame.index)
    return Table(texts, caption, index, words)


def _is_number(value: object) -> bool:
    """Also of texts, such as "+1.2 ± 0.3"."""
    if isinstance(value, bool | np.bool_):
        return False
    return isinstance(value, Real) or (isinstance(value, str) and not any(map(str.isalpha, value)))


def _words(columns: pd.Index) -> pd.Index:
    def word(name: object) -> object:
        text = str(name)
        return name if text in PLACES or not text.isidentifier() else WORDS.get(text, text.replace("_", " "))

    if not len(columns):
        return columns
    if columns.nlevels > 1:
        found = pd.MultiIndex.from_tuples([tuple(map(word, key)) for key in columns])
        return found.set_names([name and word(name) for name in columns.names])
    return pd.Index([word(name) for name in columns], dtype=object, name=columns.name and word(columns.name))


def _head(frame: pd.DataFrame, width: int, words: Sequence[bool]) -> str:
    """A row for each level of the columns; the names of `width` levels of the rows stand in the last."""
    columns, depth, rows = _tuples(frame.columns), frame.columns.nlevels, []
    for level in range(depth):
        names = frame.index.names if level == depth - 1 else [None] * (width - 1) + [frame.columns.names[level]]
        cells = [
            f'<th scope="col" class="words">{escape(str(name))}</th>' if name else "<td></td>"
            for name in list(names)[:width]
        ]
        parts, column = [key if level == depth - 1 else key[: level + 1] for key in columns], 0
        for part, group in groupby(parts):
            span = len(list(group))
            scope = f'scope="colgroup" colspan="{span}"' if span > 1 else 'scope="col"'
            scope += ' class="words"' * words[column]
            column += span
            cells.append(f"<th {scope}>{escape(str(part[level]))}</th>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return "".join(rows)


def _body(frame: pd.DataFrame, width: int, words: Sequence[bool]) -> str:
    """A row for each row, with `width` levels of its name; a name that several rows share stands once, beside them."""
    keys, rows = _tuples(frame.index), []
    for r, values in enumerate(frame.itertuples(index=False, name=None)):
        cells = []
        for level in range(width):
            alike, last = [key[: level + 1] == keys[r][: level + 1] for key in keys], level == width - 1
            if not last and r and alike[r - 1]:
                continue
            span = 1 if last else (alike[r:] + [False]).index(False)
            scope = f'scope="rowgroup" rowspan="{span}"' if span > 1 else 'scope="row"'
            cells.append(f"<th {scope}>{escape(str(keys[r][level]))}</th>")
        for value, of_words in zip(values, words, strict=True):
            kind = ' class="words"' * of_words
            cells.append(f"<td{kind}>{MISSING if value is None else escape(value)}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return "".join(rows)


def _column(values: pd.Series, digits: int, percent: bool) -> list[str | None]:
    values = [None if pd.isna(value) else value for value in values]
    if percent:
        return [None if value is None else f"{value:.1%}" for value in values]
    real = [float(v) for v in values if isinstance(v, Real) and not isinstance(v, Integral) and np.isfinite(v)]
    needed = next((d for d in range(digits) if all(round(v, d) == round(v, digits) for v in real)), digits)

    def text(value) -> str | None:
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, bool | np.bool_):
            return "yes" if value else "no"
        if isinstance(value, Integral):
            return f"{value:,}"
        if not isinstance(value, Real):
            return str(value)
        if not np.isfinite(value):
            return "∞" if value > 0 else "−∞"
        return f"{round(float(value), needed) + 0.0:,.{needed}f}"  # never a negative zero

    return [text(value) for value in values]


def _texts(index: pd.Index) -> pd.Index:
    """Names of rows as texts, level by level."""
    levels = [_column(pd.Series(index.get_level_values(k)), 9, False) for k in range(index.nlevels)]
    levels = [[text or "" for text in level] for level in levels]
    if index.nlevels == 1:
        return pd.Index(levels[0], name=index.name)
    return pd.MultiIndex.from_arrays(levels, names=index.names)


def _tuples(index: pd.Index) -> list[tuple]:
    return [key if isinstance(key, tuple) else (key,) for key in index]
