"""Fields that have not come to rest: du/dt is an unknown, of a size that the picture tells.

The weak method's sum of squares takes du/dt for noise of the size noise / weight. The weight is raised as far as
deviations and weighted residuals together are no larger than that noise makes them, which is N - m for N pixels and m
free unknowns (A. Bennett, Inverse Methods in Physical Oceanography, 1992). Low weights have a
second minimum: where all rates vanish, nothing moves. So the search begins high and comes down.

du/dt of a pattern is no white noise: it agrees over a part of a wave, and the less room it leaves the wider the answer.
By how much is told by its spectrum, where the parameters push.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gsimplicit.equations import Equations
from gsimplicit.inverse.fits import weak
from gsimplicit.inverse.fits.problem import Ended, Fit, Place, Problem

HIGHEST, FIRST, LOWEST = 1e4, 1e2, 0.5
"""Weights: where a picture counts as at rest, where the search begins, and where it is given up."""
SPLITS = 4
"""Halvings, of the logarithm, of the factor of 2 in which the weight lies."""


@dataclass(frozen=True, eq=False)
class Moved:
    """A fit, and how much its fields move.

    Attributes:
        fit: The fit.
        weight: The weight that was found, a time.
        total: Deviations and weighted residuals by what noise makes them: 1 but for the last halving.
    """

    fit: Fit
    weight: float
    total: float

    @property
    def low(self) -> bool:
        """Whether it converged with a sum no larger than noise makes it."""
        return self.fit.ended == Ended.CONVERGED and self.total <= 1


def fit(problem: Problem, start: Place, *, iterations: int) -> Moved:
    """The minimum at the largest weight that leaves no more than noise.

    Where none does, the last fit, whose `total` is above 1 or which did not converge.
    """
    weight, place = FIRST, start
    here = at(problem, place, weight, iterations)
    while not here.low:
        if here.fit.ended == Ended.LEFT or weight / 2 < LOWEST:
            return here
        weight, place = weight / 2, here.fit.place
        here = at(problem, place, weight, iterations)
    above = 2 * weight
    while weight == FIRST and 2 * here.weight <= HIGHEST:  # only where the first try was low already
        higher = at(problem, here.fit.place, 2 * here.weight, iterations)
        above = higher.weight
        if not higher.low:
            break
        here = higher
    if 2 * here.weight > HIGHEST:
        return here
    for _ in range(SPLITS):
        between = at(problem, here.fit.place, float(np.sqrt(here.weight * above)), iterations)
        if between.low:
            here = between
        else:
            above = between.weight
    return here


def at(problem: Problem, start: Place, weight: float, iterations: int) -> Moved:
    """The minimum at one weight."""
    found, _ = weak.fit(problem, start, (weight,), iterations=iterations)
    count = max(len(found.misfit) - found.columns.shape[1], 1)
    return Moved(found, weight, weak.cost(problem, found.place, weight) / count)


def agreement(problem: Problem, fit: Fit) -> float:
    """Factor by which agreement of du/dt between pixels widens the squares of standard deviations, >= 1.

    White noise has as much power at all wave vectors. What is left of du/dt in the seen species has `s(q)`, by its
    mean, and a parameter pushes at some of them, with the power `p(q)`: the variance of the answer grows by about the
    mean of s, weighted with p. The largest over parameters is taken.
    """
    over, sums = np.zeros(len(problem.scales.directions)), np.zeros(len(problem.scales.directions))
    for snapshot, X, c in zip(problem.snapshots, fit.place.fields, fit.place.drifts, strict=True):
        equations = Equations(problem.model, fit.place.values)
        seen = np.array([there.any() for there in snapshot.there])
        left = np.abs(np.fft.fft2(equations.defect(X, c)[seen])) ** 2
        ways = problem.scales.slopes(fit.place.values)
        push = np.abs(np.fft.fft2(np.tensordot(ways, equations.parameter_slopes(X), axes=1))) ** 2
        share = left.sum(axis=0) / max(float(left.sum(axis=0).mean()), 1e-300)
        over += (push * share).sum(axis=(1, 2, 3))
        sums += push.sum(axis=(1, 2, 3))
    return max(1.0, float((over / np.maximum(sums, 1e-300)).max(initial=1.0)))
