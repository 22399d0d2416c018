"""What a scan was asked for, as JSON types: to tell one from another, and to ask for it again. Nothing is unpickled."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import PurePath
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gsimplicit import dataset, routes
from gsimplicit.refine import Direct, Gmres, Refine
from gsimplicit.steady import March

if TYPE_CHECKING:
    from gsimplicit.routes.contract import Loss

_KNOWN: dict[str, type] = {
    cls.__name__: cls
    for cls in (March, Refine, Direct, Gmres, *(getattr(routes, name) for name in routes.__all__))
    if isinstance(cls, type) and is_dataclass(cls)
}
"""Settings objects that can be made again by name."""


def label(loss: str | Loss) -> str:
    """Name of a loss: its own, or that of the function."""
    return loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)


def encoded(value: Any) -> Any:
    """A settings object as JSON types: what it is and the values of its fields."""
    if isinstance(value, routes.Surrogate):
        return {"type": "Surrogate", "model": value.model.attrs["gsimplicit_configuration_hash"]}
    if isinstance(value, torch.dtype | torch.device):
        return {"torch": str(value).removeprefix("torch.")}
    if is_dataclass(value) and not isinstance(value, type):
        return {"type": type(value).__name__, **{f.name: encoded(getattr(value, f.name)) for f in fields(value)}}
    return content("routes", value)


def decoded(value: Any) -> Any:
    """What `encoded` was given.

    Raises:
        ValueError: It is of a type that is not this package's.
    """
    if not isinstance(value, Mapping):
        return value
    if "torch" in value:
        name = value["torch"]
        return getattr(torch, name) if isinstance(getattr(torch, name, None), torch.dtype) else torch.device(name)
    name = value.get("type")
    if name == "Surrogate":
        raise ValueError("a surrogate route cannot be made again from the file of a scan: pass its model to scan")
    if name not in _KNOWN:
        raise ValueError(f"settings of {name!r} are not gsimplicit's and cannot be made again from a file")
    return _KNOWN[name](**{key: decoded(one) for key, one in value.items() if key != "type"})


def identity(loss: Loss, *, stored: bool) -> Any:
    """A callable loss by name, source and what it holds, so that a store made with another one is not taken for it.

    Raises:
        ValueError: It is to be stored and holds something that cannot be told apart.
    """
    name = label(loss)
    if not stored:
        return name
    if name == "<lambda>":
        raise ValueError("losses: a lambda has no name to store it under; define it with def")
    return [name, content(name, loss)]


def content(name: str, value: Any) -> Any:
    """What tells a value apart, as JSON types: source and closure of functions, entries of objects, bytes of arrays."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, torch.Tensor | np.ndarray):
        return dataset.digest(np.asarray(torch.as_tensor(value).detach().cpu()))
    if isinstance(value, Sequence):
        return [content(name, one) for one in value]
    if isinstance(value, Mapping):
        return {str(key): content(name, one) for key, one in sorted(value.items())}
    if isinstance(value, partial):
        return ["partial", *(content(name, part) for part in (value.func, list(value.args), value.keywords))]
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, type) or inspect.isroutine(value):
        held = [cell.cell_contents for cell in getattr(value, "__closure__", None) or ()]
        held += [getattr(value, "__defaults__", None), getattr(value, "__kwdefaults__", None)]
        return [_source(value), *(content(name, one) for one in held)]
    if hasattr(value, "__dict__"):
        return [_source(type(value)), content(name, vars(value))]
    raise ValueError(f"losses: {name!r} holds a {type(value).__name__}, which a store cannot tell from another")


def _source(value: Any) -> str:
    """Digest of the source of a function or class; its qualified name where there is no source."""
    try:
        return hashlib.sha256(inspect.getsource(value).encode()).hexdigest()[:16]
    except (OSError, TypeError):
        return f"{value.__module__}.{value.__qualname__}"
