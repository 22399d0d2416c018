"""The caller's torch and numpy settings, kept away from the package's own work.

A default device, inference mode, autocast or `np.seterr(all="raise")` of the caller's would break or change what is
computed. Public functions are decorated with `own_surroundings`: where the caller's settings differ they are put aside
for the call. All of them are a thread's own, so other threads see nothing of it. The default dtype is the whole
process's: it is left alone, and no result depends on it, because every tensor is made with its dtype.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

P = ParamSpec("P")
R = TypeVar("R")

__all__ = ["caller", "is_door", "own_filters", "own_surroundings", "with_single_factories"]

_INSIDE = (str(Path(__file__).parent) + os.sep, str(Path(torch.__file__).parent) + os.sep)
"""Where frames of the package and of torch, which may stand between them, have their code."""

_DOORS: set[int] = set()

_UNTRACED: dict[Callable[..., Any], Callable[..., Any]] = {}
"""Functions as torch.compile leaves them alone: any use of torch's optimisers imports it."""

_ACCELERATORS = ("cpu", "cuda")
"""Devices whose autocast would change what is computed."""


def own_surroundings(function: Callable[P, R]) -> Callable[P, R]:
    """A public function that works the same whatever torch's and numpy's settings are around it.

    Inside, tensors are made on the CPU unless told (so those that a caller's loss makes lie where its v does), in no
    inference mode and without autocast, and numpy raises nothing. Gradients are recorded as the caller has it: not
    under `no_grad`, and not in inference mode. Where nothing differs it costs a few microseconds.
    """

    @wraps(function)
    def door(*args: P.args, **kwargs: P.kwargs) -> R:
        work = untraced(function)
        stack = _entered()
        if stack is None:
            return work(*args, **kwargs)
        with stack:
            return work(*args, **kwargs)

    _DOORS.add(id(door))
    return door


@contextmanager
def own_filters() -> Iterator[None]:
    """Filters of `warnings` that may be changed inside, by one thread at a time.

    They are the whole process's, unlike all else here: of two threads that change and restore them beside each other
    the later one restores what the earlier had changed, for good.
    """
    with _filtering, warnings.catch_warnings():
        yield


_filtering = threading.RLock()


def _forked() -> None:
    """A child does without the lock that another thread of its parent held."""
    global _filtering
    _filtering = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def untraced(function: Callable[P, R]) -> Callable[P, R]:
    """The function, kept from torch.compile where that is in use: it would trace numba's compiler, and fail there."""
    dynamo: Any = sys.modules.get("torch._dynamo")  # it takes seconds to import
    disable = getattr(dynamo, "disable", None)  # None while it is being imported
    if disable is None:
        return function
    if function not in _UNTRACED:
        _UNTRACED[function] = disable(function)
    return cast("Callable[P, R]", _UNTRACED[function])


def is_door(function: object) -> bool:
    """Whether a function is decorated with `own_surroundings`."""
    return id(getattr(function, "__func__", function)) in _DOORS


def _entered() -> ExitStack | None:
    """The package's own surroundings, entered; None where the caller's are no different."""
    inference = torch.is_inference_mode_enabled()
    device = _elsewhere()
    casts = [kind for kind in _ACCELERATORS if torch.is_autocast_enabled(kind)]
    errors = np.geterr()
    if not (inference or device or casts or "raise" in errors.values() or "call" in errors.values()):
        return None
    raising = [name for name, what in errors.items() if what in ("raise", "call")]
    recorded = torch.is_grad_enabled()  # False in inference mode, which turns it on where it ends
    with ExitStack() as stack:
        if inference:
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.set_grad_enabled(recorded))
        if device:
            stack.enter_context(torch.device("cpu"))
        for kind in casts:
            stack.enter_context(torch.autocast(kind, enabled=False))
        if raising:
            quiet = {name: "ignore" if name == "under" else "warn" for name in raising}
            stack.enter_context(np.errstate(**quiet))  # type: ignore[arg-type]
        return stack.pop_all()


def _elsewhere() -> bool:
    """Whether tensors that are told no device are made elsewhere than on the CPU: modes of torch's decide, or a type.

    To make a tensor is the sure way to know, and costs as much as all else that a door asks.
    """
    if _modes() == 0 and _default() == "cpu":
        return False
    return torch.empty(0, dtype=torch.float64).device.type != "cpu"


_modes: Callable[[], int] = getattr(torch._C, "_len_torch_function_stack", lambda: 1)
_default: Callable[[], object] = getattr(torch._C, "_get_default_device", lambda: None)


class _SingleFactories(TorchFunctionMode):
    """Makes tensors that are given no dtype in float32, whatever the process's default is."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func in _FACTORIES and kwargs.get("dtype") is None and out.dtype == torch.get_default_dtype():
            out = func(*args, **{**kwargs, "dtype": torch.float32})
        return out


_FACTORIES = frozenset({torch.tensor, torch.zeros, torch.ones, torch.full, torch.empty, torch.eye})


def with_single_factories(function: Callable[P, R]) -> Callable[P, R]:
    """A library's function that makes tensors of the default dtype, with float32 for that, as it was tried.

    Setting the default itself would change it under other threads.
    """

    @wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        if torch.get_default_dtype() == torch.float32:
            return function(*args, **kwargs)
        with _SingleFactories():
            return function(*args, **kwargs)

    return inside


def caller() -> int:
    """The `stacklevel` at which `warnings.warn` names the line that called into the package, through torch or not."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_INSIDE):
        frame, level = frame.f_back, level + 1
    return level
