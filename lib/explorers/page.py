"""A script of ours in a page, with its data: what the explorers that need no kernel are made of."""

import json
from pathlib import Path

from IPython.display import HTML

SHARED = ("address.js", "parts.js", "cells.js", "measure.js")


def script(kind: str, run_name: str, function: str, content: dict) -> HTML:
    """An element of class `<kind>-explorer` and the call of `function(element, content)` from `<kind>_explorer.js`.

    The style sheet and what the scripts share come along. The element gets the id `<kind>-explorer-<run name>` in the
    page, with a number behind it where another display of it stands already.
    """
    folder = Path(__file__).parent
    style = (folder / "explorers.css").read_text(encoding="utf-8")
    source = "".join((folder / name).read_text(encoding="utf-8") for name in (*SHARED, f"{kind}_explorer.js"))
    element = f"modusElement(document.currentScript, {literal(f'{kind}-explorer-{run_name}')})"
    start = f"{function}({element}, {literal(content)})"
    opened = f'<style>{style}</style>\n<div class="modus-explorer {kind}-explorer"></div>'
    return HTML(f"{opened}\n<script>{source}\n{start}</script>")


def literal(value) -> str:
    """JSON for a script in HTML: without "<", which in a name could end the script or hide its end."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
