"""Networks of language side by side: tables of made-up runs, what is said of them, and charts of both."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lib import charts, heads, snp
from lib.experiments import language, language_findings
from lib.study import Measures

K, H = 12, 4
DOMAINS = np.repeat(np.arange(4), 3)


class Made(Measures):
    """A run of two encoders: class means and weights of a site are drawn by `draw(encoder, place)`."""

    label_names = tuple(f"intent {i}" for i in range(K))
    superclasses = tuple(f"domain {d}" for d in DOMAINS)

    def __init__(self, name, draw, seed=0, pretrained=True, parts="readout", **tables):
        self.name, self.draw = name, draw
        network = SimpleNamespace(depth=2, heads=H, pretrained=pretrained)
        self.definition = SimpleNamespace(network=network, training=SimpleNamespace(parts=parts), seed=seed)
        self.sites = [f"{e}.{p}" for e in (1, 2) for p in (*language.PLACES, "out")]
        probes = pd.DataFrame({"site": self.sites, "test_accuracy": [int(s[0]) * 0.3 for s in self.sites]})
        self.tables = {"probes": probes, "fields": None} | {n: pd.DataFrame(rows) for n, rows in tables.items()}
        self.results = {"test_accuracy": 0.5}

    def class_means(self, site, split="test", silencing="readout"):
        return self.draw(*site.split("."))[0]

    def weight(self, site):
        return self.draw(*site.split("."))[1]

    def table(self, name):
        return self.tables[name]

    def has(self, stage):
        return stage in self.tables

    def same_but_seed(self, other):
        return self.definition.training == other.definition.training and self.name[:4] == other.name[:4]


def of_domains(spill: int = 1):
    """Nodes of four heads: each recognises the labels of its head's domain and names `spill` others with each."""

    def draw(encoder, place):
        own = (DOMAINS[:, None] == np.repeat(np.arange(H), 4)).astype(float)
        return own, np.maximum(own, np.roll(own, spill, axis=0))

    return draw


def at_random(encoder, place):
    return np.random.default_rng([int(encoder), len(place)]).normal(size=(2, K, 16))


def heads_tables(expert: np.ndarray, **columns) -> dict:
    """The tables of stage heads: who is the expert, and one row an encoder with some columns."""
    rows = [
        {"encoder": e, "head": h + 1, "label": i, "train_accuracy": float(expert[i] == h)}
        for e in (1, 2)
        for h in range(H)
        for i in range(K)
    ]
    names = [f"{p}{n}" for p in language.AFTER for n in ("observed", "null_mean", "null_std", "z", "p")]
    names += [f"damage_{n}" for n in ("rho", "low", "high", "p")]
    encoders = [{"encoder": e} | dict.fromkeys(names, 0.5) | columns for e in (1, 2)]
    return {"heads": rows, "heads_encoders": encoders}


def andc_table(**accuracy) -> list[dict]:
    """The table of stage andc: unpruned, and one threshold by some methods, in regime "retrained"."""
    key = {"regime": "retrained", "encoder": 0, "reading": "diagonal", "draw": 0, "images": 5000}
    dense = key | {"layers": "all", "threshold": 1.0, "method": "dense", "top1": 0.9, "kept": 1.0}
    pruned = {"layers": "ff", "threshold": 0.3, "kept": 0.6}
    return [dense, *(key | pruned | {"method": m, "top1": a} for m, a in accuracy.items())]


def test_runs_are_grouped_by_what_became_of_their_weights():
    published, other = Made("mine", at_random), Made("yours", at_random)
    tuned = [Made(f"tuned-{s}", at_random, seed=s, parts="all") for s in (0, 1)]
    untrained = Made("noise", at_random, pretrained=False)
    found = language.by_kind([untrained, *tuned, published, other])
    assert {name: [r.name for r in runs] for name, runs in found.items()} == {
        "as published": ["mine"], "fine-tuned": ["tuned-0", "tuned-1"], "random weights": ["noise"],
    }  # fmt: skip
    assert language.by_kind([published, other], first="yours")["as published"] == [other]
    assert language.by_kind([]) == {}


def test_nodes_along_the_encoders_are_measured_as_everywhere():
    run = Made("mine", at_random)
    found = language.along({"mine": [run]})
    assert len(found) == 2 * len(language.PLACES) and set(found["place"]) == set(language.PLACES)
    row = found[(found["encoder"] == 2) & (found["place"] == "ff")].iloc[0]
    assert row["snr"] == snp.site_statistics(run.nodes("2.ff"))["snr"] and row["accuracy"] == 0.6
    assert row["control"] == snp.relabelled_snr(run.nodes("2.ff"))
    assert row["rests_on"] == pytest.approx(snp.participation(run.nodes("2.ff")).mean())
    alike = language.along({"mine": [Made("mine", of_domains(0))]})
    assert alike["rests_on"].tolist() == pytest.approx([4.0] * 6) and (alike["rests_on_control"] < 4).all()
    three = Made("deep", at_random)
    three.definition.network.depth, three.sites = 3, [f"{e}.ff" for e in (1, 2, 3)]
    three.tables["probes"] = pd.DataFrame({"site": three.sites, "test_accuracy": 0.5})
    assert language.along({"deep": [three]}, ends=True)["encoder"].tolist() == [1, 3]


def test_seeds_are_summarised_by_their_mean_and_range():
    table = pd.DataFrame(
        {"network": "a", "seed": [0, 1], "place": "ff", "encoder": 1, "snr": [1.0, 3.0], "control": 1.0}
    )
    row = language.over_seeds(table, "snr", "control").iloc[0]
    assert (row["snr"], row["low"], row["high"], row["seeds"], row["control"]) == (2.0, 1.0, 3.0, 2, 1.0)


def test_clusters_and_heads_that_keep_to_domains_are_found_and_others_are_not():
    planted, noise = ({"mine": [Made("mine", d, **heads_tables(DOMAINS))]} for d in (of_domains(), at_random))
    found = language.clusters_in_domains(planted, 99)
    assert (found["observed"] == 1).all() and (found["p"] < 0.05).all() and len(found) == 6
    assert (language.clusters_in_domains(noise, 99)["p"] > 0.01).all()
    owners = language.heads_in_domains(planted, 99)
    assert owners["observed"].tolist() == pytest.approx([1] * 6) and owners["what"].nunique() == 3
    dealt = owners[owners["what"] != language.BY_HEADS]
    assert (dealt["p"] < 0.05).all() and (dealt["null_mean"].abs() < 0.1).all()
    random_heads = owners[owners["what"] == language.BY_HEADS]  # the nodes keep to domains, whoever has them
    assert (random_heads["null_mean"] > 0.5).all() and (random_heads["p"] > 0.05).all()
    chance = language.heads_in_domains({"mine": [Made("mine", at_random, **heads_tables(np.arange(K) % H))]}, 99)
    assert (chance["p"] > 0.01).all()
    without = Made("mine", of_domains(), **heads_tables(DOMAINS))
    without.superclasses = None
    for table in (language.clusters_in_domains, language.heads_in_domains):
        assert table({"mine": [without]}).empty and "network" in table({"mine": [without]})


def test_polarisation_is_beside_its_controls():
    columns = {"observed": 0.4, "null_mean": 0.2, "null_std": 0.04, "shuffled_observed": np.nan}
    found = language.polarisation({"mine": [Made("mine", at_random, **heads_tables(DOMAINS, **columns))]})
    assert set(found["what"]) == {"network", "untrained"}  # no node recognised a shuffled label
    row = found[found["what"] == "network"].iloc[0]
    assert row["beyond"] == pytest.approx(heads.excess(0.4, 0.2)) and row["error"] == pytest.approx(0.1)
    one_node_a_label = {"observed": 1.0, "null_mean": 1.0}  # random heads then own every label too
    only = Made("mine", at_random, **heads_tables(DOMAINS, **columns | one_node_a_label))
    assert set(language.polarisation({"mine": [only]})["what"]) == {"untrained"}


def test_pruning_is_beside_every_method():
    runs = [
        Made("tuned-0", at_random, andc=andc_table(andc=0.8, permuted=0.74, magnitude=0.9)),
        Made("tuned-1", at_random, seed=1, andc=andc_table(andc=0.804, permuted=0.74, magnitude=0.9)),
    ]
    found = language.pruned({"mine": runs, "none": []})
    assert found["other"].tolist() == ["dense", "permuted", "magnitude"]
    assert found["andc"].tolist() == pytest.approx([0.802] * 3)
    wide = found.set_index("other")
    assert wide["difference"].to_dict() == pytest.approx({"dense": -0.098, "permuted": 0.062, "magnitude": -0.098})
    assert wide["sign"].to_dict() == {"dense": -1, "permuted": 1, "magnitude": -1}
    one = language.pruned(
        {"mine": [Made("tuned-0", at_random, andc=andc_table(andc=0.8, permuted=0.79, magnitude=0.9))]}
    )
    assert one.set_index("other")["sign"]["permuted"] == 0  # of one seed, on so few sentences
    both = language_findings.methods(pd.concat([found, one.assign(network="other")]).query("other != 'magnitude'"))
    assert both.index.tolist() == [("Retrained", name) for name in ("ANDC", "unpruned", "permuted")]
    assert both["mine", "threshold 0.3, 60% kept"].tolist() == pytest.approx([0.802, 0.9, 0.74])
    assert both["other", "threshold 0.3, 60% kept"].tolist() == pytest.approx([0.8, 0.9, 0.79])
    text = language_findings.pruning(one)
    assert (
        "worse than the unpruned network in 1 of 1, magnitude in 1 of 1; neither better nor worse than permuted" in text
    )
    for part in (
        "ANDC 80.0%",
        "unpruned 90.0%, -10.0;",
        "permuted 79.0%, (+1.0);",
        "magnitude 90.0%, -10.0",
        "60% kept",
    ):
        assert part in text
    unmeasured = Made(
        "tuned-2", at_random, andc=[row | {"regime": "none"} for row in andc_table(andc=0.8, permuted=0.7)]
    )
    assert language.pruned({"mine": [unmeasured]}).empty


@pytest.fixture
def networks():
    tables = heads_tables(DOMAINS, z=9.0, p=0.001, untrained_z=1.0, shuffled_z=2.0) | {
        "andc": andc_table(andc=0.8, permuted=0.79, magnitude=0.9)
    }
    return {
        "as published": [Made("mine", at_random, **tables)],
        "fine-tuned": [Made(f"tuned-{s}", of_domains(s + 1), seed=s, parts="all", **tables) for s in (0, 1)],
        "random weights": [Made("noise", at_random, pretrained=False)],
    }


def tables(networks) -> list[pd.DataFrame]:
    found = [language.along(networks), language.clusters_in_domains(networks, 20)]
    found += [language.heads_in_domains(networks, 20), language.polarisation(networks), language.removal(networks)]
    return [*found, language.pruned(networks)]


def test_what_is_said_names_every_control(networks):
    nodes, clusters, owners, broken, removed, _ = tables(networks)
    short = language_findings.in_short(networks, nodes, clusters, broken)
    for control in ("shuffled labels", "random weights", "by chance", "random heads", "untrained", "fine-tuned"):
        assert control in short
    assert short.count("\n- ") == 3 and short.count("(fine-tuned)") == 4
    alone = {"as published": networks["as published"]}
    without = language_findings.in_short(alone, nodes[nodes["network"] == "as published"], clusters, broken)
    assert "as published" in without and "not judged, since the network at random weights" in without
    assert "of 2 seeds" in language_findings.growth(nodes) and "of 1 seed" not in language_findings.growth(nodes)
    assert "nodes sharpen at" in language_findings.sharpened(networks, nodes)
    told = language_findings.heads(broken, removed)
    assert "2 of 2 (as published), 4 of 4 in 2 seeds (fine-tuned)" in told
    assert "shuffled labels" in told and "untrained" in told and "fine-tuned 0.50." in told
    domains = language_findings.domains(clusters, owners)
    assert "random heads" in domains and "of the 12 labels that count" in domains and "-0.00" not in domains
    trained_alone = language_findings.domains(clusters.query("network != 'random weights'"), owners)
    assert "than at random weights" in domains and "than at random weights" not in trained_alone
    defined = networks | {"fine-tuned": [*networks["fine-tuned"], Made("tuned-2", at_random, seed=2)]}
    runs = language_findings.measured(networks | {"as published": []}, defined)
    assert runs == (
        "The networks and their runs: **as published** `mine` (not measured yet), **fine-tuned** `tuned-0` and"
        " `tuned-1` (test accuracy 50.0% on average; `tuned-2` not measured yet), **random weights** `noise` (test"
        " accuracy 50.0%)."
    )


def shares(network: str, observed: dict[str, float]) -> pd.DataFrame:
    """Of `clusters_in_domains`: shares at the last of two encoders, 0.1 by chance with a standard deviation of 0.01."""
    about = {"network": network, "seed": 0, "null_mean": 0.1, "null_std": 0.01, "p": 0.001}
    rows = [about | {"place": place, "encoder": e, "observed": v} for place, v in observed.items() for e in (1, 2)]
    return pd.DataFrame(rows)


def test_clusters_mean_something_only_where_they_do_beyond_random_weights():
    bare = shares("random weights", dict.fromkeys(language.PLACES, 0.15))
    tuned = shares("fine-tuned", {"mha": 0.16, "ff_hidden": 0.2, "ff": 0.11})
    text = language_findings.keep_to_domains(pd.concat([tuned, bare]))
    assert "`mha` 16%, `ff_hidden` 20%, `ff` 11%" in text and "beyond chance (p < 0.01) at all three places" in text
    assert "beyond random weights at `ff_hidden` only, below them at `ff`. Only where it is beyond both" in text
    assert "larger than at random weights at 2 of 6 sites and smaller at 2" in text
    for share, reading in ((0.16, "is there without training"), (0.3, "So training gave clusters a meaning")):
        assert reading in language_findings.keep_to_domains(
            pd.concat([shares("fine-tuned", dict.fromkeys(language.PLACES, share)), bare])
        )
    assert "random weights were not measured." in language_findings.keep_to_domains(tuned)


def test_what_other_labels_show_is_said_or_what_they_would(networks):
    nodes = language.along(networks, ends=True)
    assert language_findings.elsewhere(nodes, "yours", networks) == language_findings.growth(nodes)
    text = language_findings.elsewhere(nodes[:0], "yours", networks)
    assert text.startswith("Run `yours` has not been made yet.") and "(fine-tuned)" in text
    assert language_findings.elsewhere(nodes[:0], "yours", {}).endswith("where they do here.")


def test_one_node_is_shown_with_the_domains_of_its_clusters():
    run = Made("mine", of_domains(0))
    assert language_findings.usual_node(run) == ("2.mha", snp.median_node(run.nodes("2.mha")))
    text = language_findings.one_node(run)
    assert "2.mha" in text and text.count("\n- ") == 1
    assert "(domain" in text and text.count("intent") == 3
    run.superclasses = None
    assert "(domain" not in language_findings.one_node(run)


def test_what_was_not_measured_is_said_and_drawn_as_such():
    nodes, clusters, owners, broken, removed, pruned = tables({})
    for text in (
        language_findings.in_short({}, nodes, clusters, broken), language_findings.growth(nodes),
        language_findings.domains(clusters, owners), language_findings.heads(broken, removed),
        language_findings.pruning(pruned), language_findings.keep_to_domains(clusters),
        language_findings.sharpened({}, nodes),
    ):  # fmt: skip
        assert text == language_findings.MISSING
    assert language_findings.measured({}, {}).count("** (not measured yet)") == 3
    assert language_findings.methods(pruned).empty
    for chart in drawn(nodes, clusters, owners, broken, removed):
        assert chart.to_dict()["description"] == charts.language.MISSING


def drawn(nodes, clusters, owners, broken, removed) -> list:
    return [
        charts.language.side_by_side(language.over_seeds(nodes, "accuracy"), "accuracy", "accuracy", percent=True),
        charts.language.side_by_side(language.over_seeds(nodes, "snr", "control"), "snr", "SNR", control="control"),
        charts.language.beside_chance(clusters, "place", "share"),
        charts.language.beside_chance(owners, "what", "index", each_its_scale=True),
        charts.language.polarisation(broken),
        charts.language.removal(removed),
    ]


def test_charts_of_language_are_valid(networks):
    made = [
        *drawn(*tables(networks)[:5]),
        charts.language.sentence([np.ones(2), -np.ones(2)], np.eye(3), ["[CLS]", "pay", "pay"], "it's"),
    ]
    for chart in made:
        content = chart.to_dict()
        assert content["description"] and charts.language.MISSING not in content["description"]
    rows = made[0].to_dict()
    assert len(rows["datasets"][rows["data"]["name"]]) == 3 * 2 * len(language.PLACES)


def test_a_network_has_one_colour_in_all_charts_of_a_page(networks):
    nodes, clusters, _, broken, removed, _ = tables(networks)
    everyone, few = list(networks), "random weights"
    made = [
        charts.language.side_by_side(language.over_seeds(nodes, "snr"), "snr", "SNR", networks=everyone),
        charts.language.beside_chance(clusters[clusters["network"] == few], "place", "share", everyone),
        charts.language.polarisation(broken, everyone),
    ]
    scales = [chart.to_dict()["spec"]["layer"][0]["encoding"]["color"]["scale"] for chart in made]
    colours = [dict(zip(scale["domain"], scale["range"], strict=True)) for scale in scales]
    assert colours[1] == {few: colours[0][few]} and colours[2].items() <= colours[0].items()
    zero = charts.language.removal(removed).to_dict()["spec"]["layer"][0]
    assert set(zero["encoding"]) == {"y"}  # a rule over the whole panel
