"""One door for arrays: what comes in leaves as a plain float64 tensor with memory of its own, or is refused by name.

Refused is what would lose information on the way: masks, missing values, complex and boolean numbers, text and dates,
integers that float64 cannot hold, units, sparse, nested, quantised and meta tensors, tensor subclasses that mean more
than their numbers. Strides, byte order, read-only memory, precision and devices make no difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from gsimplicit.checks import shown

__all__ = ["as_device", "holds_tensor", "labels_of", "real_array", "real_fields", "real_tensor"]

Array = np.ndarray[Any, np.dtype[np.float64]]

_EXACT = 2**53
"""Integers up to this are float64 numbers."""

_DEEPEST = 8
"""Sequences nested deeper than this are no array."""

_NO_UNITS = ("", "1", "dimensionless")
"""What labelled arrays say of a number without units."""

_WHAT = "a real number, sequence, array or tensor of them"


def labels_of(value: Any) -> list[Any] | None:
    """Labels of the entries of a column of pandas' or xarray's; None of what has none."""
    package = type(value).__module__.partition(".")[0]
    if package == "pandas" and getattr(value, "ndim", 0) == 1 and not callable(getattr(value, "index", len)):
        return list(value.index)
    if package == "xarray" and getattr(value, "ndim", 0) == 1 and value.dims[0] in getattr(value, "indexes", ()):
        return list(value.indexes[value.dims[0]])
    return None


def real_array(name: str, value: Any, what: str = _WHAT) -> Array:
    """Numbers, sequences, arrays, labelled arrays or tensors of real numbers as a float64 array of its own memory.

    Raises:
        TypeError: Not real numbers.
        ValueError: Masked, missing or ragged, or attached to autograd.
    """
    if holds_tensor(value):
        return np.asarray(real_tensor(name, value, what=what).numpy())
    if callable(getattr(type(value), "compute", None)) and hasattr(type(value), "__dask_graph__"):
        value = value.compute()  # dask's own conversion drops masks
    _refuse_hidden(name, value, what, 0)
    try:
        with np.errstate(all="ignore"):
            given = np.asanyarray(value)
    except (ValueError, TypeError, OverflowError, MemoryError, RecursionError) as error:
        raise ValueError(f"{name} must be {what}, got {shown(value)}: {error}") from error
    if np.ma.is_masked(given):  # variables of netCDF4 only show their mask here
        raise ValueError(f"{name} holds masked values, which stand for no number, got {shown(given)}: fill them")
    if given.dtype == object:
        given = _of_objects(name, given, what)
    if given.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be {what}, got {shown(value)}")
    found = np.asarray(given)
    if found.dtype.kind in "iu" and found.dtype.itemsize == 8:
        _refuse_inexact(name, found.reshape(-1)[np.abs(found.reshape(-1).astype(np.float64)) >= _EXACT].tolist())
    with np.errstate(all="ignore"):  # a long double beyond float64 becomes infinite, and is refused as such
        return np.array(found, dtype=np.float64, order="C", subok=False)


def _of_objects(name: str, given: np.ndarray[Any, Any], what: str) -> np.ndarray[Any, Any]:
    """Python's and numpy's real numbers out of an array of objects, as tables hold them whose columns were mixed."""
    for i, one in enumerate(given.reshape(-1)):
        if isinstance(one, bool | np.bool_) or not isinstance(one, float | int | np.floating | np.integer):
            place = f" at entry {i} of objects" if given.ndim else ""
            raise TypeError(f"{name} must be {what}, got {shown(one)}{place}")
        if isinstance(one, int | np.integer):
            _refuse_inexact(name, [int(one)])
    with np.errstate(all="ignore"):
        return given.astype(np.float64)


def real_tensor(
    name: str, value: Any, *, attached: bool = False, device: str | None = "cpu", what: str = _WHAT
) -> torch.Tensor:
    """The same as a float64 tensor of its own memory.

    Args:
        name: Of the argument.
        value: Numbers, a sequence, an array or a tensor.
        attached: Whether a tensor may require gradients; the copy then stays attached.
        device: Where the copy lies; None is where the tensor lies.
        what: What it must be, for the error.

    Raises:
        TypeError: Not real numbers.
        ValueError: Masked, missing or ragged, on a device without values, or attached where that has no meaning.
    """
    if isinstance(value, torch.Tensor):
        return _copied(name, value, attached, device, what)
    if not holds_tensor(value):
        return torch.from_numpy(real_array(name, value, what))
    parts = [real_tensor(name, one, attached=attached, device=device, what=what) for one in value]
    if len({part.shape for part in parts}) > 1:
        raise ValueError(f"{name} must be {what}, got a ragged sequence of shapes {[tuple(p.shape) for p in parts]}")
    return torch.stack(parts)


def real_fields(name: str, value: Any, *, attached: bool = True, device: str | None = None) -> torch.Tensor:
    """A tensor or numpy array of floats as a float64 tensor of its own memory; other array-likes are refused.

    Labelled arrays are refused because their dimensions may come in another order.

    Args:
        name: Of the argument.
        value: A tensor or numpy array.
        attached: Whether it may require gradients.
        device: Where the copy lies; None is where the tensor lies.

    Raises:
        TypeError: Not a tensor or array of floats.
        ValueError: Masked, on a device without values, or attached where that has no meaning.
    """
    if not isinstance(value, torch.Tensor | np.ndarray):
        raise TypeError(f"{name} must be a torch tensor or numpy array, got {type(value).__name__}")
    floats = value.is_floating_point() if isinstance(value, torch.Tensor) else value.dtype.kind == "f"
    if not floats and not getattr(value, "is_quantized", False):
        raise TypeError(f"{name} must hold floats, got {value.dtype}")
    return real_tensor(name, value, attached=attached, device=device, what="a torch tensor or numpy array of floats")


def holds_tensor(value: Any, depth: int = 0) -> bool:
    """Whether this is a tensor, or a sequence with one in it."""
    if isinstance(value, torch.Tensor):
        return True
    return isinstance(value, list | tuple) and depth < _DEEPEST and any(holds_tensor(x, depth + 1) for x in value)


def _copied(name: str, value: torch.Tensor, attached: bool, device: str | None, what: str) -> torch.Tensor:
    """A tensor as float64, in memory of its own."""
    plain = getattr(type(value), "__torch_dispatch__", None) is torch.Tensor.__torch_dispatch__
    for wrong, found in (
        (not plain, f"a {type(value).__name__}, which means more than its numbers"),
        (value.is_nested, "a nested tensor"),
        (value.layout is not torch.strided, f"a tensor of layout {value.layout}: pass its to_dense()"),
        (value.is_quantized, "a quantised tensor: pass its dequantize()"),
        (value.is_complex() or value.dtype == torch.bool, f"dtype {value.dtype}"),
    ):
        if wrong:
            raise TypeError(f"{name} must be {what}, got {found}")
    if value.device.type == "meta":
        raise ValueError(f"{name} must hold values, got a tensor on device meta, which has none")
    if not attached and _batched(value):
        raise ValueError(
            f"{name} is batched by torch.vmap, by which gsimplicit cannot be mapped: give the batch along the first "
            "axis, or loop over it"
        )
    if not attached and _transformed(value):
        raise ValueError(
            f"{name} is under a transform of torch.func, but only derivatives in the parameters are computed: detach it"
        )
    if value.requires_grad and not attached:
        raise ValueError(
            f"{name} requires gradients, but only derivatives in the parameters are computed: pass {name}.detach()"
        )
    if value.dtype in (torch.int64, torch.uint64) and value.numel():
        flat = value.detach().reshape(-1)
        _refuse_inexact(name, flat[flat.to(torch.float64).abs() >= _EXACT].tolist())
    try:
        if type(value) is not torch.Tensor and not isinstance(value, torch.nn.Parameter):
            value = value.as_subclass(torch.Tensor)
        return value.resolve_neg().to(value.device if device is None else device, torch.float64, copy=True)
    except (RuntimeError, NotImplementedError) as error:
        if attached and "vmap" in str(error):
            raise
        raise TypeError(f"{name} cannot be read as float64: {error}") from error


def _transformed(value: torch.Tensor) -> bool:
    """Whether torch.func is about to differentiate or batch a tensor."""
    wrapped = getattr(torch._C._functorch, "is_functorch_wrapped_tensor", None)
    if wrapped is not None and wrapped(value):
        return True
    return torch.autograd.forward_ad.unpack_dual(value).tangent is not None  # type: ignore[no-untyped-call]


def _batched(value: torch.Tensor) -> bool:
    """Whether a tensor stands for a batch of `torch.vmap`, at any level."""
    functorch: Any = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(value):
        if functorch.is_batchedtensor(value):
            return True
        value = functorch.get_unwrapped(value)
    return False


def _refuse_hidden(name: str, value: Any, what: str, depth: int) -> None:
    """Refuse what numpy would take without a word: masks, flags among numbers, large integers, units, labels."""
    if type(value) is float:
        return
    if isinstance(value, np.ma.MaskedArray):
        if np.ma.is_masked(value):
            raise ValueError(f"{name} holds masked values, which stand for no number, got {shown(value)}: fill them")
    elif isinstance(value, int | np.bool_):
        if isinstance(value, bool | np.bool_):
            raise TypeError(f"{name} must be {what}, got {shown(value)}")
        _refuse_inexact(name, [value])
    elif isinstance(value, np.ndarray):
        if value.dtype.kind == "b":
            raise TypeError(f"{name} must be {what}, got {shown(value)}")
    elif isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"{name} must be {what}, got {shown(value)}")
    elif isinstance(value, Sequence) and not isinstance(value, str | range):
        if depth > _DEEPEST:
            raise ValueError(f"{name} must be {what}, got a sequence nested more than {_DEEPEST} deep")
        for one in value:
            _refuse_hidden(name, one, what, depth + 1)
    if isinstance(value, Mapping) or hasattr(value, "columns"):
        raise TypeError(f"{name} must be {what}, got a {type(value).__name__}")
    # a quantity would be stripped of its unit; what a labelled array says of units is the caller's own note
    plain = isinstance(value, float | int) or hasattr(type(value), "dims")
    units = [] if plain else [getattr(value, at, None) for at in ("unit", "units")]
    named = [str(unit) for unit in units if unit is not None and not callable(unit)]
    if any(unit not in _NO_UNITS for unit in named):
        raise TypeError(f"{name} must be dimensionless, got a {type(value).__name__} in {', '.join(named)}")


def _refuse_inexact(name: str, integers: Sequence[int]) -> None:
    """Refuse integers that are not float64 numbers."""
    for one in integers:
        if abs(one) < _EXACT:
            continue
        try:
            if int(float(one)) == one:
                continue
        except OverflowError:
            pass
        raise ValueError(f"{name} holds {shown(one)}, an integer that float64 cannot hold")


def as_device(device: torch.device | str | None, name: str = "device", *, work: bool = True) -> torch.device:
    """The device meant; None is the CPU.

    Args:
        device: A device of torch's, or its name.
        name: Of the argument.
        work: Whether something is computed there, so that it must hold values.

    Raises:
        ValueError: There is no such device, or it holds no values.
    """
    if device is not None and not isinstance(device, str | torch.device):
        raise ValueError(f"{name} must be one torch can use, got {shown(device)}")
    try:
        # with its number: which one "cuda" is, each thread of torch's has its own idea of
        found = torch.empty(0, device="cpu" if device is None else str(device), dtype=torch.float64).device
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        raise ValueError(f"{name} must be one torch can use, got {shown(device)}: {error}") from error
    if work and found.type == "meta":
        raise ValueError(f"{name} must hold values, got {shown(device)}, which has none")
    return torch.device("cpu") if found.type == "cpu" else found
