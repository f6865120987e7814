"""The built book: every page is there, complete, and works in a browser that reaches nothing but the book."""

import contextlib
import functools
import http.server
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
PAGES = [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])]
BROWSERS = ["chromium", "chromium-browser", "google-chrome"]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
CHARTS = "div[id^='altair-viz-'], .vega-embed"
DRAWN = f"""() => [...document.querySelectorAll("{CHARTS}")].every(chart => chart.querySelector('canvas, svg.marks'))"""
LOOK = """chart => {
    const canvas = chart.querySelector('canvas');
    return canvas ? canvas.toDataURL() : chart.querySelector('svg.marks').outerHTML;
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


@pytest.fixture(scope="session")
def browser():
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    sync_api = pytest.importorskip("playwright.sync_api")
    with (
        sync_api.sync_playwright() as play,
        contextlib.closing(play.chromium.launch(executable_path=executable, args=FLAGS)) as started,
    ):
        yield started


@pytest.fixture
def visit(browser, address):
    """Opens a page in a context of its own; afterwards nothing may have gone wrong in it."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    foreign, errors = [], []

    def route(route):
        inside = route.request.url.startswith((address, "data:", "blob:"))
        if not inside:
            foreign.append(route.request.url)
        route.continue_() if inside else route.abort()

    def visit(name):
        page = context.new_page()
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


@pytest.mark.parametrize("name", PAGES)
def test_page_works_without_a_network(visit, name):
    page = visit(name)
    if page.locator("div.math, span.math").count():
        page.wait_for_selector("mjx-container", timeout=60_000)
        assert page.locator("mjx-merror").count() == 0


def test_slider_redraws_the_chart(visit):
    page = visit("book/03-nodes")
    slider = page.locator(".vega-bindings input[type=range]").first
    chart = page.locator(".vega-embed").filter(has=slider).first
    before = chart.evaluate(LOOK)
    slider.evaluate("""input => {
        input.value = input.value === input.max ? input.min : input.max;
        input.dispatchEvent(new Event('input', {bubbles: true}));
        input.dispatchEvent(new Event('change', {bubbles: true}));
    }""")
    page.wait_for_timeout(1000)
    assert chart.evaluate(LOOK) != before
