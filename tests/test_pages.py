"""The built book: every page is complete, accessible, and works in a browser that reaches nothing but the book."""

import functools
import http.server
import json
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import yaml

from lib import heads, runs, snp

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
PAGES = [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])]
CHARTS = "div[id^='altair-viz-'], .vega-embed"
DRAWN = f"""() => [...document.querySelectorAll("{CHARTS}")].every(chart => chart.dataset.drawn)"""
SHIFTS = """() => new Promise((done) => {
    const found = [], box = ({ x, y, width, height }) => [x, y, width, height].map(Math.round);
    const moved = ({ node, previousRect, currentRect }) => [node?.className, box(previousRect), box(currentRect)];
    const add = (list) => list.getEntries().filter((e) => !e.hadRecentInput)
        .forEach((e) => found.push([e.value, e.startTime, ...e.sources.map(moved)]));
    new PerformanceObserver(add).observe({ type: "layout-shift", buffered: true });
    setTimeout(() => done(found), 200);
})"""
THEME = "mode => { for (const name of ['theme', 'mode']) document.documentElement.dataset[name] = mode; }"
VIOLATIONS = """axe.run({ resultTypes: ["violations"], preload: false }).then((found) => found.violations
    .filter((v) => ["serious", "critical"].includes(v.impact))
    .flatMap((v) => v.nodes.map((n) => [v.id, n.html.slice(0, 200)])))"""
FOCUS = """() => {
    const { outerHTML } = document.activeElement, style = getComputedStyle(document.activeElement);
    const outlined = style.outlineStyle !== "none" && style.outlineWidth !== "0px";
    return [(outlined || style.boxShadow !== "none") && style.opacity === "1", outerHTML.slice(0, 200)];
}"""


@pytest.fixture(scope="session")
def html():
    done = subprocess.run([sys.executable, ROOT / "book" / "_ext" / "build.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return HTML


@pytest.fixture(scope="session")
def address(html):
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=html))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def visit(browser, address):
    """Opens a page in a context of its own; afterwards nothing may have gone wrong in it."""
    context = browser.new_context()
    foreign, errors = [], []

    def route(route):
        inside = route.request.url.startswith((address, "data:", "blob:"))
        if not inside:
            foreign.append(route.request.url)
        route.continue_() if inside else route.abort()

    def visit(name, width=1280):
        page = context.new_page()
        page.set_viewport_size({"width": width, "height": 900})
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{address}/{name}.html", wait_until="load")
        page.wait_for_function(DRAWN, timeout=60_000)
        return page

    context.route("**/*", route)
    yield visit
    context.close()
    assert not foreign, "requests to elsewhere"
    assert not errors


@pytest.mark.parametrize("name", PAGES)
def test_page_is_complete(html, name):
    page = html / f"{name}.html"
    text = page.read_text(encoding="utf-8")
    assert "Traceback" not in text
    assert page.stat().st_size < 5_000_000


def test_titles_say_chapter_and_book_once(html):
    first, *others = [re.search("<title>(.*?)</title>", (html / f"{n}.html").read_text("utf-8"))[1] for n in PAGES]
    assert first == "Modus Vivendi" and "One node at a time &#8212; Modus Vivendi" in others
    assert len(set(others)) == len(others)
    assert all(title.count("Modus Vivendi") == 1 and not title[0].isdigit() for title in others)


@pytest.mark.parametrize("name", PAGES)
def test_page_works_without_a_network(visit, name):
    page = visit(name)
    if page.locator("div.math, span.math").count():
        page.wait_for_selector("mjx-container", timeout=60_000)
        assert page.locator("mjx-merror").count() == 0


@pytest.mark.parametrize("name", ["intro", "02-probes", "04-sharpening", "05-pruning", "06-heads", "08-flowers"])
def test_charts_fit_a_phone(visit, name):
    page = visit(f"book/{name}", width=390)
    found = page.locator(CHARTS).evaluate_all("""all => all.map(chart => {
        const drawing = chart.querySelector('canvas, svg.marks'), { width } = drawing.getBoundingClientRect();
        return [width, chart.clientWidth, drawing.viewBox ? width / drawing.viewBox.baseVal.width : 1];
    })""")
    assert found and all(drawn <= room and scale > 0.97 for drawn, room, scale in found), found


@pytest.mark.parametrize("width", [390, 1280])
def test_panels_beside_long_names_are_wide_and_start_at_one_place(visit, width):
    page = visit("book/08-flowers", width=width)
    panels = page.locator(CHARTS).last.locator("g.mark-group.cell > g > path.background")
    found = panels.evaluate_all("all => all.map(e => e.getBoundingClientRect()).map(({ x, width }) => [x, width])")
    assert found and min(wide for _, wide in found) >= 170
    assert len({round(x) for x, _ in found}) <= 2


def test_the_verdicts_are_readable_on_a_phone(visit):
    page = visit("book/intro", width=390)
    cells = page.locator(".verdict summary").evaluate_all("all => all.map(e => e.getBoundingClientRect().right)")
    assert cells and max(cells) <= 390


@pytest.mark.parametrize("width", [390, 1280])
def test_one_switch_shows_and_hides_all_code_which_phones_do_without(visit, width):
    page = visit("book/05-pruning", width=width)
    code, switch = page.locator(".cell_input, details.above-input"), page.locator(".code-switch")
    seen = "all => all.map(each => each.checkVisibility())"
    before = width > 720
    assert set(code.evaluate_all(seen)) == ({True, False} if before else {False})  # folded code is within its fold
    switch.click()
    assert code.first.is_visible() != before and switch.inner_text() == ("Show code" if before else "Hide code")
    page.reload()
    assert code.first.is_visible() != before
    assert page.locator(".cell_output").first.is_visible()


@pytest.mark.parametrize("width", [390, 1280])
def test_the_menu_button_shows_and_hides_the_chapters(visit, width):
    page = visit("book/choices", width=width)
    chapter = page.get_by_role("link", name="One node at a time").first
    before = chapter.is_visible()
    assert before == (width > 1000)
    page.locator(".primary-toggle:visible").click()
    chapter.wait_for(state="hidden" if before else "visible", timeout=10_000)


def test_the_explorer_finds_the_clusters_that_the_library_finds(visit):
    page = visit("book/03-nodes")
    root = page.locator(".node-explorer")
    run = runs.load(root.get_attribute("id").removeprefix("node-explorer-"), ["fields"])
    before = page.locator(".node-explorer canvas[name=right]").evaluate("c => c.toDataURL()")
    for site, node, threshold in (("1.mha", 3, 0.3), ("2.ff", 11, 0.5), ("3.ff_hidden", 40, 0.1)):
        encoder, place = site.split(".")
        root.locator("[name=encoder]").select_option(encoder)
        root.locator("[name=place]").select_option(place)
        root.locator("[name=node]").fill(str(node))
        root.locator("[name=threshold]").fill(str(threshold))
        clipped = snp.clip(snp.normalise(run.fields(site)[node]), threshold)
        assert json.loads(root.get_attribute("data-clusters")) == snp.find_clusters(clipped)
        after = page.locator(".node-explorer canvas[name=right]").evaluate("c => c.toDataURL()")
        assert after != before
        before = after


def test_the_explorer_names_the_labels_under_the_pointer(visit):
    page = visit("book/03-nodes")
    page.locator(".node-explorer canvas[name=left]").hover(position={"x": 3, "y": 3})
    assert "true label" in page.locator(".node-explorer [name=pointer]").inner_text()


def test_the_live_explorer_is_not_shown_where_no_kernel_is(html):
    assert "NodeExplorer(children" not in (html / "book/03-nodes.html").read_text(encoding="utf-8")


def test_the_node_explorer_finds_nodes_by_label_and_by_the_map(visit):
    page = visit("book/03-nodes")
    root = page.locator(".node-explorer")
    run = runs.load(root.get_attribute("id").removeprefix("node-explorer-"), ["fields"])
    root.locator("[name=encoder]").select_option("2")
    root.locator("[name=place]").select_option("ff")
    root.locator("[name=label]").select_option("5")
    expected = np.flatnonzero(snp.recognised(run.fields("2.ff"))[:, 5])
    assert sorted(json.loads(root.get_attribute("data-nodes"))) == expected.tolist()
    root.locator("[name=nodes] button").last.click()
    assert int(root.locator("[name=node]").input_value()) in expected
    before = root.locator("[name=node]").input_value()
    root.locator("canvas[name=map]").click(position={"x": 30, "y": 150})
    assert root.locator("[name=node]").input_value() != before
    shared, node = page.url, root.locator("[name=node]").input_value()
    page.goto("about:blank")
    page.goto(shared)
    assert page.locator(".node-explorer [name=node]").input_value() == node
    assert page.locator(".node-explorer [name=place]").input_value() == "ff"


def test_the_head_explorer_counts_what_the_library_counts(visit):
    page = visit("book/06-heads")
    root = page.locator(".head-explorer")
    run = runs.load(root.get_attribute("id").removeprefix("head-explorer-"), ["fields", "heads"])
    for encoder, threshold in ((1, 0.3), (2, 0.55)):
        root.locator("[name=encoder]").select_option(index=encoder - 1)
        root.locator("[name=threshold]").fill(str(threshold))
        counts = heads.diagonal_counts(run.fields(f"{encoder}.mha"), run.definition.network.heads, threshold)
        assert json.loads(root.get_attribute("data-counts")) == counts.tolist()
    root.locator("canvas[name=map]").click(position={"x": 40, "y": 4})
    assert root.locator("[name=head]").input_value() == "0"
    label = root.locator("[name=label]").input_value()
    page.reload()
    assert page.locator(".head-explorer [name=label]").input_value() == label
    assert page.locator(".head-explorer [name=encoder]").input_value() == "1"


# ---- for those who hear it, use a keyboard or a small phone


@pytest.fixture(scope="session")
def axe():
    package = pytest.importorskip("axe_playwright_python")
    return (Path(package.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


def assert_nothing_moved(page):
    shifts = page.evaluate(SHIFTS)
    assert sum(value for value, *_ in shifts) < 0.1, shifts


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible_in_both_modes_and_stays_where_it_is(visit, axe, name):
    page = visit(name)
    assert_nothing_moved(page)
    page.evaluate(axe)
    for mode in ("light", "dark"):
        page.evaluate(THEME, mode)
        page.wait_for_timeout(300)  # colours fade from one to the other
        assert page.evaluate(VIOLATIONS) == [], mode
    told = page.locator("[role='graphics-document']").evaluate_all("all => all.map(e => e.ariaLabel)")
    assert all(told) and "Vega visualization" not in told  # what Vega says of a chart without a description


@pytest.mark.parametrize("name", PAGES)
def test_no_page_is_wider_than_a_small_phone(visit, name):
    page = visit(name, width=320)
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 320
    assert_nothing_moved(page)


@pytest.mark.parametrize("name", ["book/intro", "book/03-nodes"])
def test_what_has_the_focus_shows_it(visit, name):
    page = visit(name)
    for _ in range(60):
        page.keyboard.press("Tab")
        shown, element = page.evaluate(FOCUS)
        assert shown or element.startswith("<body"), element
