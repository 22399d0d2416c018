"""Explicit stepping and its derivatives on the CPU, one instance at a time, in numpy arrays.

By the kernels of `compiled`; by the torch reference where numba is switched off (NUMBA_DISABLE_JIT, for debugging and
coverage) or cannot compile on this machine. Whoever steps on the CPU asks here, and need not know which it is.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np

from gsimplicit.marching import plain
from gsimplicit.threads import STOP, Stopped

__all__ = ["STOP", "Stopped", "march", "pull_back", "push_forward", "stabilised"]

Array = np.ndarray[Any, np.dtype[np.floating[Any]]]
R = TypeVar("R")


class CannotCompile(RuntimeError):  # noqa: N818 (an outcome: the torch reference takes over)
    """numba or LLVM cannot compile a kernel on this machine."""


class _Engine(Protocol):
    """A module that steps; the arguments are those of the functions below."""

    def march(
        self, fields: Array, parameters: Array, tol: float, max_steps: int, check_every: int
    ) -> tuple[Array, int, float]: ...
    def stabilised(self, fields: Array, parameters: Array, table: Array, count: int) -> tuple[Any, float]: ...
    def pull_back(self, fields: Array, parameters: Array, steps: int, cotangents: Array) -> tuple[Array, Array]: ...
    def push_forward(self, fields: Array, parameters: Array, steps: int) -> tuple[Array, Array]: ...


_chosen: list[_Engine] = []
"""The module that steps, once it is known."""


def _engine() -> _Engine:
    """The module that steps: `compiled`, or `plain` where numba does not compile."""
    if not _chosen:
        _chosen.append(_first())
    return _chosen[0]


def _first() -> _Engine:
    """The kernels, unless numba is switched off or does not even load."""
    try:
        import numba

        if getattr(numba.config, "DISABLE_JIT", False):
            return plain
        from gsimplicit.marching import compiled
    except Exception as error:  # a numba that does not fit numpy, an LLVM that does not know the machine
        _warn(error)
        return plain
    return compiled


def _warn(error: Exception) -> None:
    """Say why everything takes so long."""
    warnings.warn(
        f"numba cannot compile here, so that steps are taken by torch, some hundred times slower: {error}",
        RuntimeWarning,
        stacklevel=2,
    )


def _by(work: Callable[[_Engine], R]) -> R:
    """Do the work with the compiled kernels, and with the torch reference from where they cannot be compiled."""
    engine = _engine()
    if engine is plain:
        return work(plain)
    try:
        return work(engine)
    except CannotCompile as error:
        first, _chosen[:] = _chosen[0] is not plain, [plain]
        if first:
            _warn(error)
    return work(plain)


def march(fields: Array, parameters: Array, tol: float, max_steps: int, check_every: int) -> tuple[Array, int, float]:
    """March one instance until the largest change over a step is below `tol`, or for `max_steps` steps.

    Args:
        fields: u and v, shape (2, H, W), float32 or float64: the dtype marched in.
        parameters: Du, Dv, F, k in float64.
        tol: Stop below this change; 0 never stops early.
        max_steps: Cap on the steps, >= 1.
        check_every: Steps between tests, >= 1.

    Returns:
        Fields, steps taken, and the change of the last test: NaN where the fields are no longer finite.
    """
    return _by(lambda engine: engine.march(fields, parameters, tol, max_steps, check_every))


def stabilised(fields: Array, parameters: Array, table: Array, count: int) -> tuple[Any, float]:
    """Take `count` stabilised explicit steps of one instance, and measure the residual where they end.

    Args:
        fields: u and v, float64, shape (2, H, W).
        parameters: Du, Dv, F, k in float64.
        table: Coefficients (a, b, c) of each stage, shape (s, 3): the newer of two states x becomes
            `a x + b older + c (x + residual(x))`.
        count: Number of steps, >= 0.

    Returns:
        The fields, and the max norm of the residual there, NaN where not finite.
    """
    return _by(lambda engine: engine.stabilised(fields, parameters, table, count))


def pull_back(fields: Array, parameters: Array, steps: int, cotangents: Array) -> tuple[Array, Array]:
    """Adjoint of exactly `steps` steps of `march`, for L cotangents of the final fields at once.

    Args:
        fields: Initial u and v, shape (2, H, W), float32 or float64.
        parameters: Du, Dv, F, k in float64.
        steps: Number of steps, >= 0, held constant.
        cotangents: Derivatives of L losses in the final fields, shape (L, 2, H, W).

    Returns:
        Derivatives in Du, Dv, F, k, float64 of shape (L, 4), and in the initial fields, shape (L, 2, H, W).
    """
    return _by(lambda engine: engine.pull_back(fields, parameters, steps, cotangents))


def push_forward(fields: Array, parameters: Array, steps: int) -> tuple[Array, Array]:
    """March exactly `steps` steps of one instance with the derivatives in Du, Dv, F and k beside it.

    Args:
        fields: Initial u and v, shape (2, H, W), float32 or float64.
        parameters: Du, Dv, F, k in float64.
        steps: Number of steps, >= 0, held constant.

    Returns:
        The fields, shape (2, H, W), and their derivatives in Du, Dv, F, k, shape (4, 2, H, W). No history is kept.
    """
    return _by(lambda engine: engine.push_forward(fields, parameters, steps))
