"""What was put into installed packages at run time: a method of a class, a function of a module, a number.

An installed package is told by its name and version. That is not what runs where a user's code or value stands in it.
"""

from __future__ import annotations

import functools
import linecache
import operator
import re
import sys
import types
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gsimplicit.identity import operators, origins

if TYPE_CHECKING:
    from gsimplicit.identity.values import Walk

_NUMBERS = (bool, int, float, complex, np.ndarray, torch.Tensor)
_CONTAINERS = (str, bytes, list, dict, set, tuple, frozenset)
_ALWAYS = {"torch", "numpy", "math", "cmath", "builtins", "operator"}
"""Packages whose numbers and names are told as they are; others load parts of themselves when asked."""

_SWEPT = ("torch", "torch.nn.functional", "torch.fft", "torch.linalg", "torch.special", "torch.nn.init", "numpy",
          "numpy.fft", "numpy.linalg", "scipy.fft", "scipy.ndimage", "scipy.signal", "scipy.linalg", "math",
          "builtins")  # fmt: skip
"""Modules that installed code takes its functions from."""

_EXTENDED = (("torch.nn", "Module"), ("xarray", "DataArray"), ("xarray", "Dataset"), ("pandas", "DataFrame"),
             ("pandas", "Series"), ("pandas", "Index"))  # fmt: skip
"""Classes whose objects reach code without being named in it, and which are extended by what is put into them."""

_HOOKS = ("_global_backward_pre_hooks", "_global_backward_hooks", "_global_forward_pre_hooks", "_global_forward_hooks",
          "_global_buffer_registration_hooks", "_global_module_registration_hooks",
          "_global_parameter_registration_hooks")  # fmt: skip

_C_TYPES = (
    types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType, types.GetSetDescriptorType,
    types.MemberDescriptorType, types.ClassMethodDescriptorType, types.ModuleType, type(None), type,
)  # fmt: skip


def foreign(value: Any, depth: int = 3) -> bool:
    """Whether something found in an installed package is code of a user's, or a library's wrapper around it."""
    kind = type(value)
    if (kind in _C_TYPES and kind is not type) or kind in _NUMBERS or kind in _CONTAINERS:
        return False
    if isinstance(value, type):
        return origins.of_user(str(value.__module__))
    if kind is types.FunctionType:
        return origins.foreign(value) or (depth > 0 and any(foreign(one, depth - 1) for one in _around(value)))
    if kind is types.MethodType:
        return foreign(value.__func__, depth) or foreign(value.__self__, depth)
    inside = [getattr(value, name, None) for name in _PARTS.get(kind, ())]
    if not inside and origins.of_user(str(kind.__module__)):
        return True
    if not inside and depth > 0 and kind not in _MANY:
        held = getattr(value, "__dict__", None)
        inside = list(held.values()) if type(held) is dict else []
    return depth > 0 and any(foreign(one, depth - 1) for one in inside if callable(one) or type(one) in _PARTS)


_MANY = (torch._ops._Ops, torch._ops._OpNamespace, torch._ops.OpOverloadPacket, torch._ops.OpOverload)

_PARTS: dict[type, tuple[str, ...]] = {
    property: ("fget", "fset"),
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
    functools.partial: ("func",),
    functools.partialmethod: ("func",),
    functools.cached_property: ("func",),
    functools._lru_cache_wrapper: ("__wrapped__",),
}


def _around(function: types.FunctionType) -> Iterator[Any]:
    """What a function holds as code."""
    if function.__closure__:
        for cell in function.__closure__:
            try:
                inside = cell.cell_contents
            except ValueError:
                continue
            if callable(inside) and not isinstance(inside, type):
                yield inside
    if "__wrapped__" in vars(function):
        yield vars(function)["__wrapped__"]


def inside(value: Any, depth: int = 4) -> list[Any]:
    """A user's functions within the wrappers that a library made around them."""
    if isinstance(value, dict):
        return [one for key in value for one in inside(value[key], depth)]
    if type(value) is not types.FunctionType:
        return [value] if foreign(value) else []
    if origins.foreign(value):
        return [value]
    return [found for one in _around(value) if depth > 0 for found in inside(one, depth - 1)]


def of_builtins(name: str, value: Any) -> bool:
    """Whether something among the built-in names is not Python's own."""
    kind = type(value)
    if name.startswith("__") or name == "_":
        return foreign(value)
    if kind is types.BuiltinFunctionType or isinstance(value, type):
        return bool(value.__module__ != "builtins" or (kind is types.BuiltinFunctionType and value.__name__ != name))
    return kind in _NUMBERS or kind in _CONTAINERS or foreign(value)


def of_name(walk: Walk, module: types.ModuleType, name: str, value: Any) -> list[Any]:
    """What a name in an installed module leads to, as far as that is not the module's own."""
    kind = type(value)
    steady = module.__name__.partition(".")[0] in _ALWAYS
    if isinstance(value, type) and origins.origin_of(value) is not None:
        return of_class(walk, value)
    if kind in _NUMBERS or kind in _CONTAINERS:
        # the environment, the standard streams and the like are not told
        return [walk.tell(value)] if (steady and kind in _NUMBERS) or _is_put(module.__name__, name) else []
    if foreign(value):
        return [walk.tell(value)]
    called = getattr(value, "__name__", name)
    return [f"is {called}"] if steady and called != name and isinstance(called, str) else []


@lru_cache(maxsize=4096)
def _is_put(module: str, name: str) -> bool:
    """Whether a name stands in an installed module that neither its source nor its list of names has."""
    there = sys.modules.get(module)
    file = getattr(there, "__file__", None)
    text = "".join(linecache.getlines(file)) if isinstance(file, str) and file.endswith(".py") else ""
    listed = getattr(there, "__all__", ())
    return bool(text) and name not in listed and not re.search(rf"\b{re.escape(name)}\b", text)


def of_class(walk: Walk, cls: type) -> list[Any]:
    """What was put into an installed class and the classes it is derived from."""
    known = walk.patched.get(cls)
    if known is None:
        found = [one for base in cls.__mro__ for one in _of_base(base)]
        walk.patched[cls] = known = sorted(found, key=lambda one: one[:2])  # scipy fills classes from sets
    return [[where, name, walk.tell(value, name)] for where, name, value in known]


def _of_base(cls: type) -> list[tuple[str, str, Any]]:
    """The same of one class: its name, the name in it, and what stands there."""
    if not cls.__flags__ & 1 << 9 or origins.origin(str(cls.__module__)) is None:
        return []  # nothing can be put into a type of C
    space = getattr(sys.modules.get(cls.__module__), "__dict__", None)
    out = []
    for name, value in vars(cls).items():
        kind = type(value)
        if kind in _C_TYPES or kind is type:
            continue
        if kind is types.FunctionType:
            usual = value.__qualname__ == f"{cls.__qualname__}.{name}"
            if usual and value.__globals__ is space and value.__closure__ is None:
                continue
            if foreign(value):
                out.append((cls.__qualname__, name, value))
            elif str(value.__module__).startswith("torch._dynamo"):
                continue  # put there by the compiler when it is first needed: it keeps account and computes nothing
            elif not usual and str(value.__module__).partition(".")[0] == cls.__module__.partition(".")[0]:
                out.append((cls.__qualname__, name, value.__qualname__))
        elif kind in _NUMBERS or kind in _CONTAINERS:
            number = kind is float or kind is complex or kind is np.ndarray or issubclass(kind, torch.Tensor)
            if name[:2] != "__" and (number or _is_put(str(cls.__module__), name)):
                out.append((cls.__qualname__, name, value))
        elif name[:2] != "__" and foreign(value):
            out.append((cls.__qualname__, name, value))
    return out


def of_attributes(walk: Walk, names: set[str]) -> list[Any]:
    """A user's methods and accessors that were put into classes of torch, xarray and pandas, among the names given."""
    out: list[Any] = []
    for cls in _extended():
        space = vars(cls)
        found = [name for name in sorted(names & space.keys()) if foreign(space[name])]
        out += [[cls.__qualname__, name, walk.tell(space[name], name)] for name in found]
    return out


def _extended() -> list[type]:
    found = [getattr(sys.modules.get(module), "__dict__", {}).get(name) for module, name in _EXTENDED]
    return [*torch.Tensor.__mro__[:-1], *(cls for cls in found if isinstance(cls, type))]


def surroundings(walk: Walk) -> list[Any]:
    """What every function that computes with torch depends on, where it is not as usual."""
    operators.check(walk)
    out: list[Any] = [str(torch.get_default_dtype())]
    if torch.get_float32_matmul_precision() != "highest":
        out.append(["matmul", torch.get_float32_matmul_precision()])
    for name in _HOOKS:
        hooks = getattr(torch.nn.modules.module, name, None)
        if hooks:
            out.append([name, [walk.tell(one, name) for one in hooks.values()]])
    for name in (*_SWEPT, "torch.Tensor"):
        module: Any = torch.Tensor if name == "torch.Tensor" else sys.modules.get(name)
        for key, value in _replaced(name, module) if module is not None else ():
            out.append([name, key, walk.tell(value, f"{name}.{key}")])
    return out


def _replaced(name: str, module: Any) -> list[tuple[str, Any]]:
    """Functions of a user's in a module or in the class of tensors, where installed code finds them."""
    space = vars(module)
    values, found = _FOUND.get(name, ((), []))
    if len(values) == len(space) and all(map(operator.is_, values, space.values())):
        return found
    if module is torch.Tensor:
        found = [(k, v) for k, v in space.items() if hasattr(torch._C.TensorBase, k) and foreign(v)]
    else:
        put = [(k, v) for k, v in space.items() if k[:2] != "__" and not isinstance(v, type) and foreign(v)]
        found = [(k, v) for k, v in put if hasattr(torch._C._VariableFunctions, k) or not _is_put(name, k)]
    found.sort(key=lambda one: one[0])
    _FOUND[name] = (tuple(space.values()), found)
    return found


_FOUND: dict[str, tuple[tuple[Any, ...], list[tuple[str, Any]]]] = {}
"""What stood in a module when it was last looked through, and what of it was a user's."""
