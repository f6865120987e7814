"""Explorers in pages: they count as the library does, load what a reader chooses, and serve finger and keys."""

import contextlib
import itertools
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from conftest import STRANGE, FewNodes
from lib import andc, explorers, heads, runs, snp
from lib.explorers import packing, parts

THRESHOLDS = [round(0.05 * k, 2) for k in range(20)]  # those that the sliders offer


class Stored(FewNodes):
    """A run as pages are made from: 2 encoders of 2 sites, 2 heads, 3 and 5 nodes, 30 labels, with its heads' table."""

    published, superclasses = True, None

    def __init__(self, name="stored", seed=0, labels=30):
        self.name, self.seed = name, seed
        self.sites = ("1.mha", "1.ff", "2.mha", "2.ff")
        self.label_names = tuple(f"label {i}" for i in range(labels))

    def has(self, stage):
        return stage in ("fields", "heads")

    def class_means(self, site, split="test", silencing="readout"):
        random = np.random.default_rng([self.seed, self.sites.index(site)])
        return random.normal(size=(len(self.label_names), 4 if site.endswith("mha") else 5))

    def weight(self, site):
        means = self.class_means(site)
        return means + 0.5 * np.random.default_rng(5).normal(size=means.shape)

    def table(self, name):
        random, K = np.random.default_rng(self.seed), len(self.label_names)
        rows = [(e, h, i) for e in (1, 2) for h in (1, 2) for i in range(K)]
        table = pd.DataFrame(rows, columns=["encoder", "head", "label"])
        return table.assign(accuracy=random.random(len(table)), damage=0.123, train_accuracy=(table["head"] == 1) * 1)


class Prunable(Stored):
    """A run of two encoders between whose sites layers are pruned, with its read-out and its table."""

    definition = SimpleNamespace(seed=0)

    def __init__(self):
        super().__init__("pruned", labels=40)
        self.sites = tuple(f"{e}.{place}" for e in (1, 2) for place in ("ff_in", "ff_hidden", "ff"))

    def has(self, stage):
        return stage in ("fields", "andc")

    def readout(self):
        return self.nodes("2.ff", "train")

    def table(self, name):
        keys = itertools.product(("none", "retrained"), (0.1, 0.5), ("andc", "permuted", "permuted"))
        table = pd.DataFrame(keys, columns=["regime", "threshold", "method"]).assign(layers="ff", encoder=0)
        table = table.assign(reading="diagonal", images=100, kept=1 - table["threshold"], top1=np.arange(12) / 24)
        dense = {"regime": "none", "threshold": 1.0, "method": "dense", "layers": "all", "encoder": 0, "kept": 1.0}
        return pd.concat([table, pd.DataFrame([dense | {"reading": "diagonal", "images": 100, "top1": 0.9}])])


def content_of(html: str) -> dict:
    """What the call at the end of an explorer's script is given."""
    return json.loads(html[html.index('{"run"') : html.index(")</script>")])


@pytest.fixture
def book(tmp_path):
    """A folder as the built book has it: the parts of two runs, and pages beside them."""
    found = [Stored(), Stored("other", 1, 12), Prunable()]
    parts.write(tmp_path / "_static" / "explorers", found)

    def page(html: str, root: str | None = "./"):
        root = "" if root is None else f' data-content_root="{root}"'
        path = tmp_path / f"page{len(list(tmp_path.iterdir()))}.html"
        opened = f'<!doctype html><html lang="en"{root}><meta charset="utf-8"><title>page</title><body>'
        path.write_text(f"{opened}{html}</body></html>", encoding="utf-8")
        return path.as_uri()

    page.runs = {run.name: run for run in found}
    return page


@pytest.fixture
def visit(browser):
    """Opens an address at a size; afterwards no script may have failed."""
    with contextlib.ExitStack() as opened:
        wrong = []

        def visit(address, width=800, **options):
            context = browser.new_context(viewport={"width": width, "height": 900}, **options)
            opened.callback(context.close)
            page = context.new_page()
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.goto(address)
            page.wait_for_selector(".modus-explorer[data-shown]")
            return page

        yield visit
        assert not wrong


def shows(page, text: str):
    """Wait until the first explorer shows what its `data-shown` names."""
    page.wait_for_selector(f'.modus-explorer[data-shown^="{text}"]')
    return page.locator(".modus-explorer").first


def test_the_page_gets_class_means_and_weights_of_every_node_of_a_network_that_no_book_holds():
    run = FewNodes()
    content = content_of(explorers.node_page(run).data)
    assert list(content["parts"]) == ["1.ff", "1.mha"] or list(content["parts"]) == list(run.sites)
    for values, packed in zip((run.class_means("1.ff"), run.weight("1.ff")), content["parts"]["1.ff"], strict=True):
        np.testing.assert_allclose(packing.unpacked(packed), values, rtol=1e-3, atol=1e-4 * np.abs(values).max())


def test_a_page_holds_one_site_of_a_published_run_and_what_fits_of_another(monkeypatch):
    run = Stored()
    assert list(content_of(explorers.node_page(run, "1.ff").data)["parts"]) == ["1.ff"]
    run.published = False
    assert set(content_of(explorers.node_page(run).data)["parts"]) == set(run.sites)
    monkeypatch.setattr(explorers.nodes, "MOST", 1000)
    assert list(content_of(explorers.node_page(run, "1.ff").data)["parts"]) == ["1.ff"]


def test_an_explorer_opens_where_it_is_told_and_only_where_there_is_something():
    run = Stored()
    content = content_of(explorers.node_page(run, site="2.mha", node=3).data)
    assert (content["site"], content["node"]) == ("2.mha", 3)
    live = explorers.NodeExplorer(run, "2.mha", 3)
    assert (live.site.value, live.node.value) == ("2.mha", 3)
    for wrong in ({"site": "3.mha"}, {"site": "2.mha", "node": 4}, {"node": -1}):
        for explorer in (explorers.node_page, explorers.NodeExplorer):
            with pytest.raises(ValueError, match=r"unknown site|has the nodes 0 to"):
                explorer(run, **wrong)
    opened = content_of(explorers.head_page(run, encoder=1, head=2, label=7).data)["open"]
    assert opened == {"encoder": 0, "head": 1, "label": 7}
    counts = heads.diagonal_counts(run.nodes("2.mha"), 2)
    opened = content_of(explorers.head_page(run).data)["open"]
    ahead = abs(counts[0] - counts[1]).max()
    assert counts[opened["head"], opened["label"]] - counts[1 - opened["head"], opened["label"]] == ahead
    with pytest.raises(ValueError, match="unknown head"):
        explorers.head_page(run, head=3)
    assert content_of(explorers.pruning_page(Prunable(), encoder=1).data)["encoder"] == 1
    with pytest.raises(ValueError, match="unknown encoder"):
        explorers.pruning_page(Prunable(), encoder=3)


@pytest.mark.parametrize("name", ["cifar100-mini", "glyphs"])
def test_packing_changes_next_to_no_cluster(name):
    run, nodes, other, worst = runs.load(name, ["fields"]), 0, 0, 0.0
    for site in [s for s in run.sites if s.startswith(f"{run.definition.network.depth}.")]:
        exact = run.nodes(site)
        packed = snp.Nodes(*(packing.unpacked(part) for part in explorers.nodes.numbers(run, site)))
        for threshold in THRESHOLDS:
            (_, before), (_, after) = (next(snp.clusters(each, threshold)) for each in (exact, packed))
            nodes, other = nodes + len(before), other + (before != after).any(1).sum()
            if threshold == snp.THRESHOLD:
                ratios = [snp.site_statistics(each)["snr"] for each in (exact, packed)]
                worst = max(worst, abs(ratios[1] / ratios[0] - 1))
    assert other <= 0.002 * nodes and worst < 1e-3, (other, nodes, worst)


def test_parts_are_scripts_that_add_to_a_registry(tmp_path):
    run = Stored()
    assert parts.write(tmp_path, [run]) == {"stored": ["nodes", "heads"]}
    text = (tmp_path / "stored" / "2.ff.js").read_text(encoding="utf-8")
    start = '(window.modusParts=window.modusParts||{})["stored/2.ff"]='
    assert text.startswith(start)
    packed = json.loads(text.removeprefix(start).removesuffix(";\n"))
    np.testing.assert_allclose(packing.unpacked(packed[0]), run.class_means("2.ff"), atol=1e-3)
    run.has = lambda stage: stage == "fields"
    assert parts.write(tmp_path / "less", [run]) == {"stored": ["nodes"]}


def test_the_page_finds_the_clusters_that_the_library_finds(book, visit):
    page = visit(book(explorers.node_page(book.runs["stored"], "1.ff").data))
    root = page.locator(".node-explorer")
    for run, site, node, threshold in (
        ("stored", "1.ff", 0, 0.3),
        ("stored", "2.ff", 3, 0.1),
        ("stored", "2.mha", 1, 0.0),
        ("other", "1.mha", 2, 0.55),
    ):
        encoder, place = site.split(".")
        root.locator("[name=run]").select_option(run)
        shows(page, run)
        root.locator("[name=encoder]").select_option(encoder)
        shows(page, f"{run} {encoder}")
        root.locator("[name=place]").select_option(place)
        root.locator("[name=threshold]").fill(str(threshold))
        root.locator("[name=node]").fill(str(node))
        shows(page, f"{run} {site} {node} {threshold:g}")
        measured = book.runs[run]
        nodes = snp.Nodes(*(packing.unpacked(part) for part in explorers.nodes.numbers(measured, site)))
        clipped = snp.clip(snp.normalise(nodes.fields()[node]), threshold)
        assert json.loads(root.get_attribute("data-clusters")) == snp.find_clusters(clipped)
        ones = clipped.sum()
        assert f" of {ones} ones" in root.locator("[name=statistics]").inner_text()
        root.locator("[name=label]").select_option("label 5")
        expected = np.flatnonzero(snp.recognised(nodes, threshold)[:, 5])
        assert sorted(json.loads(root.get_attribute("data-nodes"))) == expected.tolist()


def test_the_matrix_falls_into_the_clusters_that_the_library_finds(book, visit):
    run = book.runs["stored"]
    html = explorers.matrix_page(run, "1.ff").data
    found = content_of(html)
    nodes = snp.Nodes(*(packing.unpacked(part) for part in found["numbers"]))
    noise = snp.node_statistics(*next(iter(snp.clusters(run.nodes("1.ff")))))["noise"]
    assert noise[found["node"]] == np.sort(noise)[len(noise) // 2]
    page = visit(book(html))
    root = page.locator(".matrix-explorer")
    said = set()
    for threshold in (0.3, 0.0, 0.55):
        root.locator("[name=threshold]").fill(str(threshold))
        clipped = snp.clip(snp.normalise(nodes.fields()[0]), threshold)
        clusters = snp.find_clusters(clipped)
        assert json.loads(root.get_attribute("data-clusters")) == clusters
        said.add(root.locator("[name=statistics]").inner_text())
        largest = sorted(clusters, key=lambda c: (-len(c), c[0]))
        names = [", ".join(f"label {i}" for i in cluster) for cluster in largest]
        for key, k in (("ArrowRight", 1), ("ArrowLeft", 0), ("ArrowUp", -1), ("ArrowDown", 0)):
            root.locator("canvas").press(key)
            assert root.locator("[name=block]").inner_text() == names[k % len(names)]
    assert len(said) == 3
    page.locator("canvas").click(position={"x": 2, "y": 2})
    assert root.locator("[name=block]").inner_text() == names[0]
    with pytest.raises(ValueError, match="site"):
        explorers.matrix_page(run, "7.ff")


def test_the_page_counts_heads_as_the_library_does(book, visit):
    page = visit(book(explorers.head_page(book.runs["stored"]).data))
    root = page.locator(".head-explorer")
    for run, encoder, threshold in (("stored", 1, 0.3), ("stored", 2, 0.55), ("other", 1, 0.0)):
        root.locator("[name=run]").select_option(run)
        shows(page, run)
        root.locator("[name=encoder]").select_option(index=encoder - 1)
        root.locator("[name=threshold]").fill(str(threshold))
        counts = heads.diagonal_counts(book.runs[run].nodes(f"{encoder}.mha"), 2, threshold)
        assert json.loads(root.get_attribute("data-counts")) == counts.tolist()


def test_the_page_keeps_the_weights_that_the_rule_keeps(book, visit):
    run = book.runs["pruned"]
    page = visit(book(explorers.pruning_page(run).data))
    root = page.locator(".pruning-explorer")
    for encoder, threshold in ((2, 0.3), (1, 0.3), (1, 0.05), (2, 0.6)):
        root.locator("[name=encoder]").select_option(str(encoder))
        shows(page, f"pruned {encoder}")
        root.locator("[name=threshold]").fill(str(threshold))
        sets = [snp.recognised(run.nodes(f"{encoder}.{place}"), threshold) for place in ("ff_in", "ff_hidden", "ff")]
        sets += [snp.recognised(run.readout(), threshold), np.eye(40, dtype=bool)]
        pairs = {"linear1": (0, 1), "linear2": (1, 2), "classifier": (3, 4)}
        expected = {layer: int(andc.mask(sets[a], sets[b]).sum()) for layer, (a, b) in pairs.items()}
        assert json.loads(root.get_attribute("data-kept")) == expected
        assert f"{100 * expected['linear1'] / 25:.1f} %" in root.locator("[name=words-linear1]").inner_text()


def test_the_page_shows_stored_accuracies_beside_each_control(book, visit):
    page = visit(book(explorers.pruning_page(book.runs["pruned"]).data))
    root = page.locator(".pruning-explorer")
    root.locator("[name=threshold]").fill("0.45")
    assert json.loads(root.get_attribute("data-accuracies")) == pytest.approx(
        {"andc": 3 / 24, "permuted": 4.5 / 24}, abs=1e-5
    )
    assert "threshold 0.5, the nearest that was measured" in root.locator("[name=tableWords]").inner_text()
    assert "nothing pruned" in root.locator("table").inner_text() and "mean of 2" in root.locator("table").inner_text()
    root.locator("[name=regime]").select_option("retrained")
    root.locator("[name=threshold]").fill("0.1")
    assert json.loads(root.get_attribute("data-accuracies")) == pytest.approx(
        {"andc": 6 / 24, "permuted": 7.5 / 24}, abs=1e-5
    )


def test_the_page_says_why_a_weight_is_kept(book, visit):
    run = book.runs["pruned"]
    page = visit(book(explorers.pruning_page(run).data), has_touch=True)
    root = page.locator(".pruning-explorer")
    root.locator("[name=threshold]").fill("0.2")
    sets = [snp.recognised(run.nodes(f"2.{place}"), 0.2) for place in ("ff_in", "ff_hidden")]
    for to, start in np.ndindex(5, 5):
        root.locator("[name=from]").fill(str(start))
        root.locator("[name=to]").fill(str(to))
        root.locator("[name=to]").press("Tab")
        told = root.locator("[name=pointer]").inner_text()
        common = np.flatnonzero(sets[0][start] & sets[1][to])
        assert ("kept" in told) == (len(common) > 0)
        assert all(run.label_names[i] in told for i in common[:8])
    root.locator("canvas[name=linear2]").tap(position={"x": 4, "y": 4})
    assert root.locator("[name=layer]").input_value() == "linear2" and root.locator("[name=to]").input_value() == "0"


def test_addresses_restore_a_view_and_count_as_the_page_does(book, visit):
    nodes = book(explorers.node_page(book.runs["stored"]).data)
    page = visit(f"{nodes}#node-explorer-stored:run=other&encoder=2&place=ff&node=3&label=label+7&threshold=0.1")
    root = shows(page, "other 2.ff 3 0.1")
    assert root.locator("[name=label] option:checked").inner_text() == "label 7"
    root.locator("[name=place]").select_option("mha")
    shows(page, "other 2.mha 3")
    assert "encoder=2&place=mha&node=3&label=label+7" in page.url
    page = visit(book(explorers.head_page(book.runs["stored"]).data) + "#head-explorer-stored:encoder=1&head=2")
    shows(page, "stored 1 2")
    page.locator("[name=head]").select_option(index=0)
    assert "encoder=1&head=1&" in page.url


def test_what_is_out_of_range_is_corrected_and_said(book, visit):
    address = book(explorers.node_page(book.runs["stored"], "1.ff").data)
    page = visit(f"{address}#node-explorer-stored:encoder=1&place=ff&node=999")
    root = shows(page, "stored 1.ff 4")
    assert root.locator("[name=node]").input_value() == "4"
    assert "no node 999" in root.locator("[name=note]").inner_text()
    root.locator("[name=node]").fill("-7")
    assert root.locator("[name=node]").input_value() == "0"
    page = visit(f"{address}#node-explorer-stored:encoder=9&place=ff")
    assert "no site 9.ff" in page.locator("[name=note]").inner_text()
    page = visit(book(explorers.head_page(book.runs["stored"]).data) + "#head-explorer-stored:head=7")
    shows(page, "stored 2 2")
    assert "no head 7" in page.locator("[name=note]").inner_text()


def test_a_part_that_is_missing_is_said_and_what_was_shown_stays(book, visit, tmp_path):
    (tmp_path / "_static" / "explorers" / "stored" / "2.mha.js").unlink()
    page = visit(book(explorers.node_page(book.runs["stored"], "2.ff").data))
    root = shows(page, "stored 2.ff")
    root.locator("[name=place]").select_option("mha")
    page.wait_for_function("document.querySelector('[name=note]').textContent.includes('cannot be shown')")
    assert root.locator("[name=place]").input_value() == "ff"


def test_a_notebook_shows_what_it_has_and_says_where_the_rest_is(book, visit):
    page = visit(book(explorers.node_page(book.runs["stored"], "2.ff", 1).data, root=None))
    root = shows(page, "stored 2.ff 1")
    assert root.locator("[name=place] option").all_inner_texts() == ["ff"]
    assert "is one site of 4" in root.locator("[name=note]").inner_text()
    assert not root.locator("[name=run]").is_visible()


@pytest.mark.parametrize("page_of", [explorers.node_page, explorers.head_page])
def test_a_tap_tells_what_the_pointer_tells(book, visit, page_of):
    address = book(page_of(book.runs["stored"]).data)
    name, at = ("left", {"x": 100, "y": 60}) if page_of is explorers.node_page else ("map", {"x": 100, "y": 40})
    hovered = visit(address)
    hovered.locator(f"canvas[name={name}]").hover(position=at)
    tapped = visit(address, has_touch=True)
    tapped.locator(f"canvas[name={name}]").tap(position=at)
    told = [page.locator("[name=pointer]").inner_text() for page in (hovered, tapped)]
    assert told[0] == told[1] and "label" in told[0]
    assert told[1] == tapped.locator(".cells button[aria-pressed=true]").get_attribute("aria-label")


@pytest.mark.parametrize("page_of", [explorers.node_page, explorers.head_page])
def test_enlarged_cells_are_big_enough_and_work_by_keys(book, visit, page_of):
    page = visit(book(page_of(book.runs["stored"]).data), width=360)
    cells = page.locator(".cells button")
    sizes = cells.evaluate_all("all => all.map(c => [c.offsetWidth, c.offsetHeight])")
    assert min(w for w, _ in sizes) >= 24 and min(h for _, h in sizes) >= 24
    other = page.locator(".cells button[aria-pressed=false]").first
    label = other.get_attribute("aria-label")
    other.focus()
    page.keyboard.press("Enter")
    focused = page.evaluate("[document.activeElement.getAttribute('aria-label'), document.activeElement.ariaPressed]")
    assert focused == [label, "true"]
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    assert page.locator("[name=pointer]").inner_text() == label


def test_the_focus_stays_in_a_list_that_changes(book, visit):
    page = visit(book(explorers.node_page(book.runs["stored"], "2.ff").data))
    page.locator("[name=threshold]").fill("0")
    page.locator("[name=label]").select_option("label 3")
    last = page.locator("[name=nodes] button").last
    text = last.inner_text()
    last.focus()
    page.keyboard.press("Enter")
    shows(page, f"stored 2.ff {text.split()[0]}")
    assert page.evaluate("document.activeElement.textContent") == text
    page = visit(book(explorers.head_page(book.runs["stored"]).data))
    button = page.locator("[name=ofHead] button").nth(1)
    text = button.inner_text()
    button.focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.textContent") == text
    assert page.locator("[name=label] option:checked").inner_text() == text


def test_pictures_say_what_they_show(book, visit):
    page = visit(
        book("".join(page_of(book.runs["stored"]).data for page_of in (explorers.node_page, explorers.head_page)))
    )
    for canvas in page.locator("canvas").all():
        assert canvas.get_attribute("role") == "img" and len(canvas.get_attribute("aria-label")) > 30


def test_a_label_of_one_sign_stands_in_quotes_where_it_is_read(book, visit):
    run = Stored("signs")
    run.published, run.label_names = False, (",", ".", *(f"label {i}" for i in range(2, 30)))
    page = visit(book(explorers.node_page(run, "2.ff").data))
    root = page.locator(".node-explorer")
    root.locator("[name=threshold]").fill("0")
    for sign, i in ((",", 0), (".", 1)):
        root.locator("[name=label]").select_option(sign)
        assert f"recognise “{sign}”, most" in root.locator("[name=interest]").inner_text()
        node = int(root.locator("[name=nodes] button").first.get_attribute("data-key"))
        root.locator("[name=node]").fill(str(node))
        of_it = next(c for c in json.loads(root.get_attribute("data-clusters")) if i in c)
        listed = ", ".join(f"“{run.label_names[k]}”" if k < 2 else run.label_names[k] for k in of_it)
        assert listed in root.locator("[name=clusters]").inner_text()
    root.locator("canvas[name=left]").click(position={"x": 1, "y": 1})
    assert root.locator("[name=pointer]").inner_text().startswith("true label “,”, output “,”: field")
    assert root.locator("[name=row]").inner_text().startswith("True label “,”, outputs “,” to label")


def test_explorers_in_a_page_take_any_label_and_do_not_disturb_each_other(book, visit):
    run = FewNodes()
    run.name, run.label_names = '"a b:ü', STRANGE[3:]
    other = FewNodes()
    stored = Stored('"s t')
    stored.label_names = tuple(STRANGE)
    html = [explorers.node_page(r).data for r in (run, run, other)] + [explorers.head_page(stored).data]
    page = visit(book("".join(html), root=None))
    roots = page.locator(".modus-explorer")
    ids = roots.evaluate_all("all => all.map(root => root.id)")
    expected = ['node-explorer-"a b:ü', 'node-explorer-"a b:ü-2', "node-explorer-few", 'head-explorer-"s t']
    assert ids == expected
    drawn = "root => [...root.querySelector('[name=label]').options].map(o => o.textContent)"
    for i, names in enumerate((run.label_names, run.label_names, other.label_names)):
        assert roots.nth(i).evaluate(drawn) == ["none", *names]
        assert roots.nth(i).get_attribute("data-clusters")
    assert roots.nth(3).evaluate(drawn) == list(STRANGE)
