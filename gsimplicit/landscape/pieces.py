"""What losses, routes and solvers of a user's are made of, by name: kept beside a scan to say later what changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

__all__ = ["ATTRIBUTE", "changed", "pieces"]

ATTRIBUTE = "gsimplicit_pieces"
"""Attribute of a dataset that holds them; they are no part of what it is known by."""

_MOST = 200
"""Pieces kept of one object."""

_SHOWN = 5


def pieces(given: Mapping[str, Any]) -> str:
    """Digests of the parts of objects, as text: {object: {part: digest}}."""
    return json.dumps({name: _of(name, one) for name, one in given.items()})


def changed(there: Any, here: str) -> str:
    """Words on the parts that differ between two such texts, to be put behind a message; empty where none is known."""
    try:
        old, new = json.loads(there), json.loads(here)
        apart = [name for name in new if name in old and old[name] != new[name]]
        return "".join(f"; of {name} {_words(old[name], new[name])}" for name in apart)
    except (ValueError, TypeError, AttributeError):
        return ""


def _words(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    apart = sorted(part for part in {*old, *new} if old.get(part) != new.get(part))
    more = f" and {len(apart) - _SHOWN} more" if len(apart) > _SHOWN else ""
    return f"{', '.join(apart[:_SHOWN])}{more} changed"


def _of(name: str, value: Any) -> dict[str, str]:
    """Parts of one object; none where it cannot be told."""
    out: dict[str, str] = {}

    def note(path: tuple[str, ...], told: Any) -> None:
        kind = told[0] if isinstance(told, list) and told else None
        if kind in ("met", "met by name", "object"):  # told elsewhere, or by what is in it
            return
        at = _way(path)
        if kind == "function":
            out[f"{at or 'its'} code"], out[f"{at or 'its'} defaults"] = _digest(told[1]), _digest(told[2:4])
        elif kind == "class":
            out[f"{at or 'its'} bases"] = _digest(told[2:4])
        else:
            out[at or "it"] = _digest(told)

    try:
        from gsimplicit.identity.values import Walk  # where it is needed

        Walk("pieces", name, note=note).whole(value)
    except (ValueError, RecursionError):
        return {}
    return dict(sorted(out.items())[:_MOST])


def _way(path: tuple[str, ...]) -> str:
    """The way to a part; an attribute of a module is one step, and so is what is met again under its own name."""
    steps: list[str] = []
    for step in path:
        if not (steps and f".{steps[-1]}".endswith(f".{step}")):
            steps.append(step)
    return ".".join(steps)


def _digest(told: Any) -> str:
    """Without the numbers of what was met before, which an earlier part may shift."""
    return hashlib.sha256(json.dumps(_unnumbered(told), sort_keys=True).encode()).hexdigest()[:16]


def _unnumbered(told: Any) -> Any:
    if not isinstance(told, list):
        return told
    return ["met"] if told[:1] == ["met"] and len(told) == 2 else [_unnumbered(one) for one in told]
