"""A walk through all that a function or an object reaches, told as JSON types.

What is told is a list: what was met is told by its number in it, so that the walk ends, however deep it goes, and two
objects are never taken for one. Lists that begin with a word stand for what is no plain number or text.
"""

from __future__ import annotations

import hashlib
import json
import types
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from gsimplicit.identity import arrays, classes, code, functions, modules, objects, origins, parts, patches

_PLAIN = (type(None), bool, int, str)


class UntoldError(TypeError, ValueError):
    """There is something that a store cannot tell from another: of no type and no value that it knows."""


class Walk:
    """One walk.

    Args:
        argument: Name of the argument that is told, for errors.
        name: Of the loss or object that is told, for errors.
        around: The walk that this one is a part of, where its value is told without what was met before.
        within: Sets around it, which are told apart from what is outside them.
        sources: Tell code by its source, and modules by theirs; without, by the instructions that run: what two
            processes with one version of Python tell alike, whatever became of the files.
        note: Called with the way to each part and with what was told of it.
    """

    def __init__(
        self,
        argument: str,
        name: str,
        around: Walk | None = None,
        within: tuple[int, ...] = (),
        *,
        sources: bool = True,
        note: Callable[[tuple[str, ...], Any], None] | None = None,
    ) -> None:
        self.argument, self.name = argument, name
        self.sources: bool = sources if around is None else around.sources
        self._note = note
        self._path: tuple[str, ...] = () if around is None else around._path
        self._within = within
        self._seen: dict[int, tuple[int, object]] = {}  # the object is held, or its id would be given to another
        self._keys: dict[str, int] = {}
        self._waiting: deque[tuple[tuple[str, ...], Callable[[], Any]]] = deque()
        self.classes: list[type] = [] if around is None else around.classes
        self.patched: dict[type, list[tuple[str, str, Any]]] = {} if around is None else around.patched
        self.asked = 0
        self.subclasses = False

    def digest(self, value: Any) -> str:
        """Digest of all that tells a value apart.

        Raises:
            UntoldError: Nothing does.
        """
        text = json.dumps([self.whole(value), Walk(self.argument, self.name, self).around()])
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]

    def whole(self, value: Any) -> list[Any]:
        """All that tells a value apart."""
        return self._rest([self.tell(value)])

    def around(self) -> list[Any]:
        """What stands around all code: settings of torch, and what was put into installed packages."""
        return self._rest(patches.surroundings(self))

    def _rest(self, out: list[Any]) -> list[Any]:
        """What waits to be told."""
        while self._waiting:
            path, teller = self._waiting.popleft()
            self._path = path
            out.append(teller())
            if self._note is not None:
                self._note(path, out[-1])
            if self.subclasses and not self._waiting and len(self.classes) > self.asked:
                out.append(classes.derived(self))
        return out

    def tell(self, value: Any, step: str = "") -> Any:
        """What tells a value apart; of what has parts its number, and the parts are told later."""
        if type(value) in _PLAIN:
            if self._note is not None and step:
                self._note((*self._path, step), value)
            return value
        if not step:
            return self._told(value)
        before = self._path
        self._path = (*before, step)
        try:
            told = self._told(value)
        finally:
            self._path = before
        if self._note is not None:
            self._note((*before, step), told)
        return told

    def code(self, value: types.CodeType, space: dict[str, Any]) -> list[Any]:
        """A piece of code."""
        return code.told(value, space) if self.sources else ["instructions", code.instructions(value)]

    def text_of(self, module: types.ModuleType) -> str:
        """What tells the source of a module."""
        return origins.text_of(module) if self.sources else ""

    def enter(self, step: str) -> tuple[str, ...]:
        """Notes a step on the way, for errors; the way before it is handed to `leave`."""
        before, self._path = self._path, (*self._path, step)
        return before

    def leave(self, before: tuple[str, ...]) -> None:
        """Takes back steps."""
        self._path = before

    def refuse(self, what: str) -> UntoldError:
        """The error for what cannot be told."""
        where = f" at {'.'.join(self._path)}" if self._path else ""
        return UntoldError(
            f"{self.argument}: {self.name!r} holds {what}{where}, which a store cannot tell from another; let it hold "
            "numbers, arrays, functions and objects made of them, or leave out store="
        )

    def later(self, value: Any, teller: Callable[[], Any], step: str = "") -> list[Any]:
        """The number of an object; where it is new it gets one, and is told when its turn comes."""
        known = self._seen.get(id(value))
        if known is None:
            known = self._seen[id(value)] = (len(self._seen), value)
            self._waiting.append(((*self._path, step) if step else self._path, teller))
        return ["met", known[0]]

    def met(self, value: Any) -> bool:
        """Whether an object was met before."""
        return id(value) in self._seen

    def once(self, key: str) -> list[Any] | None:
        """The number of something by its name; None where it is new, and it gets one."""
        known = self._keys.get(key)
        if known is not None:
            return ["met by name", known]
        self._keys[key] = len(self._keys)
        return None

    def mapping(self, pairs: Iterable[tuple[Any, Any]], *, ordered: bool = True) -> list[Any]:
        """Keys and values; sorted by the keys, which are text, where their order does not count."""
        pairs = pairs if ordered else sorted(pairs, key=lambda pair: str(pair[0]))
        out = []
        for key, value in pairs:
            out.append([self.tell(key), self.tell(value, key if type(key) is str else _shown(key))])
        return out

    def alone(self, value: Any) -> str:
        """A value told without what was met before, as text that can be sorted."""
        return json.dumps(Walk(self.argument, self.name, self, self._within).whole(value))

    def unordered(self, container: Any, values: Iterable[Any]) -> list[Any]:
        """The elements of a set, in an order that is the same in every process."""
        if id(container) in self._within:
            return ["within", self._within.index(id(container))]
        groups: dict[str, list[Any]] = {}
        for one in values:
            groups.setdefault(_outside(one), []).append(one)
        out: list[Any] = []
        for key in sorted(groups):
            if len(groups[key]) == 1:
                out.append(self.tell(groups[key][0]))
                continue
            inner = Walk(self.argument, self.name, self, (*self._within, id(container)))
            out += sorted(inner.alone(one) for one in groups[key])
        return out

    def _told(self, value: Any) -> Any:
        kind = type(value)
        if kind is types.FunctionType:
            return functions.tell(self, value)
        if issubclass(kind, types.ModuleType):
            return modules.whole(self, value)
        if issubclass(kind, type):
            return classes.tell(self, value)
        if kind is types.MethodType:
            return ["method", self.tell(value.__func__), self.tell(value.__self__, "__self__")]
        if kind in parts.BUILT_IN:
            return functions.built_in(self, value)
        if kind is types.CodeType:
            return self.code(value, {})
        plain = arrays.number(value)
        if plain is not None:
            return plain
        if kind is tuple:
            return ["tuple", *(self.tell(one, str(n)) for n, one in enumerate(value))]
        if kind is frozenset:
            return ["frozenset", self.unordered(value, value)]
        return self.later(value, lambda: objects.tell(self, value))


def _shown(key: Any) -> str:
    return getattr(key, "__qualname__", type(key).__name__) if not isinstance(key, int | float) else str(key)


def _outside(value: Any) -> str:
    """What an element of a set is told by at a glance: a number or text by itself, others by their type and name."""
    kind = type(value)
    if kind in _PLAIN or kind in (float, complex, bytes):
        return json.dumps([kind.__name__, repr(value)])
    if kind is tuple:
        return json.dumps(["tuple", *map(_outside, value)])
    if kind is frozenset:
        return json.dumps(["frozenset", *sorted(map(_outside, value))])
    if kind is types.FunctionType or issubclass(kind, type):
        return json.dumps([kind.__name__, value.__qualname__, getattr(value, "__module__", None)])
    return json.dumps(["of", kind.__qualname__])
