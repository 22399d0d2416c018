"""What is inside wrappers, classes and objects: where their code and their values are found without calling them."""

from __future__ import annotations

import copyreg
import enum
import functools
import io
import logging
import pickletools
import re
import sys
import types
import typing
import weakref
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from importlib.util import resolve_name
from pathlib import PurePath
from threading import Lock, RLock
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gsimplicit.identity import origins

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

_LOCKS = (type(Lock()), type(RLock()))
_TYPING = (types.GenericAlias, types.UnionType, typing.TypeVar, typing._Final)
_NO_MATTER = {
    "__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__annotations__", "__annotate__",
    "__annotate_func__", "__annotations_cache__", "__slots__", "__slotnames__", "__abstractmethods__", "_abc_impl",
    "__parameters__", "__orig_bases__", "__type_params__", "__static_attributes__", "__firstlineno__",
    "__dataclass_params__",
    "_backward_cls", "_lazy_backward_cls", "_autograd_function_id",  # of torch's autograd functions
}  # fmt: skip
"""Attributes of a class that no value depends on, or that Python writes by itself."""

_MADE = {"__init__", "__repr__", "__eq__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__", "__setattr__",
         "__delattr__", "__replace__", "__new__", "__getstate__", "__setstate__"}  # fmt: skip
"""Methods that `dataclass` and `namedtuple` write from the fields, which are told."""

_HOOKS = ("__reduce__", "__reduce_ex__", "__getstate__", "__getnewargs__", "__getnewargs_ex__")
_EMPTY = vars(torch.nn.Module())


def users(value: Any) -> bool:
    """Whether it is code of a user's own: a function, class or object of one."""
    if type(value) is types.FunctionType:
        return origins.origin_of(value) is None
    if type(value) is types.MethodType:
        return users(value.__func__)
    cls = value if issubclass(type(value), type) else type(value)
    return origins.origin(str(cls.__module__)) is None


def given_to_library(value: Any) -> bool:
    """Whether something found in an installed module is told: a user's code put there, or a number or array."""
    return type(value) in (bool, int, float, complex, np.ndarray, torch.Tensor) or users(value)


def given_to_tensors(names: set[str]) -> list[tuple[str, Any]]:
    """Methods of a user's own that were put into torch's tensors, among the names given."""
    spaces = [vars(cls) for cls in torch.Tensor.__mro__[:-1]]
    found = [(name, space[name]) for name in sorted(names) for space in spaces if name in space]
    return [(name, value) for name, value in found if type(value) is types.FunctionType and users(value)]


def absolute(name: str, level: int, space: dict[str, Any]) -> str:
    """Full name of a module that is imported with leading points."""
    if not level:
        return name
    package = space.get("__package__") or str(space.get("__name__", "")).rpartition(".")[0]
    try:
        return resolve_name("." * level + name, str(package))
    except (ImportError, ValueError):
        return name or str(package)


def names_module(text: str) -> bool:
    """Whether a text is the name of a module that can be imported."""
    return bool(re.fullmatch(r"\w+(\.\w+)*", text)) and (text in sys.modules or origins.importable(text))


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
    if kind is property:
        return ["property", *(walk.tell(part) for part in (value.fget, value.fset, value.fdel))]
    if kind in (staticmethod, classmethod):
        return [kind.__name__, walk.tell(value.__func__)]
    if kind is functools.partial or kind is functools.partialmethod:
        told = walk.tell(value.func), walk.tell(value.args, "args"), walk.mapping(value.keywords.items())
        return [kind.__name__, *told, walk.mapping(_plain_attributes(value, ("func", "args", "keywords")))]
    if kind is functools._lru_cache_wrapper:
        return ["cached", walk.tell(value.__wrapped__), walk.mapping(_plain_attributes(value, ("__wrapped__",)))]
    if kind is functools.cached_property:
        return ["cached property", walk.tell(value.func)]
    if kind is functools.singledispatchmethod:
        return ["singledispatchmethod", walk.tell(value.dispatcher), walk.tell(value.func)]
    if kind is types.MappingProxyType:
        return ["mappingproxy", walk.mapping(value.items())]
    if issubclass(kind, weakref.ref):
        return ["weakref", walk.tell(value())]
    if issubclass(kind, enum.Enum):
        held = {name: one for name, one in vars(value).items() if name not in _MEMBER}
        return walk.met(value) or ["member", walk.tell(kind), value._name_, walk.tell(value._value_), walk.tell(held)]
    if issubclass(kind, _TYPING):
        origin, given = getattr(value, "__origin__", None), getattr(value, "__args__", ())
        made_of = [one for one in (origin, *given) if isinstance(one, type | types.GenericAlias | typing._Final)]
        return ["typing", repr(value), [walk.tell(one) for one in made_of]]
    if kind in _LOCKS:
        return ["lock"]
    if issubclass(kind, logging.Logger):
        return ["logger", value.name]
    if issubclass(kind, PurePath) and not users(value):
        return ["path", str(value)]
    return _of_other_packages(walk, value)


def _of_other_packages(walk: Walk, value: Any) -> list[Any] | None:
    """Compiled functions and networks, and datasets."""
    kind = type(value)
    if kind is np.vectorize:
        parts = ("pyfunc", "otypes", "signature", "excluded", "cache")
        return ["vectorize", *(walk.tell(getattr(value, part, None)) for part in parts)]
    if kind is np.ufunc:
        for module in ("numpy", "scipy.special"):
            if origins.found_by_name(module, value.__name__, value):
                return ["ufunc", module, value.__name__]
        raise walk.refuse(f"the ufunc {value.__name__!r}, whose function is not known")
    if kind.__module__.startswith("numba."):
        inner = getattr(getattr(value, "_dispatcher", value), "py_func", None)
        if inner is not None:
            return [
                "numba",
                kind.__name__,
                walk.tell(inner),
                walk.tell(dict(getattr(value, "targetoptions", None) or {})),
            ]
    if issubclass(kind, torch.jit.ScriptFunction | torch.jit.ScriptModule):
        return ["torchscript", *_script(value)]
    if issubclass(kind, torch.nn.Module) and "_orig_mod" in vars(value).get("_modules", {}):
        return ["compiled", walk.tell(vars(value)["_modules"]["_orig_mod"])]
    if kind is torch.Generator:
        return ["generator", str(value.device), walk.tell(value.get_state())]
    if kind.__module__.startswith("xarray.core.data") and hasattr(value, "to_dict"):
        return ["xarray", kind.__name__, walk.tell(value.to_dict(data="array"))]
    if hasattr(kind, "__next__") and not users(value):
        raise walk.refuse(f"a {kind.__name__}, whose items are used up")
    return None


def _script(value: Any) -> list[Any]:
    """Code, constants and parameters of a TorchScript program, without its notes on where it was written."""
    stream = io.BytesIO(value.save_to_buffer())
    with zipfile.ZipFile(stream) as archive:
        names = [n for n in archive.namelist() if not n.endswith((".debug_pkl", "serialization_id", "version"))]
        return sorted([_MANGLED.sub("", name.partition("/")[2]), _entry(archive.read(name), name)] for name in names)


_MANGLED = re.compile(r"[./]?___torch_mangle_\d+")
"""What torch puts into names of classes, by how many the process has compiled."""


def _entry(data: bytes, name: str) -> str:
    """Digest of a file in a TorchScript program, without the mangling of names."""
    if name.endswith(".py"):
        data = _MANGLED.sub("", data.decode()).encode()
    elif name.endswith(".pkl"):
        data = _MANGLED.sub("", repr([(op.name, given) for op, given, _ in pickletools.genops(data)])).encode()
    return sha256(data).hexdigest()


def class_attributes(cls: type) -> Iterator[tuple[str, Any]]:
    """What a class statement left in the class, or was put there since; the values of fields and members among it."""
    inside = vars(cls)
    written = "__dataclass_fields__" in inside or "_fields" in inside
    for name, value in inside.items():
        if name in _NO_MATTER or type(value) in (types.MemberDescriptorType, types.GetSetDescriptorType):
            continue
        if name == "__dataclass_fields__":
            yield (
                name,
                {n: (f.default, f.default_factory, f.init, f.compare, dict(f.metadata)) for n, f in value.items()},
            )
        elif issubclass(cls, enum.Enum) and (name in cls._member_map_ or _is_of_enums(name, value)):
            continue
        elif not (written and name in _MADE and _is_written(value)):
            yield name, value
    if issubclass(cls, enum.Enum):
        yield "_member_map_", {n: m._value_ for n, m in cls._member_map_.items()}


def _is_of_enums(name: str, value: Any) -> bool:
    """Whether it is what `enum` keeps in a class for itself, and no method of the caller's."""
    methods = (types.FunctionType, classmethod, staticmethod, property)
    return bool(re.fullmatch("_.*_", name)) and not isinstance(value, methods)


def _is_written(value: Any) -> bool:
    return type(value) is types.FunctionType and not value.__code__.co_filename.endswith(".py")


def is_network(value: Any) -> bool:
    """Whether it is a module of torch, whose attributes tell it."""
    return issubclass(type(value), torch.nn.Module)


def attributes(value: Any) -> Iterator[tuple[str, Any]]:
    """Attributes and slots of an object; what a cached property remembers is not told, its code is."""
    cls = type(value)
    lazy = {n for c in cls.__mro__ for n, a in vars(c).items() if type(a) is functools.cached_property}
    network = is_network(value)
    for name, one in _plain_attributes(value, lazy):
        if not network:
            yield name, one
        elif isinstance(one, torch.fx.Graph):  # its nodes are a chain as long as the program
            yield name, [(node.op, node.target, str(node.args), str(node.kwargs)) for node in one.nodes]
        elif name.endswith("_hooks") and isinstance(one, dict):
            yield name, list(one.values())  # their keys count all hooks of the process
        elif not (name in _EMPTY and (one is None or one is False or (isinstance(one, dict | set) and not one))):
            yield name, one
    for c in cls.__mro__:
        if not c.__flags__ & 1 << 9:
            continue
        for name, slot in vars(c).items():
            if type(slot) is types.MemberDescriptorType:
                try:
                    yield name, slot.__get__(value)
                except AttributeError:
                    continue


def _plain_attributes(value: Any, without: Any = ()) -> list[tuple[str, Any]]:
    try:
        inside = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return []
    return [(name, one) for name, one in inside.items() if name not in without] if type(inside) is dict else []


def inner(walk: Walk, value: Any) -> Any:
    """What the installed classes hold that a user's class is derived from."""
    bases = [c for c in type(value).__mro__[1:] if c is not object and origins.origin(str(c.__module__)) is not None]
    if all(_holds_nothing(c) for c in bases):
        return None
    own = [c for c in type(value).__mro__ if origins.origin(str(c.__module__)) is None]
    if any(hook in vars(c) for c in own for hook in _HOOKS):
        raise walk.refuse(
            f"a {type(value).__name__}, derived from {bases[0].__name__} with a way of its own to be copied,"
        )
    return of_library(walk, value)


def _holds_nothing(cls: type) -> bool:
    """Installed classes whose objects hold attributes and nothing else."""
    top = cls.__module__.partition(".")[0]
    network = issubclass(torch.nn.Module, cls) or (top == "torch" and issubclass(cls, torch.nn.Module))
    return top in ("gsimplicit", "typing", "abc", "collections") or network


def of_library(walk: Walk, value: Any) -> Any:
    """What an installed class says its object is made of, as for copying it; nothing of a user's is called."""
    try:
        copied = copyreg.dispatch_table.get(type(value))
        made = value.__reduce_ex__(2) if copied is None or users(copied) else copied(value)
    except Exception as error:
        wrapped = getattr(value, "__wrapped__", None)
        if wrapped is not None:
            return ["wrapped", walk.tell(wrapped)]
        raise walk.refuse(f"a {type(value).__name__}") from error
    if isinstance(made, str):
        # what numpy's own decorators make has the module it is found in
        for place in (getattr(value, "__module__", None), type(value).__module__):
            if place and origins.origin(str(place)) and origins.found_by_name(str(place), made, value):
                return ["named", f"{place}.{made}"]
        raise walk.refuse(f"a {type(value).__name__}")
    function, given, *rest = made
    held, listed, paired = (*rest[:3], None, None, None)[:3]
    told = [walk.tell(function), walk.tell(given), walk.tell(held)]
    return [*told, [walk.tell(one) for one in listed or ()], walk.mapping(paired or ())]
