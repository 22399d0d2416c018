"""Objects of other packages that are found otherwise than by their attributes: compiled functions, networks, tables."""

from __future__ import annotations

import io
import pickletools
import re
import sys
import types
import zipfile
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gsimplicit.identity import operators, origins, parts

if TYPE_CHECKING:
    from gsimplicit.identity.values import Walk


def known(walk: Walk, value: Any) -> list[Any] | None:
    """Objects of other packages whose parts are found otherwise than as attributes; None for others."""
    kind = type(value)
    top = kind.__module__.partition(".")[0] if isinstance(kind.__module__, str) else ""
    if kind is np.vectorize:
        held = ("pyfunc", "otypes", "signature", "excluded", "cache")
        return ["vectorize", *(walk.tell(getattr(value, part, None)) for part in held)]
    if kind is np.ufunc:
        for module in ("numpy", "scipy.special"):
            if origins.found_by_name(module, value.__name__, value):
                return ["ufunc", module, value.__name__]
        raise walk.refuse(f"the ufunc {value.__name__!r}, whose function is not known")
    told = _TELLERS[top](walk, value) if top in _TELLERS else None
    if told is not None:
        return told
    if issubclass(kind, torch.nn.Module) and "_orig_mod" in vars(value).get("_modules", {}):
        return ["compiled", walk.tell(vars(value)["_modules"]["_orig_mod"])]
    if kind.__name__ in ("cython_function_or_method", "fused_cython_function"):
        defaults = [walk.tell(getattr(value, part, None), part) for part in ("__defaults__", "__kwdefaults__")]
        home = sys.modules.get(str(value.__module__))
        text = origins.origin(str(value.__module__)) or ("" if home is None else walk.text_of(home))
        return ["cython", value.__qualname__, text, *defaults]
    if hasattr(kind, "__next__") and not parts.users(value):
        raise walk.refuse(f"a {kind.__name__}, whose items are used up")
    return None


def _of_torch(walk: Walk, value: Any) -> list[Any] | None:
    kind = type(value)
    if issubclass(kind, torch.jit.ScriptFunction | torch.jit.ScriptModule):
        return ["torchscript", *_script(value)]
    if kind is torch.Generator:
        if value is torch.default_generator:
            return ["generator of the process"]
        return ["generator", str(value.device), walk.tell(value.get_state())]
    if kind in (torch.finfo, torch.iinfo):
        return [kind.__name__, str(value)]
    if kind.__name__ == "RemovableHandle":
        return ["handle"]  # its number counts all hooks of the process
    return operators.of_value(walk, value) if operators.is_operator(value) else None


def _of_numba(walk: Walk, value: Any) -> list[Any] | None:
    """Compiled functions by what they were compiled from, and the types and containers of numba."""
    kind = type(value)
    if isinstance(value, sys.modules["numba"].types.Type):
        inside = getattr(value, "class_type", None) or (value if hasattr(value, "jit_methods") else None)
        return ["numba type", *([str(value)] if inside is None else _jitclass(walk, inside))]
    if kind.__module__.startswith("numba.typed"):
        inside = list(value.items()) if kind.__name__ == "Dict" else list(value)
        return ["typed", kind.__name__, str(getattr(value, "_numba_type_", "")), walk.tell(inside)]
    struct = getattr(getattr(value, "_numba_type_", None), "struct", None)
    if struct is not None and kind.__module__.startswith("numba.experimental"):
        fields = [(name, getattr(value, name)) for name in struct if not name.startswith("_")]
        hidden = [name for name in struct if name.startswith("_")]
        if hidden:
            raise walk.refuse(f"a {kind.__name__} of numba with a field {hidden[0]!r} that is hidden")
        return ["jitclass object", *_jitclass(walk, value._numba_type_.class_type), walk.mapping(fields)]
    for at in (value, *(getattr(value, part, None) for part in ("_dispatcher", "gufunc_builder"))):
        inner = getattr(at, "py_func", None) or getattr(at, "_pyfunc", None)
        if inner is not None:
            options = dict(getattr(value, "targetoptions", None) or {})
            out = ["numba", kind.__name__, walk.tell(inner), walk.tell(options), *_overloads(walk)]
            return [*out, str(getattr(value, "_sig", ""))]
    if kind.__name__ == "StencilFunc":
        return ["stencil", walk.tell(value.kernel_ir.func_id.func), walk.tell(dict(value.options)), *_overloads(walk)]
    return None


def _overloads(walk: Walk) -> list[Any]:
    """What a user told numba to compile in place of functions of packages, and as attributes of types."""
    if walk.once("overloads of numba") is not None:
        return []
    return [walk.tell(one) for key, one in _registered() if type(key) is not types.FunctionType or not parts.users(key)]


def overloads_of(walk: Walk, function: types.FunctionType) -> list[Any]:
    """What a user told numba to compile in place of a function of the user's own."""
    return [walk.tell(one) for key, one in _registered() if key is function]


def _registered() -> list[tuple[Any, types.FunctionType]]:
    """A user's functions in the tables of numba, with what they stand for."""
    registry = getattr(sys.modules.get("numba.core.typing.templates"), "builtin_registry", None)
    listed = [*getattr(registry, "functions", ()), *getattr(registry, "attributes", ())]
    if len(listed) != _LISTED[0]:
        given = [(getattr(one, "key", None), getattr(one, "_overload_func", None)) for one in listed]
        users = [(k, f) for k, f in given if type(f) is types.FunctionType and f.__code__.co_filename[:1] != "<"]
        own = [(key, function) for key, function in users if origins.foreign(function)]
        _OVERLOADS[:] = sorted(own, key=lambda one: one[1].__qualname__)
        _LISTED[0] = len(listed)
    return _OVERLOADS


_LISTED = [0]
_OVERLOADS: list[tuple[Any, types.FunctionType]] = []


def compiled_class(walk: Walk, cls: type) -> list[Any] | None:
    """A class that numba compiles; None for others."""
    inside = vars(cls).get("class_type")
    if inside is None or not type(cls).__module__.startswith("numba."):
        return None
    return ["jitclass", *_jitclass(walk, inside)]


def _jitclass(walk: Walk, inside: Any) -> list[Any]:
    fields = [(name, str(one)) for name, one in inside.struct.items()]
    methods = [walk.mapping(getattr(inside, part, {}).items()) for part in ("jit_methods", "jit_static_methods")]
    properties = [[name, *(walk.tell(one) for one in made.values())] for name, made in inside.jit_props.items()]
    return [inside.class_name, fields, *methods, properties]


def _of_pandas(walk: Walk, value: Any) -> list[Any] | None:
    """Tables, columns and indices by their labels and values."""
    kind = type(value)
    if hasattr(kind, "_typ") and kind._typ == "dataframe":
        columns = [walk.tell(value.iloc[:, n], str(name)) for n, name in enumerate(value.columns)]
        return [
            "frame",
            walk.tell(value.columns, "columns"),
            walk.tell(value.index, "index"),
            columns,
            walk.tell(value.attrs),
        ]
    if hasattr(kind, "_typ") and kind._typ == "series":
        return [
            "series",
            walk.tell(value.name),
            walk.tell(value.index, "index"),
            _column(walk, value),
            walk.tell(value.attrs),
        ]
    if kind.__name__ == "MultiIndex":
        return ["index", walk.tell(list(value.names)), walk.tell(list(value))]
    if hasattr(value, "to_numpy") and hasattr(value, "dtype"):  # an index or an array of its own kind
        names = getattr(value, "name", None), str(getattr(value, "freq", None))
        return ["index" if hasattr(value, "name") else "array", kind.__name__, walk.tell(names), _column(walk, value)]
    if kind.__name__ in ("Timestamp", "Timedelta", "Period", "NaTType", "NAType"):
        return [kind.__name__, str(value), str(getattr(value, "tz", None)), getattr(value, "unit", None)]
    return None


def _column(walk: Walk, value: Any) -> list[Any]:
    dtype = value.dtype
    more = [walk.tell(list(dtype.categories)), dtype.ordered] if hasattr(dtype, "categories") else []
    return [str(dtype), *more, walk.tell(value.to_numpy(), "values")]


def _of_xarray(walk: Walk, value: Any) -> list[Any] | None:
    kind = type(value)
    if kind.__module__.startswith("xarray.core.data") and hasattr(value, "to_dict"):
        dtypes = [(str(name), str(one.dtype)) for name, one in getattr(value, "variables", {}).items()]
        name = getattr(value, "name", None)
        return ["xarray", kind.__name__, walk.tell(name), dtypes, walk.tell(value.to_dict(data="array"))]
    return None


def _of_dask(walk: Walk, value: Any) -> list[Any] | None:
    """A function that is called later; its key is drawn anew in each process."""
    if type(value).__name__ == "DelayedLeaf":
        return ["delayed", walk.tell(value._obj), walk.tell(value._pure), walk.tell(value._nout)]
    if type(value).__name__ == "Delayed":
        raise walk.refuse("a Delayed of dask, which has another name in each process: hold the function instead")
    return None


def _of_toolz(walk: Walk, value: Any) -> list[Any] | None:
    """A function with arguments; what it found out about itself is not told."""
    if type(value).__name__ != "curry":
        return None
    return ["curry", walk.tell(value.func), walk.tell(value.args), walk.mapping(value.keywords.items())]


def _of_scipy(walk: Walk, value: Any) -> list[Any] | None:
    """Splines without the memory they were worked out in, sparse arrays without what they know about themselves."""
    held = vars(value) if hasattr(value, "__dict__") else {}
    if "_eval_args" in held and "_data" in held:
        points = held["_data"][:7]  # points, weights, ends, degree and smoothing; what follows has unused parts
        return ["spline", type(value).__name__, walk.tell(held["_eval_args"]), held.get("ext"), walk.tell(points)]
    if "_shape" in held and type(value).__module__.startswith("scipy.sparse"):
        inside = [(name, one) for name, one in held.items() if not name.startswith("_has_") and name != "maxprint"]
        return ["sparse", walk.tell(type(value)), walk.mapping(inside)]
    return None


def _of_matplotlib(walk: Walk, value: Any) -> list[Any] | None:
    """What is called where a picture changes counts itself."""
    return ["callbacks"] if type(value).__name__ == "CallbackRegistry" else None


def _of_sympy(walk: Walk, value: Any) -> list[Any] | None:
    """An expression as it is written, and a user's functions in it."""
    sympy = sys.modules["sympy"]
    if not isinstance(value, sympy.Basic):
        return None
    own = {type(one).__name__: type(one) for one in sympy.preorder_traversal(value) if parts.users(type(one))}
    return ["sympy", sympy.srepr(value), [walk.tell(own[name]) for name in sorted(own)]]


_TELLERS = {
    "matplotlib": _of_matplotlib, "sympy": _of_sympy,
    "scipy": _of_scipy,
    "toolz": _of_toolz, "cytoolz": _of_toolz,
    "torch": _of_torch, "numba": _of_numba, "pandas": _of_pandas, "xarray": _of_xarray, "dask": _of_dask,
}  # fmt: skip


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
