"""Explicit stepping and its discrete adjoint on the CPU: numba kernels, one instance at a time.

The kernels are the pointwise equations of `gray_scott` in a loop over rows. Each row carries a halo cell at either
end, so that the inner loop has no index arithmetic and vectorises; rows wrap by index. No fast-math, so that the same
fields give the same bits on every machine; sums and maxima run in one accumulator a column, because without
fast-math only that order vectorises.

numba keys its cache by this file alone, so a cached kernel may be older than the equations in `gray_scott`: the first
call in a process compares one step of the two.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

import numba
import numpy as np
import torch

from gsimplicit import gray_scott
from gsimplicit.marching.checkpoints import segments

Array = np.ndarray[Any, np.dtype[np.floating[Any]]]

CHUNK = 4096
"""Steps in one kernel call, about 30 ms at 128 x 128: between calls an interrupt is seen."""

STOP: ContextVar[threading.Event | None] = ContextVar("STOP", default=None)
"""Set by whoever runs instances on threads: a thread cannot be interrupted, so it looks here between kernel calls."""


class Stopped(RuntimeError):  # noqa: N818 (an outcome, not a fault)
    """Another instance of the batch failed or was interrupted, so this one was given up."""


def _look() -> None:
    stop = STOP.get()
    if stop is not None and stop.is_set():
        raise Stopped("given up: another instance of the batch failed or was interrupted")


_PAD = 1
_inline = numba.njit(inline="always", error_model="numpy")
_kernel = numba.njit(nogil=True, cache=True, error_model="numpy")
_step_u, _step_v = _inline(gray_scott.step_u), _inline(gray_scott.step_v)
_adjoint_u, _adjoint_v = _inline(gray_scott.adjoint_step_u), _inline(gray_scott.adjoint_step_v)


@_inline
def _step(x, y, p):  # type: ignore[no-untyped-def]
    """One step from the padded fields x to y; p holds Du, Dv, F, cu, cv."""
    Du, Dv, F, cu, cv = p[0], p[1], p[2], p[3], p[4]
    H, W = x.shape[1], np.uint64(x.shape[2] - 2)
    one = np.uint64(1)  # unsigned indices: numba then needs no wrap-around test, and the loop vectorises
    for i in range(H):
        above, below = (i - 1 if i else H - 1), (i + 1 if i < H - 1 else 0)
        un, uc, us, ou = x[0, above], x[0, i], x[0, below], y[0, i]
        vn, vc, vs, ov = x[1, above], x[1, i], x[1, below], y[1, i]
        for j in range(one, W + one):
            u, v = uc[j], vc[j]
            ou[j] = _step_u(u, v, (uc[j - one] + uc[j + one]) + (un[j] + us[j]), Du, F, cu)
            ov[j] = _step_v(u, v, (vc[j - one] + vc[j + one]) + (vn[j] + vs[j]), Dv, cv)
        ou[0], ou[W + one] = ou[W], ou[one]
        ov[0], ov[W + one] = ov[W], ov[one]


@_inline
def _adjoint_step(state, a, b, p, sums):  # type: ignore[no-untyped-def]
    """One adjoint step from a to b around `state`, adding the five sums the parameter derivatives are made of.

    The Laplacian of the state is moved onto the adjoint by symmetry, so the stored state needs no stencil.
    """
    Du, Dv, cu, cv = p[0], p[1], p[3], p[4]
    H, W = a.shape[1], np.uint64(a.shape[2] - 2)
    one = np.uint64(1)
    for i in range(H):
        above, below = (i - 1 if i else H - 1), (i + 1 if i < H - 1 else 0)
        an, ac, as_, oa = a[0, above], a[0, i], a[0, below], b[0, i]
        bn, bc, bs, ob = a[1, above], a[1, i], a[1, below], b[1, i]
        us, vs = state[0, i], state[1, i]
        for j in range(one, W + one):
            p_, q, u, v = ac[j], bc[j], us[j], vs[j]
            Sa = (ac[j - one] + ac[j + one]) + (an[j] + as_[j])
            Sb = (bc[j - one] + bc[j + one]) + (bn[j] + bs[j])
            sums[0, j] += p_
            sums[1, j] += u * p_
            sums[2, j] += v * q
            sums[3, j] += u * Sa
            sums[4, j] += v * Sb
            oa[j] = _adjoint_u(p_, q, Sa, v, Du, cu)
            ob[j] = _adjoint_v(p_, q, Sb, u, v, Dv, cv)
        oa[0], oa[W + one] = oa[W], oa[one]
        ob[0], ob[W + one] = ob[W], ob[one]


@_kernel
def _change(x, y, largest):  # type: ignore[no-untyped-def]
    """Max norm of x - y, NaN where either is not finite; `largest` is scratch of two rows."""
    largest[:] = 0
    W = np.uint64(x.shape[2] - 2)
    one = np.uint64(1)
    for c in range(2):
        for i in range(x.shape[1]):
            a, b, m, nan = x[c, i], y[c, i], largest[0], largest[1]
            for j in range(one, W + one):
                d = abs(a[j] - b[j])
                m[j] = d if d > m[j] else m[j]
                nan[j] += d - d  # a maximum drops NaN; this does not
    worst = largest[0, 1]
    for j in range(1, W + one):
        if not np.isfinite(largest[1, j]):
            return largest.dtype.type(np.nan)
        if largest[0, j] > worst:
            worst = largest[0, j]
    return worst


@_kernel
def _march(x, y, p, scratch, tol, first, last, check, end):  # type: ignore[no-untyped-def]
    """March from step `first` to `last`, testing at multiples of `check` and at step `end`.

    Returns the step reached, the change of the last test and the two buffers, newest first.
    """
    n, change = first, np.inf
    while n < last:
        stop = min(last, n - n % check + check)
        while n < stop:
            _step(x, y, p)
            x, y = y, x
            n += 1
        if n % check == 0 or n == end:
            change = float(_change(x, y, scratch))
            if not change >= tol:  # settled, or NaN
                break
    return n, change, x, y


@_kernel
def _stage(x, older, p, a, b, c):  # type: ignore[no-untyped-def]
    """One stage of a stabilised step: older becomes a x + b older + c step(x)."""
    Du, Dv, F, cu, cv = p[0], p[1], p[2], p[3], p[4]
    H, W = x.shape[1], np.uint64(x.shape[2] - 2)
    one = np.uint64(1)
    for i in range(H):
        above, below = (i - 1 if i else H - 1), (i + 1 if i < H - 1 else 0)
        un, uc, us, ou = x[0, above], x[0, i], x[0, below], older[0, i]
        vn, vc, vs, ov = x[1, above], x[1, i], x[1, below], older[1, i]
        for j in range(one, W + one):
            u, v = uc[j], vc[j]
            ou[j] = a * u + b * ou[j] + c * _step_u(u, v, (uc[j - one] + uc[j + one]) + (un[j] + us[j]), Du, F, cu)
            ov[j] = a * v + b * ov[j] + c * _step_v(u, v, (vc[j - one] + vc[j + one]) + (vn[j] + vs[j]), Dv, cv)
        ou[0], ou[W + one] = ou[W], ou[one]
        ov[0], ov[W + one] = ov[W], ov[one]


@_kernel
def _stabilised(x, y, p, table, count):  # type: ignore[no-untyped-def]
    """`count` stabilised steps whose stages have the coefficients of `table` (s, 3); the buffers, newest first."""
    for _ in range(count):
        y[:] = x
        for j in range(table.shape[0]):
            _stage(x, y, p, table[j, 0], table[j, 1], table[j, 2])
            x, y = y, x
    return x, y


@_kernel
def _record(tape, steps, p):  # type: ignore[no-untyped-def]
    """March `steps` steps from tape[0], keeping every state."""
    for t in range(steps):
        _step(tape[t], tape[t + 1], p)


@_kernel
def _pull(tape, steps, a, b, p, sums):  # type: ignore[no-untyped-def]
    """Adjoint of `_record`: carry the cotangent a of tape[steps] back to tape[0]; returns the buffers, newest first."""
    for t in range(steps - 1, -1, -1):
        _adjoint_step(tape[t], a, b, p, sums)
        a, b = b, a
    return a, b


def _padded(fields: Array) -> Array:
    """Fields (2, H, W) with one periodic halo column at either end."""
    return np.ascontiguousarray(np.pad(fields, ((0, 0), (0, 0), (_PAD, _PAD)), mode="wrap"))


def _interior(padded: Array) -> Array:
    return padded[..., _PAD:-_PAD].copy()


def _coefficients(parameters: Array, dtype: np.dtype[Any]) -> Array:
    """Du, Dv, F, cu, cv: formed in float64, rounded once."""
    Du, Dv, F, k = (float(p) for p in parameters)
    return np.array([Du, Dv, F, *gray_scott.step_coefficients(Du, Dv, F, k)], dtype=dtype)


@lru_cache(maxsize=1)
def _check_fresh() -> None:
    """Raise if the compiled kernel is not that of the equations."""
    draw = np.random.default_rng(0).random((2, 3, 4))
    values = np.array([0.16, 0.08, 0.035, 0.065])
    x, p = _padded(draw), _coefficients(values, draw.dtype)
    _, _, end, _ = _march(x, x.copy(), p, np.empty((2, x.shape[2])), 0.0, 0, 1, 1, 1)
    expected = gray_scott.step(torch.from_numpy(draw)[None], gray_scott.Params(*values))[0].numpy()
    if np.abs(_interior(end) - expected).max() > 1e-14:
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
    _check_fresh()
    x = _padded(fields)
    y, p = x.copy(), _coefficients(parameters, fields.dtype)
    scratch = np.empty((2, x.shape[2]), fields.dtype)
    n, change = 0, float("inf")
    while n < max_steps and change >= tol:
        _look()
        n, change_now, x, y = _march(x, y, p, scratch, tol, n, min(n + CHUNK, max_steps), check_every, max_steps)
        change = change if change_now == float("inf") else change_now
    return _interior(x), n, change


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
    x = _padded(fields)
    y, p = x.copy(), _coefficients(parameters, fields.dtype)
    x, y = _stabilised(x, y, p, table, count)
    end = _interior(x)
    _, change, _, _ = _march(x, y, p, np.empty((2, x.shape[2])), 0.0, 0, 1, 1, 1)
    return end, change


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
    p = _coefficients(parameters, fields.dtype)
    plan = segments(steps)
    x = _padded(fields)
    kept = np.empty((len(plan), *x.shape), fields.dtype)
    tape = np.empty((plan[0].length + 1 if plan else 1, *x.shape), fields.dtype)
    scratch = np.empty((2, x.shape[2]), fields.dtype)
    y = x.copy()
    for s, segment in enumerate(plan):
        kept[s] = x
        if s < len(plan) - 1:
            _, _, x, y = _march(x, y, p, scratch, 0.0, 0, segment.length, segment.length + 1, segment.length + 1)
    adjoints = [_padded(c.astype(fields.dtype)) for c in cotangents]
    spare = np.empty_like(x)
    sums = np.zeros((len(adjoints), 5, x.shape[2]))
    for s in range(len(plan) - 1, -1, -1):
        _look()
        tape[0] = kept[s]
        _record(tape, plan[s].length, p)
        for c in range(len(adjoints)):
            partial = np.zeros((5, x.shape[2]), fields.dtype)
            adjoints[c], spare = _pull(tape, plan[s].length, adjoints[c], spare, p, partial)
            sums[c] += partial
    s_a, s_ua, s_vb, s_uSa, s_vSb = sums.sum(axis=2).T
    gradient = np.stack([s_uSa - 4 * s_ua, s_vSb - 4 * s_vb, s_a - s_ua - s_vb, -s_vb], axis=1)
    return gradient, np.stack([_interior(a) for a in adjoints])
