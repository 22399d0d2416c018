"""Values of points put into the dataset; words of a flag become its numbers, the same however the points come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gsimplicit.landscape.tiles import Values

if TYPE_CHECKING:
    import xarray as xr

_MOST = 127
"""The number of a word for which there is none: flags are int8."""


def put(frame: xr.Dataset, count: int, indices: Sequence[int], values: Values) -> None:
    """Put the variables of some of `count` points in their places; what goes by a name with `_` is no variable."""
    for name, some in values.items():
        if name.startswith("_"):
            continue
        variable = frame.variables[name]
        numbers = _numbered(variable.attrs, some) if some.dtype.kind == "U" else some
        array = variable.values
        array.reshape(count, *some.shape[1:])[list(indices)] = numbers


def _numbered(attrs: dict[str, Any], words: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Numbers of words; new ones are written behind those of the flag as they come."""
    known = str(attrs["flag_meanings"]).split()
    new, at = np.unique(words, return_inverse=True)
    known += [word for word in new.tolist() if word not in known]
    attrs["flag_meanings"] = " ".join(known[:_MOST])
    numbers = [min(known.index(word), _MOST) for word in new.tolist()]
    return np.array(numbers, np.int8)[at].reshape(words.shape)


def settle(frame: xr.Dataset) -> None:
    """Give the words that came their final numbers, by the alphabet; too many of them become one, "other"."""
    for variable in frame.data_vars.values():
        values, words = variable.attrs.get("flag_values"), str(variable.attrs.get("flag_meanings", "")).split()
        if values is None or len(words) <= np.size(values):
            continue
        first, new = np.size(values), words[np.size(values) :]
        array = variable.values
        final = ["other"] if (array == _MOST).any() else sorted(new)
        numbers = np.arange(_MOST + 1, dtype=np.int8)
        numbers[first:] = first
        if final == sorted(new):
            numbers[first : len(words)] = [first + final.index(word) for word in new]
        array[...] = numbers[array]
        variable.attrs["flag_values"] = np.arange(first + len(final), dtype=np.int8)
        variable.attrs["flag_meanings"] = " ".join([*words[:first], *final])
