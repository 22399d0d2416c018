"""Classes: what is in them, what they are derived from, and what is written into them by `dataclass` and `enum`."""

from __future__ import annotations

import abc
import enum
import re
import sys
import types
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from gsimplicit.identity import origins, packages, patches

if TYPE_CHECKING:
    from gsimplicit.identity.values import Walk

_NO_MATTER = {
    "__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__annotations__", "__annotate__",
    "__annotate_func__", "__annotations_cache__", "__slots__", "__slotnames__", "__abstractmethods__", "_abc_impl",
    "__parameters__", "__type_params__", "__static_attributes__", "__firstlineno__",
    "_backward_cls", "_lazy_backward_cls", "_autograd_function_id",  # of torch's autograd functions
}  # fmt: skip
"""Attributes of a class that no value depends on, or that Python writes by itself."""

_HEAP = 1 << 9
"""Flag of classes made by a class statement."""


def tell(walk: Walk, cls: type) -> Any:
    """A class: one of a library by its name, others by their bases and all that is in them."""
    home = origins.origin(str(cls.__module__))
    name = f"{cls.__module__}.{cls.__qualname__}"
    if home is not None and origins.found_by_name(str(cls.__module__), cls.__qualname__, cls):
        return ["library", f"{home}:{name}", *patches.of_class(walk, cls)]
    if not cls.__flags__ & _HEAP:  # a type of C that has no public name
        module = sys.modules.get(str(cls.__module__))
        return ["type", name, *([] if home is not None or module is None else [walk.text_of(module)])]
    return walk.later(cls, partial(_told, walk, cls), cls.__name__)


def _told(walk: Walk, cls: type) -> list[Any]:
    walk.classes.append(cls)
    bases = [walk.tell(base) for base in cls.__bases__]
    special = packages.compiled_class(walk, cls)
    if special is not None:
        return special
    inside = walk.mapping(attributes(cls), ordered=False)
    return ["class", cls.__name__, bases, walk.tell(type(cls)), inside]


def derived(walk: Walk) -> list[Any]:
    """Classes derived from those that were met since it was last asked."""
    met, walk.asked = walk.classes[walk.asked :], len(walk.classes)
    below: list[Any] = []
    for cls in met:
        below += type.__subclasses__(cls)
    return [walk.tell(one) for one in below]


def attributes(cls: type) -> Iterator[tuple[str, Any]]:
    """What a class statement left in the class, or was put there since; the values of fields and members among it."""
    inside = vars(cls)
    noted = [(n, a) for n, a in inside.get("__annotations__", {}).items() if hasattr(a, "__metadata__")]
    if noted:
        yield "__annotations__", noted
    if "_abc_impl" in inside:  # classes that were registered with it
        known = [one for one in (ref() for ref in abc._get_dump(cls)[0]) if one is not None]  # type: ignore[attr-defined]
        if known:
            yield "registered", sorted(known, key=lambda one: (one.__module__, one.__qualname__))
    for name, value in inside.items():
        if name in _NO_MATTER or type(value) in (types.MemberDescriptorType, types.GetSetDescriptorType):
            continue
        if name == "__dataclass_fields__":
            fields: dict[str, Any] = value
            yield name, [_field(one) for one in fields.values()]
        elif name == "__dataclass_params__":
            yield name, [getattr(value, part, None) for part in ("init", "eq", "order", "unsafe_hash", "frozen")]
        elif issubclass(cls, enum.Enum) and (name in cls._member_map_ or _is_of_enums(name, value)):
            continue
        elif not _is_written(inside, value):
            yield name, value
    if issubclass(cls, enum.Enum):
        yield "_member_map_", [(n, m._value_) for n, m in cls._member_map_.items()]


def _field(field: Any) -> tuple[Any, ...]:
    kinds = str(getattr(field, "_field_type", ""))
    plain = (field.name, field.init, field.repr, field.compare, field.hash, getattr(field, "kw_only", None), kinds)
    return (*plain, field.default, field.default_factory, dict(field.metadata))


def _is_of_enums(name: str, value: Any) -> bool:
    """Whether it is what `enum` keeps in a class for itself, and no method of the caller's."""
    methods = (types.FunctionType, classmethod, staticmethod, property)
    return bool(re.fullmatch("_.*_", name)) and not isinstance(value, methods)


def _is_written(inside: Any, value: Any) -> bool:
    """Whether a method was written by `dataclass`, `namedtuple` or attrs from the fields, which are told."""
    if type(value) is not types.FunctionType:
        return False
    code = getattr(value, "__wrapped__", value).__code__
    if "__dataclass_fields__" in inside:
        return code.co_qualname.startswith("__create_fn__.") or code.co_filename.endswith("dataclasses.py")
    if "_fields" in inside and code.co_filename.startswith("<"):
        return str(value.__globals__.get("__name__", "")).startswith("namedtuple_")
    return "__attrs_attrs__" in inside and code.co_filename.startswith("<attrs generated ")
