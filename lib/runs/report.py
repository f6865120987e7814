"""The report of a reproduced run: chapters, provenance, and the numbers beside the published ones, as Markdown."""

import shlex

import numpy as np
import pandas as pd

from lib import runs, snp
from lib.experiments import pruning_tables

LEAST = 0.02  # relative difference below which two numbers count as the same, if no seeds say otherwise


def report(run: runs.Run, chapters: list[dict], failure: str = "") -> str:
    """chapters: one dict a chapter with chapter, seconds, result; failure: why the run's stages could not be computed.

    Says plainly what is missing or differs.
    """
    failed = [c["chapter"] for c in chapters if c["result"].startswith("FAILED")]
    said = [f"**Failed: {', '.join(failed)}.**"] * bool(failed)
    for result in ("stopped", "not executed"):
        if these := [c["chapter"] for c in chapters if c["result"] == result]:
            said.append(f"**{result.capitalize()}: {', '.join(these)}.**")
    executed = " ".join(said) or "All chapters about such runs were executed."
    parts = [
        f"# Run {run.name}",
        f"{run.definition.data}, seed {run.definition.seed}. {executed}",
        *([f"## What failed\n\n```\n{failure.strip()}\n```"] if failure else []),
        f"Results and executed chapters are in `{run.folder}`. To load them, set the variable `MODUS_RUNS`:\n\n"
        f"```\nMODUS_RUNS={shlex.quote(str(run.folder.parent))} .venv/bin/python -c"
        f" 'from lib import runs; print(runs.load(\"{run.name}\").results)'\n```",
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
    table = compare(run, published)
    differ = table[~table["same"]]["number"].tolist()
    verdict = (
        f"**Outside their tolerance: {', '.join(differ)}.**" if differ else "All numbers lie within their tolerance."
    )
    return f"{verdict}\n\n{_table(table.drop(columns='same').round(4))}"


def headlines(run: runs.Run) -> dict[str, float]:
    """The numbers that the book's claims rest on, one each: accuracies, SNR, pruning, polarisation."""
    depth = run.definition.network.depth
    found = {name: run.results[name] for name in ("test_accuracy", "test_top5_accuracy", "best_probe_test_accuracy")}
    sites = [f"{e}.{place}" for place in ("mha", "ff") for e in (1, depth)]
    snr = run.statistics(sites=sites).set_index("site")["snr"]
    found |= {f"SNR at {site}": snr[site] for site in sites}
    table = pruning_tables.of_seeds([run])
    tried = pruning_tables.select(table, layers="ff", method="andc")
    for regime in ("none", "retrained"):
        at = tried[(tried["regime"] == regime) & (tried["threshold"] == snp.THRESHOLD)]
        found |= {f"ANDC accuracy, {regime}": at["top1"].mean(), f"ANDC weights kept, {regime}": at["kept"].mean()}
    last = run.table("heads_encoders").iloc[-1]
    return found | {"polarisation": last["observed"], "rank correlation of removal": last["damage_rho"]}


def compare(made: runs.Run, published: runs.Run) -> pd.DataFrame:
    """One row a headline number: published, made, difference, tolerance, same.

    The tolerance is three standard deviations over the published run's seeds where there are at least two, and at
    least 2 % of the published value: training amplifies rounding, so that another machine is as good as another seed.
    """
    here, there = headlines(made), headlines(published)
    seeds = [headlines(r) for r in published.seeds("andc")[1:] if r.has("heads")]
    rows = []
    for name, value in there.items():
        spread = np.std([value, *(s[name] for s in seeds)], ddof=1) if seeds else 0.0
        tolerance = max(3 * spread, LEAST * abs(value))
        difference = here[name] - value
        rows.append(
            {
                "number": name,
                "published": value,
                "made": here[name],
                "difference": difference,
                "tolerance": tolerance,
                "same": bool(np.isclose(here[name], value, rtol=0, atol=tolerance, equal_nan=True)),
            }
        )
    return pd.DataFrame(rows)


def _table(table: pd.DataFrame) -> str:
    lines = ["| " + " | ".join(table.columns) + " |", "|" + "---|" * len(table.columns)]
    return "\n".join(lines + ["| " + " | ".join(str(v) for v in row) + " |" for row in table.itertuples(index=False)])
