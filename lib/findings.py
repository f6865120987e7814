"""A finding on a claim, the words of verdicts, and how several findings are told together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from lib.system.words import listed

HOLDS, PART, NOT, UNMEASURED = "holds", "holds in part", "does not hold here", "not measured"
NOT_OF_THE_PAPER = {"02-probes": "the premise of this book", "09-language": "the extension to language"}


@dataclass(frozen=True)
class Networks:
    """What a finding rests on: a run and its seeds."""

    run: str
    accuracies: tuple[float, ...]  # of each seed's network, or of its CNN where the claim is on CNNs; on test images


@dataclass(frozen=True, eq=False)
class Finding:
    """What a run says about a claim."""

    claim: str
    chapter: str  # of the book, by the name of its file
    verdict: str  # HOLDS, PART, NOT or UNMEASURED
    where: str  # for which part it holds, or which controls speak against it
    said: str  # what was found, and in every control, in full
    evidence: pd.DataFrame  # what was measured, and every control
    number: str = "{:.2f}"  # format of the evidence's numbers
    networks: Networks | None = None
    plain: str = ""  # the same in a sentence or two that names every control, where `said` is longer than that


def unmeasured(claim: str, chapter: str, said: str) -> Finding:
    """The finding of a run that lacks what the claim is judged by; said: what it lacks."""
    return Finding(claim, chapter, UNMEASURED, "", said, pd.DataFrame())


def where_it_holds(holds: pd.Series, name: str) -> tuple[str, str]:
    """The verdict over some places, and for which of them it holds, where it holds in part."""
    verdict = judged(holds)
    return verdict, f"holds {at_which(holds, name)}" if verdict == PART else ""


def judged(holds: pd.Series) -> str:
    """The verdict over some places, by whether it holds at each."""
    return HOLDS if holds.all() else PART if holds.any() else NOT


def at_which(holds: pd.Series, name: str = "`{}`") -> str:
    """At which places, and at which not."""
    yes, no = (", ".join(map(name.format, holds.index[part])) for part in (holds, ~holds))
    return f"at {yes}" + f", not at {no}" * bool(no) if yes else "nowhere"


def in_short(findings: Iterable[Finding]) -> str:
    """How many claims of the paper hold, and what is not of the paper apart from them; of several runs as a list."""
    of_runs: dict[str, list[Finding]] = {}
    for found in findings:
        if found.verdict != UNMEASURED:
            of_runs.setdefault(found.networks.run if found.networks else "", []).append(found)
    if len(of_runs.keys() - {""}) < 2:
        return " ".join(map(_sentences, of_runs.values())) or "Nothing was measured."
    unnamed = of_runs.pop("", [])
    lines = []
    for run, found in of_runs.items():
        verdicts = _of_paper(found)
        told = ([f"{len(verdicts)} measured, {_tally(verdicts)}"] if verdicts else []) + _ours(found)
        lines.append(f"- on `{run}`: {'; '.join(told)}")
    parts = ["Of the claims of the paper's abstract:", "\n".join(lines), _sentences(unnamed)]
    return "\n\n".join(part for part in parts if part)


def _sentences(measured: Sequence[Finding]) -> str:
    verdicts, told = _of_paper(measured), []
    if len(verdicts) == 1:
        told = [f"the one claim of the paper's abstract that was measured {verdicts[0]}"]
    elif verdicts:
        told = [f"of the {len(verdicts)} claims of the paper's abstract that were measured, {_tally(verdicts)}"]
    return " ".join(f"{text[0].upper()}{text[1:]}." for text in (*told, *_ours(measured)))


def _of_paper(measured: Iterable[Finding]) -> list[str]:
    return [finding.verdict for finding in measured if finding.chapter not in NOT_OF_THE_PAPER]


def _tally(verdicts: Sequence[str]) -> str:
    count = {v: n for v in (HOLDS, PART, NOT) if (n := verdicts.count(v))}
    return listed(f"{n} {v if n == 1 else v.replace('holds', 'hold').replace('does', 'do')}" for v, n in count.items())


def _ours(measured: Iterable[Finding]) -> list[str]:
    return [f"{NOT_OF_THE_PAPER[f.chapter]} {f.verdict}" for f in measured if f.chapter in NOT_OF_THE_PAPER]
