"""What is read out of tables of pruned networks: where the rule earns something, why masks differ, what they save."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from conftest import tiny_config
from lib import andc, cct, charts
from lib.experiments import chance, degrees, gains, pruning_tables, pruning_verdict
from lib.experiments.pruning import row


class Made:
    """A run of one seed: its tables by name."""

    def __init__(self, seed: int = 0, **tables):
        self.tables = {name: pd.DataFrame(rows) for name, rows in tables.items()}
        self.definition = SimpleNamespace(seed=seed, data="made", network=SimpleNamespace(width=8))
        self.results = {"test_accuracy": 0.5, "test_images": 10_000}

    def has(self, stage):
        return stage in self.tables

    def table(self, name):
        return self.tables[name]


def cell(method: str, top1: float, threshold: float = 0.3, regime: str = "none", images: int = 10_000, **other) -> dict:
    key = row(regime, "ff", threshold, method) | other
    return key | {"kept": 0.5, "top1": top1, "top5": 1.0, "images": images, "empty": ""}


def runs_with(gain: float, noise: float = 0.0, cells: int = 10, seeds: int = 3, seed: int = 0) -> list[Made]:
    """Seeds in which ANDC gains over each control at thresholds 0.00, 0.01, ..., with noise from seed to seed."""
    random = np.random.default_rng(seed)
    found = []
    for s in range(seeds):
        rows = [cell("dense", 0.5, 1.0, layers="all")]
        for threshold in np.arange(cells) / 100:
            rows.append(cell("andc", 0.4 + gain + noise * random.normal(), threshold))
            rows += [cell(method, 0.4, threshold) for method in gains.CONTROLS]
        found.append(Made(s, andc=rows))
    return found


def test_the_unpruned_network_stands_beside_every_threshold_of_its_regime():
    rows = [cell("dense", 0.5, 1.0), cell("dense", 0.6, 1.0, "retrained")]
    rows += [cell("andc", 0.4, t, regime) for t in (0.3, 0.5) for regime in ("retrained", "none")]
    found = pruning_tables.beside_dense(pd.DataFrame(rows), "top1")
    assert found.loc["none", "dense"].tolist() == [0.5, 0.5] and found.loc["retrained", "dense"].tolist() == [0.6, 0.6]
    assert list(found.index.get_level_values("regime").unique()) == ["none", "retrained"]
    assert list(found.columns) == ["dense", "andc"] and (found["andc"] == 0.4).all()


def test_the_unpruned_network_stands_beside_every_threshold_and_length():
    rows = [
        {"method": "dense", "threshold": 1.0, "epochs": e, "top1": 0.5 + e / 100, "seed": s}
        for e in (0, 4)
        for s in (0, 1)
    ]
    rows += [
        {"method": "andc", "threshold": t, "epochs": e, "top1": 0.4, "seed": 0} for t in (0.3, 0.5) for e in (0, 4)
    ]
    found = pruning_tables.by_length(pd.DataFrame(rows))
    assert found["dense"].to_dict() == {(t, e): 0.5 + e / 100 for t in (0.3, 0.5) for e in (0, 4)}
    assert list(found.columns) == ["dense", "andc"]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holms_p_values_lie_between_the_bare_ones_and_bonferronis(p):
    p = np.array(p)
    found = chance.holm(p)
    assert (found >= p - 1e-12).all() and (found <= np.minimum(1, len(p) * p) + 1e-12).all()
    assert found[p.argmin()] == pytest.approx(min(1, len(p) * p.min()))
    order = np.argsort(p, kind="stable")
    assert (np.diff(found[order]) >= -1e-12).all()


def test_a_gain_is_found_and_chance_is_not():
    table = gains.everything({"some": runs_with(0.05), "none": runs_with(0.0, noise=0.003)})
    assert len(table) == 2 * 10 * 3 and set(table["seeds"]) == {3}
    assert set(gains.earned(table)["run"]) == {"some"} and len(gains.earned(table)) == 30
    counted = gains.counted(table).set_index(["run", "control"])
    assert counted.loc[("some", "random"), ["better", "worse", "neither"]].tolist() == [10, 0, 0]
    assert counted.loc[("none", "random"), ["better", "worse", "neither"]].tolist() == [0, 0, 10]
    lost = gains.everything({"less": runs_with(-0.05)})
    assert gains.counted(lost)["worse"].sum() == 30
    line = gains.sentences(table)[0]
    assert line.startswith("Against **permuted** ANDC is better in 10 of 20 cells, worse in 0. Better: ff, ")
    assert "nothing trained (`some`, 45.0% against 40.0%). Of what looks good in `some`" in line
    assert "other runs confirm 0 of 10 in `none` (the same images)." in line
    assert gains.sentences(lost) == ["ANDC beats none of its controls in any of the 10 cells that were measured."]
    both = gains.transferred(gains.everything({"some": runs_with(0.05), "less": runs_with(-0.05, seeds=2)}))
    assert both[["confirmed", "reversed"]].sum().tolist() == [0, 30] and set(both["images"]) == {"the same"}


def test_looking_at_many_cells_finds_no_more_than_the_level_allows():
    false = sum(len(gains.earned(gains.everything({"x": runs_with(0, 0.005, seeds=2, seed=s)}))) > 0 for s in range(20))
    assert false <= 4  # each with 30 cells, of which one or two would be beyond two standard errors


def test_the_margin_of_a_gain_is_the_larger_one():
    one = gains.everything({"x": runs_with(0.05, seeds=1)})
    assert one["margin"][0] == pytest.approx(2 * np.sqrt(2 * 0.425 * 0.575 / 10_000), rel=1e-3)
    three = gains.everything({"x": runs_with(0.05, noise=0.1)})
    images = 2 * np.sqrt(2 * 0.425 * 0.575 / 10_000 / 3)
    assert (three["margin"] > 0.9 * images).all() and three["margin"].median() > 3 * images


def test_what_one_run_finds_is_tested_on_another():
    runs = {
        "found": runs_with(0.05),
        "same": runs_with(0.04),
        "not": runs_with(0.0),
        "other cells": runs_with(0.05, cells=3),
    }
    table = gains.everything(runs)
    confirmed = {name: gains.confirmed(table, "found", name) for name in list(runs)[1:]}
    assert len(confirmed["same"]) == 30 and confirmed["same"]["confirmed"].all()
    assert len(confirmed["not"]) == 30 and not confirmed["not"]["confirmed"].any()
    assert len(confirmed["other cells"]) == 9
    assert len(gains.confirmed(table, "not", "found")) == 0


def test_what_is_tested_elsewhere_need_not_stand_out_among_all_cells():
    table = gains.everything({"few seeds": runs_with(0.05, noise=0.01), "same": runs_with(0.05)})
    found = gains.confirmed(table, "few seeds", "same")
    own = table[table["run"] == "few seeds"]
    assert len(gains.earned(own)) < len(found) == (own["p"] < chance.LEVEL).sum() and found["confirmed"].all()


@given(st.floats(-0.2, 0.2), st.floats(0.001, 0.1), st.lists(st.floats(-0.1, 0.1), min_size=2, max_size=6))
def test_a_mean_over_seeds_is_beyond_chance_if_it_is_over_seeds_and_over_images(mean, over_images, gains):
    gains = np.array(gains) - np.mean(gains) + mean
    assume(gains.std() > 1e-6)
    found = chance.p_value(mean, over_images, gains.std(ddof=1), len(gains))
    student, normal = stats.ttest_1samp(gains, 0).pvalue, 2 * stats.norm.sf(abs(mean) / over_images)
    assert found == pytest.approx(max(student, normal), abs=1e-6)
    margin = chance.margin(over_images, gains.std(ddof=1), len(gains))
    if abs(abs(mean) - margin) > 1e-6 and not 0.04 < normal < 0.05:  # two standard errors are 4.55 %
        assert (abs(mean) > margin) == (found < chance.LEVEL)


def test_of_one_seed_images_alone_decide():
    assert chance.p_value(0.05, 0.02, np.nan, 1) == pytest.approx(2 * stats.norm.sf(2.5))
    assert chance.margin(0.02, np.nan, 1) == 0.04
    assert chance.p_value(0.0, 0.0, 0.0, 3) == 1 and chance.p_value(0.1, 0.0, 0.0, 3) == 0


def test_lengths_of_retraining_are_regimes_of_their_own():
    about = {"kept": 0.5, "top5": 1.0, "images": 10_000, "rate": 0.1}
    lengths = [
        about | {"method": m, "threshold": 0.3, "epochs": e, "top1": 0.5 + 0.05 * (m == "andc") * (e == 4)}
        for m in ("andc", *gains.CONTROLS)
        for e in (0, 1, 4)
    ]
    table = gains.everything({"x": [Made(andc=[cell("andc", 0.5), cell("random", 0.5)], retraining=lengths)]})
    assert set(table["regime"]) == {"none", "1 epoch", "4 epochs"}
    assert set(gains.earned(table)["regime"]) == {"4 epochs"}


def test_controls_stand_beside_the_masks_of_stage_andc():
    made = Made(andc=[cell("andc", 0.5), cell("random", 0.3), cell("permuted", 0.35)], controls=[cell("dealt", 0.32)])
    found = degrees.steps(pruning_tables.of_seeds([made])).loc[0.3]
    assert found["uneven counts"] == pytest.approx(0.02) and found["the nodes that lose"] == pytest.approx(0.03)
    assert found["partners, at the rule's counts"] == pytest.approx(0.15)
    assert np.isnan(found["partners, at even counts"])
    other = Made(
        1, andc=[cell("andc", 0.9), cell("random", 0.7)]
    )  # a seed without the masks between counts for neither
    assert degrees.steps(pruning_tables.of_seeds([made, other])).loc[0.3].equals(found)


class Measured(Made):
    """A run with an untrained network, whose nodes recognise what chance gives them."""

    sites = tiny_config().sites

    def network(self):
        return cct.CCT(tiny_config())

    def class_means(self, site, split):
        return np.random.default_rng(self.sites.index(site)).normal(size=(5, cct.CCT(tiny_config()).width(site)))

    def weight(self, site):
        return self.class_means(site, "train")[::-1]


def test_masks_are_told_apart_by_whom_they_leave_with_what():
    rows = [cell(m, 0.1 * i, 0.5) for i, m in enumerate(("andc", "permuted", "random"))]
    made = Measured(andc=rows, compensated=[cell("permuted", 0.7, 0.5, "compensated")])
    table = degrees.of_run(made, [0.5])
    of = table.set_index("method")
    assert list(of.index) == list(degrees.METHODS)
    assert of.loc["andc", "alike"] == 1 and of.loc["permuted", "alike"] < 1 < 1 + of.loc["levelled", "alike"]
    assert of.loc["levelled", "alike"] > of.loc["random", "alike"]
    for column in ("starved", "unheard", "uneven"):
        assert of.loc["andc", column] == of.loc["permuted", column] == pytest.approx(of.loc["dealt", column])
        assert of.loc["levelled", column] == of.loc["random", column]
    assert of.loc["magnitude", "energy"] == of["energy"].max()
    assert of.loc["permuted", "top1"] == 0.1 and np.isnan(of.loc["dealt", "top1"])
    assert of.loc["permuted", "compensated"] == 0.7 and np.isnan(of.loc["andc", "compensated"])
    charts.pruning.whom(table, "energy", "share of squared weights kept").to_dict()


def retrained(**losses: float) -> pd.DataFrame:
    rows = [{"method": "dense", "threshold": 1.0, "epochs": 2, "top1": 0.6, "kept": 1.0, "images": 10_000}]
    for name, loss in losses.items():
        rows.append(rows[0] | {"method": name, "threshold": 0.3, "top1": 0.6 - loss, "kept": 0.5})
    return pd.DataFrame(rows).assign(seed=0)


def costs() -> pd.DataFrame:
    rows = []
    for batch in (1, 64):
        rows.append({"method": "dense", "threshold": 1.0, "form": "dense", "bytes": 100, "ratio": 1.0, "occupied": 1.0})
        for method, size in (("andc", 60), ("magnitude", 50)):
            for form, ratio in (("csr", 1.5 - batch / 100), ("compacted", 0.95)):
                rows.append({"method": method, "threshold": 0.3, "form": form, "bytes": size + (form == "csr"),
                             "ratio": ratio, "occupied": 0.9})  # fmt: skip
        for made in rows[-5:]:
            made["batch"] = batch
    return pd.DataFrame(rows)


def test_savings_are_those_of_the_best_form_and_count_where_accuracy_is_equal():
    found = pruning_verdict.savings(retrained(andc=0.05, magnitude=0.005), costs()).set_index("method")
    assert found["equal"].to_dict() == {"andc": False, "magnitude": True}
    assert found.loc["andc", "loss"] == pytest.approx(0.05) and found.loc["magnitude", "bytes"] == 0.5
    assert (found["form, 1"] == "compacted").all() and (found["form, 64"] == "csr").all()
    assert found.loc["andc", "time, 64"] == pytest.approx(0.86)


def test_charts_of_pruning_draw_what_they_are_given():
    table = pd.concat([retrained(andc=0.1).assign(epochs=e, seed=s) for e in (0, 1, 16) for s in (0, 1)])
    drawn = charts.pruning.accuracy_by_length(table).to_dict()
    values = next(iter(drawn["datasets"].values()))
    assert {v["panel"] for v in values} == {"threshold 0.3, 50% kept"} and {v["method"] for v in values} == {
        "dense",
        "andc",
    }
    assert {v["epochs"] for v in values} == {0, 1, 16} and {v["size"] for v in values} == {2}
    everything = gains.everything({"a": runs_with(0.05), "b": runs_with(0.0)})
    assert charts.pruning.gains(everything).to_dict()["facet"]["sort"] == list(gains.CONTROLS)
    mask = andc.levelled(np.ones((4, 4), bool), np.random.default_rng(0))
    assert mask.all()


@pytest.mark.parametrize(
    ("andc", "said"),
    [
        (
            0.40,
            "ANDC loses 10.0 points against the unpruned network (50.0% to 40.0%), more than the margin of error (2.0)",
        ),
        (0.49, "ANDC loses 1.0 points against the unpruned network (50.0% to 49.0%), no more than the margin"),
        (0.51, "ANDC gains 1.0 points against the unpruned network (50.0% to 51.0%), no more than the margin"),
        (0.60, "ANDC gains 10.0 points against the unpruned network (50.0% to 60.0%), more than the margin"),
    ],
)
def test_a_judgement_says_loss_or_gain_and_whether_it_is_within_its_error(andc, said):
    about = {"layers": "ff", "encoder": 0, "reading": "diagonal", "seed": 0, "images": 5_000, "kept": 0.7}
    rows = [
        about | {"regime": regime, "threshold": threshold, "method": method, "top1": top1}
        for regime in ("none", "retrained")
        for threshold, of_rule in ((0.3, andc), (0.6, 0.1))
        for method, top1 in (("dense", 0.5), ("andc", of_rule), ("permuted", 0.5))
    ]
    found = pruning_verdict.regimes(pd.DataFrame(rows), 0.35)
    assert [each.retraining for each in found] == ["nothing trained", "retrained"]
    for each in found:
        (line,) = pruning_verdict.sentences(each)
        assert line.startswith("At threshold 0.3, 70% of the weights kept, ") and said in line


def test_methods_and_regimes_are_named_as_on_every_page():
    table = pd.DataFrame([cell("random", 0.4), cell("andc", 0.5), cell("andc", 0.6, regime="readout")])
    words = pruning_tables.in_words(table)
    assert words["method"].tolist() == ["random", "ANDC", "ANDC"] and words["regime"].nunique() == 2
    wide = pruning_tables.in_words(table.pivot_table(index="regime", columns="method", values="top1"))
    assert wide.columns.tolist() == ["ANDC", "random"]
    assert wide.index.tolist() == ["nothing trained", "the classifier retrained"]
    deep = table.pivot_table(index="regime", columns=["threshold", "method"], values="top1")
    assert pruning_tables.in_words(deep).columns.tolist() == [(0.3, "ANDC"), (0.3, "random")]
    assert table["method"].tolist() == ["random", "andc", "andc"]
    none = table[:0].pivot_table(index="regime", columns=["threshold", "method"], values="top1")
    assert pruning_tables.in_words(none).empty
