"""Sphinx extension: the front page's title is the book's, said once."""


def name(app, page, template, context, document) -> None:
    if context.get("title") == app.config.html_title:
        context["docstitle"] = ""


def setup(app) -> dict:
    app.connect("html-page-context", name)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
