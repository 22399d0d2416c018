"""Modules, and what code takes from them."""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from gsimplicit.identity import operators, origins, patches, unread

if TYPE_CHECKING:
    from gsimplicit.identity.values import Walk


def taken(walk: Walk, value: Any, chain: tuple[str, ...]) -> Any:
    """A global; of a module only what the code takes from it."""
    return through(walk, value, chain[1:]) if isinstance(value, types.ModuleType) else walk.tell(value, chain[0])


def end(value: Any, chain: tuple[str, ...]) -> Any:
    """What attributes lead to from a module, through modules alone."""
    for name in chain:
        if not isinstance(value, types.ModuleType):
            return None
        value = value.__dict__.get(name)
    return value


def imported(walk: Walk, name: str, chain: tuple[str, ...]) -> Any:
    """What a function takes from a module that it imports while it runs."""
    there = sys.modules.get(name)
    home = origins.origin(name)
    if home is None:
        return unread.module(walk, name, chain)
    told = [f"{home}:{name}", *chain]
    return told if there is None else [*told, *_put(walk, there, chain)]


def through(walk: Walk, module: types.ModuleType, chain: tuple[str, ...]) -> Any:
    """What attributes lead to from a module; all of it where the module itself is handed on."""
    if not chain or chain[0] == "__dict__":
        return whole(walk, module)
    home = origins.origin_of_module(module)
    if home is not None:
        # one word for the chain: an installed package finds its modules when they are asked for
        return [f"{home}:{module.__name__}", *chain, *_put(walk, module, chain)]
    told = [["module", walk.text_of(module)], chain[0]]
    space = module.__dict__
    if chain[0] not in space:
        sub = f"{module.__name__}.{chain[0]}"
        if hasattr(module, "__path__") and (sub in sys.modules or origins.spec_of(sub) is not None):
            return [*told, unread.module(walk, sub, chain[1:])]
        return [*told, walk.tell(space.get("__getattr__"), "__getattr__")]
    before = walk.enter(f"{module.__name__}.{chain[0]}")
    try:
        return [*told, taken(walk, space[chain[0]], chain)]
    finally:
        walk.leave(before)


def _put(walk: Walk, module: types.ModuleType, chain: tuple[str, ...]) -> list[Any]:
    """What a chain of names meets in an installed package that was put there."""
    for n, name in enumerate(chain):
        operator = operators.named(module, chain[n:])
        if operator is not None:
            return operators.tell(walk, *operator)
        space = module.__dict__
        if name not in space:
            return []
        value = space[name]
        if isinstance(value, types.ModuleType):
            if origins.origin_of_module(value) is None:
                return [through(walk, value, chain[n + 1 :])]
            module = value
            continue
        return patches.of_name(walk, module, name, value)
    return []


def whole(walk: Walk, module: types.ModuleType) -> Any:
    """A whole module: of a user's own, its source and all its names."""
    home = origins.origin_of_module(module)
    if home is not None:
        return ["library", f"{home}:{module.__name__}"]
    return walk.later(module, partial(_whole, walk, module), module.__name__)


def _whole(walk: Walk, module: types.ModuleType) -> list[Any]:
    return ["module", walk.text_of(module), names(walk, module.__dict__)]


def names(walk: Walk, space: Mapping[str, Any]) -> list[Any]:
    """All names of a module, without those Python keeps."""
    return walk.mapping(
        ((n, v) for n, v in space.items() if not (n.startswith("__") and n.endswith("__"))), ordered=False
    )
