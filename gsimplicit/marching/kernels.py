"""Compiled kernels: over steps, and over rows in an order that a schedule gives; rows are worked by `lanes` or `rows`.

The fingerprint of all that goes into a kernel is part of the name it is kept under on disk.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from typing import Any

import numba
import numba.core.typing.bufproto  # imported at the first call else, without a lock that a fork could wait for
import numpy as np
from numba.extending import overload

from gsimplicit.marching import lanes, rows, work, writer
from gsimplicit.marching.cpu import CannotCompile
from gsimplicit.marching.kept import Kept
from gsimplicit.models import gray_scott_equations, operations, program, steps
from gsimplicit.sources import made_of

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

DEPTH = 8
"""Steps that a band of rows advances at once, even."""

# ---------------------------------------------------------------------------------------------------------------------
# Work in either layout: arrays of states of five axes are of `lanes`, of four of `rows`. The stubs carry the names.
# ---------------------------------------------------------------------------------------------------------------------


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


def fingerprint() -> str | None:
    """Of what goes into a kernel; None where that is not known."""
    # derived steps have their formulas in their key; those of Gray-Scott are gathered by hand
    modules = (lanes, rows, work, writer, operations, program, steps, gray_scott_equations, sys.modules[__name__])
    sources = [made_of(module) for module in modules]
    known = [source for source in sources if source is not None]
    return hashlib.sha256(b"".join([str(writer.BYTES).encode(), *known])).hexdigest() if known == sources else None


MADE_OF = fingerprint()


class Kernel:
    """A compiled function that is kept on disk. Nothing in a kernel raises, so what is raised is of its compiler."""

    def __init__(self, function: Callable[..., Any]) -> None:
        compiled: Any = numba.njit(nogil=True, error_model="numpy")(function)
        if MADE_OF is not None:
            compiled._cache = Kept(function, MADE_OF)  # what cache=True sets, with places numba does not know
        self.compiled = compiled

    def __call__(self, *arguments: Any) -> Any:
        """Run it, compiled now where it was not before."""
        try:
            return self.compiled(*arguments)
        except MemoryError:
            raise
        except Exception as error:
            raise CannotCompile(f"{type(error).__name__}: {error}") from error


@Kernel
def march(recipe, pair, now, p, schedules, tol, first, last, check, end):
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


@Kernel
def stabilised(recipe, pair, p, schedules, table, count):
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


@Kernel
def record(recipe, tape, steps, p, schedules):
    """March `steps` steps from tape[0], keeping every state."""
    control = work.flush_denormals(tape)
    n = 0
    while n < steps:
        several = n + DEPTH <= steps
        _advance(recipe, tape, n, -1, schedules[0] if several else schedules[1], p)
        n += DEPTH if several else 1
    work.restore_denormals(tape, control)


@Kernel
def pull(recipe, tape, steps, pair, now, p, schedules, totals, sums):
    """Adjoint of `record`: carry the cotangent pair[now] of tape[steps] back to tape[0]; where it then is.

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


@Kernel
def push(recipe, pair, now, p, schedules, steps):
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
