"""Where the rule earns something: ANDC beside each control, in every cell that any run has measured, in one table.

A cell is a run with its seeds, a regime, layers, an encoder (0: all), a reading of the rule and a threshold. Whoever
looks at many cells finds some that look good by chance; so p-values are adjusted by Holm's method for all cells of a
run and all controls together (the chance that any of them is named wrongly stays below the level), and what one run
shows is tested on runs that had no part in finding it.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from lib.experiments import chance, pruning_tables
from lib.system.words import count, listed

CELL = ["regime", "layers", "encoder", "reading", "threshold"]
CONTROLS = ("permuted", "random", "magnitude")


def everything(families: Mapping[str, list], controls: Iterable[str] = CONTROLS) -> pd.DataFrame:
    """One row a cell of a run and a control, wherever both were measured: gain, margin, p, adjusted, beyond.

    families: runs that differ in nothing but the seed, as `lib.runs.families` gives them. gain: accuracy of ANDC less
    the control's (mean over draws), mean over seeds. margin, p: of error, and the chance of such a gain, two-sided, as
    `lib.experiments.chance` has them; beyond: whether the adjusted p-value is below its level. Retraining for several
    lengths is a regime for each, as "16 epochs".
    """
    parts = []
    for name, runs in families.items():
        table = pd.concat([pruning_tables.of_seeds(runs), *_lengths(runs)], ignore_index=True)
        rows = [_against(table, control) for control in controls]
        found = pd.concat([r for r in rows if len(r)], ignore_index=True)
        found.insert(0, "run", name)
        adjusted = chance.holm(found["p"])
        beyond = adjusted < chance.LEVEL
        about = {"data": runs[0].definition.data, "width": runs[0].definition.network.width}
        parts.append(found.assign(**about, adjusted=adjusted, beyond=beyond))
    return pd.concat(parts, ignore_index=True)


def _lengths(runs: list) -> list[pd.DataFrame]:
    lengths = pruning_tables.of_lengths(runs)
    about = {"layers": "ff", "encoder": 0, "reading": "diagonal", "draw": 0}
    each = {e: lengths[lengths["epochs"] == e] for e in sorted(set(lengths["epochs"])) if e}  # 0 is regime "none"
    return [part.assign(regime=count(e, "epoch"), **about) for e, part in each.items()]


def _against(table: pd.DataFrame, control: str) -> pd.DataFrame:
    gains = pruning_tables.gains(table, control)
    found = gains.groupby(CELL, sort=False).agg(
        seeds=("seed", "nunique"),
        kept=("kept", "mean"),
        andc=("top1", "mean"),
        other=("control", "mean"),
        gain=("gain", "mean"),
        seed_std=("gain", "std"),
        image_error=("error", "mean"),
    )
    errors = found.pop("image_error") / np.sqrt(found["seeds"]), found.pop("seed_std"), found["seeds"]
    found["margin"] = chance.margin(*errors)
    found["p"] = chance.p_value(found["gain"], *errors)
    found.insert(0, "control", control)
    return found.reset_index()


def earned(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `everything` in which ANDC is better than the control, beyond what looking at so many cells gives."""
    return table[(table["gain"] > 0) & table["beyond"]]


def counted(table: pd.DataFrame) -> pd.DataFrame:
    """One row a run, regime and control: in how many cells ANDC is better, worse or neither, by adjusted p-values."""
    sign = np.sign(table["gain"]) * table["beyond"]
    named = table.assign(better=sign > 0, worse=sign < 0, neither=sign == 0)
    keys = ["run", "regime", "control"]
    return named.groupby(keys, sort=False)[["better", "worse", "neither"]].sum().reset_index()


def confirmed(table: pd.DataFrame, found_in: str, tested_in: str) -> pd.DataFrame:
    """What looks good in one run, tested in another that had no part in finding it: one row a cell and control of both.

    It looks good where ANDC is better by the bare p-value, however many cells were looked at: the test is the other's.
    gain, margin: of the run in which it was found; tested, tested_margin: of the other; adjusted: for the number of
    cells that are tested here, one-sided; confirmed: whether ANDC is better there too; reversed: whether it is worse
    there, by as strict a test.
    """
    keys = [*CELL, "control"]
    good = (table["run"] == found_in) & (table["gain"] > 0) & (table["p"] < chance.LEVEL)
    hypotheses = table[good][[*keys, "gain", "margin"]]
    other = table[table["run"] == tested_in][[*keys, "gain", "margin", "p"]]
    found = hypotheses.merge(other.rename(columns={"gain": "tested", "margin": "tested_margin"}), on=keys)
    p = found.pop("p") / 2
    found["adjusted"] = chance.holm(p.where(found["tested"] > 0, 1 - p))
    worse = chance.holm(p.where(found["tested"] < 0, 1 - p))
    better = (found["tested"] > 0) & (found["adjusted"] < chance.LEVEL)
    return found.assign(confirmed=better, reversed=(found["tested"] < 0) & (worse < chance.LEVEL))


def transferred(table: pd.DataFrame) -> pd.DataFrame:
    """`confirmed` for the run with most seeds, which finds, and each other: one row a run and control, counted.

    found_in, tested_in, control; images: "the same" as where it was found, or "others"; cells: found, and measured in
    the other run; confirmed, reversed: how many of them; gain, tested: mean gain where found, and there.
    """
    found_in = table.groupby("run", sort=False)["seeds"].max().idxmax()
    data, rows = table.groupby("run")["data"].first(), []
    for run in table["run"].drop_duplicates():
        images = "the same" if data[run] == data[found_in] else "others"
        for control, part in confirmed(table, found_in, run).groupby("control", sort=False):
            about = {"found_in": found_in, "tested_in": run, "images": images, "control": control, "cells": len(part)}
            numbers = {name: int(part[name].sum()) for name in ("confirmed", "reversed")}
            rows.append(about | numbers | {"gain": part["gain"].mean(), "tested": part["tested"].mean()})
    columns = ["found_in", "tested_in", "images", "control", "cells", "confirmed", "reversed", "gain", "tested"]
    found = pd.DataFrame(rows, columns=columns)
    return found[found["tested_in"] != found_in].reset_index(drop=True)


def cells(table: pd.DataFrame) -> int:
    """How many cells the rows of `everything` are of, each beside some controls."""
    return len(table[["run", *CELL]].drop_duplicates())


def sentences(table: pd.DataFrame) -> list[str]:
    """Where the rule earns something, by control, and whether other runs confirm it; one sentence if nowhere."""
    if earned(table).empty:
        return [f"ANDC beats none of its controls in any of the {cells(table)} cells that were measured."]
    tests, said = transferred(table), []
    for control, part in table.groupby("control", sort=False):
        better, worse = (((part["gain"] * sign > 0) & part["beyond"]) for sign in (1, -1))
        text = f"Against **{control}** ANDC is better in {better.sum()} of {len(part)} cells, worse in {worse.sum()}"
        places = []
        for (layers, regime), there in part[better].groupby(["layers", "regime"], sort=False):
            best = listed(_highest(of_run) for _, of_run in there.groupby("run", sort=False))
            places.append(f"{layers}, {pruning_tables.REGIMES.get(regime, regime)} ({best})")
        text += f". Better: {'; '.join(places)}" if places else ""
        checks = [
            f"{row.confirmed} of {row.cells} in `{row.tested_in}`" + f" and reverse {row.reversed}" * bool(row.reversed)
            + " (the same images)" * (row.images == "the same")
            for row in tests[tests["control"] == control].itertuples()
        ]  # fmt: skip
        if checks:
            text += f". Of what looks good in `{tests['found_in'].iloc[0]}`, other runs confirm {', '.join(checks)}"
        said.append(text + ".")
    return said


def _highest(found: pd.DataFrame) -> str:
    """A run and, of those of its cells that are given, ANDC's highest accuracy beside the control's."""
    best = found.loc[found["andc"].idxmax()]
    return f"`{best['run']}`, {best['andc']:.1%} against {best['other']:.1%}"
