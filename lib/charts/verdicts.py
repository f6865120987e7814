"""What was found about each claim, as Markdown that is read on a page and in Jupyter alike."""

import re
from collections.abc import Iterable
from html import escape

import numpy as np
import pandas as pd


def cards(findings: Iterable, links: bool = True) -> str:
    """A card for each `lib.claims.Finding`: claim, verdict and what was found; under a fold, evidence and chapter.

    links: whether to point to the chapter on it, for pages that are not that chapter.
    """
    return "\n\n".join(_card(finding, links) for finding in findings)


def _card(finding, link: bool) -> str:
    kind = finding.verdict.split(" here")[0].replace(" ", "-")
    claim = f"<strong>{_html(finding.claim)}</strong>" + f" ({_html(finding.where)})" * bool(finding.where)
    chapter = f"[The chapter on it]({finding.chapter}.ipynb)\n\n" if link else ""
    evidence = "" if finding.evidence.empty else f"{markdown(finding.evidence, finding.number)}\n\n"
    return (
        f'<details class="verdict verdict-{kind}">\n<summary><span class="verdict-chip">{finding.verdict}</span>'
        f' {claim}<span class="verdict-said">{_html(finding.said)}</span></summary>\n'
        f"\n{evidence}{chapter}</details>"
    )


def markdown(table: pd.DataFrame, number: str = "{:.2f}") -> str:
    """A small data frame as a Markdown table: numbers in one format, a dash for the unknown, yes and no in words."""

    def cell(value: object) -> str:
        if isinstance(value, str):
            return value
        if pd.isna(value):
            return "–"
        if isinstance(value, (bool, np.bool_)):
            return "yes" if value else "no"
        return number.format(value) if isinstance(value, float) else str(value)

    known = table.dropna(axis="columns", how="all")
    head = [str(name).replace("_", " ") for name in known.columns]
    rows = [head, ["---"] * len(head), *([cell(value) for value in row] for row in known.to_numpy(dtype=object))]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _html(text: str) -> str:
    return re.sub(r"`(.*?)`", r"<code>\1</code>", escape(text, quote=False))
