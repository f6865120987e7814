"""A script of ours in a page, with its data: what the explorers that need no kernel are made of."""

import json
from pathlib import Path

from IPython.display import HTML


def script(kind: str, run_name: str, function: str, content: dict) -> HTML:
    """An element of class `<kind>-explorer` and the call of `function(element, content)` from `<kind>_explorer.js`.

    `address.js` comes along, with which a script keeps the reader's choice in the page's address.
    """
    text = json.dumps(content, separators=(",", ":")).replace("</", "<\\/")  # a name must not end the script
    key = f"{kind}-explorer-{run_name}"
    folder = Path(__file__).parent
    source = "".join((folder / name).read_text() for name in ("address.js", f"{kind}_explorer.js"))
    start = f"{function}(document.getElementById({json.dumps(key)}), {text})"
    return HTML(f'<div id="{key}" class="{kind}-explorer"></div>\n<script>{source}\n{start}</script>')
