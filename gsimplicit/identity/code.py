"""What a piece of code is, and the names through which it reaches other code."""

from __future__ import annotations

import dis
import hashlib
import json
import linecache
import sys
import warnings
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import resolve_name
from types import CodeType
from typing import Any

from gsimplicit.surroundings import own_filters

_OWN_NAMESPACE = {"globals", "eval", "exec", "__globals__", "f_globals", "vars", "locals", "__subclasses__"}
"""Names through which code may reach anything of its module."""

_OF_ANYTHING = {"globals", "__globals__", "f_globals", "__subclasses__"}
"""The same as attributes."""

BY_TEXT = {"import_module", "__import__", "spec_from_file_location", "resolve_name", "run_module", "run_path"}
"""Attributes of something unknown through which code may reach modules that are named by text."""

PASSED_OVER = {"CACHE", "PRECALL", "EXTENDED_ARG", "NOP", "PUSH_NULL", "RESUME", "SWAP", "COPY", "NOT_TAKEN"}


@dataclass
class Reach:
    """Names that a piece of code, with the functions inside it, looks up.

    Attributes:
        chains: A global name and the attributes taken from it, as ("mine", "sub", "helper").
        free: The same for names of the enclosing function.
        imported: The same for what is imported inside it, after the module's name and the level of the import.
        attributes: All names of attributes.
        namespace: Whether it may reach anything of its own module.
        subclasses: Whether it asks classes for those derived from them.
        table: Names it looks up in the table of all modules; None where it does not use it.
        by_text: Whether it takes an attribute named like a function that imports by text.
    """

    chains: set[tuple[str, ...]] = field(default_factory=set)
    free: set[tuple[str, ...]] = field(default_factory=set)
    imported: set[tuple[tuple[str, int], tuple[str, ...]]] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    namespace: bool = False
    subclasses: bool = False
    table: set[str] | None = None
    by_text: bool = False


@lru_cache(maxsize=2048)
def reach(code: CodeType) -> Reach:
    """The names that code looks up."""
    found = Reach()
    _Reader(found, {}).read(code)
    names = {chain[0] for chain in found.chains} | {chain[1] for chain in found.chains if chain[0] == "builtins"}
    table = any(chain[:2] == ("sys", "modules") for chain in found.chains)
    # as an attribute `eval` is a method, of a network say
    found.namespace = table or bool(names & _OWN_NAMESPACE or found.attributes & _OF_ANYTHING)
    found.subclasses = "__subclasses__" in found.attributes
    found.table = set(_texts(code)) if table else None
    found.by_text = bool(found.attributes & BY_TEXT)
    return found


Alias = tuple[tuple[str, int], tuple[str, ...]]
"""Name and level of an imported module, and attributes taken from it."""


class _Reader:
    """Reads the instructions of one code object: chains of loads, and which variables are modules it imported."""

    def __init__(self, found: Reach, aliases: dict[str, Alias]) -> None:
        self._found, self._aliases = found, aliases
        self._start: tuple[str, str] | None = None
        self._chain: list[str] = []
        self._constants: list[Any] = [0, None]
        self._import: Alias | None = None  # what an import statement has on the stack
        self._whole: Alias | None = None  # and had when it began

    def read(self, code: CodeType) -> None:
        for step in dis.get_instructions(code):
            op, given = step.opname, step.argval
            if op in PASSED_OVER:
                continue
            if op in ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR"):
                self._found.attributes.add(given)
                self._chain.append(given)
                continue
            self._end()
            if op.startswith("LOAD_"):
                self._load(op, given)
            else:
                self._bind(op, given)
        self._end()
        for one in code.co_consts:
            if isinstance(one, CodeType):
                _Reader(self._found, dict(self._aliases)).read(one)

    def _end(self) -> None:
        """A chain ends: note where it leads."""
        if self._start is not None:
            kind, name = self._start
            if kind != "global" and name in self._aliases:
                module, before = self._aliases[name]
                self._found.imported.add((module, (*before, *self._chain)))
            elif kind == "global":
                self._found.chains.add((name, *self._chain))
            elif kind == "free":
                self._found.free.add((name, *self._chain))
        self._start, self._chain = None, []

    def _load(self, op: str, given: Any) -> None:
        """A chain begins with a name."""
        if op.startswith(("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")):
            own = op.startswith("LOAD_NAME") and given in self._aliases
            self._start = ("local" if own else "global", given)
        elif op.startswith(("LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF")):
            self._start = ("free", given)
        elif op.startswith("LOAD_FAST"):
            for name in given if isinstance(given, tuple) else (given,):
                self._end()
                self._start = ("local", name)
        elif op in ("LOAD_CONST", "LOAD_SMALL_INT"):
            self._constants = [self._constants[-1], given]

    def _bind(self, op: str, given: Any) -> None:
        """An import, and the names it is bound to."""
        if op == "IMPORT_NAME":
            level = self._constants[-2] if isinstance(self._constants[-2], int) else 0
            name = given if self._constants[-1] or level else given.partition(".")[0]
            self._import = self._whole = ((name, level), ())
            self._found.imported.add(((given, level), ("__name__",)))  # the module itself, all the way down
        elif op == "IMPORT_FROM" and self._import is not None:
            self._import = (self._import[0], (*self._import[1], given))
            self._found.imported.add(self._import)
        elif op.startswith("STORE_") and self._import is not None and isinstance(given, str):
            self._aliases[given] = self._import
            if op == "STORE_GLOBAL":
                self._found.imported.add(self._import)
            self._import = self._whole
        elif op == "POP_TOP" and self._import is not None and self._import == self._whole:
            self._import = self._whole = None


def absolute(name: str, level: int, space: dict[str, Any]) -> str:
    """Full name of a module that is imported with leading points."""
    if not level:
        return name
    package = space.get("__package__") or str(space.get("__name__", "")).rpartition(".")[0]
    try:
        return resolve_name("." * level + name, str(package))
    except (ImportError, ValueError):
        return name or str(package)


def _texts(code: CodeType) -> list[str]:
    out: list[str] = []
    for one in code.co_consts:
        if isinstance(one, CodeType):
            out += _texts(one)
        else:
            out += [text for text in (one if isinstance(one, tuple) else (one,)) if isinstance(text, str)]
    return out


def told(code: CodeType, space: dict[str, Any]) -> list[Any]:
    """What a piece of code is: its source where that is what runs, else its instructions.

    The source is compiled and compared, for a file may have been edited since it was imported. Instructions are those
    of one version of Python.
    """
    linecache.checkcache(code.co_filename)
    lines = linecache.getlines(code.co_filename, space)
    alike = _compiled("".join(lines)).get((code.co_qualname, code.co_firstlineno), []) if lines else []
    for place, one in enumerate(alike):
        if one == code:
            text = "".join(lines[code.co_firstlineno - 1 : _last_line(code)])
            return ["source", hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest(), place]
    return ["instructions", f"{sys.version_info.major}.{sys.version_info.minor}", instructions(code)]


@lru_cache(maxsize=64)
def _compiled(text: str) -> dict[tuple[str, int], list[CodeType]]:
    """All code objects of a module's source by qualified name and first line, in order."""
    try:
        with own_filters():
            warnings.simplefilter("ignore")
            waiting = [compile(text, "<source>", "exec", dont_inherit=True)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    out: dict[tuple[str, int], list[CodeType]] = {}
    while waiting:
        code = waiting.pop(0)
        out.setdefault((code.co_qualname, code.co_firstlineno), []).append(code)
        waiting += [one for one in code.co_consts if isinstance(one, CodeType)]
    return out


def _last_line(code: CodeType) -> int:
    lines = [end for _, end, _, _ in code.co_positions() if end is not None]
    return max([code.co_firstlineno, *lines, *(_last_line(c) for c in code.co_consts if isinstance(c, CodeType))])


def instructions(code: CodeType) -> list[Any]:
    """Instructions, constants and names, as JSON types."""
    shape = [
        code.co_argcount,
        code.co_posonlyargcount,
        code.co_kwonlyargcount,
        code.co_flags & 0xFFFF,
    ]  # none of the future's
    names = [list(part) for part in (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)]
    table = getattr(code, "co_exceptiontable", b"").hex()
    return [code.co_code.hex(), table, shape, names, [constant(one) for one in code.co_consts]]


def constant(value: Any) -> Any:
    """A constant of code, the same in every process: sets have an order of their own in each."""
    if isinstance(value, CodeType):
        return ["code", *instructions(value)]
    if isinstance(value, tuple):
        return ["tuple", *map(constant, value)]
    if isinstance(value, frozenset):
        return ["frozenset", *sorted(json.dumps(constant(one)) for one in value)]
    if isinstance(value, float):
        return ["float", value.hex()]
    if isinstance(value, complex):
        return ["complex", value.real.hex(), value.imag.hex()]
    if isinstance(value, slice):  # of Python 3.14
        return ["slice", *map(constant, (value.start, value.stop, value.step))]
    return value if value is None or isinstance(value, bool | int | str) else [type(value).__name__, repr(value)]
