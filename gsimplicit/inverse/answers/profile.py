"""Intervals of weakly held parameters: how far each can go before the best that is left explains the data too badly.

The linear model of an answer has ellipsoids for regions of equal sums of squares. Where a picture holds little the true
regions are bent, and an interval from an ellipsoid is too short on one side. Here an end is the largest or smallest z_i
with

    min over all else of |r|^2 = |r(answer)|^2 + t^2 s^2,

t of Student's distribution and s^2 the mean square of the deviations: the profile likelihood (D. Venzon and
S. Moolgavkar, Applied Statistics 37, 87, 1988). Each step goes to the end of the ellipsoid of the linear model at the
current place, and the states follow. Where the region bends so much that these steps go to and fro, the next is what
the last few together foretell (D. Anderson, J. ACM 12, 547, 1965).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import t as student

from gsimplicit.inverse.answers.answer import UNSEEN, Certainty
from gsimplicit.inverse.fits import one_shot
from gsimplicit.inverse.fits.problem import Fit, Place, Problem
from gsimplicit.inverse.fits.step import Step

Array = np.ndarray[Any, np.dtype[np.float64]]

BENT = 0.03
"""Standard deviation of the worst seen combination from which ellipsoids are not believed: at 0.03 they are off by some
hundredths of an interval."""
STEPS = 20
"""Steps to an end at most."""
CLOSE = 0.1
"""Change of all deviations, by what the sum of squares rises to the end, that ends the steps."""
MEMORY = 4
"""Steps that foretell the next."""
ALIKE = 1e-3
"""Relative size of what steps tell apart below which it is rounding."""


def ends(problem: Problem, fit: Fit, certainty: Certainty, level: float) -> Array | None:
    """Lowest and highest change of each free coordinate, shape (m, 2); infinite where no end was reached.

    None where the linear model is good enough, or where the fit has none.

    Args:
        problem: What was asked.
        fit: The answer, by the one-shot method.
        certainty: Its linear model.
        level: Level of the intervals.
    """
    if not len(fit.weighed) or not BENT < certainty.spread <= UNSEEN or not np.isfinite(certainty.unit):
        return None
    factor = float(student.ppf((1 + level) / 2, certainty.freedom))
    room, places = factor**2 * certainty.unit, range(len(certainty.covariance))
    return np.array([[sign * _end(problem, fit, i, sign, room) for sign in (-1, 1)] for i in places])


def _end(problem: Problem, fit: Fit, i: int, sign: int, room: float) -> float:
    """How far a coordinate goes; infinite where steps reach no end, from the first to-and-fro on or at once mixed."""
    for mixed in (False, True):
        try:
            found = _walked(problem, fit, i, sign, room, mixed=mixed)
        except np.linalg.LinAlgError:
            continue
        if found is not None:
            return found
    return np.inf


def _walked(problem: Problem, fit: Fit, i: int, sign: int, room: float, *, mixed: bool) -> float | None:
    """The same by steps, `mixed` from the beginning or once they turn back; None where they do not end."""
    place, target = fit.place, float((fit.weighed**2).sum()) + room
    here, way, tried = np.zeros(len(problem.scales.directions)), 0.0, Mixture()
    for _ in range(STEPS):
        step = one_shot.linearised(problem, place)
        z = _to_the_end(step, i, sign, target)
        z[: len(here)] = tried.step(here, z[: len(here)], mixed=mixed)
        step.z, before = z, here[i]
        share = step.longest()
        place = step.moved(share)
        here = _from_the_answer(problem, fit, place)
        if not np.isfinite(here).all():
            return None
        if share == 1.0 and float(np.linalg.norm(step.columns @ z)) <= CLOSE * np.sqrt(room):
            return float(sign * here[i]) if sign * here[i] > 0 else None
        mixed = mixed or (here[i] - before) * way < 0
        way = here[i] - before
    return None


def _to_the_end(step: Step, i: int, sign: int, target: float) -> Array:
    """Change of all unknowns to the end of the linear model's ellipsoid of a sum of squares."""
    size = np.linalg.norm(step.columns, axis=0)
    size[size == 0] = 1.0
    Q, R = np.linalg.qr(step.columns / size)
    least = -np.linalg.solve(R, Q.T @ step.start)
    left = float(((step.start + step.columns @ (least / size)) ** 2).sum())
    y = np.linalg.solve(R.T, np.eye(len(R))[i])  # the inverse information's column i is R^-1 y
    return np.asarray((least + sign * np.sqrt(max(target - left, 0.0) / (y @ y)) * np.linalg.solve(R, y)) / size)


def _from_the_answer(problem: Problem, fit: Fit, place: Place) -> Array:
    """Change of the free coordinates at a place, shape (m,)."""
    change = problem.scales.between(place.values, fit.place.values)
    return np.asarray(change[np.argmax(problem.scales.directions, axis=1)])


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
        return np.asarray(step - (places + steps) @ shares)
