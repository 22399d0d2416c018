"""Fields, parameters, drift and position together: one Gauss-Newton iteration for all of them.

The unknowns are the state itself and the parameters that it is steady for. At the current fields X, which need not be
steady for anything, one factorisation of the bordered Jacobian J gives

    dX = a + sum_j z_j b_j,    a = -J^-1 R,    b_j = -J^-1 dR/dz_j,

so the fields are eliminated, and least squares against the data remain in the few z: parameters, rigid shifts, and
gain and offset if they are asked for. All move together. Nothing is re-marched, so the edges of basins, which make the
cliffs of the marched landscape, are never met (H. G. Bock, in Numerical Treatment of Inverse Problems, 1983, has the
method for boundary value problems). A step is cut by the natural level function (P. Deuflhard, Newton Methods for
Nonlinear Problems, 2004, section 3.3): the next correction, measured with this iteration's factors, must not grow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gsimplicit.inverse.fits.open_step import OpenStep
from gsimplicit.inverse.fits.problem import Ended, Fit, Place, Problem
from gsimplicit.inverse.fits.step import DAMPINGS, STEADY, TRUST, Step

Array = np.ndarray[Any, np.dtype[np.float64]]

HALVINGS = 6
LEFT = 3.0
"""A parameter that has changed by a factor exp(3) has left for nowhere."""
UNSEEN = 1e-5
"""Change of all deviations together, in standard deviations, that ends an iteration: moved where nothing is seen."""
ENOUGH = 0.25
"""Share of a step that is enough not to try the next."""
FURTHER, UNEXPLAINED = 2, 2.0
"""Factor of the iterations, and level by the number of values, up to which an iteration goes on that long."""
SETTLED = 1e-3
"""Way that is left, in standard deviations of the answer, that ends an iteration: far inside its interval."""
TOLD = 0.1
"""Uncertainty of all combinations of parameters up to which an iteration of unknown gain goes on that long too: it is
then in no family whose members all fit."""
CREEPING, FASTEST, BENT = 0.3, 0.95, 0.3
"""Factors from one step to the next between which what is to come is taken at once, and how far two steps may be from
one line for it. Noise that bends the states' surface makes Gauss and Newton's method creep along it."""


@dataclass(frozen=True, eq=False)
class _Way:
    """What a step changed the deviations by, and what that foretells where steps only creep.

    Attributes:
        change: Of all deviations, shape (count,); None before the first step and after one that was stretched.
        left: Length of all steps to come, were each shorter than the one before by the same factor.
        reach: Share of the next step that takes all of them at once; 1 where steps do not follow one line.
    """

    change: Array | None = None
    left: float = np.inf
    reach: float = 1.0

    @classmethod
    def after(cls, before: _Way, change: Array, share: float) -> _Way:
        """The way of a step, from that of the step before and what the whole of this one changes."""
        if before.change is None or share != 1.0:
            return cls(change if share == 1.0 else None)
        size, last = float(np.linalg.norm(change)), float(np.linalg.norm(before.change))
        left = size * size / (last - size) if size < last else np.inf
        factor = float(change @ before.change) / max(last**2, 1e-300)
        line = float(np.linalg.norm(change - factor * before.change)) < BENT * size
        return cls(change, left, 1 / (1 - factor) if line and CREEPING < factor < FASTEST else 1.0)


def fit(problem: Problem, start: Place, *, iterations: int = 30, tol: float = 1e-8, residual: float = 1e-10) -> Fit:
    """The iteration, from a place whose fields need not be steady.

    Args:
        problem: What is asked.
        start: Where it begins.
        iterations: Most of them; `FURTHER` times as many where hardly more than noise is left.
        tol: Change of every free coordinate to reach.
        residual: Max norm of the bordered residual to reach, by the model's scale.
    """
    place, ended, n, size, first = start, Ended.STEPS, 0, np.inf, np.inf
    columns, before, last, further = np.zeros((0, 0)), _Way(), np.inf, problem.trusted
    for n in range(1, FURTHER * iterations + 1):
        if n > iterations and not (further and last <= UNEXPLAINED * len(columns)):
            n -= 1
            break
        try:
            step = linearised(problem, place)
        except np.linalg.LinAlgError:
            ended = Ended.SINGULAR
            break
        columns, place = step.columns, step.place
        here = step.level(place, step.zeroth)
        first, last = here if n == 1 else first, here
        small = bool(np.abs(step.z[: len(problem.scales.directions)]).max(initial=0) < 1e-6)
        onward = _damped(step, here, before.reach if problem.trusted else 1.0, anyway=small)
        if onward is None:
            ended = Ended.DIVERGED
            break
        place, share = onward
        if left(problem, place, start):
            ended = Ended.LEFT
            break
        if place.gain[1] <= 0:
            ended = Ended.GAIN
            break
        size = max(float(np.abs(R).max()) for R in problem.defects(place))
        moved = share * float(np.abs(step.z[: len(problem.scales.directions)]).max(initial=0))
        change = step.columns @ step.z
        way, unseen = _Way.after(before, change, share), float(np.linalg.norm(change)) <= UNSEEN
        done = moved <= tol or unseen or (not problem.affine and way.left <= SETTLED * _unit(step))
        if size <= residual * problem.model.scale and done:
            misfit, weighed = problem.misfit(place), step.deviations(place)
            more = (step.absorbed(), weighed, step.camera(), step.measured())
            return Fit(place, Ended.CONVERGED, n, size, columns, misfit, first, *more)
        before, further = way, further or (problem.affine and n == iterations and _uncertainty(step) <= TOLD)
    return Fit(place, ended, n, size, columns, problem.misfit(place), first)


def _unit(step: Step) -> float:
    """Standard deviation of what the linear model leaves, by that of the noise; that of the noise where it is more."""
    left = step.start + step.columns @ step.z
    return min(1.0, float(np.sqrt((left**2).mean())))


def _uncertainty(step: Step) -> float:
    """Standard deviation of the combination of parameters that is seen least, where drift and gain may follow."""
    m = len(step.problem.scales.directions)
    own, others = step.columns[:, :m], step.columns[:, m:]
    if others.shape[1]:
        basis = np.linalg.qr(others)[0]
        own = own - basis @ (basis.T @ own)
    return _unit(step) / max(float(np.linalg.svd(own, compute_uv=False)[-1]), 1e-300)


def left(problem: Problem, place: Place, start: Place) -> bool:
    """Whether parameters have gone so far from a start that they lead nowhere."""
    far = problem.scales.between(place.values, start.values)
    return bool(np.abs(far / np.where(problem.scales.positive, 1, 10)).max() > LEFT)


def linearised(problem: Problem, place: Place) -> Step:
    """The linear model at a place, whose drift is kept along what the state breaks.

    Raises:
        np.linalg.LinAlgError: It is singular to working precision.
    """
    # anew each time: noise breaks translations that the state it leads to does not
    directions = [problem.edges.moves(X, problem.model.scale) for X in place.fields]
    place = replace(place, drifts=tuple(c @ d.T @ d for c, d in zip(place.drifts, directions, strict=True)))
    return (OpenStep if problem.edges.open else Step)(problem, place, directions)


def first_level(problem: Problem, start: Place) -> float:
    """How far a start is from everything: log of the misfit after its first step, and the step's length.

    The linear model's misfit says whether the data can be met from here, the step's length whether the model holds
    that far.
    """
    try:
        step = linearised(problem, start)
    except np.linalg.LinAlgError:
        return np.inf
    changes, _ = step.whole()
    left = float(((step.start + step.columns @ step.z) ** 2).mean())
    far = max(float(np.abs(c.fields).max()) for c in changes) / problem.model.scale
    z = step.z[: len(problem.scales.directions)]
    return float(np.log1p(left)) + far + TRUST * float(np.abs(z).max(initial=0))


def _damped(step: Step, here: float, reach: float, *, anyway: bool) -> tuple[Place, float] | None:
    """The place after the step, halved until the level does not grow; None where nothing is finite.

    Where less than a quarter of a step is left, steps that move parameters less are tried, down to one of the fields
    alone. Where no share lowers the level the smallest is taken: far from a root the level is a guide, not a law. At a
    root a small share is enough too: along what is hardly seen it leads further than a damped step, which creeps.
    """
    best: tuple[Place, float, float] | None = None
    steady = step.problem.trusted and here <= (1 + STEADY) * float((step.start**2).sum())
    for damping in DAMPINGS:
        step.damp(damping)
        least = step.longest() / 2 ** (HALVINGS - 2)
        found = _halved(step, here, reach, anyway=anyway)
        if found is not None and (best is None or found[1] > best[1]):
            best = (*found, damping)
        if best is not None and best[1] >= (least if steady else ENOUGH):
            break
    if best is None:
        return None
    step.damp(best[2])
    return best[0], best[1]


def _halved(step: Step, here: float, reach: float, *, anyway: bool) -> tuple[Place, float] | None:
    """The place after a share of the step, and the share: at first the whole, or its reach, if that is not too far."""
    share = step.longest(reach)
    for n in range(HALVINGS):
        place = step.moved(share)
        level = _level(step, place)
        if np.isfinite(level) and (level <= here * (1 + 1e-9) or anyway or n == HALVINGS - 1):
            return place, share
        share /= 2
    return None


def _level(step: Step, place: Place) -> float:
    """The level function, infinite where something is not finite."""
    if not _finite(place):
        return np.inf
    with np.errstate(all="ignore"):
        try:
            return step.level(place, step.corrections(place))
        except np.linalg.LinAlgError:
            return np.inf


def _finite(place: Place) -> bool:
    return all(bool(np.isfinite(X).all()) for X in place.fields) and bool(np.isfinite(place.values).all())
