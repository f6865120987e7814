"""Sphinx extension: everything a page loads comes with the book, nothing from a content network.

Vega, Vega-Lite and Vega-Embed come out of vl-convert as one bundle; MathJax out of the package that carries its files.
"""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import altair
import vl_convert

# The bundle's own names stay out of the page's, and Altair is told that what it would fetch is already there.
BUNDLE = """(function () {{
{bundle}
}})();
window.VEGA_DEBUG = {versions};
"""
MATHJAX_PARTS = ["tex-mml-chtml.js", "output/chtml/fonts/woff-v2", "input/tex/extensions"]


def write_vega(folder: Path) -> None:
    versions = {"vega": altair.VEGA_VERSION, "vegalite": altair.VEGALITE_VERSION, "vegaembed": altair.VEGAEMBED_VERSION}
    versions = json.dumps({f"{name}_version": version for name, version in versions.items()})
    bundle = vl_convert.javascript_bundle()
    (folder / "vega-bundle.js").write_text(BUNDLE.format(bundle=bundle, versions=versions), encoding="utf-8")


def copy_mathjax(folder: Path) -> None:
    package = Path(find_spec("mathjax").origin).parent / "static" / "mathjax"
    for part in MATHJAX_PARTS:
        source, target = package / "es5" / part, folder / "mathjax" / part
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    shutil.copy(package / "LICENSE", folder / "mathjax")


def add_files(app, config) -> None:
    folder = Path(app.outdir).parent / "offline"
    if not folder.exists():
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        write_vega(part)
        copy_mathjax(part)
        part.rename(folder)
    config.html_static_path.append(str(folder))
    config.mathjax_path = "mathjax/tex-mml-chtml.js"
    config.nb_ipywidgets_js = {}


def setup(app) -> dict:
    app.connect("config-inited", add_files, priority=100)
    app.add_js_file("vega-bundle.js", priority=100)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
