"""Tables of numbers as pages show them: small, in a box of their own that scrolls, and readable by ear."""

from html import escape
from itertools import groupby
from numbers import Integral, Real

import numpy as np
import pandas as pd

MISSING = '<abbr title="not measured">–</abbr>'


class Table:
    """What `table` returns: Jupyter and the book show it as HTML, `print` as text."""

    def __init__(self, frame: pd.DataFrame, caption: str, index: bool):
        self.frame, self.caption, self.index = frame, caption, index  # of texts; None where nothing was measured

    def __repr__(self) -> str:
        return f"{self.caption}\n{self.frame.fillna('–').to_string(index=self.index)}"

    def _repr_html_(self) -> str:
        width, caption = self.frame.index.nlevels if self.index else 0, escape(self.caption)
        head, body = _head(self.frame, width), _body(self.frame, width)
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
    are never rounded.
    """
    names = frame.columns if frame.columns.nlevels > 1 else map(str, frame.columns)
    shown = [_column(frame.iloc[:, i], digits, name in percent) for i, name in enumerate(names)]
    texts = pd.DataFrame(dict(enumerate(shown)), index=frame.index, dtype=object)
    texts.columns = frame.columns
    texts.index = _texts(frame.index)
    return Table(texts, caption, index)


def _head(frame: pd.DataFrame, width: int) -> str:
    """A row for each level of the columns; the names of `width` levels of the rows stand in the last."""
    columns, depth, rows = _tuples(frame.columns), frame.columns.nlevels, []
    for level in range(depth):
        names = frame.index.names if level == depth - 1 else [None] * (width - 1) + [frame.columns.names[level]]
        cells = [f'<th scope="col">{escape(str(name))}</th>' if name else "<td></td>" for name in list(names)[:width]]
        parts = [key if level == depth - 1 else key[: level + 1] for key in columns]
        for part, group in groupby(parts):
            span = len(list(group))
            scope = f'scope="colgroup" colspan="{span}"' if span > 1 else 'scope="col"'
            cells.append(f"<th {scope}>{escape(str(part[level]))}</th>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return "".join(rows)


def _body(frame: pd.DataFrame, width: int) -> str:
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
        cells += [f"<td>{MISSING if value is None else escape(value)}</td>" for value in values]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return "".join(rows)


def _column(values: pd.Series, digits: int, percent: bool) -> list[str | None]:
    values = [None if pd.isna(value) else value for value in values]
    if percent:
        return [None if value is None else f"{value:.1%}" for value in values]
    real = [float(v) for v in values if isinstance(v, Real) and not isinstance(v, Integral) and np.isfinite(v)]
    needed = next((d for d in range(digits) if all(round(v, d) == round(v, digits) for v in real)), digits)

    def text(value) -> str | None:
        if value is None or isinstance(value, str | bool | np.bool_):
            return value if value is None else str(value)
        if isinstance(value, Integral):
            return f"{value:,}" if abs(value) >= 10_000 else str(value)
        if not isinstance(value, Real):
            return str(value)
        return f"{value:,.{needed}f}" if np.isfinite(value) else ("∞" if value > 0 else "−∞")

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
