"""Explicit stepping and its derivatives on the CPU, one instance at a time, in numpy arrays.

By the kernels of `compiled`; by the torch reference where numba is switched off (NUMBA_DISABLE_JIT, for debugging and
coverage) or cannot compile on this machine. Whoever steps on the CPU asks here, and need not know which it is.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from gsimplicit.marching import plain, warned
from gsimplicit.marching.warned import UntracedWarning
from gsimplicit.threads import STOP, Stopped

if TYPE_CHECKING:
    from gsimplicit.equations import Equations

__all__ = ["STOP", "Stopped", "UntracedWarning", "march", "pull_back", "push_forward", "stabilised"]

Array = np.ndarray[Any, np.dtype[np.floating[Any]]]
R = TypeVar("R")


class CannotCompile(RuntimeError):  # noqa: N818 (an outcome: the torch reference takes over)
    """numba or LLVM cannot compile a kernel on this machine."""


class _Engine(Protocol):
    """A module that steps; the arguments are those of the functions below."""

    def march(
        self, equations: Equations, fields: Array, tol: float, max_steps: int, check_every: int
    ) -> tuple[Array, int, float]: ...
    def stabilised(self, equations: Equations, fields: Array, table: Array, count: int) -> tuple[Any, float]: ...
    def pull_back(self, equations: Equations, fields: Array, steps: int, cotangents: Array) -> tuple[Array, Array]: ...
    def push_forward(self, equations: Equations, fields: Array, steps: int) -> tuple[Array, Array]: ...


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


def _by(equations: Equations, work: Callable[[_Engine], R]) -> R:
    """Do the work with the compiled kernels, and with the torch reference from where they cannot be compiled."""
    if equations.steps is None:
        warned.of_model(equations.model)
        return work(plain)
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


def march(
    equations: Equations, fields: Array, tol: float, max_steps: int, check_every: int
) -> tuple[Array, int, float]:
    """March one instance until the largest change over a step is below `tol`, or for `max_steps` steps.

    Args:
        equations: Model, parameters and step.
        fields: Shape (S, H, W), float32 or float64: the dtype marched in.
        tol: Stop below this change; 0 never stops early.
        max_steps: Cap on the steps, >= 1.
        check_every: Steps between tests, >= 1.

    Returns:
        Fields, steps taken, and the change of the last test: NaN where the fields are no longer finite.
    """
    return _by(equations, lambda engine: engine.march(equations, fields, tol, max_steps, check_every))


def stabilised(equations: Equations, fields: Array, table: Array, count: int) -> tuple[Any, float]:
    """Take `count` stabilised explicit steps of one instance, and measure the change of a plain one where they end.

    Args:
        equations: Model, parameters and step dt.
        fields: Float64, shape (S, H, W).
        table: Coefficients (a, b, c) of each stage, shape (s, 3): the newer of two states x becomes
            `a x + b older + c (x + dt residual(x))`.
        count: Number of steps, >= 0.

    Returns:
        The fields, and the max norm of `dt residual` there, NaN where not finite.
    """
    return _by(equations, lambda engine: engine.stabilised(equations, fields, table, count))


def pull_back(equations: Equations, fields: Array, steps: int, cotangents: Array) -> tuple[Array, Array]:
    """Adjoint of exactly `steps` steps of `march`, for L cotangents of the final fields at once.

    Args:
        equations: Model, parameters and step.
        fields: Initial fields, shape (S, H, W), float32 or float64.
        steps: Number of steps, >= 0, held constant.
        cotangents: Derivatives of L losses in the final fields, shape (L, S, H, W).

    Returns:
        Derivatives in the parameters, float64 of shape (L, P), and in the initial fields, shape (L, S, H, W).
    """
    return _by(equations, lambda engine: engine.pull_back(equations, fields, steps, cotangents))


def push_forward(equations: Equations, fields: Array, steps: int) -> tuple[Array, Array]:
    """March exactly `steps` steps of one instance with the derivatives in each parameter beside it.

    Args:
        equations: Model, parameters and step.
        fields: Initial fields, shape (S, H, W), float32 or float64.
        steps: Number of steps, >= 0, held constant.

    Returns:
        The fields, shape (S, H, W), and their derivatives in each parameter, (P, S, H, W). No history is kept.
    """
    return _by(equations, lambda engine: engine.push_forward(equations, fields, steps))
