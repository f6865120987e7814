"""Sphinx extension: a drawing and a switch for all code at the head of chapters; and what the theme leaves to be done
better for those who hear a page and those who see it load.
"""

import re

from lib.charts.network import drawing

LIT = {  # at the head of a chapter, small: what of network and procedure it is about
    "01-network": ("image", "stem", "tokens", "encoders", "pooling", "classifier"),
    "02-probes": ("freeze", "probe"),
    "03-nodes": ("silence", "matrix", "clip", "clusters"),
    "04-sharpening": ("encoders", "clusters"),
    "05-pruning": ("encoders", "clusters"),
    "06-heads": ("encoders", "clusters"),
    "07-cnn": ("stem", "silence", "matrix", "clip", "clusters"),
    "08-flowers": ("image", "encoders", "clusters"),
}
NUMBER = re.compile(r'<span class="section-number">.*?</span>')
SWITCH = '<button type="button" class="code-switch">Hide code</button>'
LIST = '<div role="list" class="citation-list">'  # whose children are no list items


def amend(app, page, template, context, document) -> None:
    """A chapter gets its drawing; titles have no number, and the front page's is the book's; references are no list."""
    if title := context.get("title"):
        context["title"] = NUMBER.sub("", title)
    if title == app.config.html_title:
        context["docstitle"] = ""
    if body := context.get("body"):
        body = body.replace(LIST, LIST.replace('role="list" ', ""))
        lit = LIT.get(page.split("/")[-1])
        opening = (SWITCH if 'class="cell_input' in body else "") + (drawing(*lit).html if lit else "")
        body = body.replace("</h1>", f"</h1>{opening}", 1)
        context["body"] = body


def setup(app) -> dict:
    app.connect("html-page-context", amend)
    app.add_js_file("page.js", priority=50)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
