"""A walk through all that a function or an object reaches, told as JSON types.

What was met before is told by its number, so that the walk ends and two objects are never taken for one. Tuples tagged by
a first word stand for what is no plain number or text.
"""

from __future__ import annotations

import json
import types
from collections.abc import Iterable, Mapping
from typing import Any


from gsimplicit.identity import arrays, code, origins, parts

_PLAIN = (type(None), bool, int, str)


class Walk:
    """One walk.

    Args:
        argument: Name of the argument that is told, for errors.
        name: Of the loss or object that is told, for errors.
        path: Where this walk begins, for errors.
        within: Sets and keys around it, which are told apart from what is outside them.
    """

    def __init__(self, argument: str, name: str, path: tuple[str, ...] = (), within: tuple[int, ...] = ()) -> None:
        self.argument, self.name = argument, name
        self._path, self._within = list(path), within
        self._seen: dict[int, tuple[int, object]] = {}  # the object is held, or its id would be given to another

    def tell(self, value: Any, step: str = "") -> Any:
        """What tells a value apart.

        Raises:
            ValueError: Nothing does.
        """
        if type(value) in _PLAIN:
            return value
        self._path += [step] if step else []
        try:
            return self._told(value)
        finally:
            del self._path[len(self._path) - bool(step) :]

    def refuse(self, what: str) -> ValueError:
        """The error for what cannot be told."""
        where = f" at {'.'.join(self._path)}" if self._path else ""
        return ValueError(
            f"{self.argument}: {self.name!r} holds {what}{where}, which a store cannot tell from another; let it hold "
            "numbers, arrays, functions and objects made of them, or leave out store="
        )

    def mapping(self, pairs: Iterable[tuple[Any, Any]], *, ordered: bool = False) -> list[Any]:
        """Keys, each told by itself, and values; sorted by the keys unless their order counts."""
        keyed = [(self.alone(key), key, value) for key, value in pairs]
        if not ordered:
            keyed.sort(key=lambda one: one[0])
        return [[at, self.tell(value, key if isinstance(key, str) else at[:40])] for at, key, value in keyed]

    def alone(self, value: Any) -> str:
        """A value told without what was met before, as text that can be sorted."""
        return json.dumps(Walk(self.argument, self.name, tuple(self._path), self._within).tell(value))

    def unordered(self, container: Any, values: Iterable[Any]) -> list[Any]:
        """The elements of a set, in an order that is the same in every process."""
        if id(container) in self._within:
            return ["within", self._within.index(id(container))]
        inner = Walk(self.argument, self.name, tuple(self._path), (*self._within, id(container)))
        return sorted(inner.alone(one) for one in values)

    def met(self, value: Any) -> list[Any] | None:
        """The number of an object that was met before; None where it is new, and it gets one."""
        known = self._seen.get(id(value))
        if known is not None:
            return ["met", known[0]]
        self._seen[id(value)] = (len(self._seen), value)
        return None

    def _told(self, value: Any) -> Any:
        kind = type(value)
        if issubclass(kind, types.ModuleType):
            return self._module(value)
        if issubclass(kind, type):
            return self._class(value)
        if kind is types.FunctionType:
            return self._function(value)
        if kind is types.MethodType:
            return ["method", self.tell(value.__func__), self.tell(value.__self__, "__self__")]
        if kind in parts.BUILT_IN:
            return self._built_in(value)
        if kind is types.CodeType:
            return code.told(value, {})
        plain = arrays.number(value)
        if plain is not None:
            return plain
        if kind is tuple:
            return ["tuple", *(self.tell(one, str(n)) for n, one in enumerate(value))]
        if kind is frozenset:
            return ["frozenset", self.unordered(value, value)]
        known = parts.known(self, value)
        return self._object(value) if known is None else known

    def _built_in(self, value: Any) -> list[Any]:
        """A function or method in C: its name, and what it is bound to."""
        owner = getattr(value, "__self__", None)
        objclass = getattr(value, "__objclass__", None)
        module = getattr(value, "__module__", None)
        if isinstance(module, str) and origins.origin(module) is None and module in origins.sys.modules:
            return ["built in", value.__qualname__, origins.text_of(origins.sys.modules[module])]
        told = ["built in", module, value.__qualname__, None if objclass is None else self.tell(objclass)]
        if owner is None or isinstance(owner, types.ModuleType) or type(owner).__name__ == "PyCapsule":
            return told
        return [*told, self.tell(owner, "__self__")]

    # functions

    def _function(self, function: types.FunctionType) -> Any:
        home = origins.origin_of(function)
        module = function.__globals__.get("__name__", "")
        if home is not None:
            for place in (module, str(function.__module__)):  # what a library's decorator made has the second
                if origins.found_by_name(place, function.__qualname__, function):
                    return ["library", f"{home}:{place}.{function.__qualname__}"]
        known = self.met(function)
        if known is not None:
            return known
        self._path.append(function.__name__)
        try:
            special = parts.wrapper(self, function)
            if special is not None:
                return special
            held = [
                self.tell(function.__defaults__, "__defaults__"),
                self.mapping((function.__kwdefaults__ or {}).items()),
                self.mapping(vars(function).items()),
            ]
            if home is not None:  # made by a library around what it was given
                name = f"{home}:{module}.{function.__code__.co_qualname}"
                return ["made by library", name, *held, self._cells(function)]
            return ["function", code.told(function.__code__, function.__globals__), *held, *self._reached(function)]
        finally:
            self._path.pop()

    def _cells(self, function: types.FunctionType, chains: Iterable[tuple[str, ...]] = ()) -> list[Any]:
        """Variables of the enclosing function; of modules only what is used of them."""
        out = []
        names = function.__code__.co_freevars
        for name, cell in zip(names, function.__closure__ or (), strict=True):
            try:
                value = cell.cell_contents
            except ValueError:
                out.append([name, "empty"])
                continue
            taken = [chain[1:] for chain in chains if chain[0] == name]
            if isinstance(value, types.ModuleType) and taken:
                out.append([name, [self._through(value, one) for one in sorted(taken)]])
            else:
                out.append([name, self.tell(value, name)])
        return out

    def _reached(self, function: types.FunctionType) -> list[Any]:
        """What the code looks up: variables around it, globals, imports and methods given to tensors."""
        found, space = code.reach(function.__code__), function.__globals__
        out: list[Any] = [self._cells(function, found.free)]
        builtins = space.get("__builtins__", {})
        builtins = vars(builtins) if isinstance(builtins, types.ModuleType) else builtins
        for chain in sorted(found.chains):
            if chain[0] in space:
                out.append([chain[0], self._from(space[chain[0]], chain)])
            elif chain[0] not in builtins:
                out.append([chain[0], "undefined"])
            elif parts.users(builtins[chain[0]]):
                out.append([chain[0], self.tell(builtins[chain[0]], chain[0])])
        for (name, level), chain in sorted(found.imported):
            full = parts.absolute(name, level, space)
            module = origins.reached_module(full)
            told = module if isinstance(module, str) else self._through(module, chain)
            out.append([full, list(chain), told])
        for name, value in parts.given_to_tensors(found.attributes):
            out.append([name, self.tell(value, name)])
        if found.namespace:
            out.append(["globals", self._names(space)])
        if found.texts is not None:
            out.append(["by text", self._by_text(found.texts)])
        return out

    def _by_text(self, texts: set[str]) -> list[Any]:
        """Modules that a function may import by names it holds as text."""
        names = [text for text in sorted(texts) if parts.names_module(text)]
        if not names and "__name__" not in texts:
            raise self.refuse("an import of a module whose name is not written where it is imported")
        modules = [origins.reached_module(name) for name in names]
        return [module if isinstance(module, str) else self._module(module) for module in modules]

    # modules

    def _from(self, value: Any, chain: tuple[str, ...]) -> Any:
        """A global; of a module only what the code takes from it."""
        return self._through(value, chain[1:]) if isinstance(value, types.ModuleType) else self.tell(value, chain[0])

    def _through(self, module: types.ModuleType, chain: tuple[str, ...]) -> Any:
        """What attributes lead to from a module; all of it where the module itself is handed on."""
        home = origins.origin(module.__name__)
        if not chain or chain[0] == "__dict__":
            return self._module(module)
        told = [home or ["module", origins.text_of(module)], chain[0]]
        space = module.__dict__
        if chain[0] not in space:
            if home is None:
                sub = f"{module.__name__}.{chain[0]}"
                found = origins.reached_module(sub) if hasattr(module, "__path__") else f"{sub} is absent"
                if isinstance(found, types.ModuleType):
                    return [*told, self._through(found, chain[1:])]
                told.append(self.tell(space.get("__getattr__"), "__getattr__"))
            return told  # an installed package finds it when it is asked for
        value = space[chain[0]]
        if home is not None and not isinstance(value, types.ModuleType) and not parts.users(value):
            return told  # the environment, the standard streams and the like are not told
        self._path.append(f"{module.__name__}.{chain[0]}")
        try:
            return [*told, self._from(value, chain)]
        finally:
            self._path.pop()

    def _module(self, module: types.ModuleType) -> Any:
        """A whole module: of a user's own, its source and all its names."""
        home = origins.origin(module.__name__)
        if home is not None:
            return ["library", f"{home}:{module.__name__}"]
        known = self.met(module)
        if known is not None:
            return known
        self._path.append(module.__name__)
        try:
            return ["module", origins.text_of(module), self._names(module.__dict__)]
        finally:
            self._path.pop()

    def _names(self, space: Mapping[str, Any]) -> list[Any]:
        return self.mapping((n, v) for n, v in space.items() if not (n.startswith("__") and n.endswith("__")))

    # classes and objects

    def _class(self, cls: type) -> Any:
        home = origins.origin(str(cls.__module__))
        name = f"{cls.__module__}.{cls.__qualname__}"
        if home is not None and origins.found_by_name(str(cls.__module__), cls.__qualname__, cls):
            return ["library", f"{home}:{name}"]
        if not cls.__flags__ & 1 << 9:  # not made by a class statement: a type of C that has no public name
            return ["type", name]
        known = self.met(cls)
        if known is not None:
            return known
        self._path.append(cls.__name__)
        try:
            bases = [self.tell(base) for base in cls.__bases__]
            return ["class", bases, self.tell(type(cls)), self.mapping(parts.class_attributes(cls))]
        finally:
            self._path.pop()

    def _object(self, value: Any) -> Any:
        """An object: its class, what it holds as a number, array or container, and its attributes."""
        known = self.met(value)
        if known is not None:
            return known
        cls = type(value)
        state = arrays.state(self, value)
        if origins.origin(str(cls.__module__)) is not None and not parts.is_network(value):
            held = parts.of_library(self, value) if state is None else state
            return ["object", self._class(cls), held]
        if state is None:
            state = parts.inner(self, value)
        return ["object", self._class(cls), state, self.mapping(parts.attributes(value))]
