"""One set of parameters from its pictures: what they allow, and fits from one start after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from gsimplicit.equations import Model
from gsimplicit.inverse.answers.answer import Recovery
from gsimplicit.inverse.answers.doubts import pull
from gsimplicit.inverse.answers.judge import UNTOLD, WEAK, Answer, differing, judged
from gsimplicit.inverse.fits import one_shot
from gsimplicit.inverse.fits.problem import Ended, Problem
from gsimplicit.inverse.fits.scales import Scales, bound
from gsimplicit.inverse.pictures.question import Pictures, Wanted
from gsimplicit.inverse.starts import gains
from gsimplicit.inverse.starts.measured import ASSUMED, ROUGH, SURE, Measured, assumed, measured, refusal
from gsimplicit.inverse.starts.search import CLEANEST, ENOUGH, NOISY, Found, filled, search, starts_of
from gsimplicit.inverse.starts.starts import Search, guessed

Array = np.ndarray[Any, np.dtype[np.float64]]

AGAIN, SMALLER = 3, 0.5
"""Fits of a window with gaps whose noise nobody told, and share of the noise below which the next is made with less."""
LEANS, DOUBTED = 1.0, 30.0
"""Standard deviations by which what is believed of the rim may move an answer of unknown gain, and the factor by which
hidden values may differ more where it moves it by more."""
ROUNDING = 10.0
"""Noise of a clean window with gaps, by `CLEANEST`."""


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
    answer = _recovered(model, pictures, wanted, noise, elsewhere=elsewhere)
    if not pictures.edges.open or pictures.whole or any(n is not None for n in noise):
        return answer
    # what is believed of a window's rim is weighed against the noise, which with gaps only a fit tells
    sizes = assumed(pictures)
    for _ in range(AGAIN):
        share = answer.noise / sizes[model.seen if model.seen in sizes else min(sizes, key=lambda i: sizes[i])]
        if answer.fit is None or answer.verdict == Recovery.FAILED or not share < SMALLER:
            break
        clean = ROUNDING * CLEANEST * model.scale
        if answer.verdict == Recovery.FOUND and answer.noise < clean:  # nothing but rounding is left to be told
            break
        sizes = {i: max(share * size, clean) for i, size in sizes.items()}
        near = replace(wanted, start=answer.fit.place.values)
        told = max(sizes.values()) > clean  # rounding is not white
        answer = _recovered(model, pictures, near, list(sizes.values()), elsewhere=False, told=told)
    return answer


def _recovered(
    model: Model,
    pictures: Pictures,
    wanted: Wanted,
    noise: Sequence[float | None],
    *,
    elsewhere: bool,
    told: bool = False,
) -> Answer:
    """The same for one noise; `told` by an earlier fit, it is not sure."""
    data = measured(model, pictures, noise)
    why = refusal(model, pictures, data, affine=False)
    if why:
        return Answer(Recovery.REFUSED, why, noise=data.noise)
    problem, accept = as_problem(model, data, wanted, noise, affine=False, told=told)
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
    others = elsewhere and Search.told(model, wanted.ranges)
    if wanted.start is not None and not (noisy and others):
        answer = judged(problem, search(problem, first, accept, noisy=False), data, accept)
        if not others:
            return answer
        if answer.verdict not in (Recovery.FAILED, Recovery.MISFIT) and not _alone(answer):
            return answer
        first = ()
    box = Search.of(model, wanted.ranges)
    parameters = [bound(values, wanted.tied) for values in guessed(problem, data.guess, box, wanted.fixed)]
    by = starts_of if pictures.whole else partial(filled, box=box)
    # where noise could hide a wrong answer the start's own is one among others
    found = search(problem, chain(first, by(problem, data.guess, parameters)), accept, noisy=noisy)
    answer = judged(problem, found, data, accept)
    if _alone(answer) and not noisy:
        again = search(problem, by(problem, data.guess, parameters), accept, noisy=True)
        answer, noisy = judged(problem, again, data, accept), True
    return replace(answer, once=noisy and answer.starts[1] < 2 and answer.starts[0] >= ENOUGH)


def _alone(answer: Answer) -> bool:
    """Whether an answer that the data hold weakly was met once: its misfit alone does not tell it from others."""
    weak = answer.certainty is not None and answer.certainty.condition > WEAK
    return answer.verdict == Recovery.FOUND and weak and answer.starts[1] < 2


def as_problem(
    model: Model, data: Measured, wanted: Wanted, noise: Sequence[float | None], *, affine: bool, told: bool = False
) -> tuple[Problem, float]:
    """What is asked, and the deviations up to which it counts as answered; noise may be `told` by an earlier fit."""
    around = wanted.start if wanted.start is not None else Search.of(model, wanted.ranges).middle()
    problem = Problem(
        model,
        data.snapshots,
        Scales.of(model, bound(around, wanted.tied), wanted.free, wanted.tied),
        affine,
        data.known and not told,
        data.guess.edges,
    )
    return problem, _accepted(problem, data, given=not told and all(n is not None for n in noise))


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
    answer = _doubted(problem, judged(problem, found_fits, data, accept, by[1]), data, accept, by[1])
    fit = None if answer.fit is None else replace(answer.fit, place=gains.led_back(answer.fit.place, by))
    return replace(answer, fit=fit, noise=answer.noise * by[1])


def _doubted(problem: Problem, answer: Answer, data: Measured, accept: float, unit: float) -> Answer:
    """An answer that leans on what is believed of the rims of its windows, from a fit that hardly believes it.

    That a hidden species differs little from pixel to pixel tells how large it is, and with it a gain that the data
    hardly tell: of members of a family that look alike the flatter ones are preferred.
    """
    if answer.verdict != Recovery.FOUND or answer.fit is None or not problem.edges.open:
        return answer
    if pull(answer.fit, 1.0) <= LEANS:
        return answer
    problem = replace(problem, doubted=DOUBTED)
    fit = one_shot.fit(problem, answer.fit.place)
    if fit.ended != Ended.CONVERGED:
        return answer
    starts, met = answer.starts
    return judged(problem, Found((fit,), (met,), starts, None), data, accept, unit)


def _accepted(problem: Problem, data: Measured, *, given: bool) -> float:
    """Sum of squares by degrees of freedom up to which noise explains the deviations."""
    if not data.known:
        return (UNTOLD / ASSUMED) ** 2
    count = sum(s.count for s in problem.snapshots)
    return float(1 + SURE * np.sqrt(2 / count)) * (1.0 if given else (1 + ROUGH) ** 2)
