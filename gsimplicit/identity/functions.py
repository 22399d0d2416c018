"""Functions: their code, the variables around them, and what their code looks up."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from gsimplicit.identity import calls, code, modules, origins, packages, parts, patches, unread

if TYPE_CHECKING:
    from gsimplicit.identity.values import Walk

_IMPORTERS = {
    ("importlib", "import_module"), ("importlib", "__import__"), ("importlib", "reload"), ("builtins", "__import__"),
    ("importlib._bootstrap", "__import__"), ("importlib._bootstrap_external", "spec_from_file_location"),
    ("_frozen_importlib_external", "spec_from_file_location"), ("_frozen_importlib", "__import__"),
    ("importlib._bootstrap_external", "SourceFileLoader"), ("_frozen_importlib_external", "SourceFileLoader"),
    ("pkgutil", "resolve_name"), ("runpy", "run_path"), ("runpy", "run_module"), ("pydoc", "locate"),
    ("hydra._internal.instantiate._instantiate2", "instantiate"), ("hydra.utils", "get_class"),
    ("hydra.utils", "get_method"), ("hydra.utils", "get_object"), ("importlib.metadata", "entry_points"),
}  # fmt: skip
"""What runs code that is named by text."""


_OPAQUE = {"entry_points"}


def tell(walk: Walk, function: types.FunctionType) -> Any:
    """A function: one of a library by its name, others by their code and all it reaches."""
    home = origins.origin_of(function)
    if home is not None and origins.foreign(function):
        home = None  # its code was replaced
    module = function.__globals__.get("__name__", "")
    if home is not None:
        for place in (module, str(function.__module__)):  # what a library's decorator made has the second
            if origins.origin(place) and origins.found_by_name(place, function.__qualname__, function):
                if _imports_by_text(function):
                    raise _handed_on(walk, function)
                return ["library", f"{home}:{place}.{function.__qualname__}"]
    return walk.later(function, partial(_told, walk, function, home), function.__name__)


def _told(walk: Walk, function: types.FunctionType, home: str | None) -> list[Any]:
    special = parts.wrapper(walk, function)
    if special is not None:
        return special
    held = [
        walk.tell(function.__defaults__, "__defaults__"),
        walk.mapping((function.__kwdefaults__ or {}).items(), ordered=False),
        walk.mapping(vars(function).items(), ordered=False),
    ]
    if home is not None:  # made by a library around what it was given
        name = f"{home}:{function.__globals__.get('__name__', '')}.{function.__code__.co_qualname}"
        return ["made by library", name, *held, _cells(walk, function)]
    held += packages.overloads_of(walk, function)
    return ["function", walk.code(function.__code__, function.__globals__), *held, *_reached(walk, function)]


def built_in(walk: Walk, value: Any) -> list[Any]:
    """A function or method in C: its name, and what it is bound to."""
    owner = getattr(value, "__self__", None)
    objclass = getattr(value, "__objclass__", None)
    module = getattr(value, "__module__", None)
    if _imports_by_text(value):
        raise _handed_on(walk, value)
    if isinstance(module, str) and origins.origin(module) is None and module in sys.modules:
        return ["built in", value.__qualname__, walk.text_of(sys.modules[module])]
    told = ["built in", module, value.__qualname__, None if objclass is None else walk.tell(objclass)]
    if owner is None or isinstance(owner, types.ModuleType) or type(owner).__name__ == "PyCapsule":
        return told
    return [*told, walk.tell(owner, "__self__")]


def _cells(walk: Walk, function: types.FunctionType, chains: Iterable[tuple[str, ...]] = ()) -> list[Any]:
    """Variables of the enclosing function; of modules only what is used of them."""
    out: list[Any] = []
    for name, value in variables(function).items():
        taken = [chain[1:] for chain in chains if chain[0] == name]
        if value is _EMPTY:
            out.append([name, "empty"])
        elif isinstance(value, types.ModuleType) and taken:
            out.append([name, [modules.through(walk, value, one) for one in sorted(taken)]])
        elif not (taken and _imports_by_text(value)):  # its calls are looked at
            out.append([name, walk.tell(value, name)])
    return out


_EMPTY = object()


def variables(function: types.FunctionType) -> dict[str, Any]:
    """Values of the variables around a function."""
    out: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            out[name] = cell.cell_contents
        except ValueError:
            out[name] = _EMPTY
    return out


def _reached(walk: Walk, function: types.FunctionType) -> list[Any]:
    """What the code looks up: variables around it, globals, imports and methods given to tensors."""
    found, space = code.reach(function.__code__), function.__globals__
    out: list[Any] = [_cells(walk, function, found.free)]
    builtins = space.get("__builtins__", {})
    builtins = vars(builtins) if isinstance(builtins, types.ModuleType) else builtins
    for chain in sorted(found.chains):
        if chain[0] in space:
            if not _imports_by_text(modules.end(space[chain[0]], chain[1:])):
                out.append([chain[0], modules.taken(walk, space[chain[0]], chain)])
        elif chain[0] not in builtins:
            out.append([chain[0], "undefined"])
        elif patches.of_builtins(chain[0], builtins[chain[0]]):
            out.append([chain[0], walk.tell(builtins[chain[0]], chain[0])])
    for (name, level), chain in sorted(found.imported):
        full = code.absolute(name, level, space)
        out.append([full, list(chain), modules.imported(walk, full, () if chain == ("__name__",) else chain)])
    out += patches.of_attributes(walk, found.attributes)
    out += _by_text(walk, function, found, builtins)
    if found.namespace:
        out.append(["globals", modules.names(walk, space)])
    walk.subclasses |= found.subclasses
    return out


def _by_text(walk: Walk, function: types.FunctionType, found: code.Reach, builtins: dict[str, Any]) -> list[Any]:
    """Modules that a function imports by names it holds as text."""
    space, around = function.__globals__, variables(function)
    roots = {**builtins, **space}
    chains = [c for c in found.chains if c[0] in roots and _imports_by_text(modules.end(roots[c[0]], c[1:]))]
    chains += [c for c in found.free if c[0] in around and _imports_by_text(modules.end(around[c[0]], c[1:]))]
    inside = {taken[-1] for _, taken in found.imported if taken and any(taken[-1] == name for _, name in _IMPORTERS)}
    out: list[Any] = []
    for chain in [*sorted(chains), *((name,) for name in sorted(inside)), *([None] if found.by_text else [])]:
        places = calls.arguments(function.__code__, chain)
        if not places and chain is not None and (len(chain) > 1 or chain in chains):
            places = [None]
        if chain is not None and chain[-1] in _OPAQUE:
            raise walk.refuse(f"a call of {'.'.join(chain)}, which runs what is installed at the time,")
        out += [["by text", unread.by_text(walk, given, space, around)] for given in places]
    if found.table is not None:
        names = [text for text in sorted(found.table) if parts.names_module(text)]
        out.append(["by text", [modules.imported(walk, name, ()) for name in names]])
    return out


def _imports_by_text(value: Any) -> bool:
    module = getattr(value, "__module__", None) if type(value) in _CALLED else None
    return isinstance(module, str) and (module, value.__name__) in _IMPORTERS


_CALLED = (types.FunctionType, types.BuiltinFunctionType, type)


def _handed_on(walk: Walk, value: Any) -> Exception:
    return walk.refuse(f"{value.__module__}.{value.__name__}, which imports by text where that is not seen")
