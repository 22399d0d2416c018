"""Numbers, arrays, tensors and containers, told by type and value."""

from __future__ import annotations

import hashlib
from collections import OrderedDict, defaultdict, deque
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from gsimplicit.identity.values import Walk


def number(value: Any) -> Any:
    """A number or text of exactly a built-in type or of numpy's, as JSON types; None where it is none.

    Those of numpy that are the same number in Python are told as that: int64, truth values, float64 and text. Shorter
    integers wrap around where Python's grow.
    """
    kind = type(value)
    if issubclass(kind, np.generic):
        if kind is not np.timedelta64 and issubclass(kind, np.bool_ | np.int64 | np.str_):
            return value.item()
        if kind is np.float64:
            return number(value.item())
        if value.dtype.hasobject:
            return None
        return ["numpy", _dtype(value.dtype), np.asarray(value).tobytes().hex()]
    if kind is float:
        return ["float", value.hex()]  # tells -0.0 from 0.0, and NaN is NaN
    if kind is complex:
        return ["complex", value.real.hex(), value.imag.hex()]
    if kind in (bytes, bytearray, memoryview):
        shape = [value.format, list(value.shape)] if kind is memoryview else []
        return [kind.__name__, *shape, hashlib.sha256(bytes(value)).hexdigest()]
    if kind is range or kind is slice:
        return [kind.__name__, *map(repr, (value.start, value.stop, value.step))]
    if value is Ellipsis or value is NotImplemented or value is np.ma.masked:
        return ["constant", repr(value)]
    if issubclass(kind, np.dtype):
        return ["dtype", _dtype(value)]
    if kind in (torch.dtype, torch.device, torch.layout, torch.memory_format, torch.Size):
        return ["torch", str(value)]
    return None


def state(walk: Walk, value: Any) -> Any:
    """What an object holds as a number, array or container; None where it is none of them.

    The methods of the built-in types are used, not those of a user's class derived from one.
    """
    kind = type(value)
    if issubclass(kind, torch.Tensor):
        return _tensor(walk, value)
    if issubclass(kind, np.ndarray):
        return _array(walk, value)
    if issubclass(kind, dict):
        factory = value.default_factory if issubclass(kind, defaultdict) else None
        ordered = issubclass(kind, OrderedDict)  # which keeps an order of its own
        return ["dict", walk.tell(factory), walk.mapping((OrderedDict if ordered else dict).items(value))]
    if issubclass(kind, list | tuple):
        base = list if issubclass(kind, list) else tuple
        return [base.__name__, *(walk.tell(one, str(n)) for n, one in enumerate(base.__iter__(value)))]
    if issubclass(kind, deque):
        return ["deque", value.maxlen, *(walk.tell(one, str(n)) for n, one in enumerate(deque.__iter__(value)))]
    if issubclass(kind, set | frozenset):
        elements = set.__iter__(value) if issubclass(kind, set) else frozenset.__iter__(value)
        return ["set", walk.unordered(value, elements)]
    for plain in (int, str, float, complex, bytes, bytearray):
        if issubclass(kind, plain):
            return [plain.__name__, *_plain(plain, value)]
    return None


def _plain(base: type, value: Any) -> list[Any]:
    """The number or text inside an object of a class derived from it."""
    if base is int:
        return [int.__int__(value)]
    if base is str:
        return [str.__str__(value)]
    if base is float:
        return [float.hex(value)]
    if base is complex:
        return [float.hex(complex.real.__get__(value)), float.hex(complex.imag.__get__(value))]
    return [hashlib.sha256(memoryview(value)).hexdigest()]


def _dtype(dtype: np.dtype[Any]) -> str:
    return repr(dtype.descr) if dtype.names else dtype.str


def _array(walk: Walk, value: np.ndarray[Any, Any]) -> list[Any]:
    """Shape, dtype, bytes in the order of the indices, whether the first lies closest; the mask of a masked array."""
    if issubclass(type(value), np.ma.MaskedArray):
        masked: Any = value
        parts = (np.ma.getdata(masked), np.ma.getmaskarray(masked), masked.fill_value)
        return ["masked", *(_array(walk, np.asarray(part)) for part in parts)]
    plain = value.view(np.ndarray)
    head = [_dtype(plain.dtype), list(plain.shape)]
    if plain.flags.f_contiguous and not plain.flags.c_contiguous:
        head.append("Fortran")
    if plain.dtype.hasobject or plain.dtype.kind == "T":
        return ["array", *head, [walk.tell(one, str(n)) for n, one in enumerate(plain.ravel().tolist())]]
    return ["array", *head, hashlib.sha256(np.ascontiguousarray(plain).tobytes()).hexdigest()]


def _tensor(walk: Walk, value: torch.Tensor) -> list[Any]:
    """Shape, dtype, layout and bytes."""
    with torch._C.DisableTorchFunctionSubclass(), torch.no_grad():
        try:
            head = [str(value.dtype), str(value.layout), list(value.shape)]
            plain = value.detach()
            if plain.layout == torch.sparse_coo:
                plain = plain.coalesce()
                parts = [plain.indices(), plain.values()]
            elif plain.layout in (torch.sparse_csr, torch.sparse_bsr):
                parts = [plain.crow_indices(), plain.col_indices(), plain.values()]
            elif plain.layout in (torch.sparse_csc, torch.sparse_bsc):
                parts = [plain.ccol_indices(), plain.row_indices(), plain.values()]
            elif plain.is_quantized:
                parts = [plain.int_repr(), plain.dequantize()]
            else:
                parts = [plain]
            return ["tensor", *head, *(_bytes(part) for part in parts)]
        except (RuntimeError, NotImplementedError, TypeError, AttributeError) as error:
            raise walk.refuse(f"a tensor without values of its own ({str(error).splitlines()[0]})") from error


def _bytes(value: torch.Tensor) -> str:
    whole = value.cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return hashlib.sha256(whole.view(torch.uint8).numpy().tobytes() if len(whole) else b"").hexdigest()
