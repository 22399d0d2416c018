"""What a dataset was asked for, as JSON types: known by a fingerprint, read back from a file, told from another."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gsimplicit.equations import DEFAULT

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["configuration_of", "difference", "digest", "fingerprint", "parameters_of"]


def fingerprint(configuration: Mapping[str, Any]) -> str:
    """SHA-256 of a configuration of JSON types, independent of the order of its keys.

    Example:
        >>> from gsimplicit.configuration import fingerprint
        >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
        True
    """
    return hashlib.sha256(json.dumps(configuration, sort_keys=True).encode()).hexdigest()


def digest(array: np.ndarray[Any, Any]) -> str:
    """SHA-256 of an array's shape, dtype and bytes."""
    head = f"{array.shape} {array.dtype.str} ".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()


def configuration_of(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """The configuration among the global attributes of a dataset; empty where there is none."""
    try:
        found = json.loads(attrs.get("gsimplicit_configuration", "{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def parameters_of(data: xr.Dataset) -> tuple[str, ...]:
    """Names of the parameters of the model that a scan is of."""
    told = configuration_of(data.attrs).get("model")
    return DEFAULT.parameters if told is None else (*told["diffusivity"], *told["rates"])


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """The first key in which two configurations differ, with both values; None where they agree."""
    for key in sorted({*old, *new}):
        there, here = old.get(key), new.get(key)
        if isinstance(there, Mapping) and isinstance(here, Mapping):
            inner = difference(there, here)
            if inner is not None:
                return f"{key}.{inner}"
        elif there != here:
            return f"{key}: {_told(there, here)}"
    return None


def _told(there: Any, here: Any) -> str:
    """What tells two settings apart; functions and objects of a user's are known by digests, which say nothing."""
    if isinstance(there, list) and isinstance(here, list):
        names = [[_name(one) for one in some] for some in (there, here)]
        if names[0] == names[1] and any(name is not None for name in names[0]):
            apart = [n for n, (a, b) in enumerate(zip(there, here, strict=True)) if a != b]
            return "; ".join(_changed(str(names[0][n]), there[n], here[n]) for n in apart)
        if any(name is not None for name in names[0] + names[1]):
            there, here = ([one if name is None else name for name, one in zip(*pair, strict=True)]
                           for pair in ((names[0], there), (names[1], here)))  # fmt: skip
    elif _name(there) is not None and _name(there) == _name(here):
        return _changed(str(_name(there)), there, here)
    if all(isinstance(one, str) and re.fullmatch("[0-9a-f]{64}", one) for one in (there, here)):
        return f"{there[:12]}... there, {here[:12]}... asked for, the digests of what they hold"
    return f"{_short(there)} there, {_short(here)} asked for"


def _name(value: Any) -> str | None:
    """Name of a function or object that is known by a digest; None for others."""
    if isinstance(value, list) and len(value) == 2 and all(isinstance(one, str) for one in value):
        return str(value[0])
    return str(value["type"]) if isinstance(value, Mapping) and "type" in value else None


def _changed(name: str, there: Any, here: Any) -> str:
    """What is said of two of one name."""
    if isinstance(there, Mapping) and isinstance(here, Mapping) and "content" not in {**there, **here}:
        return f"{name}.{difference(there, here)}"
    return f"{name!r} is another one there: its code, or a value or function that it reaches, is not the same"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
