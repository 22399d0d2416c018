"""Intervals of weakly held parameters: how far each can go before the best that is left explains the data too badly.

The linear model of an answer has ellipsoids for regions of equal sums of squares. Where a picture holds little the true
regions are bent, and an interval from an ellipsoid is too short on one side. Here an end is the largest or smallest z_i
with

    min over all else of |r|^2 = |r(answer)|^2 + t^2 s^2,

t of Student's distribution and s^2 the mean square of the deviations: the profile likelihood (D. Venzon and
S. Moolgavkar, Applied Statistics 37, 87, 1988). Each step goes to the end of the ellipsoid of the linear model at the
current place, and the states follow. Where the region bends so much that these steps go to and fro, the next is what
the last few together foretell (D. Anderson, J. ACM 12, 547, 1965). Where they do not end, as beside a fold, where the
sum of squares is a wall, fits with the coordinate held bracket the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import t as student

from gsimplicit.inverse.answers.answer import UNSEEN, Certainty
from gsimplicit.inverse.fits import one_shot
from gsimplicit.inverse.fits.problem import Fit, Place, Problem
from gsimplicit.inverse.fits.step import STEADY, Step

Array = np.ndarray[Any, np.dtype[np.float64]]

BENT = 0.03
"""Standard deviation of the worst seen combination from which ellipsoids are not believed: at 0.03 they are off by some
hundredths of an interval."""
NEAR = 0.1
"""Standard deviations up to which an ellipsoid is good enough, and beyond which a fit's own end is near the answer."""
STEPS = 20
"""Steps to an end at most."""
CLOSE = 0.1
"""Change of all deviations, by what the sum of squares rises to the end, that ends the steps."""
WORSE, HALVINGS = 1.0, 5
"""How much worse than at the end a place may be on the way, by the rise to the end, and halvings of a step to it."""
MEMORY = 4
"""Steps that foretell the next."""
STALLED = 0.1
"""Share of a step below which what was foretold stands still: it is begun anew."""
ALIKE = 1e-3
"""Relative size of what steps tell apart below which it is rounding."""
HELD, FITTED, SHARES = 30, 15, 8
"""Trials with the parameter held, steps of the fit of each, and halvings of such a step."""
GROWN = 1.1
"""Growth of the level from one of these steps to the next that says that they lead nowhere."""
WITHIN = 0.9
"""Share of what is left up to which the linear model says where the next trial is; else it is half way."""
NARROW, SETTLED = 0.02, 0.1
"""What is left of the way to an end, by the way itself, that ends the trials; what a fit may still fall by, by the rise
to the end, where it ends."""


def ends(problem: Problem, fit: Fit, certainty: Certainty, level: float) -> Array | None:
    """Lowest and highest change of each free coordinate, shape (m, 2); infinite where no end was reached.

    None where the linear model is good enough, or where the fit has none.

    Args:
        problem: What was asked.
        fit: The answer, by the one-shot method.
        certainty: Its linear model.
        level: Level of the intervals.
    """
    factor, m = float(student.ppf((1 + level) / 2, certainty.freedom)), len(certainty.covariance)
    if not len(fit.weighed) or not BENT < certainty.spread <= UNSEEN or not np.isfinite(certainty.unit):
        return None
    if factor < NEAR:
        return None
    out: list[float] = []
    for i in range(m):
        for sign in (-1, 1):
            # with one end open the answer is hardly seen, and not worth the work for others
            ways = (_walked, _bracketed) if np.isfinite(out).all() else (_walked,)
            out.append(sign * _end(Walk(problem, fit, i, sign, factor**2 * certainty.unit), ways))
    return np.array(out).reshape(m, 2)


@dataclass(frozen=True, eq=False)
class Walk:
    """Which end is sought.

    Attributes:
        problem: What was asked.
        fit: The answer.
        i: Place of the free coordinate.
        sign: 1 for its highest value, -1 for its lowest.
        room: Rise of the sum of squares at the end.
    """

    problem: Problem
    fit: Fit
    i: int
    sign: int
    room: float

    @property
    def base(self) -> float:
        """Sum of squares at the answer."""
        return float((self.fit.weighed**2).sum())


def _end(walk: Walk, ways: Sequence[Callable[[Walk], float]]) -> float:
    """How far a coordinate goes, by the first way that ends; infinite where none does."""
    for way in ways:
        try:
            far = way(walk)
        except np.linalg.LinAlgError:
            continue
        if far > 0:
            return far
    return np.inf


def _walked(walk: Walk) -> float:
    """How far by steps, each to the end of the linear model's ellipsoid; infinite where parameters leave on the way.

    Raises:
        np.linalg.LinAlgError: Steps do not end.
    """
    step, tried, mixed = one_shot.linearised(walk.problem, walk.fit.place), Mixture(), False
    unit = np.linalg.norm(step.columns, axis=0)
    unit[unit == 0] = 1.0
    here, way = np.zeros(len(unit)), 0.0
    for n in range(STEPS):
        z = _to_the_end(step, walk.i, walk.sign, walk.base + walk.room)
        if len(z) != len(here):
            raise np.linalg.LinAlgError("the state breaks other translations than the answer does")
        if n and float(np.linalg.norm(step.columns @ z)) <= CLOSE * np.sqrt(walk.room):
            return float(walk.sign * here[walk.i])
        step.z = tried.step(unit * here, unit * z, mixed=mixed) / unit
        (there, share), before = _onward(walk, step), here[walk.i]
        here, step = here + share * step.z, there
        if one_shot.left(walk.problem, step.place, walk.fit.place):
            return np.inf
        mixed = mixed or (here[walk.i] - before) * way < 0
        way = here[walk.i] - before
    raise np.linalg.LinAlgError("no end was reached")


def _onward(walk: Walk, step: Step) -> tuple[Step, float]:
    """The linear model after a share of a step, and the share: halved until its least sum of squares is not too much.

    Beyond the last steady state of a branch it is.

    Raises:
        np.linalg.LinAlgError: It is, however small the share.
    """
    share = step.longest()
    for _ in range(HALVINGS):
        place = step.moved(share)
        if all(np.isfinite(X).all() for X in place.fields) and np.isfinite(place.values).all():
            there = one_shot.linearised(walk.problem, place)
            if _least(there)[1] <= walk.base + (1 + WORSE) * walk.room:
                return there, share
        share /= 2
    raise np.linalg.LinAlgError("no steady state lies further on")


def _bracketed(walk: Walk) -> float:
    """How far by fits with the coordinate held: on while they explain enough, and between where one does not.

    Beside a fold the sum of squares is a wall whose bend the linear model does not know, and steps are many times too
    long there. Fits only have to go down.

    Raises:
        np.linalg.LinAlgError: No fit said where the end is.
    """
    problem, target = walk.problem, walk.base + walk.room
    rest = np.delete(problem.scales.directions, walk.i, axis=0)
    held = replace(problem, scales=replace(problem.scales, directions=rest))
    step, good, bad, sure = one_shot.linearised(problem, walk.fit.place), 0.0, np.inf, True
    step.z, found = _to_the_end(step, walk.i, walk.sign, target), None
    for _ in range(HELD):
        told = walk.sign * float(step.z[walk.i])
        far = told if told < WITHIN * (bad - good) else (bad - good) / 2
        if far <= NARROW * good:
            if sure or far == told:
                return good + far
            if found is not None:  # a fit that came from further back may have lost its way
                bad, far = np.inf, min(told, 2 * far)
        share = min(far / told, step.longest())
        found, known = _explained(held, step.moved(share), target, walk.room)
        if found is None:
            bad, sure = good + share * told, known
            continue
        if one_shot.left(problem, found, walk.fit.place):
            return np.inf
        good, step = good + share * told, one_shot.linearised(problem, found)
        step.z = _to_the_end(step, walk.i, walk.sign, target)
    raise np.linalg.LinAlgError("no end was reached")


def _explained(held: Problem, place: Place, target: float, room: float) -> tuple[Place | None, bool]:
    """The place of a fit with no more than a sum of squares, None where it has more; and whether that is known.

    It ends where it has settled, or where the linear model at a steady state cannot go down so far.
    """
    before = np.inf
    with suppress(np.linalg.LinAlgError):
        for _ in range(FITTED):
            step = one_shot.linearised(held, place)
            here, linear = step.level(step.place, step.zeroth), float((step.start**2).sum())
            left = float(((step.start + step.columns @ step.z) ** 2).sum())
            if here <= target and linear - left <= SETTLED * room:
                return step.place, True
            steady = here <= (1 + STEADY) * linear
            if left > target and steady and linear - left <= room:
                return None, True
            if here > GROWN * before:
                break
            before = here
            step.z = step.z * steady  # what leads to a steady state first, by itself
            place = _lower(step, here)
        if here <= target:
            return step.place, True
    return None, False


def _lower(step: Step, here: float) -> Place:
    """The place after the largest share of a step that lowers the level.

    Raises:
        np.linalg.LinAlgError: None does.
    """
    share = step.longest()
    for _ in range(SHARES):
        place = step.moved(share)
        if all(np.isfinite(X).all() for X in place.fields):
            with np.errstate(all="ignore"):
                if step.level(place, step.corrections(place)) < here:
                    return place
        share /= 2
    raise np.linalg.LinAlgError("no share of the step is better")


def _to_the_end(step: Step, i: int, sign: int, target: float) -> Array:
    """Change of all unknowns to the end of the linear model's ellipsoid of a sum of squares."""
    (size, R, least), left = _least(step)
    y = np.linalg.solve(R.T, np.eye(len(R))[i])  # the inverse information's column i is R^-1 y
    return np.asarray((least + sign * np.sqrt(max(target - left, 0.0) / (y @ y)) * np.linalg.solve(R, y)) / size)


def _least(step: Step) -> tuple[tuple[Array, Array, Array], float]:
    """Least squares of a linear model: size of its columns, their triangle, the solution by size; and what is left."""
    size = np.linalg.norm(step.columns, axis=0)
    size[size == 0] = 1.0
    Q, R = np.linalg.qr(step.columns / size)
    z = -np.linalg.solve(R, Q.T @ step.start)
    return (size, R, z), float(((step.start + step.columns @ (z / size)) ** 2).sum())


class Mixture:
    """Places and the steps from them, and what the last few foretell: the place from which the step is nothing."""

    def __init__(self) -> None:
        self._places: list[Array] = []
        self._steps: list[Array] = []

    def step(self, place: Array, step: Array, *, mixed: bool) -> Array:
        """The step to take from a place, instead of the one that was found there.

        Examples:
            >>> import numpy as np
            >>> from gsimplicit.inverse.answers.profile import Mixture
            >>> place, tried = np.array([1.0]), Mixture()
            >>> for _ in range(4):  # steps of twice the way to 3 would go to and fro for ever
            ...     place = place + tried.step(place, 2 * (3 - place), mixed=True)
            >>> place.round(9)
            array([3.])
        """
        self._places, self._steps = [*self._places, place][-MEMORY:], [*self._steps, step][-MEMORY:]
        if not mixed or len(self._steps) < MEMORY - 1:
            return step
        places, steps = (np.diff(np.array(rows), axis=0).T for rows in (self._places, self._steps))
        shares: Any = np.linalg.lstsq(steps, step, rcond=ALIKE)[0]
        out = step - (places + steps) @ shares
        if np.linalg.norm(out) < STALLED * np.linalg.norm(step):
            self._places, self._steps = [], []
            return step
        return np.asarray(out)
