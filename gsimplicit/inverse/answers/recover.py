"""One set of parameters from its pictures: what they allow, fits, and what the fits decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from gsimplicit.equations import Model
from gsimplicit.inverse.answers.answer import UNSEEN, Certainty, Recovery, combination
from gsimplicit.inverse.answers.doubts import along, doubt, nowhere, wide
from gsimplicit.inverse.fits.problem import Fit, Place, Problem
from gsimplicit.inverse.fits.scales import Scales, bound
from gsimplicit.inverse.pictures.edges import PERIODIC, Edges
from gsimplicit.inverse.pictures.question import Pictures, Wanted
from gsimplicit.inverse.pictures.whiteness import agreement
from gsimplicit.inverse.starts import gains
from gsimplicit.inverse.starts.measured import ASSUMED, ROUGH, SURE, Measured, measured, refusal
from gsimplicit.inverse.starts.search import CLEANEST, NOISY, Found, explains, pulled, search, starts_of
from gsimplicit.inverse.starts.starts import Search, guessed

Array = np.ndarray[Any, np.dtype[np.float64]]

UNTOLD = 0.1
"""Deviations from pictures with gaps, by their standard deviation, that may be noise; more must be told."""
APART, ROUNDED = 8.0, 1e-6
"""Standard deviations by which snapshots of one set of parameters may differ, and relative rounding that may, too."""
WEAK = 1e4
"""Condition from which little noise does not tell a right answer from a wrong one: all starts are tried then."""
HARDLY = 0.1
"""Standard deviation of a logarithm from which a combination is hardly seen, where the condition is `WEAK` too."""
SIGNIFICANT = 25.0
"""Difference of the sums of squares, in units of the noise's square, that makes one answer better than another."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What became of one set of parameters.

    Attributes:
        verdict: How it ended.
        reason: Why, in a sentence with its number.
        fit: The best fit; None where there is none.
        certainty: How sure it is; None where there is none.
        others: Other parameters that explain the data as well, each (P,).
        starts: Starts tried, and how many of them led to the answer.
        noise: Standard deviation of what the states leave, or what was assumed of it where there is no fit.
        scales: How parameters were varied.
    """

    verdict: Recovery
    reason: str
    fit: Fit | None = None
    certainty: Certainty | None = None
    others: tuple[Array, ...] = ()
    starts: tuple[int, int] = (0, 0)
    noise: float = float("nan")
    scales: Scales | None = field(default=None)

    def deviations(self) -> Array:
        """Standard deviation of each parameter, shape (P,); of a fit only."""
        if self.fit is None or self.certainty is None or self.scales is None:
            raise ValueError("an answer without a fit has no deviations")
        return np.asarray(np.sqrt(np.diag(self.certainty.of_parameters(self.scales, self.fit.place.values))))


def recover(
    model: Model,
    pictures: Pictures,
    wanted: Wanted,
    noise: Sequence[float | None],
    *,
    affine: bool,
    elsewhere: bool = True,
) -> Answer:
    """Parameters of one set of pictures by the one-shot method.

    A start is tried first, and other starts where it leads nowhere or noise could hide that it led to a wrong answer;
    `elsewhere` says whether there are others.
    """
    if affine and model.seen in pictures.seen:
        return _through_gain(model, pictures, wanted, noise)
    data = measured(model, pictures, noise)
    why = refusal(model, pictures, data, affine=affine)
    if why:
        return Answer(Recovery.REFUSED, why, noise=data.noise)
    problem, accept = as_problem(model, data, wanted, noise, affine=False)
    if len(pictures) > 1:
        each = [recover(model, pictures.one(b), wanted, noise, affine=False) for b in range(len(pictures))]
        why = differing(model, each)
        if why:
            return Answer(Recovery.REFUSED, why, starts=(sum(a.starts[0] for a in each), 0), noise=data.noise)
        known = [a.fit.place.values for a in each if a.fit is not None and a.verdict == Recovery.FOUND]
        if known:
            starts = starts_of(problem, data.guess, known)
            answer = judged(problem, search(problem, starts, accept, noisy=False), data, accept)
            if answer.verdict not in (Recovery.FAILED, Recovery.MISFIT):
                return answer
    noisy = data.guess.noise > NOISY
    first = () if wanted.start is None else starts_of(problem, data.guess, [wanted.start])
    if wanted.start is not None and not (noisy and model.presets and elsewhere):
        answer = judged(problem, search(problem, first, accept, noisy=False), data, accept)
        if not (model.presets and elsewhere):
            return answer
        if answer.verdict not in (Recovery.FAILED, Recovery.MISFIT) and not _alone(answer):
            return answer
        first = ()
    box = Search.of(model, wanted.ranges)
    parameters = [bound(values, wanted.tied) for values in guessed(problem, data.guess, box, wanted.fixed)]
    by = starts_of if pictures.whole else partial(pulled, box=box)
    # where noise could hide a wrong answer the start's own is one among others
    found = search(problem, chain(first, by(problem, data.guess, parameters)), accept, noisy=noisy)
    answer = judged(problem, found, data, accept)
    if not _alone(answer):
        return answer
    return judged(problem, search(problem, by(problem, data.guess, parameters), accept, noisy=True), data, accept)


def firm(model: Model, answer: Answer) -> Answer:
    """An answer with a combination that is hardly seen, as what it is: its values and intervals stay."""
    certainty, scales = answer.certainty, answer.scales
    if answer.verdict != Recovery.FOUND or certainty is None or scales is None:
        return answer
    if not (certainty.condition > WEAK and certainty.spread > HARDLY):  # a loss of its own has neither: NaN
        return answer
    names = [model.parameters[int(np.argmax(row))] for row in scales.directions]
    reason = (
        f"{combination(names, certainty.blind)} is hardly seen (condition {certainty.condition:.3g}, relative "
        f"uncertainty {certainty.spread:.2g}): noise may hide another answer"
    )
    return replace(answer, verdict=Recovery.UNIDENTIFIED, reason=reason)


def _alone(answer: Answer) -> bool:
    """Whether an answer that the data hold weakly was met once: its misfit alone does not tell it from others."""
    weak = answer.certainty is not None and answer.certainty.condition > WEAK
    return answer.verdict == Recovery.FOUND and weak and answer.starts[1] < 2


def differing(model: Model, each: Sequence[Answer]) -> str:
    """Which parameter two snapshots disagree on, with the number that says so; empty where they may be of one set."""
    found = [(b, a) for b, a in enumerate(each) if a.verdict == Recovery.FOUND]
    for i, (b, one) in enumerate(found):
        for c, other in found[i + 1 :]:
            if one.fit is None or other.fit is None:
                continue
            pair = [one.fit.place.values, other.fit.place.values]
            size = np.hypot(one.deviations(), other.deviations())
            apart = np.abs(pair[0] - pair[1]) / np.maximum(size, ROUNDED * np.abs(pair[0]) + 1e-300)
            j = int(np.argmax(apart))
            if apart[j] > APART:
                return (
                    f"pictures {b} and {c} are of different parameters: {model.parameters[j]} is {pair[0][j]:.6g} in "
                    f"the one and {pair[1][j]:.6g} in the other, {apart[j]:.3g} standard deviations apart"
                )
    return ""


def as_problem(
    model: Model, data: Measured, wanted: Wanted, noise: Sequence[float | None], *, affine: bool
) -> tuple[Problem, float]:
    """What is asked, and the deviations up to which it counts as answered."""
    around = wanted.start if wanted.start is not None else Search.of(model, wanted.ranges).middle()
    problem = Problem(
        model,
        data.snapshots,
        Scales.of(model, bound(around, wanted.tied), wanted.free, wanted.tied),
        affine,
        data.known,
        data.guess.edges,
    )
    return problem, _accepted(problem, data, given=all(n is not None for n in noise))


def _through_gain(model: Model, pictures: Pictures, wanted: Wanted, noise: Sequence[float | None]) -> Answer:
    """The same where offset and gain of the observed species are unknown."""
    rows = [np.array(values) for values in model.presets.values()]
    for values in rows:
        values[list(wanted.fixed)] = list(wanted.fixed.values())
    rows = [bound(values, wanted.tied) for values in rows]
    found = gains.patterns(model, rows if wanted.start is None else [wanted.start, *rows])
    if not found:
        return Answer(Recovery.FAILED, "neither start nor presets have a pattern whose gain could be a first guess")
    brought, by = gains.standardised(pictures, model.seen, found[0])
    at = pictures.seen.index(model.seen)
    noise = [n / by[1] if n is not None and i == at else n for i, n in enumerate(noise)]
    data = measured(model, brought, noise)
    why = refusal(model, brought, data, affine=True)
    if why:
        return Answer(Recovery.REFUSED, why, noise=data.noise * by[1])
    problem, accept = as_problem(model, data, wanted, noise, affine=True)
    found_fits = search(problem, gains.starts(problem, data.guess, found), accept, noisy=data.guess.noise > NOISY)
    answer = judged(problem, found_fits, data, accept, by[1])
    fit = None if answer.fit is None else replace(answer.fit, place=gains.led_back(answer.fit.place, by))
    return replace(answer, fit=fit, noise=answer.noise * by[1])


def _accepted(problem: Problem, data: Measured, *, given: bool) -> float:
    """Sum of squares by degrees of freedom up to which noise explains the deviations."""
    if not data.known:
        return (UNTOLD / ASSUMED) ** 2
    count = sum(s.count for s in problem.snapshots)
    return float(1 + SURE * np.sqrt(2 / count)) * (1.0 if given else (1 + ROUGH) ** 2)


def judged(problem: Problem, found: Found, data: Measured, accept: float, unit: float = 1.0) -> Answer:
    """What the fits decide; `unit` is what sizes are told in: the picture's gain where it was standardised."""
    scales = problem.scales
    if not found.fits:
        valley = [f.place.values for f in found.halted if (f.misfit**2).sum() <= accept * f.freedom]
        if len(valley) > 1 and wide(scales, valley):
            reason = along(problem, scales, valley)
            size = (found.starts, 0)
            return Answer(Recovery.UNIDENTIFIED, reason, others=tuple(valley), starts=size, noise=data.noise)
        why, tried = nowhere(problem, found.starts, found.last), (found.starts, 0)
        return Answer(Recovery.FAILED, why, starts=tried, noise=data.noise, scales=scales)
    fit, m = found.fits[0], len(scales.directions)
    least = fit.freedom * (CLEANEST * problem.model.scale / data.noise) ** 2
    if problem.edges.open and data.known:  # what is believed of the rim was weighed against this noise
        least = 1.0
    certainty = Certainty.of(fit, m, least)
    size = data.noise * np.sqrt(fit.chi2)
    sums = Answer(Recovery.MISFIT, "", fit, certainty, (), (found.starts, found.met[0]), size, scales)
    if not explains(problem, fit, accept) or not _explains(data, size):
        return replace(sums, reason=_deviates(problem, fit, data, size, unit))
    why = doubt(problem, fit, least)
    if why:
        return replace(sums, reason=why)
    one = min(fit.chi2, 1.0) if data.known else fit.chi2
    rivals = tuple(
        f.place.values
        for f in found.fits[1:]
        if (f.chi2 - fit.chi2) * certainty.freedom < SIGNIFICANT * max(one, 1e-300)
    )
    rivals += _elsewhere(found.halted, fit, certainty, scales, SIGNIFICANT * max(one, 1e-300))
    names = [problem.model.parameters[int(np.argmax(row))] for row in scales.directions]
    if certainty.spread > UNSEEN:
        reason = certainty.family(names)
        return replace(sums, verdict=Recovery.UNIDENTIFIED, reason=reason, others=rivals)
    if rivals:
        reason = f"{1 + len(rivals)} answers explain the data alike"
        return replace(sums, verdict=Recovery.SEVERAL, reason=reason, others=rivals)
    alone = f"found from {found.met[0]} of {found.starts} starts"
    return replace(sums, verdict=Recovery.FOUND, reason=f"deviations of {size * unit:.3g} are noise; {alone}")


def _elsewhere(halted: Sequence[Fit], fit: Fit, certainty: Certainty, scales: Scales, room: float) -> tuple[Array, ...]:
    """Parameters of unfinished fits that explain the data as well as the answer does and are not near it."""
    most, out = float((fit.misfit**2).sum()) + room, []
    width = np.maximum(certainty.widths(scales), ROUNDED)
    for other in halted:
        there = scales.between(other.place.values, fit.place.values)
        if float((other.misfit**2).sum()) < most and (np.abs(there) > APART * width).any():
            out.append(other.place.values)
    return tuple(out)


def _explains(data: Measured, size: float) -> bool:
    """Whether the deviations are small against the pattern itself."""
    return size < 2 * _spread(data)


def _spread(data: Measured) -> float:
    seen = data.guess.seen[0]
    return min(float(X[seen].std()) for X in data.guess.pictures)


def _deviates(problem: Problem, fit: Fit, data: Measured, size: float, unit: float) -> str:
    """Why a fit does not explain the data, with the number that says so."""
    left = f"the nearest steady state found leaves deviations of {size * unit:.3g}"
    if data.known:
        return f"{left}, the noise is {data.noise * unit:.3g}"
    if size > UNTOLD * _spread(data):
        return (
            f"{left}, more than {UNTOLD:g} of the pattern's standard deviation: if there is so much noise, say so with "
            "noise"
        )
    value, sd = agreement(problem.snapshots, fit.misfit)
    return (
        f"{left} that are no noise: those of neighbouring pixels have correlation {value:.2g}, {value / sd:.0f} times "
        "what noise has"
    )


def residual_of(model: Model, place: Place, edges: Edges = PERIODIC) -> list[float]:
    """Largest bordered residual of each state."""
    pairs = zip(place.fields, place.drifts, strict=True)
    return [float(np.abs(edges.defect(model, place.values, X, c)).max()) for X, c in pairs]
