"""The steps of Newton's method, made as long as they may be.

A step is cut where it would move a field by more than `MAX_STEP`: Newton must not leave for another state. Besides,
how long it is depends on what a linear solve costs:

1. Where factors are kept (`by_error`), the same factors tell how far each trial point is from the root: a step is good
   if the next one by these factors is shorter, or if the residual is halved. The natural level function (P. Deuflhard,
   Newton Methods for Nonlinear Problems, 2004, section 3.3) does not depend on how the equations are scaled. A residual
   does: slow modes of a pattern hardly show in it, so alone it cuts a step along them to a sixteenth which may be taken
   whole. While steps shrink by half, the factors are used again: a chord step costs 1/20 of a factorisation. The last
   one is made when the residual is closed, and leaves far less.
2. Where each solve is iterative (`by_residual`), a step is halved until it lowers the residual, four times at most. The
   solver is asked for no more than the step is worth: the forcing terms of Eisenstat and Walker, SIAM J. Sci. Comput.
   17, 1996, choice 2.

Both give up in a hurry where steps must be short and Newton's method is called again from a state marched further.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gsimplicit.grid import along
from gsimplicit.refine.asking import Solve, Solving
from gsimplicit.refine.linear import Bordered
from gsimplicit.refine.solvers import LOOSE

if TYPE_CHECKING:
    from gsimplicit.equations import Equations
    from gsimplicit.refine.asking import Solved
    from gsimplicit.refine.linear import Solution
    from gsimplicit.refine.solvers import Prepared

Array = np.ndarray[Any, np.dtype[np.float64]]

MAX_STEP = 0.2
"""Largest change of a species in one Newton step, as a share of the largest or of the model's scale."""

MAX_ITERATIONS = 20
"""Systems made ready, at most."""

SHORT, SHORTEST = 0.25, 0.005
"""Share of a Newton step below which marching on is cheaper, and below which none is made at all."""

CHORD = 0.5
"""Length of a step by that of the one before, below which factors are kept."""

TIGHT = 1e-6
"""Relative residual asked of a solve by factors: no step comes nearer to the root."""

PATIENCE, GAIN = 6, 0.8
"""Iterations by residuals after which that must be below this share of the first one: else marching on is cheaper."""

FORCING = 0.01
"""Relative residual asked of the first linear solve of an inexact Newton iteration, and the most ever asked."""


@dataclass(frozen=True, eq=False)
class Here:
    """A point of the iteration: fields (S, H, W), drift (2,) and their residual (S, H, W)."""

    X: Array
    c: Array
    R: Array

    @property
    def size(self) -> float:
        """Max norm of the residual."""
        return float(np.abs(self.R).max())

    @property
    def norm(self) -> float:
        """Its 2-norm."""
        return float(np.linalg.norm(self.R))


@dataclass(frozen=True, eq=False)
class End:
    """The point of least residual met, the last system and what solves with it."""

    here: Here
    factors: tuple[Prepared, Bordered] | None


@dataclass(eq=False)
class Task:
    """What is solved for.

    Attributes:
        equations: Those of the instance.
        start: Shape (S, H, W); it fixes the phase.
        tol: Max norm of the residual to reach, per unit time.
        directions: Translations whose velocities are solved for, shape (r, 2).
        held: What the residual is to be, shape (S, H, W); None is zero.
        evaluations: Residual evaluations so far.
    """

    equations: Equations
    start: Array
    tol: float
    directions: Array
    held: Array | None = None
    evaluations: int = 0
    phase: Array | None = field(init=False)
    longest: float = field(init=False)

    def __post_init__(self) -> None:
        self.phase = along(self.directions, self.start) if len(self.directions) else None
        self.longest = MAX_STEP * max(self.equations.model.scale, float(np.abs(self.start).max()))

    def at(self, X: Array, c: Array) -> Here:
        """A point with its residual."""
        self.evaluations += 1
        R = self.equations.residual(X)
        if self.held is not None:
            R = R - self.held
        return Here(X, c, R + along(c, X) if c.any() else R)

    def moved(self, here: Here, step: Solution, scale: float) -> Here:
        """The point a share of a step further."""
        return self.at(here.X + scale * step.x, here.c + scale * (step.s @ self.directions))

    def system(self, here: Here) -> Bordered:
        """The linear system at a point."""
        # the phase conditions are linear and hold from the start, so their right-hand side stays zero
        return Bordered(self.equations, here.X, self.directions, here.c, self.phase)

    def cut(self, step: Solution) -> float:
        """Share of a step that moves no field too far."""
        return min(1.0, self.longest / max(float(np.abs(step.x).max()), 1e-300))

    def open(self, here: Here) -> bool:
        """Whether there is something left to close."""
        return self.tol < here.size < np.inf


def by_residual(task: Task, here: Here, *, hurry: bool) -> Solving[End]:
    """Newton's method with iterative solves, each step halved until it lowers the residual."""
    known: Prepared | None = None
    at: Bordered | None = None
    forcing, first = FORCING, here.norm
    for n in range(MAX_ITERATIONS):
        if not task.open(here) or (n == PATIENCE and hurry and here.norm > GAIN * first):
            break
        at = task.system(here)
        asked = max(forcing, 0.1 * task.tol / here.size)
        answer = yield Solve(at, -here.R, known=known, tol=asked)
        step, known = answer.solution, answer.prepared
        task.evaluations += step.products
        if not step.residual < max(LOOSE, 2 * asked):
            break
        scale = task.cut(step)
        for part in (1, 2, 4, 8, 16):
            there = task.moved(here, step, scale / part)
            if there.norm < here.norm:
                break
        else:
            break
        gain = there.norm / here.norm
        forcing, here = min(FORCING, 0.9 * gain**2), there
    return End(here, None if known is None or at is None else (known, at))


def by_error(task: Task, here: Here, *, hurry: bool) -> Solving[End]:
    """Newton's method with factors that are kept, each step as long as the natural level function lets it be."""
    shortest = SHORT if hurry else SHORTEST
    best, factors = here, None
    for _ in range(MAX_ITERATIONS):
        if not task.open(here):
            break
        at = task.system(here)
        answer: Solved = yield Solve(at, -here.R, known=None if factors is None else factors[0], tol=TIGHT)
        step, factors = answer.solution, (answer.prepared, at)
        if not step.residual < LOOSE:
            break
        scale = task.cut(step)
        while scale >= shortest:
            tried = yield from _tried(task, here, step, scale, factors)
            if tried.good(scale):
                break
            scale = min(tried.shorter, scale / 2)
        else:
            break
        here, whole = tried.there, scale == 1
        best = min(best, here, key=lambda one: one.norm)
        while whole and tried.shrinks < CHORD and task.open(here):
            assert tried.onward is not None
            tried = yield from _tried(task, here, tried.onward, 1.0, factors)
            if not tried.good(1.0):
                break
            here = tried.there
            best = min(best, here, key=lambda one: one.norm)
    if here.size > task.tol:
        return End(best, factors)
    return End((yield from _closer(task, here, factors)), factors)


def _closer(task: Task, here: Here, factors: tuple[Prepared, Bordered] | None) -> Solving[Here]:
    """A closed point after one more step by the last factors, which costs little and leaves far less, if it does."""
    if factors is None or not here.norm:
        return here
    answer = yield Solve(factors[1], -here.R, known=factors[0], fresh=False, tol=TIGHT)
    there = task.moved(here, answer.solution, 1.0)
    return there if answer.solution.residual < LOOSE and there.norm < here.norm else here


@dataclass(frozen=True, eq=False)
class _Tried:
    """Where a step leads, and the next one by the same factors.

    Attributes:
        there: The point.
        onward: The step from there; None where the residual is closed, or is not finite.
        shrinks: Length of that step by the length of this one.
        lowers: Residual there by the residual here, in the 2-norm.
        shorter: Share of this step that would have been right, as far as its curvature tells.
    """

    there: Here
    onward: Solution | None
    shrinks: float
    lowers: float
    shorter: float

    def good(self, scale: float) -> bool:
        """Whether a share of a step got nearer to the root: by the next step, or by the residual.

        Asked is a quarter of what the next step would be shorter by, and half of what the residual would be lower by,
        if the equations were linear.
        """
        return self.shrinks <= 1 - scale / 4 or self.lowers <= 1 - scale / 2


def _tried(task: Task, here: Here, step: Solution, scale: float, factors: tuple[Prepared, Bordered]) -> Solving[_Tried]:
    there = task.moved(here, step, scale)
    lowers = there.norm / here.norm
    if not task.open(there):
        return _Tried(there, None, 0.0 if there.size <= task.tol else np.inf, lowers, np.inf)
    known, at = factors
    answer = yield Solve(at, -there.R, known=known, fresh=False, tol=TIGHT)
    onward, length = answer.solution, float(np.linalg.norm(step.x))
    if not onward.residual < LOOSE:
        return _Tried(there, None, np.inf, lowers, np.inf)
    # were the equations linear along the step, 1 - scale of it would be left
    bent = float(np.linalg.norm(onward.x - (1 - scale) * step.x))
    # a solver that takes nothing for a solution would go on for ever
    shrinks = float(np.linalg.norm(onward.x)) / length if length else np.inf
    return _Tried(there, onward, shrinks, lowers, 0.5 * length * scale**2 / max(bent, 1e-300))
