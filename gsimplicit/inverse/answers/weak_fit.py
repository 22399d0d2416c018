"""The weak method: fits of fields and parameters all at once from several starts, and what they decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gsimplicit.inverse.answers.answer import Recovery
from gsimplicit.inverse.answers.judge import Answer, judged
from gsimplicit.inverse.answers.prepared import Prepared
from gsimplicit.inverse.fits import weak
from gsimplicit.inverse.fits.problem import Fit, Place, Problem
from gsimplicit.inverse.starts.search import NOISY, filled, search, starts_of
from gsimplicit.inverse.starts.starts import Search

Array = np.ndarray[Any, np.dtype[np.float64]]


def recovered(ready: Prepared, weights: Sequence[float], iterations: int, *, elsewhere: bool) -> Answer:
    """Fields and parameters at which deviations and weighted residuals are least together."""

    def by(problem: Problem, start: Place) -> Fit:
        return weak.fit(problem, start, weights, iterations=iterations)[0]

    problem = ready.problem
    begins = starts(ready, elsewhere=elsewhere)
    found = search(problem, begins, ready.accept, noisy=ready.data.guess.noise > NOISY, by=by)
    answer = judged(problem, found, ready.data, ready.accept)
    if answer.fit is None or answer.verdict == Recovery.MISFIT:
        return answer
    defects = np.concatenate([d.ravel() for d in problem.defects(answer.fit.place)])
    moved = weights[-1] * float(np.sqrt((defects**2).mean()))
    if moved > ready.data.noise:
        reason = (
            f"fields that explain the data are no steady state: their residual would move them by {moved:.2g} within "
            f"the weight's time, {weights[-1]:g}, more than the noise, {ready.data.noise:.2g}"
        )
        return replace(answer, verdict=Recovery.MISFIT, reason=reason)
    return answer


def starts(ready: Prepared, *, elsewhere: bool) -> Iterator[Place]:
    """Where fits of fields and parameters begin, the likeliest first; `elsewhere`: whether guesses follow a start."""
    problem, guess = ready.problem, ready.data.guess
    parameters = list(ready.parameters(elsewhere=elsewhere))
    if ready.question.pictures.whole:
        return starts_of(problem, guess, parameters)
    return filled(problem, guess, parameters, Search.of(problem.model, ready.question.wanted.ranges))
