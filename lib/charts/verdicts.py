"""What was found about each claim, as Markdown that is read on a page and in Jupyter alike."""

import re
from collections.abc import Iterable, Sequence
from html import escape

import numpy as np
import pandas as pd


def cards(findings: Iterable, links: bool = True) -> str:
    """A card for each claim: the verdict of the first `lib.findings.Finding` on it, what was found on which networks,
    plainly, then the verdicts of others; under a fold all of it in full, the evidence, and the chapter.

    links: whether to point to the chapter on it, for pages that are not that chapter.
    """
    by_claim: dict[str, list] = {}
    for finding in findings:
        by_claim.setdefault(finding.claim, []).append(finding)
    return "\n\n".join(_card(found, links) for found in by_claim.values())


def _card(findings: Sequence, link: bool) -> str:
    first, *others = findings
    claim = f"<strong>{_html(first.claim)}</strong>"
    on = f"{_html(_networks(first))}: " if first.networks else ""
    beside = "".join(
        f'<span class="verdict-beside {_kind(other)}">{_chip(other)} {_html(_networks(other))}{_where(other)}</span>'
        for other in others
    )
    chapter = f"[The chapter on it]({first.chapter}.ipynb)\n\n" if link else ""
    evidence = "".join(
        ("" if other is first and not first.plain else f"{_networks(other)}: {other.said}\n\n")
        + ("" if other.evidence.empty else f"{markdown(other.evidence, other.number)}\n\n")
        for other in findings
    )
    return (
        f'<details class="verdict {_kind(first)}">\n<summary>{_chip(first)} {claim}'
        f'{_where(first)}<span class="verdict-said">{on}{_html(first.plain or first.said)}</span>{beside}</summary>\n'
        f"\n{evidence}{chapter}</details>"
    )


def _kind(finding) -> str:
    return f"verdict-{finding.verdict.split(' here')[0].replace(' ', '-')}"


def _chip(finding) -> str:
    return f'<span class="verdict-chip">{finding.verdict}</span>'


def _where(finding) -> str:
    """In how far, as a line of its own."""
    text = f"{finding.where[:1].upper()}{finding.where[1:]}."
    return f'<span class="verdict-where">{_html(text)}</span>' * bool(finding.where)


def _networks(finding) -> str:
    """The run that a finding rests on, its seeds, and how often their networks are right on test images."""
    seeds = finding.networks.accuracies
    of_seeds = f", {len(seeds)} seeds" if len(seeds) > 1 else ", one seed"
    return f"`{finding.networks.run}`{of_seeds} (test accuracy {', '.join(f'{share:.1%}' for share in seeds)})"


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
