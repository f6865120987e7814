"""The rules of the verdicts on made-up runs: each comes out either way, and at the border as its sentence says."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lib import claims
from lib.charts import verdicts
from lib.claims import HOLDS, NOT, PART, UNMEASURED
from lib.experiments import sharpening
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

    definition = SimpleNamespace(network=SimpleNamespace(depth=2), seed=0)
    label_names = tuple(map(str, range(K)))

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
        ((0.1, 0.2), (0.3, 0.3), {}, (PART, "at `mha`")),
        ((0.2, 0.1), (0.3, 0.3), {}, (NOT, "")),
        ((0.1, 0.2), (0.1, 0.3), {"test_accuracy": 0.15}, (PART, "at `ff`")),  # it grows as much without training
        ((0.1, 0.2), (0.1, 0.3), {"test_accuracy": 0.0}, (HOLDS, "")),
    ],
)
def test_1_asks_for_growth_at_both_places_beyond_that_of_the_untrained_network(mha, ff, bare, expected):
    found = dict(zip(("1.mha", "2.mha", "1.ff", "2.ff"), mha + ff, strict=True))
    probes = [{"site": site, "test_accuracy": accuracy} for site, accuracy in found.items()]
    finding = claims._accuracy(Made(probes=probes, **({"untrained": untrained(**bare)} if bare else {})))
    assert (finding.verdict, finding.where) == expected


@pytest.mark.parametrize(
    ("pair", "bare", "expected"),
    [
        (lambda: recognising(1, 1), {}, HOLDS),
        (lambda: recognising(2, 1), {}, NOT),  # clusters of a tenth of the labels
        (lambda: indifferent(1), {}, NOT),  # small clusters, but whatever the outputs are called
        (lambda: recognising(1, 1), {"recognised": 0.9, "snr": 18.0}, HOLDS),
        (lambda: recognising(1, 1), {"recognised": 1.1}, NOT),
        (lambda: recognising(1, 1), {"snr": 20.0}, NOT),
    ],
)
def test_2_asks_for_small_clusters_beyond_both_controls(pair, bare, expected):
    tables = {"untrained": untrained(**bare)} if bare else {}
    assert verdict(claims._clusters, Made({"1.mha": pair(), "2.mha": pair()}, **tables)) == expected


def sites(first, last, **others) -> dict:
    """Pairs of the sites of a run: those of the first and the last encoder, and of some places others."""
    pairs = {f"1.{p}": others.get(p, (first, last))[0] for p in claims.SHARPENED}
    return pairs | {f"2.{p}": others.get(p, (first, last))[1] for p in claims.SHARPENED}


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
            (PART, "read-out silenced: `mha`, `ff_hidden`; input silenced: `mha`, `ff_hidden`"),
        ),
        (sites(indifferent(2), indifferent(10)), {}, (NOT, "")),  # the SNR grows, and with shuffled labels as much
        (
            sites(NOISY, SHARP) | {(f"2.{p}", "input"): 1 - SHARP[:1] for p in claims.SHARPENED},
            {},
            (PART, "read-out silenced: `mha`, `ff_hidden`, `ff`; input silenced: nowhere"),
        ),
        (sites(NOISY, SOFT), {}, (NOT, "")),  # only above the book's threshold
        (
            sites(SOFT, SHARP),
            {},
            (PART, "read-out silenced: `mha`, `ff_hidden`, `ff`; input silenced: `mha`, `ff_hidden`, `ff`"),
        ),
        (sites(NOISY, SHARP), {"snr": 30.0}, (NOT, "")),  # the untrained network's grows more
        (sites(NOISY, SHARP), {"snr": 1.0}, (HOLDS, "")),
    ],
)
def test_3_asks_for_more_than_its_controls_give_in_every_case(pairs, bare, expected):
    finding = claims._sharpening(Made(pairs, **({"untrained": untrained(**bare)} if bare else {})))
    assert (finding.verdict, finding.where) == expected


def test_3_asks_every_seed():
    good, bad = Made(sites(NOISY, SHARP)), Made(sites(SHARP, NOISY))
    good.seeds = lambda stage: [good, bad]
    assert verdict(claims._sharpening, good) == NOT


@pytest.mark.parametrize(
    ("andc", "permuted", "expected"),
    [
        (0.49, 0.49, (HOLDS, "against its control +0.0 points (within chance).")),
        (0.51, 0.46, (HOLDS, "against its control +5.0 points.")),
        (0.47, 0.46, (NOT, "against its control +1.0 points (within chance).")),
        (0.46, 0.49, (NOT, "against its control -3.0 points.")),
    ],
)
def test_4_allows_two_standard_errors(andc, permuted, expected):
    key = {"regime": "retrained", "encoder": 0, "reading": "diagonal", "draw": 0, "images": 10_000}  # an error of 0.007
    pruned = {"andc": andc, "permuted": permuted, "magnitude": 0.5}
    rows = [key | {"layers": "ff", "threshold": 0.3, "method": m, "top1": a, "kept": 0.5} for m, a in pruned.items()]
    rows += [key | {"layers": "all", "threshold": 1.0, "method": "dense", "top1": 0.5, "kept": 1.0}]
    rows += [row | {"regime": "none", "top1": 0.1} for row in rows]  # another regime has no say
    finding = claims._pruning(Made(andc=rows))
    assert finding.verdict == expected[0] and finding.said.endswith(expected[1])


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, HOLDS),
        ({"p": 0.01}, NOT),
        ({"shuffled_z": 5.0}, NOT),
        ({"shuffled_z": np.nan}, HOLDS),  # no node recognised a shuffled label
        ({"damage_low": 0.0}, NOT),
        ({"z": np.nan, "p": np.nan, "damage_low": np.nan}, NOT),
    ],
)
def test_5_asks_for_all_three_at_the_last_encoder(changed, expected):
    good = {"p": 0.001, "z": 5.0, "shuffled_z": 2.0, "damage_low": 0.1}
    rest = dict.fromkeys(("observed", "null_mean", "damage_rho", "damage_high"), 0.5)
    encoders = [rest | good | {"p": 0.5}, rest | good | changed]
    assert verdict(claims._experts, Made(heads_encoders=encoders)) == expected


@pytest.mark.parametrize(
    ("pooled", "flattened", "expected"),
    [
        (1.0, 1.0, (HOLDS, "")),
        (1.0, 0.1, (PART, "at the pooled read-out")),
        (-1.0, 1.0, (PART, "at the flattened read-out")),
        (0.2, -0.1, (NOT, "")),
    ],
)
def test_6_asks_for_more_than_an_untrained_network_gives(pooled, flattened, expected):
    change = {"CNN, pooled": pooled, "CNN, flattened": flattened, "untrained, pooled": 0.2, "untrained, flattened": 0.2}
    rows = [
        {"network": name, "layer": layer, "snr": 2.0 + (layer - 1) * c, "control": 1.0, "accuracy": 0.1 * layer}
        for name, c in change.items()
        for layer in (1, 2)
    ]
    finding = claims._mechanism(Made(cnn=rows))
    assert (finding.verdict, finding.where) == expected
    assert verdict(claims._mechanism, Made()) == UNMEASURED


def test_the_verdicts_in_short():
    made = [claims.Finding("", "", v, "", "", pd.DataFrame()) for v in (HOLDS, NOT, PART, NOT, UNMEASURED)]
    assert claims.in_short(made) == "Of 4 claims that were measured, 1 holds, 1 holds in part and 2 do not hold here."
    assert claims.in_short(made[:1]) == "Of 1 claims that were measured, 1 holds."


def test_a_card_shows_the_evidence_and_what_is_unknown():
    evidence = pd.DataFrame({"first_place": [0.25, np.nan], "none": np.nan, "grows": [True, False], "seed": [0, 1]})
    card = verdicts.cards(
        [claims.Finding("a `b` < c", "02-probes", PART, "at `mha`", "It was so.", evidence, "{:.0%}")]
    )
    assert 'class="verdict verdict-holds-in-part"' in card and "a <code>b</code> &lt; c" in card
    assert "| first place | grows | seed |\n| --- | --- | --- |\n| 25% | yes | 0 |\n| – | no | 1 |" in card
    assert "(02-probes.ipynb)" in card


class OnSentences(Made):
    """A network of language in one seed: as `Made`, with what became of its weights."""

    def __init__(self, kind: str, pairs, seed: int = 0, **heads_row):
        super().__init__(pairs, probes=[{"site": f"{e}.{p}", "test_accuracy": 0.5} for e in (1, 2) for p in PLACES])
        self.definition = SimpleNamespace(network=SimpleNamespace(depth=2), seed=seed)
        self.tables |= {"fields": None}
        good = {"p": 0.001, "z": 9.0, "shuffled_z": 2.0, "untrained_z": 3.0, "damage_low": 0.1}
        rest = dict.fromkeys(("observed", "null_mean", "damage_rho"), 0.5)
        if kind == "fine-tuned":
            self.tables |= {"heads": None, "heads_encoders": pd.DataFrame([rest | good, rest | good | heads_row])}


PLACES = claims.SHARPENED
FLAT, MILD = sites(NOISY, NOISY), sites(NOISY, recognising(3, 3))  # at random weights: no growth, and a little


def of_language(tuned, untrained=FLAT, published=FLAT, **heads_row) -> dict[str, str]:
    """What the row says of each part: networks by the pairs of their sites, the fine-tuned one in some seeds."""
    networks = {
        "as published": [OnSentences("as published", published)] if published else [],
        "fine-tuned": [OnSentences("fine-tuned", pairs, seed, **heads_row) for seed, pairs in enumerate(tuned)],
        "random weights": [OnSentences("random weights", untrained)] if untrained else [],
    }
    finding = claims.language({name: runs for name, runs in networks.items() if runs})
    return dict(part.split(": ", 1) for part in finding.where.split("; "))


def test_of_language_sharpening_is_judged_in_every_seed_and_beside_random_weights():
    sharp = sites(NOISY, SHARP)
    silenced = sharp | {(f"2.{p}", "input"): 1 - SHARP[:1] for p in PLACES}
    assert of_language([sharp, sharp]) == {
        "SNR, fine-tuned": HOLDS, "SNR, as published": NOT, "input silenced": HOLDS, "heads": HOLDS,
    }  # fmt: skip
    assert of_language([sharp, FLAT])["SNR, fine-tuned"] == NOT
    assert of_language([sharp, sites(NOISY, SHARP, ff=(SHARP, NOISY))])["SNR, fine-tuned"] == (
        f"{PART} at `mha`, `ff_hidden`"
    )
    assert of_language([sharp], untrained=sharp)["SNR, fine-tuned"] == NOT
    assert of_language([sharp], untrained=MILD)["SNR, fine-tuned"] == HOLDS
    assert of_language([sites(indifferent(2), indifferent(10))])["SNR, fine-tuned"] == NOT  # as with shuffled labels
    assert of_language([sharp, silenced])["input silenced"] == NOT
    assert of_language([FLAT], published=sharp)["SNR, as published"] == HOLDS


@pytest.mark.parametrize(
    "changed",
    [{"p": 0.01}, {"shuffled_z": 9.0}, {"untrained_z": 9.0}, {"damage_low": 0.0}, {"z": np.nan, "p": np.nan}],
)
def test_of_language_the_heads_are_judged_beside_every_control(changed):
    assert of_language([FLAT])["heads"] == HOLDS
    assert of_language([FLAT], **changed)["heads"] == NOT


def test_of_language_what_lacks_its_networks_is_not_measured():
    sharp = sites(NOISY, SHARP)
    assert claims.language({}).verdict == UNMEASURED
    assert of_language([], published=sharp) == {
        "SNR, fine-tuned": UNMEASURED, "SNR, as published": HOLDS, "input silenced": UNMEASURED,
        "heads": UNMEASURED,
    }  # fmt: skip
    alone = of_language([sharp], untrained=None, published=None)
    assert alone["SNR, fine-tuned"] == alone["SNR, as published"] == UNMEASURED and alone["heads"] == HOLDS


def test_of_language_every_control_is_named_beside_the_number():
    networks = {
        name: [OnSentences(name, sites(NOISY, SHARP), seed) for seed in (0, 1)]
        for name in ("as published", "fine-tuned", "random weights")
    }
    finding = claims.language(networks)
    assert finding.verdict == PART  # of the network as published no more than of that at random weights
    text = finding.evidence.to_csv()
    for control in ("shuffled labels", "random weights", "input silenced", "random heads", "probe on shuffled labels",
                    "untrained", "removal", "mean of 2 seeds"):  # fmt: skip
        assert control in text
    assert text.count("random weights: 4.75 to 19.00") == 6
