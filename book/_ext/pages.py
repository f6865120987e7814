"""Sphinx extension: what the theme leaves to be said better of a page to those who hear it."""

LIST = '<div role="list" class="citation-list">'  # whose children are no list items


def amend(app, page, template, context, document) -> None:
    """The front page's title is the book's, said once; a list of references is not announced as a list."""
    if context.get("title") == app.config.html_title:
        context["docstitle"] = ""
    if body := context.get("body"):
        context["body"] = body.replace(LIST, LIST.replace('role="list" ', ""))


def setup(app) -> dict:
    app.connect("html-page-context", amend)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
