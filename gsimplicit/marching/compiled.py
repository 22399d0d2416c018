"""Explicit stepping and its derivatives by compiled kernels, one instance at a time: what `cpu` calls where it can.

The kernels here go over steps and bands of rows; rows are worked by `lanes`, vector code, where the grid is as wide as
some multiple of the machine's vectors, and else by `loops`. Both have the pointwise equations from `gray_scott` and no
fast-math, so that the same fields give the same bits on every machine and in either layout.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numba
import numpy as np
from numba.extending import overload

from gsimplicit import gray_scott
from gsimplicit.marching import lanes, loops
from gsimplicit.marching.checkpoints import segments
from gsimplicit.marching.cpu import CannotCompile
from gsimplicit.marching.kept import Kept
from gsimplicit.sources import made_of
from gsimplicit.threads import look

Array = np.ndarray[Any, np.dtype[np.floating[Any]]]

LONGEST = 2**62
"""Steps that the kernels count to, more than anyone waits for: with as many between tests they fit a signed word."""

DEPTH = 8
"""Steps that a band of rows advances at once, even."""

CHUNK = 4096
"""Steps in one kernel call, some 10 ms at 128 x 128: between calls an interrupt is seen."""

# ---------------------------------------------------------------------------------------------------------------------
# Work in either layout: arrays of states of five axes are of `lanes`, of four of `loops`. The stubs carry the names.
# ---------------------------------------------------------------------------------------------------------------------

# mypy: disable-error-code="no-untyped-def, no-untyped-call"


def _advance(tape, at, mask, schedule, p): ...
def _stage(pair, now, schedule, p, weights): ...
def _retreat(tape, top, pair, now, schedule, p, totals): ...
def _advance_tangents(pair, now, schedule, p): ...
def _largest_change(pair): ...


def _layout(states: Any) -> Any:
    return lanes if states.ndim == 5 else loops


@overload(_advance)
def _(tape, at, mask, schedule, p):
    work = _layout(tape).advance
    return lambda tape, at, mask, schedule, p: work(tape, at, mask, schedule, p)


@overload(_stage)
def _(pair, now, schedule, p, weights):
    work = _layout(pair).stage
    return lambda pair, now, schedule, p, weights: work(pair, now, schedule, p, weights)


@overload(_retreat)
def _(tape, top, pair, now, schedule, p, totals):
    work = _layout(pair).retreat
    return lambda tape, top, pair, now, schedule, p, totals: work(tape, top, pair, now, schedule, p, totals)


@overload(_advance_tangents)
def _(pair, now, schedule, p):
    work = _layout(pair).advance_tangents
    return lambda pair, now, schedule, p: work(pair, now, schedule, p)


@overload(_largest_change)
def _(pair):
    work = _layout(pair).largest_change
    return lambda pair: work(pair)


# ---------------------------------------------------------------------------------------------------------------------
# Kernels: over steps. `pair` holds two states by turns, the newest at `now`; schedules are those of many steps and one.
# ---------------------------------------------------------------------------------------------------------------------


def _fingerprint() -> str | None:
    """Of what goes into a kernel; None where that is not known."""
    sources = [made_of(module) for module in (gray_scott, lanes, loops, sys.modules[__name__])]
    known = [source for source in sources if source is not None]
    return hashlib.sha256(b"".join([str(lanes.BYTES).encode(), *known])).hexdigest() if known == sources else None


_MADE_OF = _fingerprint()


class _Kernel:
    """A compiled function that is kept on disk. Nothing in a kernel raises, so what is raised is of its compiler."""

    def __init__(self, function: Callable[..., Any]) -> None:
        compiled: Any = numba.njit(nogil=True, error_model="numpy")(function)
        if _MADE_OF is not None:
            compiled._cache = Kept(function, _MADE_OF)  # what cache=True sets, with places numba does not know
        self.compiled = compiled

    def __call__(self, *arguments: Any) -> Any:
        try:
            return self.compiled(*arguments)
        except MemoryError:
            raise
        except Exception as error:
            raise CannotCompile(f"{type(error).__name__}: {error}") from error


@_Kernel
def _march(pair, now, p, schedules, tol, first, last, check, end):
    """March from step `first` to `last`, testing at multiples of `check` and at step `end`.

    Returns the step reached, the change of the last test and where the newest state is.
    """
    control = lanes.flush_denormals(pair)
    n, change = first, np.inf
    while n < last:
        stop = min(last, n - n % check + check)
        while n + DEPTH <= stop:
            _advance(pair, now, 1, schedules[0], p)  # an even number of steps: the newest state stays at `now`
            n += DEPTH
        while n < stop:
            _advance(pair, now, 1, schedules[1], p)
            now ^= 1
            n += 1
        if n % check == 0 or n == end:
            change = float(_largest_change(pair))
            if not change >= tol:  # settled, or NaN
                break
    lanes.restore_denormals(pair, control)
    return n, change, now


@_Kernel
def _stabilised(pair, p, schedules, table, count):
    """`count` stabilised steps whose stages have the coefficients of `table` (s, 3); where the newest state is."""
    control = lanes.flush_denormals(pair)
    now = 0
    for _ in range(count):
        pair[now ^ 1] = pair[now]
        for j in range(table.shape[0]):
            _stage(pair, now, schedules[1], p, table[j])
            now ^= 1
    lanes.restore_denormals(pair, control)
    return now


@_Kernel
def _record(tape, steps, p, schedules):
    """March `steps` steps from tape[0], keeping every state."""
    control = lanes.flush_denormals(tape)
    n = 0
    while n < steps:
        several = n + DEPTH <= steps
        _advance(tape, n, -1, schedules[0] if several else schedules[1], p)
        n += DEPTH if several else 1
    lanes.restore_denormals(tape, control)


@_Kernel
def _pull(tape, steps, pair, now, p, schedules, totals, sums):
    """Adjoint of `_record`: carry the cotangent pair[now] of tape[steps] back to tape[0]; where it then is.

    `sums`, float64, gains the five sums of the parameters; `totals` is scratch of its shape.
    """
    control = lanes.flush_denormals(pair)
    n = 0
    while n < steps:
        several = n + DEPTH <= steps
        totals[:] = 0
        _retreat(tape, steps - n, pair, now, schedules[0] if several else schedules[1], p, totals)
        sums += totals
        n += DEPTH if several else 1
        now ^= 0 if several else 1
    lanes.restore_denormals(pair, control)
    return now


@_Kernel
def _push(pair, now, p, schedules, steps):
    """March `steps` steps of u and v and their four tangents; where the newest state is."""
    control = lanes.flush_denormals(pair)
    n = 0
    while n < steps:
        several = n + DEPTH <= steps
        _advance_tangents(pair, now, schedules[0] if several else schedules[1], p)
        n += DEPTH if several else 1
        now ^= 0 if several else 1
    lanes.restore_denormals(pair, control)
    return now


# ---------------------------------------------------------------------------------------------------------------------
# Schedules
# ---------------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _schedules(height: int) -> tuple[Array, Array]:
    """The order of work for `DEPTH` steps and for one: rows (step, first, last + 1), rows beyond the edges wrapped.

    A whole sweep of the grid a step would fetch the fields from the second cache each time. So bands of rows advance
    several steps at once while they are in the first: each band loses a row at either end a step, a trapezoid, and
    then the gaps between bands, which grow by as much, are filled in. Two buffers suffice, and no step of any row is
    done twice. At the end one buffer holds the last step and the other the one before it.
    """
    one = np.array([[1, 0, height]])
    bands = height // (2 * DEPTH)
    if not bands:
        return np.array([[t, 0, height] for t in range(1, DEPTH + 1)]), one
    edges = [n * height // bands for n in range(bands + 1)]
    steps = range(1, DEPTH + 1)
    shrinking = [[t, a + t, b - t] for a, b in pairwise(edges) for t in steps]
    growing = [[t, b - t, b + t] for b in edges[1:] for t in steps]
    return np.array(shrinking + growing), one


# ---------------------------------------------------------------------------------------------------------------------
# Calls; see `cpu` for the arguments
# ---------------------------------------------------------------------------------------------------------------------


def _packed(fields: Array) -> Array:
    """Fields (C, H, W) in the layout their width allows."""
    return lanes.pack(fields) if lanes.fits(fields.shape[-1], fields.dtype) else loops.pack(fields)


def _unpacked(x: Array) -> Array:
    return lanes.unpack(x) if x.ndim == 4 else loops.unpack(x)


def _states(x: Array, count: int) -> Array:
    """`count` states in the layout of x, the first one x, the others uninitialised."""
    return lanes.states(x, count) if x.ndim == 4 else loops.states(x, count)


def _coefficients(parameters: Array, dtype: np.dtype[Any]) -> Array:
    """Du, Dv, F, cu, cv: formed in float64, rounded once."""
    Du, Dv, F, k = (float(p) for p in parameters)
    return np.array([Du, Dv, F, *gray_scott.step_coefficients(Du, Dv, F, k)], dtype=dtype)


def march(fields: Array, parameters: Array, tol: float, max_steps: int, check_every: int) -> tuple[Array, int, float]:
    """March one instance until it settles or for `max_steps` steps."""
    max_steps = min(max_steps, LONGEST)
    check_every = min(check_every, max_steps)  # the last step is tested anyway
    pair, p = _states(_packed(fields), 2), _coefficients(parameters, fields.dtype)
    order, now = _schedules(fields.shape[1]), 0
    n, change = 0, float("inf")
    while n < max_steps and change >= tol:
        look()
        last = min(n + CHUNK, max_steps)
        n, change_now, now = _march(pair, now, p, order, tol, n, last, check_every, max_steps)
        change = change if change_now == float("inf") else change_now
    return _unpacked(pair[now]), n, change


def stabilised(fields: Array, parameters: Array, table: Array, count: int) -> tuple[Any, float]:
    """Take `count` stabilised explicit steps, and measure the residual where they end."""
    pair, p = _states(_packed(fields), 2), _coefficients(parameters, fields.dtype)
    order = _schedules(fields.shape[1])
    now = _stabilised(pair, p, order, table, count)
    end = _unpacked(pair[now])
    return end, _march(pair, now, p, order, 0.0, 0, 1, 1, 1)[1]


def pull_back(fields: Array, parameters: Array, steps: int, cotangents: Array) -> tuple[Array, Array]:
    """Adjoint of exactly `steps` steps of `march`, for L cotangents at once."""
    plan, order = segments(steps), _schedules(fields.shape[1])
    x, p = _packed(fields), _coefficients(parameters, fields.dtype)
    pair, now = _states(x, 2), 0
    kept = _states(x, max(len(plan), 1))
    tape = _states(x, plan[0].length + 1 if plan else 1)
    for s, segment in enumerate(plan):
        kept[s] = pair[now]
        if s < len(plan) - 1:
            n = segment.length
            _, _, now = _march(pair, now, p, order, 0.0, 0, n, n + 1, n + 1)
    adjoints, at = [_states(_packed(c.astype(fields.dtype)), 2) for c in cotangents], [0] * len(cotangents)
    totals = lanes.empty((5, x.shape[-1]), fields.dtype)
    sums = np.zeros((len(adjoints), 5, x.shape[-1]))
    for s in range(len(plan) - 1, -1, -1):
        look()
        tape[0] = kept[s]
        _record(tape, plan[s].length, p, order)
        for c in range(len(adjoints)):
            at[c] = _pull(tape, plan[s].length, adjoints[c], at[c], p, order, totals, sums[c])
    s_a, s_ua, s_vb, s_uSa, s_vSb = sums.sum(axis=2).T
    gradient = np.stack([s_uSa - 4 * s_ua, s_vSb - 4 * s_vb, s_a - s_ua - s_vb, -s_vb], axis=1)
    return gradient, np.stack([_unpacked(a[n]) for a, n in zip(adjoints, at, strict=True)])


def push_forward(fields: Array, parameters: Array, steps: int) -> tuple[Array, Array]:
    """March exactly `steps` steps with the derivatives in Du, Dv, F and k beside it."""
    start = np.zeros((10, *fields.shape[1:]), fields.dtype)
    start[:2] = fields
    pair, p = _states(_packed(start), 2), _coefficients(parameters, fields.dtype)
    order, now = _schedules(fields.shape[1]), 0
    for first in range(0, steps, CHUNK // 8):
        look()
        now = _push(pair, now, p, order, min(CHUNK // 8, steps - first))
    end = _unpacked(pair[now])
    return end[:2], end[2:].reshape(4, 2, *fields.shape[1:])
