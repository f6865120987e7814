"""The table of heads over runs: each column follows from the tables of the runs, and says nothing where nothing is."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lib import charts, heads, snp
from lib.experiments import heads_tables

K, H = 12, 4


class Made:
    """A run whose heads own every fourth label, with the next labels as superclass mates or not."""

    def __init__(self, seed: int = 0, superclasses: list[str] | None = None, shift: int = 0, **changed):
        self.definition = SimpleNamespace(seed=seed, network=SimpleNamespace(depth=2, heads=H))
        self.label_names, self.superclasses = [f"label {i}" for i in range(K)], superclasses
        self.owner = (np.arange(K) // 3 + shift * np.arange(K)) % H
        row = {
            "encoder": 2, "observed": 0.4, "null_mean": 0.2, "untrained_observed": 0.2, "untrained_null_mean": 0.2,
            "shuffled_observed": 0.6, "shuffled_null_mean": 0.5, "margin_observed": 0.15, "margin_null_mean": 0.1,
            "head_accuracy": 0.2, "damage_rho": 0.3,
        }  # fmt: skip
        self.tables = {
            "heads_encoders": pd.DataFrame([row | {"encoder": 1, "observed": 0.9}, row | changed]),
            "heads_cooperation": pd.DataFrame(
                [
                    {"encoder": e, "head": h, "nodes": n, "accuracy": 0.05 * n, "random_group": 0.1 * n * e}
                    for e in (1, 2) for h in (1, 2) for n in (1, 2)
                ]
            ),
            "heads": pd.DataFrame(
                [
                    {"encoder": e, "head": h + 1, "label": i,
                     "train_accuracy": float(self.owner[i] == h) if e == 2 else 0.5,
                     "accuracy": 0.1 + (0.5 + 0.01 * i) * (self.owner[i] == h)}
                    for e in (1, 2) for h in range(H) for i in range(K)
                ]
            ),
        }  # fmt: skip

    def table(self, name):
        return self.tables[name]

    def class_means(self, site):
        assert site == "2.mha"
        return np.eye(K)[:, np.repeat(np.arange(K), 2)]

    weight = class_means


def test_one_row_a_run_with_every_control():
    kin = [f"kind {i // 3}" for i in range(K)]
    runs = {"seeds": [Made(0), Made(1, shift=1, observed=0.6)], "kin": [Made(superclasses=kin)]}
    table = heads_tables.of_families(runs).set_index("run")
    assert table.loc["seeds", "excess"] == pytest.approx((0.25 + 0.5) / 2) and table.loc["seeds", "seeds"] == 2
    assert table.loc["kin", ["untrained", "shuffled", "margin", "group"]].tolist() == pytest.approx([0, 0.2, 0.05, 0.4])
    assert table.loc["kin", "nodes"] == 2 and np.isnan(table.loc["kin", "excess_std"])
    assert table.loc["kin", "superclasses"] == pytest.approx(1) and table.loc["kin", "superclasses_p"] < 0.01
    assert table.loc["kin", "head"] == pytest.approx(0.1) and table.loc["kin", "tied"] == 0
    assert np.isnan(table.loc["seeds", "superclasses"]) and np.isnan(table.loc["kin", "seeds_agree"])
    assert table.loc["seeds", "seeds_agree"] < 0.5 and table.loc["seeds", "seeds_p"] > 0.01
    alike = heads_tables.of_families({"alike": [Made(0), Made(1)]}).iloc[0]
    assert alike["seeds_agree"] == pytest.approx(1) and alike["seeds_p"] < 0.01
    drawn = charts.heads.over_runs(table.reset_index()).to_dict()
    shown = [row for part in drawn["datasets"].values() for row in part if "run" in row]
    assert {(v["run"], v["nodes"]) for v in shown} == {("seeds", 2), ("kin", 2)}


def test_labels_are_owned_by_name_and_superclass():
    made = Made(superclasses=["even", "odd"] * (K // 2))
    owned = heads_tables.owned(made)
    assert owned["name"].iloc[0] == "label 11" and owned["expert"].iloc[0] == made.owner[11] + 1
    assert owned["margin"].is_monotonic_decreasing and set(owned["superclass"]) == {"even", "odd"}
    assert heads_tables.groups(made).tolist() == [0, 1] * (K // 2)
    assert set(heads_tables.owned(Made())["superclass"]) == {""}
    assert np.array_equal(heads_tables.experts(made), made.owner)


def test_heads_that_tell_a_label_equally_well_do_not_own_it():
    made = Made(superclasses=[f"kind {i // 3}" for i in range(K)])
    assert (heads_tables.experts(made, 1) == -1).all()  # there all heads are alike
    table = made.tables["heads"]
    table.loc[(table["encoder"] == 2) & (table["label"] < 2), "train_accuracy"] = 1.0
    assert heads_tables.experts(made)[:3].tolist() == [-1, -1, made.owner[2]]
    assert set(heads_tables.owned(made)["name"]) == {f"label {i}" for i in range(2, K)}
    first, last = heads_tables.encoders(made)[["tied", "same_expert"]].to_numpy()
    assert first.tolist() == pytest.approx([1, 1 / H])  # training says nothing, so test images agree as by chance
    assert last.tolist() == pytest.approx([2 / K, (2 / H + K - 2) / K])
    row = heads_tables.of_families({"tied": [made]}).iloc[0]
    assert row["tied"] == pytest.approx(2 / K) and row["superclasses"] == pytest.approx(1)
    other = Made(1)
    other.tables["heads"]["train_accuracy"] = 1.0
    assert np.isnan(
        heads_tables.of_families({"none": [made, other]}).iloc[0][["seeds_agree", "seeds_p"]].tolist()
    ).all()
    assert np.isnan(heads_tables.encoders(other)["expert_accuracy"]).all()
    own = [0.6 + 0.01 * i for i in range(2, K)]
    assert heads_tables.encoders(made)["expert_accuracy"].iloc[1] == pytest.approx(np.mean(own))
    drawn = charts.heads.partition(
        {"tied": heads_tables.experts(made), "none": heads_tables.experts(other)}, list("abcdefghijkl")
    )
    assert len(next(iter(drawn.to_dict()["datasets"].values()))) == K - 2


def test_superclasses_are_drawn_beside_their_heads():
    names = ["a"] * 3 + ["b"] * 3
    drawn = charts.heads.superclasses(np.array([0, 0, 1, 2, 2, 2]), names, H).to_dict()
    cells = {(v["superclass"], v["head"]): v["labels"] for v in next(iter(drawn["datasets"].values()))}
    assert len(cells) == 2 * H and cells["a", 1] == 2 and cells["b", 3] == 3 and cells["b", 4] == 0


def test_excess_makes_heads_of_different_sizes_comparable():
    generator = np.random.default_rng(0)

    def found(nodes: int) -> heads.PermutationTest:  # of labels that lean to their head alike, whatever its size
        fields = np.zeros((nodes, K, K))
        for node in range(nodes):
            own = np.flatnonzero(np.arange(K) % H == node * H // nodes)
            labels = own if generator.random() < 0.5 else np.arange(K)
            label = generator.choice(labels)
            fields[node, label, label] = 1
        return heads.permutation_test(fields, H, permutations=200)

    small, large = (
        np.mean([heads.excess(f.observed, f.null_mean) for f in (found(n) for _ in range(5))]) for n in (96, 768)
    )
    assert abs(small - large) < 0.15 and small > 0.2


def test_fields_of_heads_are_drawn_with_the_groups_of_their_labels():
    means = np.zeros((6, 4))
    means[[0, 1, 2, 3], [0, 1, 2, 3]] = 1  # a label each, two heads of two nodes; two labels that no node recognises
    made = SimpleNamespace(nodes=lambda site: snp.Nodes(means, means))
    drawn = charts.heads.fields(made, 1, 2).to_dict()
    found = next(iter(drawn["datasets"].values()))
    assert [(row["head"], row["labels"]) for row in found] == [("head 1", 2), ("head 2", 2)]
    assert drawn["columns"] == 2 and all(row["url"].startswith("data:image/png") for row in found)
