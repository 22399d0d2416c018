"""Checks of arguments that several rooms share; each error names the argument, the value and the bound.

Each check gives back the plain Python value: a numpy scalar or an array without dimensions counts as the number, flag
or text it holds, and what is kept is an int, float, bool or str.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

LARGEST = 2**63 - 1
"""The largest integer that the compiled kernels can count to."""


def plain(value: Any) -> Any:
    """The Python value that a numpy scalar, or an array or tensor without dimensions, holds; other values as they are.

    What is masked, attached to autograd or on a device that holds no values stays as it is, to be refused.
    """
    if isinstance(value, np.ma.MaskedArray | np.timedelta64):  # a time counts as an integer to numpy
        return value
    if isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "biufUS":
        value = value[()]
    if isinstance(value, torch.Tensor):
        held = type(value) is torch.Tensor and value.layout is torch.strided and value.device.type != "meta"
        if not held or value.ndim or value.requires_grad or value.is_quantized or _wrapped(value):
            return value
        return value.item()
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, np.floating):
        return float(value)
    return str(value) if isinstance(value, str) else value


_wrapped: Any = getattr(torch._C._functorch, "is_functorch_wrapped_tensor", lambda _: False)
"""Whether a transform of torch.func holds a tensor, so that it has no value of its own."""


def shown(value: Any) -> str:
    """A value as an error names it: large ones are cut, arrays are told by type, dtype and shape."""
    try:
        if isinstance(value, np.ndarray | torch.Tensor) and value.ndim:
            return f"{type(value).__name__} of {value.dtype} and shape {tuple(value.shape)}"
        text = repr(value)
    except Exception:  # an object of the caller's: what is wrong with it must not hide what is wrong with the call
        text = f"a {type(value).__name__}"
    return text if len(text) <= 200 else f"{text[:200]}..."


def integer(name: str, value: Any, least: int, most: int | None = LARGEST) -> int:
    """An integer of at least `least`, and of at most `most` unless that is None.

    Raises:
        TypeError: Not an integer; True and 2.0 are none.
        ValueError: Below `least`, or above `most`.
    """
    found = plain(value)
    if isinstance(found, bool) or not isinstance(found, int):
        raise TypeError(f"{name} must be an integer, got {shown(value)}")
    if found < least:
        raise ValueError(f"{name} must be >= {least}, got {found}")
    if most is not None and found > most:
        raise ValueError(f"{name} must be <= {most}, got {shown(found)}")
    return int(found)


def real(
    name: str,
    value: Any,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    finite: bool = True,
) -> float:
    """A real number with `least <= value <= most` and `above < value < below`; infinite or NaN only where told.

    Raises:
        TypeError: Not a real number; True is none.
        ValueError: Not finite, or out of bounds.
    """
    given = plain(value)
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise TypeError(f"{name} must be a real number, got {shown(value)}")
    try:
        found = float(given)
    except OverflowError:
        found = math.inf if given > 0 else -math.inf
    outside = found < least or found > most or (found <= above > -math.inf) or (found >= below < math.inf)
    if outside or (finite and not math.isfinite(found)):
        bounds = [
            *(["finite"] if finite else []),
            *([f">= {least:g}"] if least > -math.inf else []),
            *([f"> {above:g}"] if above > -math.inf else []),
            *([f"<= {most:g}"] if most < math.inf else []),
            *([f"< {below:g}"] if below < math.inf else []),
        ]
        raise ValueError(f"{name} must be {' and '.join(bounds) or 'a number'}, got {shown(value)}")
    return found


def flag(name: str, value: Any) -> bool:
    """True or False.

    Raises:
        TypeError: Anything else.
    """
    found = plain(value)
    if not isinstance(found, bool):
        raise TypeError(f"{name} must be True or False, got {shown(value)}")
    return found


def choice(name: str, value: Any, options: Collection[str]) -> str:
    """One of some words.

    Raises:
        ValueError: Another word, or no word.
    """
    found = plain(value)
    if not isinstance(found, str) or found not in options:
        raise ValueError(
            f"{name} must be one of {', '.join(map(repr, options))}, got {shown(value)}{meant(found, options)}"
        )
    return found


def meant(given: Any, options: Iterable[str]) -> str:
    """What an error says at its end of the nearest of some words; empty where none is near.

    Examples:
        >>> meant("implicet", ["implicit", "unrolled"])
        "; did you mean 'implicit'?"
        >>> meant("adjoint", ["implicit", "unrolled"])
        ''
    """
    if not isinstance(given, str):
        return ""
    by_small = {option.lower(): option for option in options}
    near = difflib.get_close_matches(given.lower().replace("-", "_"), by_small, 1)
    return f"; did you mean {by_small[near[0]]!r}?" if near else ""


def floats(name: str, value: Any) -> torch.dtype | None:
    """The dtype of a march, float32 or float64, or None for the one that is meant.

    Raises:
        ValueError: Another dtype, or none of torch's.
    """
    if value is not None and (not isinstance(value, torch.dtype) or value not in (torch.float32, torch.float64)):
        raise ValueError(f"{name} must be torch.float32 or torch.float64, got {shown(value)}")
    return value


def pair(name: str, value: Any, least: int, most: int = LARGEST, of: str = "(H, W)") -> tuple[int, int]:
    """Two integers, as a grid has them, from a tuple, list or array.

    Raises:
        ValueError: Not two integers, or out of bounds.
    """
    try:
        if isinstance(value, str | bytes | Mapping | set | frozenset):
            raise TypeError
        first, second = value
        return integer(name, first, least, most), integer(name, second, least, most)
    except (TypeError, ValueError):
        bound = f", each >= {least}" if least > -LARGEST else ""
        raise ValueError(f"{name} must be two integers {of}{bound}, got {shown(value)}") from None


def listed(name: str, value: Any, what: str = "a list") -> list[Any]:
    """The entries of a list, tuple, range or one-dimensional array.

    Raises:
        TypeError: Something else: text, sets and dicts, which have no order, and generators, which can be read once.
    """
    if isinstance(value, np.ndarray | torch.Tensor) and not isinstance(value, np.ma.MaskedArray) and value.ndim == 1:
        return [plain(one) for one in value]
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise TypeError(f"{name} must be {what}, got {shown(value)}")
    return list(value)


def index(value: Any) -> Any:
    """An index into a batch: an integer as a list of one, a slice, or several integers or flags.

    Raises:
        TypeError: Anything else.
    """
    found = plain(value)
    if isinstance(found, int) and not isinstance(found, bool):
        return [found]
    if isinstance(found, slice):
        return found
    if isinstance(found, list | range | np.ndarray | torch.Tensor) and not isinstance(found, np.ma.MaskedArray):
        array = np.asarray(found.detach().cpu() if isinstance(found, torch.Tensor) else found)
        if array.ndim == 1 and array.dtype.kind in "iub":
            return torch.from_numpy(np.array(array, dtype=bool if array.dtype.kind == "b" else np.int64))
    raise TypeError(f"index must be an integer, a slice or a list of integers, got {shown(value)}")


def keep(settings: object, values: Mapping[str, Any]) -> None:
    """Put checked values in the place of what a frozen dataclass was given."""
    for name, value in values.items():
        object.__setattr__(settings, name, value)
