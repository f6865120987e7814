"""Where the rule earns something: ANDC beside each control, in every cell that any run has measured, in one table.

A cell is a run with its seeds, a regime, layers, an encoder (0: all), a reading of the rule and a threshold. Whoever
looks at many cells finds some that look good by chance; so p-values are adjusted by Holm's method for all cells of a
run and all controls together (the chance that any of them is named wrongly stays below the level), and what one run
shows is tested on runs that had no part in finding it.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from scipy import stats

from lib.experiments import pruning_tables

CELL = ["regime", "layers", "encoder", "reading", "threshold"]
CONTROLS = ("permuted", "random", "magnitude")
LEVEL = 0.05


def everything(families: Mapping[str, list], controls: Iterable[str] = CONTROLS) -> pd.DataFrame:
    """One row a cell of a run and a control, wherever both were measured: gain, error, z, freedom, p, adjusted.

    families: runs that differ in nothing but the seed, as `lib.runs.families` gives them. gain: accuracy of ANDC less
    the control's (mean over draws), mean over seeds. error: its standard error, the larger of that over seeds and that
    over test images: with few seeds the first can be small by chance. The p-value is two-sided, by Student's t with the
    degrees of freedom of the seeds (freedom) where their error is the larger one, else normal. Retraining for several
    lengths is a regime for each, as "16 epochs".
    """
    parts = []
    for name, runs in families.items():
        table = pd.concat([pruning_tables.of_seeds(runs), *_lengths(runs)], ignore_index=True)
        rows = [_against(table, control) for control in controls]
        found = pd.concat([r for r in rows if len(r)], ignore_index=True)
        found.insert(0, "run", name)
        parts.append(found.assign(width=runs[0].definition.network.width, adjusted=holm(found["p"])))
    return pd.concat(parts, ignore_index=True)


def _lengths(runs: list) -> list[pd.DataFrame]:
    lengths = pruning_tables.of_lengths(runs)
    about = {"layers": "ff", "encoder": 0, "reading": "diagonal", "draw": 0}
    each = {e: lengths[lengths["epochs"] == e] for e in sorted(set(lengths["epochs"])) if e}  # 0 is regime "none"
    return [part.assign(regime=f"{e} epoch{'s' * (e > 1)}", **about) for e, part in each.items()]


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
    of_seeds, of_images = (found[name] / np.sqrt(found["seeds"]) for name in ("seed_std", "image_error"))
    found["error"] = np.fmax(of_seeds, of_images)
    found["z"] = np.where(found["error"] > 0, found["gain"] / found["error"].replace(0, 1), 0)
    found["freedom"] = np.where(of_seeds > of_images, found["seeds"] - 1, np.inf)
    found["p"] = 2 * stats.t.sf(found["z"].abs(), found["freedom"])
    found.insert(0, "control", control)
    return found.drop(columns=["seed_std", "image_error"]).reset_index()


def holm(p: Iterable[float]) -> np.ndarray:
    """p-values adjusted for their number (S. Holm, Scandinavian Journal of Statistics 6, 65, 1979)."""
    p = np.asarray(p, float)
    order = np.argsort(p)
    adjusted = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    found = np.empty(len(p))
    found[order] = np.minimum(1, adjusted)
    return found


def earned(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `everything` in which ANDC is better than the control, beyond what looking at so many cells gives."""
    return table[(table["gain"] > 0) & (table["adjusted"] < LEVEL)]


def counted(table: pd.DataFrame) -> pd.DataFrame:
    """One row a run, regime and control: in how many cells ANDC is better, worse or neither, by adjusted p-values."""
    sign = np.sign(table["gain"]) * (table["adjusted"] < LEVEL)
    named = table.assign(better=sign > 0, worse=sign < 0, neither=sign == 0)
    keys = ["run", "regime", "control"]
    return named.groupby(keys, sort=False)[["better", "worse", "neither"]].sum().reset_index()


def confirmed(table: pd.DataFrame, found_in: str, tested_in: str) -> pd.DataFrame:
    """What one run earned, in another run that had no part in finding it: one row a cell and control that both have.

    gain, error: of the run in which it was found; tested, tested_error: of the other; adjusted: for the number of cells
    that are tested here, one-sided; confirmed: whether ANDC is better there too.
    """
    keys = [*CELL, "control"]
    hypotheses = earned(table[table["run"] == found_in])[[*keys, "gain", "error"]]
    other = table[table["run"] == tested_in][[*keys, "gain", "error", "z", "freedom"]]
    found = hypotheses.merge(other.rename(columns={"gain": "tested", "error": "tested_error"}), on=keys)
    found["adjusted"] = holm(stats.t.sf(found.pop("z"), found.pop("freedom")))
    return found.assign(confirmed=(found["tested"] > 0) & (found["adjusted"] < LEVEL))


def transferred(table: pd.DataFrame) -> pd.DataFrame:
    """`confirmed` for the run with most seeds, which finds, and each other: one row a run and control, counted.

    found_in, tested_in, control; cells: found, and measured in the other run; confirmed: how many of them; gain,
    tested: mean gain where found, and there.
    """
    found_in = table.groupby("run", sort=False)["seeds"].max().idxmax()
    rows = []
    for run in table["run"].drop_duplicates():
        for control, part in confirmed(table, found_in, run).groupby("control", sort=False):
            about = {"found_in": found_in, "tested_in": run, "control": control, "cells": len(part)}
            means = {"gain": part["gain"].mean(), "tested": part["tested"].mean()}
            rows.append(about | {"confirmed": int(part["confirmed"].sum())} | means)
    columns = ["found_in", "tested_in", "control", "cells", "confirmed", "gain", "tested"]
    found = pd.DataFrame(rows, columns=columns)
    return found[found["tested_in"] != found_in].reset_index(drop=True)


def sentences(table: pd.DataFrame) -> list[str]:
    """Where the rule earns something, by control, and whether other runs confirm it; one sentence if nowhere."""
    if earned(table).empty:
        return [f"ANDC beats none of its controls in any of the {len(table)} cells that were measured."]
    tests, said = transferred(table), []
    for control, part in table.groupby("control", sort=False):
        better, worse = (((part["gain"] * sign > 0) & (part["adjusted"] < LEVEL)) for sign in (1, -1))
        places = ", ".join(
            f"{layers} without retraining" if regime == "none" else f"{layers} {regime}"
            for (layers, regime), _ in part[better].groupby(["layers", "regime"], sort=False)
        )
        text = f"Against **{control}** ANDC is better in {better.sum()} of {len(part)} cells, worse in {worse.sum()}"
        text += f"; better in {places}" if places else ""
        checks = [
            f"{row.confirmed} of {row.cells} in `{row.tested_in}`"
            for row in tests[tests["control"] == control].itertuples()
        ]
        if checks:
            text += f". Of what `{tests['found_in'].iloc[0]}` shows, other data confirm {', '.join(checks)}"
        said.append(text + ".")
    return said
