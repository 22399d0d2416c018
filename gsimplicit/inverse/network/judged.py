"""What a training is worth: whether it explains the picture, solves the equations, and stands still."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gsimplicit.equations import Equations
from gsimplicit.inverse.answers.answer import UNSEEN, Certainty, Recovery
from gsimplicit.inverse.answers.followed_fit import named
from gsimplicit.inverse.answers.judge import Answer, judged
from gsimplicit.inverse.answers.prepared import Prepared, answered
from gsimplicit.inverse.fits import weak
from gsimplicit.inverse.fits.problem import Ended as FitEnded
from gsimplicit.inverse.fits.problem import Fit, Place, Problem
from gsimplicit.inverse.fits.step import Step
from gsimplicit.inverse.network.questioned import trained
from gsimplicit.inverse.network.state import End, Ended
from gsimplicit.inverse.starts.measured import Measured
from gsimplicit.inverse.starts.search import search

if TYPE_CHECKING:
    from gsimplicit.inverse.method import Question
    from gsimplicit.inverse.methods.network import Network

Array = np.ndarray[Any, np.dtype[np.float64]]

NEAR = 0.01
"""Deviations by the pattern's standard deviation that count as none; residual by its terms that counts as solved."""
STILL = 0.01
"""Relative change of a parameter over the last part of a training below which it stands still."""
LAST = 0.2
"""That last part."""
AHEAD = 0.1
"""Relative change of a parameter that one linear step may still ask for: a training can stand still on its way."""
BLIND = 1e5
"""Condition from which a combination counts as not seen, however clean the picture: what rounding leaves of it."""
HEAVIEST = 1e6
"""Most of the weight of a residual, a time, where it is asked what a picture tells."""


def recover(settings: Network, question: Question) -> Answer:
    """Fields and parameters as trained, with a verdict."""
    return answered(question, lambda ready: _judged(settings, ready))


def _judged(settings: Network, ready: Prepared) -> Answer:
    question, data, problem, accept = ready.question, ready.data, ready.problem, ready.accept
    end = trained(settings, question)
    if end.ended == Ended.DIVERGED:
        return Answer(Recovery.FAILED, "the training diverged", starts=(1, 0), noise=data.noise, scales=problem.scales)
    place = Place((end.fields,), (np.zeros(2),), end.values)
    if settings.polish:
        return judged(problem, search(problem, iter([place]), accept, noisy=False), data, accept)
    m = len(problem.scales.directions)
    misfit = problem.misfit(place)
    residual = float(np.abs(Equations(question.model, end.values).residual(end.fields)).max())
    fit = Fit(place, FitEnded.CONVERGED, end.adam + end.lbfgs, residual, np.zeros((len(misfit), m)), misfit)
    unknown = Certainty(np.full((m, m), np.nan), max(len(misfit) - m, 1), math.nan, np.full(m, np.nan), math.nan)
    size = data.noise * math.sqrt(fit.chi2)
    answer = Answer(Recovery.FOUND, "", fit, unknown, (), (1, 1), size, problem.scales)
    why = _unmet(end, data, size, fit.chi2 <= accept)
    if why:
        why = f"{why}; it ended at {named(ready, end.values)}"
        return replace(answer, verdict=Recovery.MISFIT, reason=why, starts=(1, 0))
    seen = _seen(problem, place)
    if seen is not None and (seen.spread > UNSEEN or seen.condition > BLIND):
        seen = replace(seen, spread=math.inf if seen.condition > BLIND else seen.spread)
        names = [question.model.parameters[int(np.argmax(row))] for row in problem.scales.directions]
        family = replace(unknown, blind=seen.blind, spread=seen.spread)
        return replace(answer, verdict=Recovery.UNIDENTIFIED, reason=seen.family(names), certainty=family)
    j, ahead = _ahead(problem, place)
    if ahead > AHEAD:
        name = question.model.parameters[j]
        why = f"the training stands where one linear step would still change {name} by {ahead:.2g} of itself"
        why = f"{why}; it ended at {named(ready, end.values)}"
        return replace(answer, verdict=Recovery.MISFIT, reason=why, starts=(1, 0))
    told = f"deviations of {size:.3g}, residual {math.sqrt(end.residual):.2g} of its terms, no intervals"
    return replace(answer, reason=told)


def _seen(problem: Problem, place: Place) -> Certainty | None:
    """What picture and equations tell of the parameters to first order, with the fields following; None: nothing.

    Residuals may be as large as they were left: of a combination that moves them less, what was learned hangs on the
    start.
    """
    left = max(float(np.sqrt(np.mean(d**2))) for d in problem.defects(place))
    weight = min(problem.noise / max(left, 1e-300), HEAVIEST)
    try:
        bent = weak.Bent.of(problem, place, 0, np.zeros((0, 2)), weight)
    except np.linalg.LinAlgError:
        return None
    values, ways = np.linalg.eigh(bent.hessian / problem.noise**2)
    covariance = (ways / np.maximum(values, UNSEEN / 1e12)) @ ways.T
    return Certainty.from_covariance(covariance, len(covariance))


def _ahead(problem: Problem, place: Place) -> tuple[int, float]:
    """Place of the parameter that a step of the one-shot method would change most, and by how much, as a share."""
    ways = [problem.edges.moves(X, problem.model.scale) for X in place.fields]
    try:
        z = np.abs(Step(problem, place, ways).z[: len(problem.scales.directions)])
    except np.linalg.LinAlgError:
        return int(np.argmax(problem.scales.directions[0])), math.inf
    return int(np.argmax(problem.scales.directions[int(np.argmax(z))])), float(z.max())


def _unmet(end: End, data: Measured, size: float, explained: bool) -> str:
    """What a training does not meet, with its number; empty where it meets all."""
    spread = float(data.guess.pictures[0][data.guess.seen[0]].std())
    if not explained and size > NEAR * spread:
        return f"training left deviations of {size:.3g}, the noise is {data.noise:.3g}, the pattern's size {spread:.3g}"
    relative = math.sqrt(end.residual)
    if relative > NEAR:
        return f"training left a residual of {relative:.2g} of its terms, more than {NEAR:g}"
    change = 0.0 if end.ended == Ended.CONVERGED else moved(end.history)
    if change > STILL:
        return f"parameters still moved by {change:.2g} in the last {LAST:.0%} of the training ({end.ended})"
    return ""


def moved(history: Array) -> float:
    """Largest relative change of a parameter over the last part of a training."""
    if len(history) < 2:
        return math.inf
    values = history[history[:, 0] >= history[-1, 0] - LAST * max(history[-1, 0], 1), 4:]
    return float(((values.max(0) - values.min(0)) / np.maximum(np.abs(values[-1]), 1e-300)).max())
