"""Reading the table "andc" of one or several runs: selections, and each ANDC network beside its control."""

from collections.abc import Iterable

import pandas as pd

from lib.experiments import chance
from lib.experiments.retraining import COLUMNS

LONGEST = "retrained for long"  # the regime of the longest retraining that was measured
REGIMES = {  # what was trained after pruning, in words
    "none": "nothing trained",
    "compensated": "nothing trained, means made up for",
    "readout": "the classifier retrained",
    "retrained": "retrained",
    LONGEST: LONGEST,
    "scratch": "trained from scratch with the mask",
}
NAMES = {  # of methods in a sentence, in the order in which they are told
    "dense": "unpruned",
    "andc": "ANDC",
    "permuted": "permuted",
    "random": "random",
    "magnitude": "magnitude",
    "dealt": "dealt",
    "levelled": "levelled",
    "exchanged": "exchanged",
    "activation": "activation",
    "gradient": "gradient",
}


def of_seeds(runs: Iterable) -> pd.DataFrame:
    """The tables "andc" of several runs as one, with the column seed; what other stages add where it exists."""
    parts = []
    for run in runs:
        own = [run.table("andc")]
        own += [run.table(stage) for stage in ("controls", "compensated") if run.has(stage)]
        if run.has("scratch") and len(scratch := run.table("scratch")):
            facts = run.results
            unpruned = own[0][:1].assign(regime="scratch", top1=facts["test_accuracy"], images=facts["test_images"])
            own += [scratch, unpruned]
        parts += [part.assign(seed=run.definition.seed) for part in own]
    return pd.concat(parts, ignore_index=True)


def of_lengths(runs: Iterable) -> pd.DataFrame:
    """The tables "retraining" of those of several runs that have one, with the column seed; no rows if none has.

    Its other columns are those of `lib.experiments.retraining.COLUMNS`; length 0 is without retraining.
    """
    parts = [run.table("retraining").assign(seed=run.definition.seed) for run in runs if run.has("retraining")]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["seed", *COLUMNS])


def longest(lengths: pd.DataFrame) -> pd.DataFrame:
    """Of what `of_lengths` gives the rows of the longest retraining, as rows of `of_seeds`: its regime is `LONGEST`."""
    about = {"regime": LONGEST, "layers": "ff", "encoder": 0, "reading": "diagonal", "draw": 0}
    return lengths[lengths["epochs"] == lengths["epochs"].max()].assign(**about)


def select(table: pd.DataFrame, **values) -> pd.DataFrame:
    """Rows with the given values, a list meaning any of them; by default the plain rule on all encoders together."""
    for column, wanted in ({"encoder": 0, "reading": "diagonal"} | values).items():
        if wanted is not None:
            table = table[table[column].isin(wanted if isinstance(wanted, (list, tuple)) else [wanted])]
    return table


def dense(table: pd.DataFrame, regime: str = "none") -> float:
    """Accuracy without pruning in a regime, mean over seeds; NaN where the regime was not tried."""
    return float(table[(table["regime"] == regime) & (table["method"] == "dense")]["top1"].mean())


def beside_dense(table: pd.DataFrame, value: str) -> pd.DataFrame:
    """Mean of a column, one row per regime and threshold, the unpruned network of the regime as the first method.

    Regimes come in the order of `REGIMES`.
    """
    found = _beside_unpruned(table, ["regime", "threshold"], "regime", value)
    return found.sort_index(level="regime", key=lambda names: names.map(list(REGIMES).index), sort_remaining=True)


def by_length(lengths: pd.DataFrame) -> pd.DataFrame:
    """Mean accuracy, one row per threshold and length, the unpruned network after the same length as the first method.

    lengths: as of `of_lengths`.
    """
    return _beside_unpruned(lengths, ["threshold", "epochs"], "epochs", "top1")


def _beside_unpruned(table: pd.DataFrame, rows: list[str], alike: str, value: str) -> pd.DataFrame:
    """Mean of a column by `rows` and method; as the first method the unpruned network trained alike, by one of them."""
    pruned = table[table["method"] != "dense"].pivot_table(index=rows, columns="method", values=value)
    unpruned = table[table["method"] == "dense"].groupby(alike)[value].mean()
    pruned.insert(0, "dense", pruned.index.get_level_values(alike).map(unpruned))
    return pruned


def in_words(frame: pd.DataFrame) -> pd.DataFrame:
    """Methods and regimes as a page names them: as values, and as names of rows and columns, these in their order."""
    level = next((name for name in frame.columns.names if name in ("method", "control")), None)
    if level and len(frame.columns):  # pandas cannot reindex a level of no columns
        there = frame.columns.get_level_values(level)
        frame = frame.reindex(columns=[name for name in NAMES if name in set(there)], level=level)
    words = NAMES | REGIMES
    values = {name: frame[name].replace(words) for name in ("method", "control", "regime") if name in frame}
    return frame.rename(index=words, columns=words).assign(**values)


def gains(table: pd.DataFrame, control: str = "permuted") -> pd.DataFrame:
    """One row an ANDC network and seed: its accuracy less that of its control (mean over draws) as "gain".

    error is its standard error over images, `lib.experiments.chance.of_images`.
    """
    keys = ["seed", "regime", "layers", "encoder", "reading", "threshold"]
    rule = table[table["method"] == "andc"].set_index(keys)
    other = table[table["method"] == control].groupby(keys)["top1"].mean()
    found = rule.join(other.rename("control"), how="inner").reset_index()
    error = chance.of_images((found["top1"] + found["control"]) / 2, found["images"])
    return found.assign(gain=found["top1"] - found["control"], error=error)
