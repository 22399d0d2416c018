"""Pictures that have not come to rest: fits from several starts, and what they decide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gsimplicit.equations import Equations
from gsimplicit.grid import laplacian
from gsimplicit.inverse.answers.answer import UNSEEN, Certainty, Recovery
from gsimplicit.inverse.answers.judge import Answer, judged, rounding
from gsimplicit.inverse.answers.prepared import Prepared
from gsimplicit.inverse.answers.weak_fit import starts
from gsimplicit.inverse.fits import moving
from gsimplicit.inverse.fits.problem import Ended, Fit, Place, Problem
from gsimplicit.inverse.pictures.whiteness import agreement
from gsimplicit.inverse.starts.search import CLEANEST, NOISY, WHITE, search

FAST = 0.1
"""Size of du/dt, by that of diffusion, from which a picture tells nothing of the model."""

IN_STEP = 25.0
"""Factor of the variance for what a spectrum does not show: du/dt in step with the pattern itself. From trials: 49 of
Gray-Scott after 800 to 3,000 steps, whose errors were up to 4.9 standard deviations with 4 here."""


def recovered(ready: Prepared, iterations: int, *, elsewhere: bool) -> Answer:
    """Fields, parameters and the size of du/dt with which deviations are noise."""
    problem, data = ready.problem, ready.data
    if not data.known:
        reason = "the size of du/dt is told from that of the noise, which is not known here: give noise"
        return Answer(Recovery.REFUSED, reason, noise=data.noise)
    tried: list[moving.Moved] = []

    def by(problem: Problem, start: Place) -> Fit:
        one = moving.fit(problem, start, iterations=iterations)
        ended = one.fit.ended if one.low or one.fit.ended != Ended.CONVERGED else Ended.STEPS
        tried.append(replace(one, fit=replace(one.fit, ended=ended)))
        return tried[-1].fit

    found = search(problem, starts(ready, elsewhere=elsewhere), ready.accept, noisy=data.guess.noise > NOISY, by=by)
    answer = judged(problem, found, data, ready.accept)
    if answer.verdict == Recovery.FAILED:
        return replace(answer, reason=_nowhere(tried, problem))
    if answer.fit is None or answer.certainty is None or answer.verdict == Recovery.MISFIT:
        return answer
    best = next(one for one in tried if one.fit is answer.fit)
    rate = problem.noise / best.weight
    given = all(n is not None for n in ready.question.noise)
    why = _doubt(problem, best, rate, data.noise, given=given)
    if why:
        return replace(answer, verdict=Recovery.MISFIT, reason=why)
    least = rounding(problem, data, best.fit)
    wider = IN_STEP * moving.agreement(problem, best.fit) * max(best.total, least) / max(best.fit.chi2, least)
    certainty = Certainty.from_covariance(answer.certainty.covariance * wider, answer.certainty.freedom)
    if certainty.spread > UNSEEN:
        names = [problem.model.parameters[int(np.argmax(row))] for row in problem.scales.directions]
        return replace(answer, verdict=Recovery.UNIDENTIFIED, reason=certainty.family(names), certainty=certainty)
    reason = f"{answer.reason}; fields change by about {rate:.2g} per unit time"
    return replace(answer, certainty=certainty, reason=reason)


def _doubt(problem: Problem, one: moving.Moved, rate: float, noise: float, *, given: bool) -> str:
    """Why a fit is not believed, with the number that says so; empty where it is."""
    share = rate / turnover(problem, one.fit.place)
    if share > FAST:
        return (
            f"it would take du/dt of {rate:.2g} to explain the picture, {share:.2g} of what diffusion does; "
            f"up to {FAST:g} is a picture near rest"
        )
    apart, sd = agreement(problem.snapshots, one.fit.misfit)
    size = noise * np.sqrt(one.fit.chi2)
    if size > CLEANEST * problem.model.scale and apart > WHITE * sd:  # rounding is not white
        hint = "is the noise that was given too large?" if given else "the noise was estimated: give it, if it is known"
        return (
            f"deviations of {size:.3g} are no noise: those of neighbouring pixels have correlation {apart:.2g}, "
            f"{apart / sd:.0f} times what noise has; {hint}"
        )
    return ""


def _nowhere(tried: list[moving.Moved], problem: Problem) -> str:
    """How far the search for a size of du/dt came."""
    if not tried:
        return "no start was found for fields near the picture"
    least = min(one.weight for one in tried)
    return (
        f"none of {len(tried)} starts led to fields that explain the picture, with du/dt of up to "
        f"{problem.noise / least:.2g} per unit time. Look: is the noise known better than the picture tells it; "
        "does it move more than a model near rest does; is a start near the parameters known?"
    )


def turnover(problem: Problem, place: Place) -> float:
    """Root mean square of the change that diffusion alone would make, the least over species and pictures."""
    D = Equations(problem.model, place.values).diffusivity
    spread = laplacian(place.fields[0].shape[1:])
    parts = (
        d * np.fft.ifft2(spread * np.fft.fft2(X)).real
        for fields in place.fields
        for d, X in zip(D, fields, strict=True)
    )
    return min(float(np.sqrt((part**2).mean())) for part in parts)
