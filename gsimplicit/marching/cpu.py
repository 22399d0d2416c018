"""Explicit stepping and its derivatives on the CPU: numba kernels, one instance at a time.

The kernels here go over steps and rows; a row is worked by `lanes`, vector code, where the grid is as wide as some
multiple of the machine's vectors, and else by `loops`. Both have the pointwise equations from `gray_scott` and no
fast-math, so that the same fields give the same bits on every machine and in either layout.

numba keys its cache by this file alone, so a cached kernel may be older than the equations or the rows: the first use
of a kernel in a process compares it with torch.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import numba
import numpy as np
import torch
from numba.extending import overload

from gsimplicit import gray_scott
from gsimplicit.marching import lanes, loops
from gsimplicit.marching.checkpoints import segments

Array = np.ndarray[Any, np.dtype[np.floating[Any]]]

CHUNK = 4096
"""Steps in one kernel call, some 10 ms at 128 x 128: between calls an interrupt is seen."""

STOP: ContextVar[threading.Event | None] = ContextVar("STOP", default=None)
"""Set by whoever runs instances on threads: a thread cannot be interrupted, so it looks here between kernel calls."""


class Stopped(RuntimeError):  # noqa: N818 (an outcome, not a fault)
    """Another instance of the batch failed or was interrupted, so this one was given up."""


def _look() -> None:
    stop = STOP.get()
    if stop is not None and stop.is_set():
        raise Stopped("given up: another instance of the batch failed or was interrupted")


# ---------------------------------------------------------------------------------------------------------------------
# Rows of either layout: arrays of four axes are of `lanes`, of three of `loops`. The stubs only carry the names.
# ---------------------------------------------------------------------------------------------------------------------

# mypy: disable-error-code="no-untyped-def, no-untyped-call"


def _step_row(x, y, above, here, below, p): ...
def _stage_row(x, older, above, here, below, p, weights): ...
def _adjoint_row(state, x, y, above, here, below, p, totals): ...
def _tangent_row(x, y, above, here, below, p): ...
def _largest_change(x, y): ...


def _rows_of(x: Any) -> Any:
    return lanes if x.ndim == 4 else loops


@overload(_step_row)
def _(x, y, above, here, below, p):
    row = _rows_of(x).step_row
    return lambda x, y, above, here, below, p: row(x, y, above, here, below, p)


@overload(_stage_row)
def _(x, older, above, here, below, p, weights):
    row = _rows_of(x).stage_row
    return lambda x, older, above, here, below, p, weights: row(x, older, above, here, below, p, weights)


@overload(_adjoint_row)
def _(state, x, y, above, here, below, p, totals):
    row = _rows_of(x).adjoint_row
    return lambda state, x, y, above, here, below, p, totals: row(state, x, y, above, here, below, p, totals)


@overload(_tangent_row)
def _(x, y, above, here, below, p):
    row = _rows_of(x).tangent_row
    return lambda x, y, above, here, below, p: row(x, y, above, here, below, p)


@overload(_largest_change)
def _(x, y):
    change = _rows_of(x).largest_change
    return lambda x, y: change(x, y)


# ---------------------------------------------------------------------------------------------------------------------
# Kernels: over rows and steps
# ---------------------------------------------------------------------------------------------------------------------

_kernel = numba.njit(nogil=True, cache=True, error_model="numpy")
_inline = numba.njit(inline="always", error_model="numpy")


@_inline
def _height(x):
    return x.shape[0] if x.ndim == 4 else x.shape[1]


@_inline
def _step(x, y, p):
    """One step from x to y; p holds Du, Dv, F, cu, cv."""
    H = _height(x)
    for i in range(H):
        _step_row(x, y, i - 1 if i else H - 1, i, i + 1 if i < H - 1 else 0, p)


@_kernel
def _march(x, y, p, tol, first, last, check, end):
    """March from step `first` to `last`, testing at multiples of `check` and at step `end`.

    Returns the step reached, the change of the last test and the two buffers, newest first.
    """
    control = lanes.flush_denormals(x)
    n, change = first, np.inf
    while n < last:
        stop = min(last, n - n % check + check)
        while n < stop:
            _step(x, y, p)
            x, y = y, x
            n += 1
        if n % check == 0 or n == end:
            change = float(_largest_change(x, y))
            if not change >= tol:  # settled, or NaN
                break
    lanes.restore_denormals(x, control)
    return n, change, x, y


@_kernel
def _stabilised(x, y, p, table, count):
    """`count` stabilised steps whose stages have the coefficients of `table` (s, 3); the buffers, newest first."""
    H = _height(x)
    for _ in range(count):
        y[:] = x
        for j in range(table.shape[0]):
            for i in range(H):
                _stage_row(x, y, i - 1 if i else H - 1, i, i + 1 if i < H - 1 else 0, p, table[j])
            x, y = y, x
    return x, y


@_kernel
def _record(tape, steps, p):
    """March `steps` steps from tape[0], keeping every state."""
    control = lanes.flush_denormals(tape)
    for t in range(steps):
        _step(tape[t], tape[t + 1], p)
    lanes.restore_denormals(tape, control)


@_kernel
def _pull(tape, steps, x, y, p, totals, sums):
    """Adjoint of `_record`: carry the cotangent x of tape[steps] back to tape[0]; the buffers, newest first.

    `sums`, float64, gains the five sums of the parameters, a step at a time; `totals` is scratch of its shape.
    """
    control = lanes.flush_denormals(x)
    H = _height(x)
    for t in range(steps - 1, -1, -1):
        totals[:] = 0
        for i in range(H):
            _adjoint_row(tape[t], x, y, i - 1 if i else H - 1, i, i + 1 if i < H - 1 else 0, p, totals)
        sums += totals
        x, y = y, x
    lanes.restore_denormals(x, control)
    return x, y


@_kernel
def _push(x, y, p, steps):
    """March `steps` steps of u and v and their four tangents; the buffers, newest first."""
    control = lanes.flush_denormals(x)
    H = _height(x)
    for _ in range(steps):
        for i in range(H):
            _tangent_row(x, y, i - 1 if i else H - 1, i, i + 1 if i < H - 1 else 0, p)
        x, y = y, x
    lanes.restore_denormals(x, control)
    return x, y


# ---------------------------------------------------------------------------------------------------------------------
# Calls
# ---------------------------------------------------------------------------------------------------------------------


def _packed(fields: Array) -> Array:
    """Fields (C, H, W) in the layout their width allows."""
    return lanes.pack(fields) if lanes.fits(fields.shape[-1], fields.dtype) else loops.pack(fields)


def _unpacked(x: Array) -> Array:
    return lanes.unpack(x) if x.ndim == 4 else loops.unpack(x)


def _like(x: Array, count: int) -> Array:
    """`count` uninitialised arrays of the layout of x."""
    return lanes.empty((count, *x.shape), x.dtype)


def _coefficients(parameters: Array, dtype: np.dtype[Any]) -> Array:
    """Du, Dv, F, cu, cv: formed in float64, rounded once."""
    Du, Dv, F, k = (float(p) for p in parameters)
    return np.array([Du, Dv, F, *gray_scott.step_coefficients(Du, Dv, F, k)], dtype=dtype)


@lru_cache(maxsize=8)
def _check_fresh(kernel: str, dtype: np.dtype[Any]) -> None:
    """Raise if a compiled kernel is not that of the equations, in either layout."""
    values = np.array([0.16, 0.08, 0.035, 0.065])
    for width in (lanes.lanes(dtype), lanes.lanes(dtype) + 1):
        draw = np.random.default_rng(0).random((10, 3, width)).astype(dtype)
        fields, p = torch.from_numpy(draw[None, :2]), gray_scott.Params(*values)
        step = gray_scott.step(fields, p)[0].numpy()
        x, c = _packed(draw[: 10 if kernel == "push" else 2]), _coefficients(values, dtype)
        y = _like(x, 1)[0]
        if kernel == "march":
            found, expected = _march(x, y, c, 0.0, 0, 1, 1, 1)[2], step
        elif kernel == "stabilised":
            found, expected = _stabilised(x, y, c, np.array([[0.5, -0.25, 0.75]]), 1)[0], draw[:2] / 4 + 0.75 * step
        elif kernel == "pull":
            tape, totals = _like(x, 1), lanes.empty((5, x.shape[-1]), dtype)
            tape[0] = x
            found = _pull(tape, 1, _packed(draw[2:4]), y, c, totals, np.zeros(totals.shape))[0]
            adjoint = torch.from_numpy(draw[None, 2:4])
            expected = (adjoint + gray_scott.jacobian_transpose_product(fields, p, adjoint))[0].numpy()
        else:
            found = _push(x, y, c, 1)[0]
            pairs = torch.from_numpy(draw[2:].reshape(4, 2, 3, width))
            moved = pairs + gray_scott.jacobian_product(fields.expand(4, -1, -1, -1), p.expand(4), pairs)
            moved = moved + gray_scott.parameter_derivatives(fields)[0]
            expected = np.concatenate([step, moved.reshape(8, 3, width).numpy()])
        if np.abs(_unpacked(found) - expected).max() > 100 * np.finfo(dtype).eps:
            raise RuntimeError(
                f"the compiled kernels are older than the equations: delete *.nbi and *.nbc beside {__file__}"
            )


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
    _check_fresh("march", fields.dtype)
    x, p = _packed(fields), _coefficients(parameters, fields.dtype)
    y = _like(x, 1)[0]
    n, change = 0, float("inf")
    while n < max_steps and change >= tol:
        _look()
        n, change_now, x, y = _march(x, y, p, tol, n, min(n + CHUNK, max_steps), check_every, max_steps)
        change = change if change_now == float("inf") else change_now
    return _unpacked(x), n, change


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
    _check_fresh("march", fields.dtype)
    _check_fresh("stabilised", fields.dtype)
    x, p = _packed(fields), _coefficients(parameters, fields.dtype)
    x, y = _stabilised(x, _like(x, 1)[0], p, table, count)
    end = _unpacked(x)
    return end, _march(x, y, p, 0.0, 0, 1, 1, 1)[1]


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
    _check_fresh("march", fields.dtype)
    _check_fresh("pull", fields.dtype)
    plan, x, p = segments(steps), _packed(fields), _coefficients(parameters, fields.dtype)
    kept, tape = _like(x, len(plan)), _like(x, plan[0].length + 1 if plan else 1)
    y = _like(x, 1)[0]
    for s, segment in enumerate(plan):
        kept[s] = x
        if s < len(plan) - 1:
            _, _, x, y = _march(x, y, p, 0.0, 0, segment.length, segment.length + 1, segment.length + 1)
    adjoints = [_packed(c.astype(fields.dtype)) for c in cotangents]
    totals = lanes.empty((5, x.shape[-1]), fields.dtype)
    sums = np.zeros((len(adjoints), 5, x.shape[-1]))
    for s in range(len(plan) - 1, -1, -1):
        _look()
        tape[0] = kept[s]
        _record(tape, plan[s].length, p)
        for c in range(len(adjoints)):
            adjoints[c], y = _pull(tape, plan[s].length, adjoints[c], y, p, totals, sums[c])
    s_a, s_ua, s_vb, s_uSa, s_vSb = sums.sum(axis=2).T
    gradient = np.stack([s_uSa - 4 * s_ua, s_vSb - 4 * s_vb, s_a - s_ua - s_vb, -s_vb], axis=1)
    return gradient, np.stack([_unpacked(a) for a in adjoints])


def push_forward(fields: Array, parameters: Array, steps: int) -> tuple[Array, Array]:
    """March exactly `steps` steps of one instance with the derivatives in Du, Dv, F and k beside it.

    Args:
        fields: Initial u and v, shape (2, H, W), float32 or float64.
        parameters: Du, Dv, F, k in float64.
        steps: Number of steps, >= 0, held constant.

    Returns:
        The fields, shape (2, H, W), and their derivatives in Du, Dv, F, k, shape (4, 2, H, W). No history is kept.
    """
    _check_fresh("push", fields.dtype)
    start = np.zeros((10, *fields.shape[1:]), fields.dtype)
    start[:2] = fields
    x, p = _packed(start), _coefficients(parameters, fields.dtype)
    y = _like(x, 1)[0]
    for first in range(0, steps, CHUNK // 8):
        _look()
        x, y = _push(x, y, p, min(CHUNK // 8, steps - first))
    end = _unpacked(x)
    return end[:2], end[2:].reshape(4, 2, *fields.shape[1:])
