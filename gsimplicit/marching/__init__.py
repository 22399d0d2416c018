"""Explicit stepping, forward and its discrete adjoint, in batches: `backend` says what steps them."""

import importlib
import warnings
from typing import Any

from gsimplicit.marching.backend import KERNELS, TORCH, Backend, Marched, backend_for

__all__ = ["KERNELS", "TORCH", "Backend", "Marched", "backend_for"]

_MOVED = {
    name: f"the method {name} of what gsimplicit.marching.backend_for gives"
    for name in ("march", "pull_back", "push_forward")
} | {"each": "gsimplicit.threads.each"}


def __getattr__(name: str) -> Any:
    if name not in _MOVED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"gsimplicit.marching.{name} is {_MOVED[name]} now", DeprecationWarning, stacklevel=2)
    return getattr(importlib.import_module("gsimplicit.marching.former"), name)
