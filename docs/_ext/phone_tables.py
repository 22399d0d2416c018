"""Tables of words can be read on a phone: each row becomes a block, each cell with its column's name before it.

Tables of numbers keep their columns and scroll sideways. Which is which: a table whose longest cell has over 50
characters, and three columns or more, is of words.
"""

from __future__ import annotations

import html
import re
from typing import Any

TABLE = re.compile(r'<table class="docutils[^>]*>.*?</table>', re.DOTALL)
ROW = re.compile(r"<tr\b[^>]*>.*?</tr>", re.DOTALL)
CELL = re.compile(r"<(t[hd])\b([^>]*)>(.*?)</\1>", re.DOTALL)
LONG = 50


def words(cell: str) -> str:
    """The text of a cell."""
    return html.unescape(re.sub(r"<[^>]+>", "", cell)).strip()


def stacked(table: str) -> str:
    """A table of words with each cell's column in an attribute; any other table as it is."""
    rows = [CELL.findall(row) for row in ROW.findall(table)]
    if not rows or any(kind == "td" for kind, _, _ in rows[0]) or len(rows[0]) < 3:
        return table
    heads = [words(text) for _, _, text in rows[0]]
    if (
        any(len(row) != len(heads) for row in rows)
        or max((len(words(t)) for r in rows[1:] for _, _, t in r), default=0) <= LONG
    ):
        return table

    def named(row: re.Match[str]) -> str:
        columns = iter(heads)

        def cell(found: re.Match[str]) -> str:
            kind, given, text = found.groups()
            head = next(columns)
            if kind == "th" or not words(text):  # an empty cell is not shown on a phone
                return found[0]
            return f'<td{given} data-head="{html.escape(head)}">{text}</td>'

        return CELL.sub(cell, row[0])

    return ROW.sub(named, table).replace('class="docutils', 'class="stacked docutils', 1)


def rewrite(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Mark the tables of a page."""
    if "body" in context:
        context["body"] = TABLE.sub(lambda found: stacked(found[0]), context["body"])


def setup(app: Any) -> dict[str, Any]:
    """Register with sphinx."""
    app.connect("html-page-context", rewrite)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
