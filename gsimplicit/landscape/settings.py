"""What a scan was asked for, as JSON types: to tell one from another, and to ask for it again. Nothing is unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch

from gsimplicit import routes
from gsimplicit.identity import content
from gsimplicit.refine import Direct, Gmres, Refine
from gsimplicit.steady import March

_KNOWN: dict[str, type] = {
    cls.__name__: cls
    for cls in (March, Refine, Direct, Gmres, *(getattr(routes, name) for name in routes.__all__))
    if isinstance(cls, type) and is_dataclass(cls)
}
"""Settings objects that can be made again by name."""


def encoded(value: Any) -> Any:
    """A settings object as JSON types: what it is and the values of its fields."""
    if isinstance(value, routes.Surrogate):
        return {"type": "Surrogate", "model": value.digest}
    if isinstance(value, torch.dtype | torch.device):
        return {"torch": str(value).removeprefix("torch.")}
    if is_dataclass(value) and not isinstance(value, type):
        return {"type": type(value).__name__, **{f.name: encoded(getattr(value, f.name)) for f in fields(value)}}
    return content("routes", type(value).__name__, value)


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
