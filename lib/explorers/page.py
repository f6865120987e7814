"""A script of ours in a page, with its data: what the explorers that need no kernel are made of."""

import json
from pathlib import Path

from IPython.display import HTML


def script(kind: str, run_name: str, function: str, content: dict) -> HTML:
    """An element of class `<kind>-explorer` and the call of `function(element, content)` from `<kind>_explorer.js`.

    `address.js` comes along, with which a script keeps the reader's choice in the page's address. The element gets the
    id `<kind>-explorer-<run name>` in the page, with a number behind it where another display of it stands already.
    """
    folder = Path(__file__).parent
    source = "".join((folder / name).read_text(encoding="utf-8") for name in ("address.js", f"{kind}_explorer.js"))
    element = f"modusElement(document.currentScript, {_literal(f'{kind}-explorer-{run_name}')})"
    start = f"{function}({element}, {_literal(content)})"
    return HTML(f'<div class="{kind}-explorer"></div>\n<script>{source}\n{start}</script>')


def _literal(value) -> str:
    """JSON for a script in HTML: without "<", which in a name could end the script or hide its end."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
