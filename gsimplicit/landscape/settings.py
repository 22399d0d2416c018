"""What a scan was asked for, as JSON types: to tell one from another, and to ask for it again. Nothing is unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch

from gsimplicit import checks, routes
from gsimplicit.arguments import March
from gsimplicit.identity import content
from gsimplicit.losses import Gram
from gsimplicit.marching.backend import Kernels, Torch, by_name
from gsimplicit.refine import Direct, Gmres, Refine

_KNOWN: dict[str, type] = {
    cls.__name__: cls
    for cls in (March, Refine, Direct, Gmres, Gram, *(getattr(routes, name) for name in routes.__all__))
    if isinstance(cls, type) and is_dataclass(cls)
}
"""Settings objects that can be made again by name."""

_LATER = ("dt", "backend")
"""Settings that came later: untold where they are what they were before, so that older files are known."""


def encoded(argument: str, value: Any, *, kept: bool = True) -> Any:
    """A setting as JSON types: plain numbers, this package's objects by name and fields, others by their code.

    Args:
        argument: Name of the argument it was given as, for errors.
        value: Number, text, settings object, route or solver.
        kept: Whether it is to be told from others; else objects of the user's are told by the name of their class.

    Raises:
        ValueError: An object of the user's holds something that cannot be told apart.
    """
    value = checks.plain(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if type(value) in (list, tuple):
        return [encoded(argument, one, kept=kept) for one in value]
    if type(value) is routes.Surrogate:
        return {"type": "Surrogate", "model": value.digest}
    if isinstance(value, torch.device):  # any of its kind: the same scan goes on on another one of a machine
        return {"torch": value.type}
    if isinstance(value, torch.dtype):
        return {"torch": str(value).removeprefix("torch.")}
    if type(value) is Gram:  # known by the digest of its weights, wherever their file lies
        value = value.told
    cls = type(value)
    if _KNOWN.get(cls.__name__) is cls:  # a class of the user's may have the name of one of ours
        told = [f.name for f in fields(value) if f.name not in _LATER or getattr(value, f.name) != f.default]
        inside = {name: encoded(argument, getattr(value, name), kept=kept) for name in told}
        return {"type": cls.__name__, **inside}
    if cls in (Kernels, Torch) or (cls.__module__ == "gsimplicit.marching.gpu" and value is by_name("gpu")):
        return {"backend": value.name}
    name = f"{cls.__module__}.{cls.__qualname__}"
    return {"type": name, **({"content": content(argument, name, value)} if kept else {})}


def is_ours(value: Any) -> bool:
    """Whether a setting is of this package's objects and plain values alone, with no code of the user's in it."""
    if value is None or isinstance(value, bool | int | float | str | torch.dtype | torch.device | np.generic):
        return True
    if type(value) in (list, tuple):
        return all(map(is_ours, value))
    if type(value) is routes.Surrogate:
        return True
    if _KNOWN.get(type(value).__name__) is type(value):
        return all(map(is_ours, vars(value).values()))
    return False


def decoded(value: Any) -> Any:
    """What `encoded` was given.

    Raises:
        ValueError: It is of a type that is not this package's.
    """
    if not isinstance(value, Mapping):
        return value
    if value.keys() == {"backend"}:
        return by_name(value["backend"])
    if value.keys() == {"torch"}:
        name = value["torch"]
        return getattr(torch, name) if isinstance(getattr(torch, name, None), torch.dtype) else torch.device(name)
    name = value.get("type")
    if name == "Surrogate":
        raise ValueError("a surrogate route cannot be made again from the file of a scan: pass its model to scan")
    if name not in _KNOWN:
        raise ValueError(f"settings of {name!r} are not gsimplicit's and cannot be made again from a file; pass them")
    return _KNOWN[name](**{key: decoded(one) for key, one in value.items() if key != "type"})
