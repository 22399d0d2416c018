"""On every page the first of each glossary word leads to its entry, with the entry's first sentence as a hint.

A word in a heading, in code or inside a link is left as it is. Where a page links the word itself, that link is the
first.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from run_blocks import ROOT

WORDS = {
    "pixel": r"pixels?",
    "face": r"faces?",
    "seed": r"seeds?",
    "march": r"march(?:es|ed|ing)?",
    "box": r"box(?:es)?",
    "residual-loss": r"residual loss(?:es)?",
    "residual": r"residuals?(?! loss)",
    "filter-by-filter": r"filter by filter",
    "lanczos-method": r"Lanczos",
    "certified": r"certified",
    "root": r"(?<!square[ -])roots?",
    "drifting": r"drift(?:s|ing)?",
    "pinned": r"pinned",
    "route": r"routes?",
    "landscape": r"landscapes?",
    "cliff": r"cliffs?",
    "plateau": r"plateaus?",
    "forecast": r"forecasts?|foresees?|foreseen",
    "inherited": r"inherits?|inherited",
    "basin": r"basins?",
    "edge-state": r"edge states?",
    "bifurcation": r"bifurcations?|Hopf|saddle-nodes?",
    "one-shot": r"one-shot",
    "condition": r"conditions?(?= (?:of )?\d)",
    "free-pixels": r"free pixels",
    "smooth-pixels": r"smooth pixels",
    "closed-form": r"closed forms?",
    "held-out": r"held[ -]out",
}
"""What each word looks like in a text."""

PLACES = {
    "pixel": "pixel-point-face-cell",
    "face": "pixel-point-face-cell",
    "seed": "seed-sample-instance",
    "root": "steady-state",
    "inherited": "inherited-explained",
    "box": "start-box",
    "free-pixels": "network-free-pixels-smooth-pixels",
    "smooth-pixels": "network-free-pixels-smooth-pixels",
}
"""Headings of words that share one."""

ANY = re.compile("|".join(rf"(?P<w{n}>\b(?:{form})\b)" for n, form in enumerate(WORDS.values())), re.IGNORECASE)
SKIPPED = (nodes.title, nodes.literal, nodes.literal_block, nodes.reference, nodes.math, nodes.raw)
LEFT_OUT = ("glossary", "genindex", "reference/")


def hints() -> dict[str, str]:
    """The first sentence of each entry of the glossary, by the anchor of its heading."""
    text = (ROOT / "glossary.md").read_text(encoding="utf-8")
    out = {}
    for title, body in re.findall(r"^## (.+)\n([^#]+)", text, re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)|\*\*", r"\1", body).strip()
        out[re.sub(r"[^a-z]+", "-", title.lower())] = re.split(r"(?<=[.])\s", plain)[0]
    return out


def link(app: Any, doctree: nodes.document, page: str) -> None:
    """Lead the first of each word on a page to the glossary."""
    if page.startswith(LEFT_OUT) or app.builder.format != "html":
        return
    at, hint = app.builder.get_relative_uri(page, "glossary"), hints()
    seen: set[str] = set()
    for text in list(doctree.findall(lambda n: isinstance(n, (nodes.Text, nodes.reference)))):
        if isinstance(text, nodes.reference):
            place = text.get("refuri", "").partition("glossary.html#")[2]
            seen |= {word for word in WORDS if PLACES.get(word, word) == place}
        elif not _inside(text):
            _link(text, seen, at, hint)


def _inside(text: nodes.Text) -> bool:
    node = text.parent
    while node is not None:
        if isinstance(node, SKIPPED):
            return True
        node = node.parent
    return False


def _link(text: nodes.Text, seen: set[str], at: str, hint: dict[str, str]) -> None:
    told, parts, end = text.astext(), [], 0
    for found in ANY.finditer(told):
        word = list(WORDS)[int(str(found.lastgroup)[1:])]
        if word in seen:
            continue
        seen.add(word)
        place = PLACES.get(word, word)
        parts += [nodes.Text(told[end : found.start()])] if found.start() > end else []
        parts.append(
            nodes.reference("", found[0], refuri=f"{at}#{place}", internal=True, classes=["word"], reftitle=hint[place])
        )
        end = found.end()
    if parts:
        parent = text.parent
        place_in_parent = parent.index(text)
        parent.remove(text)
        parent.insert(place_in_parent, [*parts, *([nodes.Text(told[end:])] if end < len(told) else [])])


def setup(app: Any) -> dict[str, Any]:
    """Register with sphinx."""
    app.connect("doctree-resolved", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
