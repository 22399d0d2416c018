"""What is inside wrappers, classes and objects: where their code and their values are found without calling them."""

from __future__ import annotations

import contextvars
import enum
import functools
import logging
import re
import sys
import types
import typing
import weakref
from pathlib import PurePath
from threading import Condition, Event, Lock, RLock, Semaphore, local
from typing import TYPE_CHECKING, Any

from gsimplicit.identity import origins, packages

if TYPE_CHECKING:
    from gsimplicit.identity.values import Walk

BUILT_IN = (
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.MethodWrapperType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)

_MEMBER = ("_value_", "_name_", "__objclass__", "_sort_order_", "_hashable_values_")
"""What `enum` keeps in a member for itself."""

LOCKS = (type(Lock()), type(RLock()), Condition, Event, Semaphore)
_TYPING = (types.GenericAlias, types.UnionType, typing.TypeVar, typing._Final)


def users(value: Any) -> bool:
    """Whether it is code of a user's own: a function, class or object of one."""
    if type(value) is types.FunctionType:
        return origins.origin_of(value) is None
    if type(value) is types.MethodType:
        return users(value.__func__)
    cls = value if issubclass(type(value), type) else type(value)
    return origins.origin_of(cls) is None


def names_module(text: str) -> bool:
    """Whether a text is the name of a module that can be imported."""
    if not re.fullmatch(r"\w+(\.\w+)*", text):
        return False
    return text in sys.modules or origins.spec_of(text.partition(".")[0]) is not None


def wrapper(walk: Walk, function: types.FunctionType) -> list[Any] | None:
    """Functions that libraries make around a user's and that hold more than it: only what counts of them."""
    inside = vars(function)
    if "_torchdynamo_orig_callable" in inside:
        return ["compiled", walk.tell(inside["_torchdynamo_orig_callable"])]
    if function.__code__.co_qualname == "singledispatch.<locals>.wrapper" and "registry" in inside:
        return ["singledispatch", walk.mapping(inside["registry"].items())]  # and not what it found before
    return None


def known(walk: Walk, value: Any) -> list[Any] | None:
    """Objects whose parts are code, or are found otherwise than as attributes; None for others."""
    kind = type(value)
    for wrapping, names in _WRAPPING.items():
        if issubclass(kind, wrapping):
            told = [walk.tell(getattr(value, name), name) for name in names]
            if issubclass(kind, functools.partial | functools.partialmethod):
                told.append(walk.mapping(value.keywords.items()))
            own = [] if kind is wrapping else [walk.tell(kind)]
            without = {*names, "keywords", "attrname", "lock", "__doc__", "__name__", "__module__", "__qualname__"}
            without |= {"__annotations__"}  # of what is wrapped, taken over
            return [wrapping.__name__, *told, walk.mapping(plain_attributes(value, without)), *own]
    if kind is types.MappingProxyType:
        return ["mappingproxy", walk.mapping(value.items())]
    if issubclass(kind, weakref.ref):
        return ["weakref", walk.tell(weakref.ref.__call__(value))]
    if issubclass(kind, enum.Enum):
        held = [(name, one) for name, one in vars(value).items() if name not in _MEMBER]
        return ["member", walk.tell(kind), value._name_, walk.tell(value._value_), walk.mapping(held)]
    return _plainer(walk, value) or packages.known(walk, value)


_WRAPPING: dict[type, tuple[str, ...]] = {
    property: ("fget", "fset", "fdel"),
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
    functools.partial: ("func", "args"),
    functools.partialmethod: ("func", "args"),
    functools._lru_cache_wrapper: ("__wrapped__",),
    functools.cached_property: ("func",),
    functools.singledispatchmethod: ("dispatcher", "func"),
}


def _plainer(walk: Walk, value: Any) -> list[Any] | None:
    """Objects of Python's own library that are told by less than what they hold."""
    kind = type(value)
    if kind is typing.NewType:
        return ["new type", value.__name__, walk.tell(value.__supertype__)]
    if issubclass(kind, _TYPING):
        return ["typing", _repr(value), [walk.tell(one) for one in _made_of(value)]]
    if any(value is getattr(sys, name) for name in _STREAMS):
        return ["standard stream"]
    if kind in LOCKS:
        told = value.is_set() if isinstance(value, Event) else getattr(value, "_value", None)
        return ["lock"] if told is None else ["lock", told]
    if kind is contextvars.ContextVar:
        return ["context variable", value.name, walk.tell(value.get(None), value.name)]
    if issubclass(kind, local) and not users(value):
        return ["values of the thread", walk.mapping(local.__getattribute__(value, "__dict__").items())]
    if issubclass(kind, logging.Logger):
        return ["logger", value.name]
    if issubclass(kind, PurePath) and not users(value):
        return ["path", str(value)]
    return None


_STREAMS = ("stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__")


def _repr(value: Any) -> str:
    return "" if _made_of(value) else repr(value)


def _made_of(value: Any) -> list[Any]:
    """What a subscripted type is made of."""
    if isinstance(value, typing.TypeVar):
        return [value.__name__]
    origin, given = getattr(value, "__origin__", None), getattr(value, "__args__", ())
    more = getattr(value, "__metadata__", ())
    return [type(value).__name__, origin, *given, *more] if origin is not None or given else []


def plain_attributes(value: Any, without: Any = ()) -> list[tuple[str, Any]]:
    """What is in the `__dict__` of an object."""
    try:
        inside = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return []
    return [(name, one) for name, one in inside.items() if name not in without] if type(inside) is dict else []
