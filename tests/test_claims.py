"""The rules of the verdicts on made-up runs: each comes out either way, and at the border as its sentence says."""

import copy
import dataclasses
from itertools import product
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from conftest import shaped_nodes
from lib import claims, findings, language_claim
from lib.charts import verdicts
from lib.experiments import sharpening
from lib.experiments.language import beside_random_weights, sharper
from lib.findings import HOLDS, NOT, PART, UNMEASURED, Finding, Networks
from lib.recipes import PruningRecipe, RetrainingRecipe
from lib.study import Measures

K = 20


def recognising(own: int, spill: int) -> np.ndarray:
    """Class means and weights (2, K, nodes) of nodes that recognise `own` labels and name `spill` others with them.

    Each has one cluster, its own labels, and as noise a column of `own` ones for each other: an SNR of (K - 1) / spill.
    """
    labels = (np.arange(K)[:, None] - np.arange(K)) % K
    return np.stack([labels < own, labels < own + spill]).astype(float)


def indifferent(own: int) -> np.ndarray:
    """Nodes that name the same labels whatever they see: the names of the labels do not matter."""
    return np.stack([np.ones((K, K)), recognising(own, 0)[1]])


class Made(Measures):
    """A run of two encoders: pairs of class means and weights by site, or by site and silencing; tables by name."""

    definition = SimpleNamespace(
        network=SimpleNamespace(depth=2, heads=4),
        seed=0,
        retraining=RetrainingRecipe(),
        andc=PruningRecipe(retraining_images=4000),
    )
    label_names = tuple(map(str, range(K)))
    name, results = "made", {"test_accuracy": 0.5}

    def __init__(self, pairs=None, **tables):
        self.pairs, self.tables = pairs or {}, {name: pd.DataFrame(rows) for name, rows in tables.items()}
        self.sites = [f"{e}.{place}" for e in (1, 2) for place in claims.SHARPENED]

    def class_means(self, site, split="test", silencing="readout"):
        return self.pairs.get((site, silencing), self.pairs[site])[0]

    def weight(self, site):
        return self.pairs[site][1]

    def table(self, name):
        return self.tables[name]

    def has(self, stage):
        return stage in self.tables

    def seeds(self, stage):
        return [self]


def verdict(rule, run: Made) -> str:
    return rule(run).verdict


def untrained(**changed) -> list[dict]:
    """A table "untrained" in which nothing is recognised and nothing grows, apart from what is changed."""
    rows = []
    for e, place in ((e, place) for e in (1, 2) for place in claims.SHARPENED):
        for silencing, threshold in product(claims.SILENCED, sharpening.THRESHOLDS):
            about = {
                "site": f"{e}.{place}",
                "encoder": e,
                "place": place,
                "silencing": silencing,
                "threshold": threshold,
            }
            nothing = dict.fromkeys((*sharpening.COMPARED, "shuffled_snr", "test_accuracy"), 0.05)
            rows.append(about | nothing | {name: value * (e == 2) for name, value in changed.items()})
    return rows


@pytest.mark.parametrize(
    ("mha", "ff", "bare", "expected"),
    [
        ((0.1, 0.2), (0.1, 0.3), {}, (HOLDS, "")),
        ((0.1, 0.2), (0.3, 0.3), {}, (PART, "holds at `mha`, not at `ff`")),
        ((0.2, 0.1), (0.3, 0.3), {}, (NOT, "")),
        (
            (0.1, 0.2),
            (0.1, 0.3),
            {"test_accuracy": 0.15},
            (PART, "holds at `ff`, not at `mha`"),
        ),  # it grows as much without training
        ((0.1, 0.2), (0.1, 0.3), {"test_accuracy": 0.0}, (HOLDS, "")),
    ],
)
def test_1_asks_for_growth_at_both_places_beyond_that_of_the_untrained_network(mha, ff, bare, expected):
    found = dict(zip(("1.mha", "2.mha", "1.ff", "2.ff"), mha + ff, strict=True))
    probes = [{"site": site, "test_accuracy": accuracy} for site, accuracy in found.items()]
    finding = claims._accuracy(Made(probes=probes, **({"untrained": untrained(**bare)} if bare else {})))
    assert (finding.verdict, finding.where) == expected


VARIED = np.concatenate([recognising(1, 1)[..., :10], recognising(2, 1)[..., 10:]], -1)  # 1.5 labels, error 0.11


def against(*names: str) -> tuple[str, str]:
    return PART, f"against it: {', '.join(f'{name} (untrained)' for name in names)}"


LABELS, RATIO = ("labels in clusters at `mha`", "labels in clusters at `ff`"), ("SNR at `mha`", "SNR at `ff`")


@pytest.mark.parametrize(
    ("mha", "ff", "bare", "expected"),
    [
        (recognising(1, 1), recognising(1, 1), {}, (HOLDS, "")),
        (recognising(1, 1), recognising(2, 1), {}, (NOT, "")),  # clusters of a tenth of the labels at one place
        (indifferent(1), indifferent(1), {}, (NOT, "")),  # small clusters, but whatever the outputs are called
        (recognising(1, 1), recognising(1, 1), {"recognised": 0.9, "snr": 18.0}, (HOLDS, "")),
        (recognising(1, 1), recognising(1, 1), {"recognised": 1.1}, against(*LABELS)),
        (recognising(1, 1), recognising(1, 2), {"snr": 10.0}, against(RATIO[1])),
        (recognising(1, 1), recognising(1, 1), {"recognised": 1.1, "snr": 20.0}, (PART, None)),
        (indifferent(1), indifferent(1), {"recognised": 1.1, "snr": 20.0}, (NOT, "")),
        (VARIED, VARIED, {"recognised": 1.2}, (HOLDS, "")),
        (VARIED, recognising(1, 1), {"recognised": 0.9}, (HOLDS, "")),
        (VARIED, VARIED, {"recognised": 1.4}, against(*LABELS)),  # fewer, but within two standard errors over nodes
    ],
)
def test_2_asks_for_small_clusters_beyond_both_controls_at_both_places(mha, ff, bare, expected):
    tables = {"untrained": untrained(**bare)} if bare else {}
    pairs = {f"{e}.{place}": pair for e in (1, 2) for place, pair in (("mha", mha), ("ff", ff))}
    finding = claims._clusters(Made(pairs, **tables))
    assert finding.verdict == expected[0]
    assert finding.where == expected[1] if expected[1] is not None else all(n in finding.where for n in LABELS + RATIO)


def sites(first, last, **others) -> dict:
    """Pairs of the sites of a run: those of the first and the last encoder, and of some places others."""
    pairs = {f"1.{p}": others.get(p, (first, last))[0] for p in claims.SHARPENED}
    return pairs | {f"2.{p}": others.get(p, (first, last))[1] for p in claims.SHARPENED}


def sharpens(readout: str, silent: str) -> str:
    return f"at threshold 0.3 it sharpens with the read-out silenced {readout}; with the input silenced {silent}"


NOISY, SHARP = recognising(3, 4), recognising(3, 1)
SOFT = recognising(3, 1) + 0.55 * (recognising(3, 9) - recognising(3, 1))  # sharp at thresholds from 0.55


@pytest.mark.parametrize(
    ("pairs", "bare", "expected"),
    [
        (sites(NOISY, SHARP), {}, (HOLDS, "")),
        (sites(SHARP, NOISY), {}, (NOT, "")),
        (sites(NOISY, NOISY), {}, (NOT, "")),
        (
            sites(NOISY, SHARP, ff=(SHARP, NOISY)),
            {},
            (PART, sharpens("at `mha`, `ff_hidden`, not at `ff`", "at `mha`, `ff_hidden`, not at `ff`")),
        ),
        (sites(indifferent(2), indifferent(10)), {}, (NOT, "")),  # the SNR grows, and with shuffled labels as much
        (
            sites(NOISY, SHARP) | {(f"2.{p}", "input"): 1 - SHARP[:1] for p in claims.SHARPENED},
            {},
            (PART, sharpens("at `mha`, `ff_hidden`, `ff`", "nowhere")),
        ),
        (sites(NOISY, SOFT), {}, (NOT, "")),  # only above the book's threshold
        (
            sites(SOFT, SHARP),
            {},
            (
                PART,
                "at threshold 0.3 it sharpens everywhere, at others not "
                + "; ".join(
                    f"at `{p}` with the {s} silenced (0.6 and 0.7)"
                    for p in claims.SHARPENED
                    for s in ("read-out", "input")
                ),
            ),
        ),
        (sites(NOISY, SHARP), {"snr": 30.0}, (NOT, "")),  # the untrained network's grows more
        (sites(NOISY, SHARP), {"snr": 1.0}, (HOLDS, "")),
    ],
)
def test_3_asks_for_more_than_its_controls_give_in_every_case(pairs, bare, expected):
    finding = claims._sharpening(Made(pairs, **({"untrained": untrained(**bare)} if bare else {})))
    assert (finding.verdict, finding.where) == expected


def test_3_is_not_judged_beside_an_untrained_network_of_which_nothing_is_known():
    bare = [row | {"snr": np.nan} for row in untrained()]
    assert verdict(claims._sharpening, Made(sites(NOISY, SHARP), untrained=bare)) == NOT


def test_3_asks_for_more_than_nodes_vary():
    def run(nodes: int) -> Made:
        """The SNR grows a little on average, over nodes that differ much."""
        noisy = np.concatenate([recognising(3, 1), recognising(3, 9)] * nodes, axis=2)
        sharp = np.concatenate([recognising(3, 1), recognising(3, 7)] * nodes, axis=2)
        return Made(sites(noisy, sharp))

    few, many = (sharpening.growth_of_seeds([run(n)], claims.SHARPENED, (0.3,)) for n in (1, 30))
    assert np.allclose(few["change"], many["change"]) and (few["change"] > 0).all()
    assert not few["sharpens"].any() and many["sharpens"].all()


def test_3_asks_every_seed():
    good, bad = Made(sites(NOISY, SHARP)), Made(sites(SHARP, NOISY))
    good.seeds = lambda stage: [good, bad]
    assert verdict(claims._sharpening, good) == NOT


class Seeds(Made):
    """The first of several runs that differ in the seed."""

    def __init__(self, first: Made, *others: Made):
        super().__init__(first.pairs)
        self.tables, self.others = first.tables, others
        for seed, run in enumerate(others, 1):
            run.definition = SimpleNamespace(**vars(Made.definition) | {"seed": seed})

    def seeds(self, stage):
        return [self, *self.others]


def shortly(threshold: float, **accuracies: float) -> list[dict]:
    """Rows of the table "andc" in regime "retrained"; 10,000 images give an error of 0.007 at an accuracy of a half."""
    key = {"regime": "retrained", "encoder": 0, "reading": "diagonal", "draw": 0, "images": 10_000}
    rows = [
        key | {"layers": "ff", "threshold": threshold, "method": m, "top1": a, "kept": 1 - threshold}
        for m, a in accuracies.items()
    ]
    rows += [key | {"layers": "all", "threshold": 1.0, "method": "dense", "top1": 0.5, "kept": 1.0}]
    return rows + [row | {"regime": "none", "top1": 0.1} for row in rows]  # another regime has no say


@pytest.mark.parametrize(
    ("andc", "permuted", "expected"),
    [
        (0.49, 0.49, (HOLDS, {"unpruned": (-1.0, False), "permuted": (0.0, False)})),
        (0.51, 0.46, (HOLDS, {"unpruned": (1.0, False), "permuted": (5.0, True)})),
        (0.47, 0.46, (NOT, {"unpruned": (-3.0, True), "permuted": (1.0, False)})),
        (0.46, 0.49, (NOT, {"unpruned": (-4.0, True), "permuted": (-3.0, True)})),
    ],
)
def test_4_allows_the_margin_of_error(andc, permuted, expected):
    finding = claims._pruning(Made(andc=shortly(0.3, andc=andc, permuted=permuted, magnitude=0.5)))
    assert finding.verdict == expected[0] and gained(finding).items() >= expected[1].items()
    assert "1 epoch on 4,000 examples (longer retraining was not measured; 1 seed), accuracy" in finding.said


def test_4_says_how_large_a_loss_it_leaves_open():
    said = claims._pruning(Made(andc=shortly(0.3, andc=0.49, permuted=0.49))).said
    assert "50.0% to 49.0% (70% kept; the margin of error leaves a loss of 2.4 points open)" in said  # 1.0 and 2 * 0.7
    better = claims._pruning(Made(andc=shortly(0.3, andc=0.6, permuted=0.49))).said
    assert "50.0% to 60.0% (70% kept)." in better
    worse = claims._pruning(Made(andc=shortly(0.3, andc=0.4, permuted=0.49))).said
    assert "50.0% to 40.0% (70% kept; a loss beyond the margin of error)" in worse


def gained(finding) -> dict[str, tuple[float, bool]]:
    """Points that ANDC gains on each control at the first threshold, and whether beyond the margin of error."""
    first = finding.evidence[finding.evidence["threshold"] == finding.evidence["threshold"].iloc[0]]
    return {
        row["compared with"]: (round(row["difference (points)"], 1), row["beyond the margin of error"])
        for _, row in first.iterrows()
    }


def test_4_holds_in_part_where_it_depends_on_the_threshold():
    rows = shortly(0.3, andc=0.5, permuted=0.5) + shortly(0.5, andc=0.4, permuted=0.5) + shortly(0.9, andc=0.5)
    finding = claims._pruning(Made(andc=rows))
    assert (finding.verdict, finding.where) == (PART, "holds at threshold 0.3, not at threshold 0.5")
    assert finding.evidence["threshold"].tolist() == ["0.3", "0.3", "0.5", "0.5"]
    assert finding.evidence["beyond the margin of error"].tolist() == [False, False, True, True]
    assert "at threshold 0.3 permuted (+0.0); at threshold 0.5 permuted -10.0;" in finding.said
    assert finding.plain.endswith("it is one or the other, by threshold, beside permuted.")


def lengths(threshold: float, last: dict[str, float], first: dict[str, float] | None = None) -> list[dict]:
    """Rows of the table "retraining" for lengths 0, 1 and 16; what comes before the longest has no say."""
    rows = []
    for epochs, accuracies in ((0, first or {}), (1, first or {}), (16, last)):
        for method, accuracy in (dict.fromkeys(last, 0.01) | accuracies).items():
            key = {"method": method, "threshold": 1.0 if method == "dense" else threshold, "epochs": epochs}
            rows.append(key | {"top1": accuracy, "kept": 0.7, "images": 100_000, "rate": 0.1})
    return rows


@pytest.mark.parametrize(
    ("losses", "permuted", "expected", "against"),
    [
        ((0.001, -0.001, 0.002), 0.0, HOLDS, {"unpruned": (-0.1, False), "permuted": (-0.1, False)}),
        ((0.018, 0.02, 0.022), 0.0, NOT, {"unpruned": (-2.0, True), "permuted": (-2.0, True)}),
        # 3.5 standard errors over three seeds are not beyond chance, but no excuse for a loss
        ((0.01, 0.02, 0.03), 0.0, NOT, {"unpruned": (-2.0, False), "permuted": (-2.0, False)}),
        ((0.02, 0.02, 0.03), -0.05, NOT, {"unpruned": (-2.3, True), "permuted": (2.7, True)}),
        ((-0.02, -0.02, -0.03), -0.05, HOLDS, {"unpruned": (2.3, True), "permuted": (7.3, True)}),
        ((0.00, 0.00, 0.09), 0.02, NOT, {"unpruned": (-3.0, False), "permuted": (-5.0, False)}),  # one seed fails
    ],
)
def test_4_is_judged_over_seeds_at_the_longest_retraining(losses, permuted, expected, against):
    runs = []
    for loss in losses:
        last = {"dense": 0.6, "andc": 0.6 - loss, "permuted": 0.6 + permuted}
        runs.append(Made(andc=shortly(0.3, andc=0.1, permuted=0.9), retraining=lengths(0.3, last)))
    finding = claims._pruning(Seeds(*runs))
    assert (finding.verdict, gained(finding)) == (expected, against)
    points, beyond = against["unpruned"]
    shown = "; a loss beyond the margin of error)" if points < 0 else ")"
    within = "; a loss beyond test images' errors," if expected == NOT else "; the margin of error leaves a loss of "
    left = shown if beyond else within
    assert "retrained for 16 epochs, which by itself takes the unpruned network from 1.0% to 60.0%." in finding.plain
    assert "retrained for 16 epochs (3 seeds)" in finding.said and f"(70% kept{left}" in finding.said


def test_4_says_which_controls_were_measured_in_fewer_seeds():
    last = {"dense": 0.6, "andc": 0.5, "permuted": 0.5}
    runs = [Made(retraining=lengths(0.3, last | extra)) for extra in ({"dealt": 0.4}, {}, {})]
    finding = claims._pruning(Seeds(*runs))
    assert "(3 seeds)" in finding.said and "permuted (+0.0) and dealt +10.0 of 1 seed only" in finding.said
    seeds = finding.evidence.set_index("compared with")["seeds"]
    assert seeds.to_dict() == {"unpruned": 3, "permuted": 3, "dealt": 1}


def test_4_names_every_control_that_was_measured():
    methods = ("andc", "permuted", "random", "magnitude", "levelled", "dealt")
    made = Made(retraining=lengths(0.3, {"dense": 0.6} | dict.fromkeys(methods, 0.5)))
    finding = claims._pruning(made)
    assert gained(finding).keys() == {"unpruned", *methods[1:]} and all(
        name in finding.said and name in finding.plain for name in methods[1:]
    )
    with pytest.raises(ValueError, match=r"no network was pruned at the thresholds \[0.3, 0.5\] and retrained"):
        claims._pruning(Made(retraining=lengths(0.9, {"dense": 0.6, "andc": 0.5})))


SHAPED, OWNED = shaped_nodes(K, 4), np.stack([np.eye(K)[:, np.repeat(np.arange(K), 4)]] * 2)


@pytest.mark.parametrize(
    ("changed", "pairs", "expected"),
    [
        ({}, SHAPED, (HOLDS, "")),
        (
            {"shuffled_observed": np.nan, "untrained_observed": np.nan},
            SHAPED,
            (HOLDS, ""),
        ),  # no node recognised any label there
        ({"p": 0.01}, SHAPED, (NOT, "against it: random heads")),
        ({"shuffled_observed": 0.5}, SHAPED, (PART, "against it: shuffled labels")),
        ({"shuffled_observed": 0.7, "shuffled_null_mean": 0.6}, SHAPED, (HOLDS, "")),  # an excess of 0.25 against 0.375
        (
            {"untrained_observed": 0.6, "damage_low": 0.0},
            SHAPED,
            (NOT, "against it: untrained network, removal of a head"),
        ),
        ({"damage_low": 0.0}, SHAPED, (PART, "against it: removal of a head")),
        ({"margin_z": 2.0}, SHAPED, (PART, "against it: random groups' best")),
        ({"whole": 0.3}, SHAPED, (PART, "against it: as many nodes of any heads")),
        (
            {},
            OWNED,
            (PART, "against it: nodes rotated inside their heads"),
        ),  # subspaces of a head's own labels, however turned
        ({}, np.random.default_rng(0).normal(size=(2, K, 20)), (PART, "against it: nodes rotated inside their heads")),
        (
            {"z": np.nan, "p": np.nan, "damage_low": np.nan},
            SHAPED,
            (NOT, "against it: random heads, removal of a head"),
        ),
    ],
)
def test_5_names_every_control_that_speaks_against_it(changed, pairs, expected):
    finding = claims._experts(heads_run(changed, pairs))
    assert (finding.verdict, finding.where) == expected


def heads_run(changed: dict, pairs: np.ndarray) -> Made:
    whole = changed.get("whole", 0.4)  # accuracy of a head
    good = {
        "p": 0.001, "z": 5.0, "observed": 0.5, "null_mean": 0.2, "untrained_observed": 0.2, "untrained_null_mean": 0.2,
        "shuffled_observed": 0.3, "shuffled_null_mean": 0.2, "damage_low": 0.1, "margin_z": 3.0,
    }  # fmt: skip
    rest = dict.fromkeys(("untrained_z", "shuffled_z", "damage_rho", "damage_high"), 0.5)
    encoders = [rest | good | {"encoder": 1, "p": 0.5}, rest | good | {"encoder": 2} | changed]
    joined = [
        {"encoder": e, "head": h, "nodes": n, "accuracy": whole, "random_group": 0.3 if n == 5 and e == 2 else 0.9}
        for e in (1, 2) for h in (1, 2, 3, 4) for n in (1, 5)
    ]  # fmt: skip
    labels = [
        {"encoder": e, "head": h, "label": i, "train_accuracy": float(i % 4 == h - 1), "accuracy": 0.5}
        for e in (1, 2) for h in (1, 2, 3, 4) for i in range(K)
    ]  # fmt: skip
    return Made({"2.mha": pairs}, heads=labels, heads_encoders=encoders, heads_cooperation=joined)


def test_5_asks_every_seed():
    good, bad = heads_run({}, SHAPED), heads_run({"damage_low": -0.1}, SHAPED)
    finding = claims._experts(Seeds(good, bad))
    assert (finding.verdict, finding.where) == (PART, "against it: removal of a head in 1 of 2 seeds")
    assert claims._experts(Seeds(bad, bad)).where == "against it: removal of a head"
    found = finding.evidence.set_index("control")
    assert found.loc["removal of a head", "found"] == "rho = 0.50, 0.10 to 0.50 / rho = 0.50, -0.10 to 0.50"
    names = ["random heads", "untrained network", "shuffled labels", "nodes rotated inside their heads"]
    assert found.index.tolist() == [*names, "random groups' best", "as many nodes of any heads", "removal of a head"]
    assert found["speaks for the claim"].tolist() == [True] * 6 + [False]


def filter_rows(pooled: float, flattened: float) -> list[dict]:
    """A table "cnn" of two layers: by how much the SNR of a CNN grows at each read-out; of the untrained one by 0.2."""
    change = {"CNN, pooled": pooled, "CNN, flattened": flattened, "untrained, pooled": 0.2, "untrained, flattened": 0.2}
    return [
        {"network": name, "layer": layer, "snr": 2.0 + (layer - 1) * c, "control": 1.0, "accuracy": 0.1 * layer}
        for name, c in change.items()
        for layer in (1, 2)
    ]


@pytest.mark.parametrize(
    ("pooled", "flattened", "expected"),
    [
        (1.0, 1.0, (HOLDS, "")),
        (1.0, 0.1, (PART, "holds at the pooled read-out, not at the flattened read-out")),
        (-1.0, 1.0, (PART, "holds at the flattened read-out, not at the pooled read-out")),
        (0.2, -0.1, (NOT, "")),
    ],
)
def test_6_asks_for_more_than_an_untrained_network_gives(pooled, flattened, expected):
    rows = filter_rows(pooled, flattened)
    finding = claims._mechanism(Made(cnn=rows))
    assert (finding.verdict, finding.where) == expected
    falling = [row | ({"snr": 3.0 - row["layer"]} if row["network"].startswith("CNN") else {}) for row in rows]
    assert claims._mechanism(Seeds(Made(cnn=rows), Made(cnn=falling))).verdict == NOT  # every seed has to


@pytest.mark.parametrize("rule", [claims._pruning, claims._experts, claims._mechanism])
def test_what_a_run_lacks_is_not_measured(rule):
    finding = rule(Made())
    assert (finding.verdict, finding.where) == (UNMEASURED, "") and finding.evidence.empty and finding.said


def test_the_verdicts_in_short():
    def finding(chapter: str, verdict: str) -> Finding:
        return Finding("", chapter, verdict, "", "", pd.DataFrame())

    made = [finding("03-nodes", v) for v in (HOLDS, NOT, PART, NOT, UNMEASURED)]
    told = (
        "Of the 4 claims of the paper's abstract that were measured, 1 holds, 1 holds in part and 2 do not hold here."
    )
    assert findings.in_short(made) == told
    premise, language = finding("02-probes", HOLDS), finding("09-language", PART)
    ours = "The premise of this book holds. The extension to language holds in part."
    assert findings.in_short([premise, *made, language]) == f"{told} {ours}"
    assert findings.in_short([premise, finding("09-language", UNMEASURED)]) == "The premise of this book holds."
    assert findings.in_short([]) == "Nothing was measured."


def on(run: str, verdict: str, *accuracies: float) -> Finding:
    said, evidence = f"Seen on {run}.", pd.DataFrame({"of": [run]})
    return Finding("a", "03-nodes", verdict, "", said, evidence, networks=Networks(run, accuracies))


def test_verdicts_of_several_runs_are_counted_run_by_run():
    found = [on("wide", HOLDS, 0.5), on("small", NOT, 0.4)]
    head = "Of the claims of the paper's abstract:"
    listed = f"{head}\n\n- on `wide`: 1 measured, 1 holds\n- on `small`: 1 measured, 1 does not hold here"
    assert findings.in_short(found) == listed
    assert findings.in_short(found[1:]) == "The one claim of the paper's abstract that was measured does not hold here."
    premise = dataclasses.replace(found[0], chapter="02-probes")
    language = Finding("", "09-language", PART, "", "", pd.DataFrame())
    beside = findings.in_short([premise, *found, language])
    assert "- on `wide`: 1 measured, 1 holds; the premise of this book holds\n" in beside
    assert beside.endswith("here\n\nThe extension to language holds in part.")
    named = dataclasses.replace(language, networks=Networks("sentences", (0.9,)))
    assert findings.in_short([*found, named]).endswith("\n- on `sentences`: the extension to language holds in part")


def test_a_card_sets_other_networks_beside_the_first():
    card = verdicts.cards([on("wide", PART, 0.5), on("small", NOT, 0.4, 0.41)])
    assert card.count("<details") == 1 and 'class="verdict verdict-holds-in-part"' in card
    summary, fold = card.split("</summary>")
    assert "<code>wide</code>, one seed (test accuracy 50.0%): Seen on wide." in summary
    beside = summary.split("verdict-beside")[1]
    assert "does not hold here" in beside and "<code>small</code>, 2 seeds (test accuracy 40.0%, 41.0%)" in beside
    assert "Seen on small." not in summary
    assert "`small`, 2 seeds (test accuracy 40.0%, 41.0%): Seen on small.\n\n| of |\n| --- |\n| small |" in fold


def test_a_run_that_has_not_measured_a_claim_is_left_out_beside_one_that_has():
    lacking, having = Made(), Made(cnn=filter_rows(0.2, -0.1))
    having.name, having.results = "having", {"test_accuracy": 0.5, "cnn_test_accuracy": 0.6}
    (found,) = claims.findings("07-cnn", lacking, having)
    assert found.networks == Networks("having", (0.6,)) and found.verdict == NOT
    (found,) = claims.findings("07-cnn", lacking)
    assert (found.verdict, found.networks) == (UNMEASURED, None)
    with pytest.raises(ValueError, match="unknown chapter on a claim '07'"):
        claims.findings("07", having)


def test_a_card_says_plainly_what_its_fold_says_in_full():
    found = Finding("a", "02-probes", HOLDS, "", "In full.", pd.DataFrame(), "{}", Networks("run", (0.5,)), "Plainly.")
    summary, fold = verdicts.cards([found]).split("</summary>")
    assert "Plainly." in summary and "In full." not in summary and "In full." in fold
    short = verdicts.cards([dataclasses.replace(found, plain="")])
    assert short.count("In full.") == 1 and "In full." in short.split("</summary>")[0]


def test_a_card_shows_the_evidence_and_what_is_unknown():
    evidence = pd.DataFrame({"first_place": [0.25, np.nan], "none": np.nan, "grows": [True, False], "seed": [0, 1]})
    card = verdicts.cards([Finding("a `b` < c", "02-probes", PART, "at `mha`", "It was so.", evidence, "{:.0%}")])
    assert 'class="verdict verdict-holds-in-part"' in card and "a <code>b</code> &lt; c" in card
    assert "| first place | grows | seed |\n| --- | --- | --- |\n| 25% | yes | 0 |\n| – | no | 1 |" in card
    assert "(02-probes.ipynb)" in card
    assert "ipynb" not in verdicts.cards([Finding("a", "02-probes", PART, "", "", evidence)], links=False)


class OnSentences(Made):
    """A network of language in one seed: as `Made`; a fine-tuned one with what its heads do."""

    def __init__(self, kind: str, pairs, seed: int = 0, **heads_row):
        super().__init__(pairs, probes=[{"site": f"{e}.{p}", "test_accuracy": 0.5} for e in (1, 2) for p in PLACES])
        network = SimpleNamespace(**vars(Made.definition.network))
        self.definition = SimpleNamespace(**vars(Made.definition) | {"network": network, "seed": seed})
        self.tables |= {"fields": None}
        if kind == "fine-tuned":
            self.tables |= {"heads": None} | heads_run(heads_row, SHAPED).tables


PLACES = claims.SHARPENED
FLAT, MILD = sites(NOISY, NOISY), sites(NOISY, recognising(3, 3))  # at random weights: no growth, and a little
READOUT, INPUT = ("the SNR grows, fine-tuned", "read-out silenced"), ("the SNR grows, fine-tuned", "input silenced")
PUBLISHED_READOUT, PUBLISHED_INPUT = (("the SNR grows, as published", how) for _, how in (READOUT, INPUT))
EVERYWHERE, NOWHERE = "everywhere", "nowhere"


def networks_of_language(tuned, untrained=FLAT, published=FLAT, **heads_row) -> dict[str, list]:
    """Networks by the pairs of their sites, the fine-tuned one in some seeds."""
    networks = {
        "as published": [OnSentences("as published", published)] if published else [],
        "fine-tuned": [OnSentences("fine-tuned", pairs, seed, **heads_row) for seed, pairs in enumerate(tuned)],
        "random weights": [OnSentences("random weights", untrained)] if untrained else [],
    }
    return {name: runs for name, runs in networks.items() if runs}


def of_language(*args, **kwargs) -> dict[tuple[str, str], str]:
    """What the row says of each part, by name and what was silenced."""
    finding = language_claim.finding(networks_of_language(*args, **kwargs))
    parts = dict(part.split(": ", 1) for part in finding.where.split("; "))
    found = {("heads", ""): parts.pop("heads")}
    for name, text in parts.items():
        for how in ("read-out silenced", "input silenced"):
            ways = text.split(f" ({how})")
            found[name, how] = text if len(ways) == 1 else ways[0].split("silenced), ")[-1]
    return found


def test_of_language_sharpening_is_judged_in_every_seed_and_beside_random_weights():
    sharp = sites(NOISY, SHARP)
    silenced = sharp | {(f"2.{p}", "input"): 1 - SHARP[:1] for p in PLACES}
    found = of_language([sharp, sharp])
    assert (found[READOUT], found[INPUT], found[PUBLISHED_READOUT]) == (EVERYWHERE, EVERYWHERE, NOWHERE)
    assert of_language([sharp, FLAT])[READOUT] == NOWHERE
    in_part = of_language([sharp, sites(NOISY, SHARP, ff=(SHARP, NOISY))])
    assert in_part[READOUT] == "at `mha`, `ff_hidden`"
    assert of_language([sharp], untrained=sharp)[READOUT] == of_language([sharp], untrained=sharp)[INPUT] == NOWHERE
    assert of_language([sharp], untrained=MILD)[READOUT] == EVERYWHERE
    assert of_language([sites(indifferent(2), indifferent(10))])[READOUT] == NOWHERE  # as with shuffled labels
    apart = of_language([sharp, silenced])
    assert (apart[READOUT], apart[INPUT]) == (EVERYWHERE, NOWHERE)
    assert of_language([FLAT], published=sharp)[PUBLISHED_INPUT] == EVERYWHERE


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, HOLDS),
        ({"p": 0.01}, f"{NOT} (against it: random heads)"),
        ({"z": np.nan, "p": np.nan}, f"{NOT} (against it: random heads)"),
        ({"untrained_observed": 0.6}, f"{NOT} (against it: untrained network)"),
        ({"shuffled_observed": 0.5}, f"{PART} (against it: shuffled labels)"),
        ({"damage_low": 0.0}, f"{PART} (against it: removal of a head)"),
    ],
)
def test_of_language_the_heads_are_judged_as_everywhere(changed, expected):
    networks = networks_of_language([FLAT], **changed)
    tuned = networks["fine-tuned"][0]
    tuned.pairs = tuned.pairs | {"2.mha": SHAPED}
    assert language_claim.finding(networks).where.endswith(f"heads: {expected}")


def test_of_language_what_lacks_its_networks_is_not_measured():
    sharp = sites(NOISY, SHARP)
    assert language_claim.finding({}).verdict == UNMEASURED
    assert language_claim.finding(networks_of_language([sharp, sharp])).networks == Networks("made", (0.5, 0.5))
    found = of_language([], published=sharp)
    assert found[READOUT] == found[INPUT] == found["heads", ""] == UNMEASURED
    assert found[PUBLISHED_READOUT] == EVERYWHERE
    alone = of_language([sharp], untrained=None, published=None)
    assert alone[READOUT] == alone[PUBLISHED_INPUT] == UNMEASURED
    assert (
        alone["heads", ""] == f"{PART} (against it: nodes rotated inside their heads)"
    )  # of which these have no shape of their own


def test_of_language_every_control_is_named_beside_the_number():
    sharp = sites(NOISY, SHARP)
    finding = language_claim.finding(networks_of_language([sharp, sharp], untrained=MILD))
    assert finding.verdict == PART  # of the network as published the SNR does not grow
    text = finding.evidence.to_csv()
    for control in ("shuffled labels", "random weights: +", "input silenced", "random heads", "untrained network",
                    "rotated inside", "any heads", "removal", "mean of 2 seeds"):  # fmt: skip
        assert control in text
    assert text.count("random weights: +") == text.count("shuffled labels: ") == 12  # places, networks, silencings
    speaks = finding.evidence.set_index("measured")["speaks for the claim"]
    assert speaks["SNR at `ff`, fine-tuned, input silenced"] and not speaks["SNR at `ff`, as published, input silenced"]


def test_of_language_random_weights_are_the_untrained_network_of_every_claim():
    sharp = sites(NOISY, SHARP)
    (run,) = beside_random_weights(networks_of_language([sharp]))["fine-tuned"]
    finding = claims._sharpening(run)
    assert finding.verdict == HOLDS and "in the untrained network by +0.0" in finding.said
    (run,) = beside_random_weights(networks_of_language([sharp], untrained=sharp))["fine-tuned"]
    assert claims._sharpening(run).verdict == claims._accuracy(run).verdict == NOT
    assert claims._clusters(run).evidence["network"].tolist() == ["trained", "labels shuffled", "untrained"] * 2
    assert copy.copy(run).sites == run.sites


def test_of_language_sharper_names_the_places_that_sharpen_in_every_seed():
    sharp, partly = sites(NOISY, SHARP), sites(NOISY, SHARP, ff=(SHARP, NOISY))
    assert sharper(networks_of_language([sharp, sharp]), "fine-tuned") == list(PLACES)
    assert sharper(networks_of_language([sharp, partly]), "fine-tuned") == ["mha", "ff_hidden"]
    assert sharper(networks_of_language([sharp], untrained=sharp), "fine-tuned") == []
    assert sharper(networks_of_language([sharp], untrained=None), "fine-tuned") is None
    assert sharper(networks_of_language([]), "fine-tuned") is None
