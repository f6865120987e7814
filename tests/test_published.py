"""The published runs: complete, small, and what their tables say still follows from the code."""

import json

import numpy as np
import pytest
import torch

from lib import andc, heads, runs, snp
from lib.encoders import READOUT
from lib.experiments import pruning_tables, pruning_verdict, retraining
from lib.runs.results import packed

RECORDS = {path.parent.name: json.loads(path.read_text()) for path in sorted(runs.PUBLISHED.glob("*/run.json"))}
PUBLISHED = [name for name, record in RECORDS.items() if "train" in record["stages"]]  # some have single stages


def having(*stages: str) -> list[str]:
    return [name for name in PUBLISHED if set(stages) <= set(RECORDS[name]["stages"])]


@pytest.fixture(params=having(*runs.REQUIRED))
def run(request, monkeypatch):
    monkeypatch.delenv("MODUS_RUNS", raising=False)
    return runs.load(request.param, set(runs.REQUIRED) & set(RECORDS[request.param]["stages"]))


def test_there_are_published_runs_and_their_files_are_small():
    assert {"cifar100-mini", "glyphs"} <= set(PUBLISHED)
    assert all(p.stat().st_size < 16 * 2**20 for name in RECORDS for p in (runs.PUBLISHED / name).iterdir())


@pytest.mark.parametrize("name", RECORDS)
def test_every_recorded_stage_is_fresh(name, monkeypatch):
    monkeypatch.delenv("MODUS_RUNS", raising=False)
    run = runs.Run(name, compute=False)
    assert run.record["stages"] and all(run.has(stage) for stage in run.record["stages"])


def test_counts_and_polarisation_follow_from_the_class_means(run):
    table, H = run.table("heads"), run.definition.network.heads
    for row in run.table("heads_encoders").itertuples():
        site = f"{row.encoder}.mha"
        counts = table[table["encoder"] == row.encoder].pivot(index="head", columns="label", values="nodes").to_numpy()
        assert np.array_equal(counts, heads.diagonal_counts(run.fields(site), H))
        recipe = run.definition.heads
        found = heads.permutation_test(run.fields(site), H, permutations=recipe.permutations, seed=run.definition.seed)
        assert (found.observed, found.z, found.p) == pytest.approx((row.observed, row.z, row.p), rel=1e-4)
        share = table[table["encoder"] == row.encoder].pivot(index="head", columns="label", values="share").to_numpy()
        damage = table[table["encoder"] == row.encoder].pivot(index="head", columns="label", values="damage").to_numpy()
        # tables keep seven digits, which unties some ranks
        assert heads.rank_correlation(share, damage, draws=2)["rho"] == pytest.approx(row.damage_rho, abs=1e-3)


@pytest.mark.parametrize("name", [name for name in PUBLISHED if not runs.defined(name).network.published])
def test_a_large_network_publishes_little(name):
    published = [path for path in (runs.PUBLISHED / name).iterdir() if path.name != "config.toml"]
    assert sum(path.stat().st_size for path in published) < 12.5e6
    assert {path.name for path in published} <= {f for s in RECORDS[name]["stages"].values() for f in s["files"]} | {
        "run.json"
    }


@pytest.mark.parametrize("name", ["glyphs", "cifar100-mini"])
def test_what_is_shown_of_class_means_is_the_same_as_integers(name, monkeypatch):
    monkeypatch.delenv("MODUS_RUNS", raising=False)
    run = runs.load(name)
    for site in run.published_sites():
        whole = run.nodes(site)
        found = [packed("", torch.from_numpy(v)) for v in (whole.class_means, whole.weight)]
        stored = snp.Nodes(*((v[""] * v["/unit"]).numpy() for v in found))
        before, after = snp.site_statistics(whole), snp.site_statistics(stored)
        assert after["snr"] == pytest.approx(before["snr"], abs=0.01)
        assert after["clusters_per_node"] == pytest.approx(before["clusters_per_node"], abs=0.05)
        assert after["cluster_size"] == pytest.approx(before["cluster_size"], abs=0.05)
        if site.endswith("mha"):
            counts = [heads.diagonal_counts(nodes, run.definition.network.heads) for nodes in (whole, stored)]
            assert abs(counts[0] - counts[1]).sum() <= 2


def test_kept_weights_follow_from_the_class_means(run):
    if not run.definition.network.published:
        pytest.skip("class means on training sentences are not published")
    nodes = {s: andc.Nodes(run.class_means(s, "train"), run.weight(s)) for s in run.sites}
    nodes[READOUT] = run.readout()
    layers = run.network().layers
    table = run.table("andc").query("method == 'andc' and encoder == 0 and reading == 'diagonal' and regime == 'none'")
    for row in table.itertuples():
        names = [
            n for n in layers if row.layers == "all" or n.endswith(row.layers) or (row.layers == "ff" and "." in n)
        ]
        masks = [andc.layer_mask(layers[n], nodes, row.threshold) for n in names]
        assert sum(m.sum() for m in masks) / sum(m.size for m in masks) == pytest.approx(row.kept, rel=1e-5)


@pytest.mark.parametrize("run", having("fields"), indirect=True)
def test_headline_accuracy_follows_from_the_stored_accuracies(run):
    table = run.table("probes").set_index("site")
    balanced = run.results["test_images"] % run.definition.network.classes == 0  # the others' counts are not stored
    for site in run.sites:
        of_labels, whole = run.label_accuracy(site), table["test_accuracy"][site]
        if balanced:
            assert of_labels.mean() == pytest.approx(whole, abs=1e-5)
        assert of_labels.min() < whole < of_labels.max()
    assert run.results["best_probe_test_accuracy"] == pytest.approx(table["test_accuracy"].max(), abs=1e-6)
    assert snp.site_statistics(run.fields(run.sites[0]))["nodes"] == run.weight(run.sites[0]).shape[1]


@pytest.mark.parametrize("name", [name for name, record in RECORDS.items() if "rates" in record["stages"]])
def test_the_rate_of_retraining_is_the_one_that_the_trial_chose(name, monkeypatch):
    monkeypatch.delenv("MODUS_RUNS", raising=False)
    run = runs.Run(name, compute=False)
    assert run.definition.retraining.rate == retraining.chosen(run.table("rates"))


def test_every_regime_gets_a_verdict(run):
    table = pruning_tables.of_seeds([run])
    found = pruning_verdict.regimes(table, snp.THRESHOLD)
    extra = {"compensated": run.has("compensated"), "scratch": run.has("scratch")}
    tried = [regime for regime in pruning_tables.REGIMES if extra.get(regime, regime != pruning_tables.LONGEST)]
    assert [each.retraining for each in found] == [pruning_tables.REGIMES[regime] for regime in tried]
    for regime, each in zip(tried, found, strict=True):
        (dense,) = each.against("dense")
        part = table[(table["regime"] == regime) & (table["method"] == "andc") & np.isclose(table["kept"], dense.kept)]
        assert dense.andc == part["top1"].iloc[0] and dense.accuracy == pruning_tables.dense(table, regime)
        assert {"permuted", "magnitude"} <= set(each.controls)
        (line,) = pruning_verdict.sentences(each)
        assert f"{dense.accuracy:.1%} to {dense.andc:.1%}" in line
