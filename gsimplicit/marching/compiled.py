"""Explicit stepping and its derivatives by compiled kernels, one instance at a time: what `cpu` calls where it can.

The kernels go over steps and bands of rows, as schedules made here say; rows are worked by `lanes`, vector code, where
the grid is as wide as some multiple of the machine's vectors, and else by `rows`. Both have the formulas of a model's
steps and no fast-math, so that the same fields give the same bits on every machine and in either layout.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from gsimplicit.equations import Equations
from gsimplicit.marching import kernels, lanes, rows, work
from gsimplicit.marching.checkpoints import segments
from gsimplicit.marching.kernels import DEPTH
from gsimplicit.progress import note
from gsimplicit.threads import look

Array = np.ndarray[Any, np.dtype[np.floating[Any]]]

LONGEST = 2**62
"""Steps that the kernels count to, more than anyone waits for: with as many between tests they fit a signed word."""

CHUNK = 4096
"""Steps in one kernel call, some 10 ms at 128 x 128: between calls an interrupt is seen."""

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
        n, change_now, now = kernels.march(recipe, pair, now, p, order, tol, n, last, check_every, max_steps)
        change = change if change_now == float("inf") else change_now
    return _unpacked(pair[now]), n, change


def stabilised(equations: Equations, fields: Array, table: Array, count: int) -> tuple[Any, float]:
    """Take `count` stabilised explicit steps, and measure the change of a plain one where they end."""
    recipe, p = _prepared(equations, fields.dtype)
    pair, order = _states(_packed(fields), 2), _schedules(fields.shape[1])
    now = kernels.stabilised(recipe, pair, p, order, table, count)
    end = _unpacked(pair[now])
    return end, kernels.march(recipe, pair, now, p, order, 0.0, 0, 1, 1, 1)[1]


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
            _, _, now = kernels.march(recipe, pair, now, p, order, 0.0, 0, n, n + 1, n + 1)
    adjoints, at = [_states(_packed(c.astype(fields.dtype)), 2) for c in cotangents], [0] * len(cotangents)
    totals = _layout_of(x).totals(x, recipe.steps.sums)
    sums = np.zeros((len(adjoints), *totals.shape))
    for s in range(len(plan) - 1, -1, -1):
        look()
        note("back through the steps, {} of {} stretches left", s + 1, len(plan))
        tape[0] = kept[s]
        kernels.record(recipe, tape, plan[s].length, p, order)
        for c in range(len(adjoints)):
            at[c] = kernels.pull(recipe, tape, plan[s].length, adjoints[c], at[c], p, order, totals, sums[c])
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
        now = kernels.push(recipe, pair, now, p, order, min(CHUNK // 8, steps - first))
    end = _unpacked(pair[now])
    return end[:species], end[species:].reshape(recipe.steps.parameters, species, *grid)
