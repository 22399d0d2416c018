"""Every public name is documented once, with an example that runs; and types are shown by their public names.

Annotations name classes by the module they are defined in. Readers import them from somewhere else: references are
led to the place where the class is documented, whatever the module. Types that no
page documents, and those of other packages, are text.
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from typing import Any

from docutils import nodes
from public_modules import MODULES
from run_blocks import ROOT, blocks_of
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

LOG = logging.getLogger(__name__)


def resolve(app: Any, env: Any, node: Any, shown: nodes.Node) -> nodes.Node | None:
    """A class of the package by its last name, where one is documented; any other type as plain text."""
    target = node.get("reftarget", "")
    name = target.rpartition(".")[2]
    if node.get("refdomain") != "py":
        return None
    objects = env.get_domain("py").objects
    found = [full for full in objects if full.startswith("gsimplicit.") and full.rpartition(".")[2] == name]
    if len(found) == 1 and (target.startswith("gsimplicit") or "." not in target):
        at = objects[found[0]]
        return make_refnode(app.builder, node["refdoc"], at.docname, at.node_id, shown, found[0])
    return shown


_PLAIN: dict[str, list[str]] = {}


def keep(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Napoleon takes the words before a colon for a type where an attribute is described: put these aside."""
    if what in ("attribute", "property"):
        _PLAIN[name] = list(lines)


def escape(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Bars of absolute values outside code are bars, not the names of substitutions."""
    if name in _PLAIN:
        lines[:] = _PLAIN.pop(name)
    for i, line in enumerate(lines):
        lines[i] = "`".join(p.replace("|", "\\|") if n % 2 == 0 else p for n, p in enumerate(line.split("`")))


def check(app: Any, env: Any) -> None:
    """Warn of public names that no page documents, or that no example uses."""
    documented = set(env.get_domain("py").objects)
    code = "\n".join(
        b.code for page in app.config.run_pages if page for b in blocks_of((ROOT / f"{page}.md").read_text())
    )
    for module in MODULES:
        for name in import_module(module).__all__:
            full = f"{module}.{name}"
            known = full in documented or any(d.rpartition(".")[2] == name for d in documented)
            if not known and name not in ("models", "__version__"):
                LOG.warning("no page of the reference documents %s", full)
            thing = getattr(import_module(module), name)
            described = (inspect.getdoc(thing) or "") if callable(thing) else ""  # the tests run these examples
            shown = ">>>" in described or re.search(rf"\b{re.escape(name)}\b", code)
            if not shown and code and name != "__version__":
                LOG.warning("no example of the site uses %s", full)


def setup(app: Any) -> dict[str, Any]:
    """Register with sphinx."""
    app.connect("missing-reference", resolve)
    app.connect("autodoc-process-docstring", keep, priority=400)  # before napoleon, which has 500
    app.connect("autodoc-process-docstring", escape, priority=600)
    app.connect("env-check-consistency", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
