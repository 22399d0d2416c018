"""Modules that a function imports while it runs: told by their files, and by the files those import.

Nothing is imported to find out: a branch that never ran may import a module that ends the process. So such a module
is told alike before and after the function was called. What was set in it at run time is told where that can be seen:
a name that its source binds to a plain number or text, and a function or class that does not come from its source.
"""

from __future__ import annotations

import ast
import hashlib
import sys
import types
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gsimplicit.identity import calls, code, origins
from gsimplicit.sources import loaded

if TYPE_CHECKING:
    from pathlib import Path

    from gsimplicit.identity.values import Walk


def module(walk: Walk, name: str, taken: tuple[str, ...] = ()) -> Any:
    """A module that is imported while a function runs, by its full name.

    Args:
        walk: That asks.
        name: Of the module.
        taken: Attributes taken from it, which may be modules.
    """
    there = sys.modules.get(name)
    place = "" if there is None else str(getattr(there, "__file__", None) or "")
    spec = origins.spec_of(name)
    fileless = spec is None or name in ("__main__", "__mp_main__") or not place
    if there is not None and fileless and not getattr(there, "__path__", None):
        return walk.tell(there)  # made in memory
    if spec is None:
        return f"{name} is absent"
    home = origins.origin(name)
    if home is not None:
        return f"{home}:{name}"
    out = [] if not taken or not spec.submodule_search_locations else _submodule(walk, f"{name}.{taken[0]}", taken)
    parent = name.rpartition(".")[0]
    around = module(walk, parent) if parent else None
    known = walk.once(f"module {name}")
    if known is not None:
        return [*known, around, *out]
    source = loaded(spec.loader, name, spec.origin) if spec.origin else b""
    if source is None:
        raise walk.refuse(f"an import of the module {name!r}, whose code cannot be read")
    told = ["file", name, hashlib.sha256(source).hexdigest(), _imports(walk, name, source, spec), around, *out]
    return [*told, [] if there is None else _changed(walk, there, source)]


def file(walk: Walk, path: Path) -> Any:
    """A file of code that a function runs by its path."""
    source = path.read_bytes()
    known = walk.once(f"file {path}")
    return known or ["file", hashlib.sha256(source).hexdigest(), _imports(walk, "", source, None)]


def _submodule(walk: Walk, name: str, taken: tuple[str, ...]) -> list[Any]:
    """What is taken from a package, where it is a module of it."""
    return [module(walk, name, taken[1:])] if origins.spec_of(name) is not None else []


def _imports(walk: Walk, name: str, source: bytes, spec: Any) -> list[Any]:
    """What the code of a file imports in its turn."""
    made = _compiled(source)
    if made is None:
        return []
    package = name if spec is not None and spec.submodule_search_locations is not None else name.rpartition(".")[0]
    space = {"__package__": package, "__name__": name}
    out: list[Any] = []
    for (called, level), chain in sorted(code.reach(made).imported):
        full = code.absolute(called, level, space)
        taken = () if chain == ("__name__",) else chain
        out.append([full, list(taken), module(walk, full, taken)])
    names: tuple[tuple[str, ...] | None, ...] = (None, ("import_module",), ("__import__",))
    for called_by in names:
        out += [["by text", by_text(walk, given, space)] for given in calls.arguments(made, called_by)]
    return out


def by_text(walk: Walk, given: list[tuple[str, Any]] | None, space: dict[str, Any], free: Any = None) -> list[Any]:
    """Modules and files that code runs by names or paths it gives as text.

    Args:
        walk: That asks.
        given: Arguments of the call.
        space: Globals of the function, where arguments are names of them.
        free: Values of variables around the function.
    """
    from pathlib import Path, PurePath

    values = [_value(walk, one, space, free or {}) for one in given or ()]
    if not values or not isinstance(values[0], str | PurePath):
        raise _computed(walk)
    flat = [one for value in values for one in (value if isinstance(value, tuple | list) else (value,))]
    texts = [one for one in flat if isinstance(one, str)]
    paths = [Path(one) for one in flat if isinstance(one, str | PurePath) and Path(one).is_file()]
    names = [full for text in texts for full in _names(text, texts, str(space.get("__package__") or ""))]
    found = [name for name in dict.fromkeys(names) if origins.spec_of(name) is not None or name in sys.modules]
    told = [module(walk, name) for name in found] + [file(walk, path) for path in paths]
    return told or [f"{values[0]} is absent"]


def _names(text: str, texts: list[str], package: str) -> list[str]:
    """What a text may name, alone or below another."""
    if text.startswith("."):
        level = len(text) - len(text.lstrip("."))
        return [code.absolute(text[level:], level, {"__package__": one}) for one in (*texts, package) if one[:1] != "."]
    plain = text.replace(":", ".")
    if not all(part.isidentifier() for part in plain.split(".")):
        return []
    parts = plain.split(".")
    within = [f"{other}.{plain}" for other in texts if other != text and other.replace(".", "_").isidentifier()]
    return [".".join(parts[: n + 1]) for n in range(len(parts))] + within


def _value(walk: Walk, given: tuple[str, Any], space: dict[str, Any], free: dict[str, Any]) -> Any:
    """What an argument is: a constant, or what a name leads to without running anything."""
    kind, what = given
    if kind == "constant":
        return what
    spaces = {"global": space, "free": free}
    if len(what) != 1 or what[0] not in spaces.get(kind, {}):
        raise _computed(walk)
    return spaces[kind][what[0]]


def _computed(walk: Walk) -> Exception:
    return walk.refuse("an import of a module whose name is not written where it is imported")


def _changed(walk: Walk, there: types.ModuleType, source: bytes) -> list[Any]:
    """What a module holds that its source did not put there, as far as that is seen."""
    if _compiled(source) is None:
        return []
    literals, functions, words = _literals(source), _functions(source), _words(source)
    out: list[Any] = []
    for name, value in vars(there).items():
        if name.startswith("__") and name.endswith("__"):
            continue
        if name in literals:
            changed = walk.alone(literals[name]) != walk.alone(value)
        elif name in functions:
            own = type(value) is types.FunctionType and value.__globals__ is vars(there)
            changed = not own or value.__code__.co_name != name or code.told(value.__code__, {})[0] != "source"
        else:
            changed = words is not None and name not in words and type(value) is not types.ModuleType
        if changed:
            out.append([name, walk.tell(value, name)])
    return sorted(out, key=lambda one: str(one[0]))


@lru_cache(maxsize=256)
def _compiled(source: bytes) -> types.CodeType | None:
    try:
        return compile(source, "<source>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None  # a file of machine code


@lru_cache(maxsize=256)
def _words(source: bytes) -> frozenset[str] | None:
    """All names in a source; None where it makes names that are not written in it."""
    out: set[str] = set()
    for one in ast.walk(ast.parse(source)):
        if isinstance(one, ast.Name):
            out.add(one.id)
        elif isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            out.add(one.name)
        elif isinstance(one, ast.Import | ast.ImportFrom):
            out |= {(name.asname or name.name).partition(".")[0] for name in one.names}
    return None if out & {"*", "globals", "vars", "setattr", "exec"} else frozenset(out)


@lru_cache(maxsize=256)
def _functions(source: bytes) -> frozenset[str]:
    """Functions that stand in a source as they are called."""
    lines = ast.parse(source).body
    return frozenset(one.name for one in lines if isinstance(one, ast.FunctionDef) and not one.decorator_list)


@lru_cache(maxsize=256)
def _literals(source: bytes) -> dict[str, Any]:
    """Names that a source binds once, at its outermost level, to what is written there."""
    tree = ast.parse(source)
    bound = [one.id for one in ast.walk(tree) if isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Load)]
    bound += [name for one in ast.walk(tree) if isinstance(one, ast.Global) for name in one.names]
    out: dict[str, Any] = {}
    for line in tree.body:
        if isinstance(line, ast.Assign | ast.AnnAssign) and line.value is not None:
            target = line.target if isinstance(line, ast.AnnAssign) else line.targets[0]
            if isinstance(target, ast.Name) and bound.count(target.id) == 1:
                with suppress(ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                    plain = ast.literal_eval(line.value)
                    if plain or type(plain) in (bool, int, float, complex, str):  # an empty table may be filled
                        out[target.id] = plain
    return out
