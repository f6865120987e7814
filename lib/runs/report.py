"""The report of a reproduced run: chapters, provenance, and the numbers beside the published ones, as Markdown."""

import pandas as pd

from lib import runs
from lib.runs import compare


def report(run: runs.Run, chapters: list[dict], failure: str = "") -> str:
    """chapters: one dict a chapter with chapter, seconds, result; failure: why the run's stages could not be computed.

    Says plainly what is missing or differs.
    """
    failed = [c["chapter"] for c in chapters if c["result"].startswith("FAILED")]
    left = [c["chapter"] for c in chapters if c["result"] == "not executed"]
    said = [f"**Failed: {', '.join(failed)}.**"] * bool(failed) + [f"**Not executed: {', '.join(left)}.**"] * bool(left)
    parts = [
        f"# Run {run.name}",
        f"{run.definition.data}, seed {run.definition.seed}. {' '.join(said) or 'All chapters were executed.'}",
        *([f"## What failed\n\n```\n{failure.strip()}\n```"] if failure else []),
        "## Chapters",
        _table(pd.DataFrame(chapters)),
        "## How it was made",
    ]
    rows = []
    for stage, entry in run.record["stages"].items():
        versions = ", ".join(f"{name} {version}" for name, version in entry["versions"].items())
        rows.append(
            {"stage": stage} | {k: entry[k] for k in ("seconds", "device", "commit", "made")} | {"with": versions}
        )
    parts.append(_table(pd.DataFrame(rows)) if rows else "No stage has a result.")
    parts += ["## Beside the published run", _comparison(run)]
    return "\n\n".join(parts) + "\n"


def _comparison(run: runs.Run) -> str:
    published = runs.published(run.name)
    if published is None:
        return "There is no published result of this run to compare with."
    if missing := [s for s in runs.REQUIRED if not run.has(s)]:
        return f"Not compared: no result of stage {', '.join(missing)}."
    table = compare.compare(run, published)
    differ = table[~table["same"]]["number"].tolist()
    verdict = (
        f"**Outside their tolerance: {', '.join(differ)}.**" if differ else "All numbers lie within their tolerance."
    )
    return f"{verdict}\n\n{_table(table.drop(columns='same').round(4))}"


def _table(table: pd.DataFrame) -> str:
    lines = ["| " + " | ".join(table.columns) + " |", "|" + "---|" * len(table.columns)]
    return "\n".join(lines + ["| " + " | ".join(str(v) for v in row) + " |" for row in table.itertuples(index=False)])
