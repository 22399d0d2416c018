"""Explicit stepping and its derivatives by compiled kernels, one instance at a time: what `cpu` calls where it can.

The kernels here go over steps and bands of rows; rows are worked by `lanes`, vector code, where the grid is as wide as
some multiple of the machine's vectors, and else by `rows`. Both have the formulas of a model's steps and no
fast-math, so that the same fields give the same bits on every machine and in either layout.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from itertools import pairwise
from typing import Any

import numba
import numpy as np
from numba.extending import overload

from gsimplicit.equations import Equations
from gsimplicit.marching import lanes, rows, work, writer
from gsimplicit.marching.checkpoints import segments
from gsimplicit.marching.cpu import CannotCompile
from gsimplicit.marching.kept import Kept
from gsimplicit.models import expression, steps
from gsimplicit.progress import note
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
# Work in either layout: arrays of states of five axes are of `lanes`, of four of `rows`. The stubs carry the names.
# ---------------------------------------------------------------------------------------------------------------------

# mypy: disable-error-code="no-untyped-def, no-untyped-call"


def _advance(recipe, tape, at, mask, schedule, p): ...
def _stage(recipe, pair, now, schedule, p, weights): ...
def _retreat(recipe, tape, top, pair, now, schedule, p, totals): ...
def _advance_tangents(recipe, pair, now, schedule, p): ...
def _largest_change(pair): ...


def _layout(states: Any) -> work.Layout:
    return work.IN_LANES if states.ndim == 5 else work.IN_ROWS


@overload(_advance)
def _(recipe, tape, at, mask, schedule, p):
    do = _layout(tape).advance
    return lambda recipe, tape, at, mask, schedule, p: do(recipe, tape, at, mask, schedule, p)


@overload(_stage)
def _(recipe, pair, now, schedule, p, weights):
    do = _layout(pair).stage
    return lambda recipe, pair, now, schedule, p, weights: do(recipe, pair, now, schedule, p, weights)


@overload(_retreat)
def _(recipe, tape, top, pair, now, schedule, p, totals):
    do = _layout(pair).retreat
    return lambda recipe, tape, top, pair, now, schedule, p, totals: do(
        recipe, tape, top, pair, now, schedule, p, totals
    )


@overload(_advance_tangents)
def _(recipe, pair, now, schedule, p):
    do = _layout(pair).advance_tangents
    return lambda recipe, pair, now, schedule, p: do(recipe, pair, now, schedule, p)


@overload(_largest_change)
def _(pair):
    do = _layout(pair).largest_change
    return lambda pair: do(pair)


# ---------------------------------------------------------------------------------------------------------------------
# Kernels: over steps. `pair` holds two states by turns, the newest at `now`; schedules are those of many steps and one.
# ---------------------------------------------------------------------------------------------------------------------


def _fingerprint() -> str | None:
    """Of what goes into a kernel; None where that is not known."""
    # derived steps have their formulas in their key; those of Gray-Scott are gathered by hand
    by_hand = import_module("gsimplicit.models.gray_scott")
    modules = (lanes, rows, work, writer, expression, steps, by_hand, sys.modules[__name__])
    sources = [made_of(module) for module in modules]
    known = [source for source in sources if source is not None]
    return hashlib.sha256(b"".join([str(writer.BYTES).encode(), *known])).hexdigest() if known == sources else None


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
def _march(recipe, pair, now, p, schedules, tol, first, last, check, end):
    """March from step `first` to `last`, testing at multiples of `check` and at step `end`.

    Returns the step reached, the change of the last test and where the newest state is.
    """
    control = work.flush_denormals(pair)
    n, change = first, np.inf
    while n < last:
        stop = min(last, n - n % check + check)
        while n + DEPTH <= stop:
            _advance(recipe, pair, now, 1, schedules[0], p)  # an even number of steps: the newest state stays at `now`
            n += DEPTH
        while n < stop:
            _advance(recipe, pair, now, 1, schedules[1], p)
            now ^= 1
            n += 1
        if n % check == 0 or n == end:
            change = float(_largest_change(pair))
            if not change >= tol:  # settled, or NaN
                break
    work.restore_denormals(pair, control)
    return n, change, now


@_Kernel
def _stabilised(recipe, pair, p, schedules, table, count):
    """`count` stabilised steps whose stages have the coefficients of `table` (s, 3); where the newest state is."""
    control = work.flush_denormals(pair)
    now = 0
    for _ in range(count):
        pair[now ^ 1] = pair[now]
        for j in range(table.shape[0]):
            _stage(recipe, pair, now, schedules[1], p, table[j])
            now ^= 1
    work.restore_denormals(pair, control)
    return now


@_Kernel
def _record(recipe, tape, steps, p, schedules):
    """March `steps` steps from tape[0], keeping every state."""
    control = work.flush_denormals(tape)
    n = 0
    while n < steps:
        several = n + DEPTH <= steps
        _advance(recipe, tape, n, -1, schedules[0] if several else schedules[1], p)
        n += DEPTH if several else 1
    work.restore_denormals(tape, control)


@_Kernel
def _pull(recipe, tape, steps, pair, now, p, schedules, totals, sums):
    """Adjoint of `_record`: carry the cotangent pair[now] of tape[steps] back to tape[0]; where it then is.

    `sums`, float64, gains the sums of the parameters; `totals` is scratch of its shape.
    """
    control = work.flush_denormals(pair)
    n = 0
    while n < steps:
        several = n + DEPTH <= steps
        totals[:] = 0
        _retreat(recipe, tape, steps - n, pair, now, schedules[0] if several else schedules[1], p, totals)
        sums += totals
        n += DEPTH if several else 1
        now ^= 0 if several else 1
    work.restore_denormals(pair, control)
    return now


@_Kernel
def _push(recipe, pair, now, p, schedules, steps):
    """March `steps` steps of u and v and their four tangents; where the newest state is."""
    control = work.flush_denormals(pair)
    n = 0
    while n < steps:
        several = n + DEPTH <= steps
        _advance_tangents(recipe, pair, now, schedules[0] if several else schedules[1], p)
        n += DEPTH if several else 1
        now ^= 0 if several else 1
    work.restore_denormals(pair, control)
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
    return lanes.pack(fields) if lanes.fits(fields.shape[-1], fields.dtype) else rows.pack(fields)


def _layout_of(x: Array) -> Any:
    """The layout of a packed state, by its number of axes."""
    return lanes if x.ndim == 4 else rows


def _unpacked(x: Array) -> Array:
    out: Array = _layout_of(x).unpack(x)
    return out


def _states(x: Array, count: int) -> Array:
    """`count` states in the layout of x, the first one x, the others uninitialised."""
    out: Array = _layout_of(x).states(x, count)
    return out


_recipes: dict[str, work.Recipe] = {}
"""Steps as the kernels take them, by their key."""


def _prepared(equations: Equations, dtype: np.dtype[Any]) -> tuple[work.Recipe, Array]:
    """The steps of an instance, and the constants that stand for its parameters: in float64, rounded once."""
    steps = equations.steps
    assert steps is not None
    recipe = _recipes.get(steps.key)
    if recipe is None:
        recipe = _recipes.setdefault(steps.key, work.Recipe(steps))
    return recipe, np.array(steps.constants_of([float(p) for p in equations.values], equations.dt), dtype=dtype)


def march(
    equations: Equations, fields: Array, tol: float, max_steps: int, check_every: int
) -> tuple[Array, int, float]:
    """March one instance until it settles or for `max_steps` steps."""
    max_steps = min(max_steps, LONGEST)
    check_every = min(check_every, max_steps)  # the last step is tested anyway
    recipe, p = _prepared(equations, fields.dtype)
    pair = _states(_packed(fields), 2)
    order, now = _schedules(fields.shape[1]), 0
    n, change = 0, float("inf")
    while n < max_steps and change >= tol:
        look()
        note("step {:,} of at most {:,}, change {:.0e}", n, max_steps, change)
        last = min(n + CHUNK, max_steps)
        n, change_now, now = _march(recipe, pair, now, p, order, tol, n, last, check_every, max_steps)
        change = change if change_now == float("inf") else change_now
    return _unpacked(pair[now]), n, change


def stabilised(equations: Equations, fields: Array, table: Array, count: int) -> tuple[Any, float]:
    """Take `count` stabilised explicit steps, and measure the change of a plain one where they end."""
    recipe, p = _prepared(equations, fields.dtype)
    pair, order = _states(_packed(fields), 2), _schedules(fields.shape[1])
    now = _stabilised(recipe, pair, p, order, table, count)
    end = _unpacked(pair[now])
    return end, _march(recipe, pair, now, p, order, 0.0, 0, 1, 1, 1)[1]


def pull_back(equations: Equations, fields: Array, steps: int, cotangents: Array) -> tuple[Array, Array]:
    """Adjoint of exactly `steps` steps of `march`, for L cotangents at once."""
    plan, order = segments(steps), _schedules(fields.shape[1])
    recipe, p = _prepared(equations, fields.dtype)
    x = _packed(fields)
    pair, now = _states(x, 2), 0
    kept = _states(x, max(len(plan), 1))
    tape = _states(x, plan[0].length + 1 if plan else 1)
    for s, segment in enumerate(plan):
        kept[s] = pair[now]
        if s < len(plan) - 1:
            n = segment.length
            _, _, now = _march(recipe, pair, now, p, order, 0.0, 0, n, n + 1, n + 1)
    adjoints, at = [_states(_packed(c.astype(fields.dtype)), 2) for c in cotangents], [0] * len(cotangents)
    totals = _layout_of(x).totals(x, recipe.steps.sums)
    sums = np.zeros((len(adjoints), *totals.shape))
    for s in range(len(plan) - 1, -1, -1):
        look()
        note("back through the steps, {} of {} stretches left", s + 1, len(plan))
        tape[0] = kept[s]
        _record(recipe, tape, plan[s].length, p, order)
        for c in range(len(adjoints)):
            at[c] = _pull(recipe, tape, plan[s].length, adjoints[c], at[c], p, order, totals, sums[c])
    gradient = np.stack(recipe.steps.derivatives_of(sums.sum(axis=2).T, equations.dt), axis=1)
    return gradient, np.stack([_unpacked(a[n]) for a, n in zip(adjoints, at, strict=True)])


def push_forward(equations: Equations, fields: Array, steps: int) -> tuple[Array, Array]:
    """March exactly `steps` steps with the derivatives in each parameter beside it."""
    recipe, p = _prepared(equations, fields.dtype)
    species, grid = fields.shape[0], fields.shape[1:]
    start = np.zeros((species * (1 + recipe.steps.parameters), *grid), fields.dtype)
    start[:species] = fields
    pair, order, now = _states(_packed(start), 2), _schedules(grid[0]), 0
    for first in range(0, steps, CHUNK // 8):
        look()
        note("marching with derivatives, step {:,} of {:,}", first, steps)
        now = _push(recipe, pair, now, p, order, min(CHUNK // 8, steps - first))
    end = _unpacked(pair[now])
    return end[:species], end[species:].reshape(recipe.steps.parameters, species, *grid)
