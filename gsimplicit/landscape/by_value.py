"""Pickles that hold a user's code by value, and copies made from them that share nothing with the original.

cloudpickle does the work where a function or class has no module. Here the modules of a user's own count as none:
their functions, classes and names are sent as they are now, and not as they are in the file.
"""

from __future__ import annotations

import abc
import copyreg
import dataclasses
import functools
import importlib
import io
import pickle
import threading
import types
from collections.abc import Callable, Mapping
from typing import Any

import cloudpickle
import torch
from cloudpickle import cloudpickle as inner

from gsimplicit.identity import code, objects, origins, parts
from gsimplicit.landscape.memory import Shared

__all__ = ["by_name", "by_value", "by_value_and_hooks", "loads"]


def by_name(value: Any) -> bytes:
    """As cloudpickle does it: what stands in a module by its name."""
    return bytes(cloudpickle.dumps(value))


def by_value(value: Any) -> bytes:
    """Code of a user's by value, and objects by their attributes."""
    return _pickled(value, _ByValue)


def by_value_and_hooks(value: Any) -> bytes:
    """The same, with objects in the way that their class has for it."""
    return _pickled(value, _ByValueAndHooks)


def loads(data: bytes) -> Any:
    """What was pickled, anew."""
    return _Unpickler(io.BytesIO(data)).load()


def _pickled(value: Any, pickler: type[_ByValue]) -> bytes:
    stream = io.BytesIO()
    (first := pickler(stream)).dump(value)
    if shared := first.memory.found():
        stream = io.BytesIO()
        pickler(stream, shared).dump(value)
    return stream.getvalue()


class _ByValue(cloudpickle.Pickler):  # type: ignore[misc]
    """Sends a user's functions, classes and modules by value; cloudpickle does so where they have no module."""

    hooks = False
    """Whether objects are copied in the way that their class has for it, which may leave out what counts."""

    def __init__(self, stream: io.BytesIO, shared: frozenset[int] = frozenset()) -> None:
        super().__init__(stream)
        self.memory = Shared(shared)
        self._cells: set[int] = set()

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if (made := self.memory.reduced(obj)) is not None:
            return made
        if kind is types.CellType and id(obj) in self._cells:  # filled by the functions that hold it
            return inner._make_empty_cell, ()
        if kind is types.CodeType:  # with the file it is from, for tracebacks and for what a library wrote
            made = inner._code_reduce(obj)
            return made[0], tuple(obj.co_filename if one == "<dynamic-code>" else one for one in made[1])
        if kind is types.ModuleType and origins.origin(obj.__name__) is None:
            return types.ModuleType, (obj.__name__,), _names(vars(obj)), None, None, _fill
        if kind is types.FunctionType and obj.__code__.co_qualname == "singledispatch.<locals>.wrapper":
            return functools.singledispatch, (_nothing,), dict(vars(obj)["registry"]), None, None, _register
        if kind is types.FunctionType and (_of_user(obj) or not _by_its_name(obj)):
            return self._function(obj)
        if issubclass(kind, type) and obj.__flags__ & 1 << 9 and _of_user(obj) and not _is_registered(obj):
            return _class(obj)
        if kind is functools._lru_cache_wrapper and _of_user(obj):  # pickle knows it by its name alone
            given = obj.cache_parameters()
            inside = {name: one for name, one in vars(obj).items() if name != "__wrapped__"}
            return _cached, (obj.__wrapped__, given["maxsize"], given["typed"]), inside
        if obj is dataclasses.MISSING:  # a field's default is compared with the one there is
            return getattr, (dataclasses, "MISSING")
        if kind in parts.LOCKS:
            return _lock(obj)
        if not self.hooks and _has_hooks(kind):
            return copyreg.__newobj__, (kind,), dict(objects.attributes(obj)), None, None, _set_attributes  # type: ignore[attr-defined]
        return super().reducer_override(obj)

    def _function(self, function: types.FunctionType) -> Any:
        """A function; one that a library made around a user's sees the library's module, there as here."""
        if origins.origin_of(function) is None:
            made = self._made(function)
            if code.reach(function.__code__).namespace:  # it may look up any name
                made[2][1]["__globals__"] = _names(function.__globals__)
            return made
        self.globals_ref[id(function.__globals__)] = _Space(function.__globals__["__name__"])
        made = self._made(function)
        made[2][1]["__globals__"] = {}
        return made

    def _made(self, function: types.FunctionType) -> Any:
        """As cloudpickle has it, which gives each function variables of its own; here functions go on sharing them."""
        made, cells = self._dynamic_function_reduce(function), function.__closure__
        if not cells:
            return made
        self._cells.update(map(id, cells))
        made[2][1]["__closure__"] = tuple(map(_Contents, cells))
        return (made[0], (*made[1][:-1], cells), *made[2:])


class _ByValueAndHooks(_ByValue):
    """The same for objects that hold what cannot be pickled, and know how to do without."""

    hooks = True


def _lock(lock: Any) -> Any:
    """Another one of its kind, which nobody holds; an event is set where it was."""
    if isinstance(lock, threading.Event):
        return _event, (lock.is_set(),)
    if isinstance(lock, threading.Condition):
        return threading.Condition, ()
    if isinstance(lock, threading.Semaphore):
        return type(lock), (lock._value,)
    return (threading.Lock if type(lock) is parts.LOCKS[0] else threading.RLock), ()


def _event(is_set: bool) -> threading.Event:
    made = threading.Event()
    if is_set:
        made.set()
    return made


class _Contents:
    """What a variable of a closure holds, in a pickle; nothing where it holds nothing yet."""

    def __init__(self, cell: types.CellType) -> None:
        self._cell = cell

    def __reduce__(self) -> Any:
        try:
            return types.SimpleNamespace, (), {"cell_contents": self._cell.cell_contents}
        except ValueError:
            return inner._make_empty_cell, ()


def _names(space: Mapping[str, Any]) -> dict[str, Any]:
    """Names of a module, without what its import put there."""
    return {name: one for name, one in space.items() if name not in _OF_IMPORTS}


_OF_IMPORTS = ("__builtins__", "__loader__", "__spec__", "__cached__")


def _has_hooks(cls: type) -> bool:
    """Whether a class of plain attributes has a way of its own to be copied."""
    own = [c for c in cls.__mro__ if c is not object]
    return all(map(parts.users, own)) and any(hook in vars(c) for c in own for hook in objects.HOOKS)


def _set_attributes(value: Any, held: Mapping[str, Any]) -> None:
    """Slots too, and those of frozen classes."""
    for name, one in held.items():
        if any(name in vars(c) and isinstance(vars(c)[name], types.MemberDescriptorType) for c in type(value).__mro__):
            object.__setattr__(value, name, one)
        else:
            value.__dict__[name] = one


_NO_REGISTRY = {"builtins", "abc", "enum", "typing", "collections", "torch", "gsimplicit"}


def _is_registered(cls: type) -> bool:
    """Whether an installed class takes note of those derived from it: a copy would take the place of the original."""
    bases = [base for base in cls.__mro__[1:] if origins.origin(str(base.__module__)) is not None]
    others = [base for base in bases if base.__module__.partition(".")[0] not in _NO_REGISTRY]
    plain = (type, abc.ABCMeta)
    return any("__init_subclass__" in vars(base) or type(base) not in plain for base in others)


def _class(cls: type) -> Any:
    """A class; what its objects are named by is put into it from the start: set later, it would be its own name."""
    made = inner._dynamic_class_reduce(cls)
    if made[0] is inner._make_skeleton_class and "__name__" in made[2][0]:
        made[1][3]["__name__"] = made[2][0].pop("__name__")
    return made


class _Space:
    """The names of an installed module, in a pickle."""

    def __init__(self, module: str) -> None:
        self._module = module

    def __reduce__(self) -> Any:
        return _space, (self._module,)


def _space(module: str) -> dict[str, Any]:
    return importlib.import_module(module).__dict__


def _of_user(value: Any) -> bool:
    """Whether it is a user's, or was made by a library around a user's and stands in the user's module."""
    return parts.users(value) or origins.origin(str(getattr(value, "__module__", ""))) is None


def _by_its_name(function: types.FunctionType) -> bool:
    """Whether the name of a function leads to it."""
    return origins.found_by_name(str(function.__module__), function.__qualname__, function)


def _fill(module: types.ModuleType, space: Mapping[str, Any]) -> None:
    module.__dict__.update(space)


def _nothing(_: Any) -> None:
    """What is dispatched before a function is registered for all."""


def _register(function: Any, registry: Mapping[type, Callable[..., Any]]) -> None:
    for cls, one in registry.items():
        function.register(cls, one)


def _cached(function: Callable[..., Any], maxsize: int | None, typed: bool) -> Callable[..., Any]:
    return functools.lru_cache(maxsize, typed)(function)


def _values(data: bytes) -> Any:
    """What a tensor holds."""
    return torch.load(io.BytesIO(data), weights_only=False)


class _Unpickler(pickle.Unpickler):
    """Makes classes anew: cloudpickle would give the caller's own class, and set its attributes to the values sent.

    Classes of errors are the same in all copies, so that `except` knows them.
    """

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self._found: set[type] = set()
        self._made: dict[Any, type] = {}

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name)
        if module.startswith("cloudpickle") and name in ("_make_skeleton_class", "_make_skeleton_enum"):
            return functools.partial(self._class, found)
        if module.startswith("cloudpickle") and name == "_class_setstate":
            return self._filled
        if found is torch.storage._load_from_bytes:  # that of torch 2.4 warns of itself
            return _values
        return found

    def _class(self, make: Callable[..., Any], *given: Any) -> Any:
        tracker = given[-2]
        if tracker in self._made:  # a class and its base that hold each other
            return self._made[tracker]
        known = inner._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker)
        if known is not None and issubclass(known, BaseException):
            self._found.add(known)
            return known
        made = make(*given[:-2], None, given[-1])
        if tracker is not None:
            self._made[tracker] = made
        if issubclass(made, BaseException) and tracker is not None:
            inner._lookup_class_or_track(tracker, made)
        return made

    def _filled(self, cls: Any, state: Any) -> Any:
        return cls if cls in self._found else inner._class_setstate(cls, state)
