"""What fits decide: a verdict with its reason, and how sure the answer is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gsimplicit.equations import Model
from gsimplicit.inverse.answers import profile
from gsimplicit.inverse.answers.answer import UNSEEN, Certainty, Recovery, combination
from gsimplicit.inverse.answers.doubts import along, doubt, nowhere, wide
from gsimplicit.inverse.fits.problem import Fit, Place, Problem
from gsimplicit.inverse.fits.scales import Scales
from gsimplicit.inverse.pictures.edges import PERIODIC, Edges
from gsimplicit.inverse.pictures.whiteness import agreement
from gsimplicit.inverse.starts.measured import Measured
from gsimplicit.inverse.starts.search import CLEANEST, Found, explains

Array = np.ndarray[Any, np.dtype[np.float64]]

UNTOLD = 0.1
"""Deviations from pictures with gaps, by their standard deviation, that may be noise; more must be told."""
APART, ROUNDED = 8.0, 1e-6
"""Standard deviations by which snapshots of one set of parameters may differ, and relative rounding that may, too."""
WEAK = 1e4
"""Condition from which little noise does not tell a right answer from a wrong one: all starts are tried then."""
HARDLY = 0.1
"""Standard deviation of a logarithm from which a combination is hardly seen, where the condition is `WEAK` too or one
start alone led there."""
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
        asked: The problem and its fit, in the unit of the pictures that were fitted; None where there is no fit.
        ends: Lowest and highest change of each free coordinate that its interval allows, shape (m, 2), where they were
            sought by fits; None where they are those of the certainty.
        once: Whether it was looked for from many starts for its noise, and one alone led to it.
    """

    verdict: Recovery
    reason: str
    fit: Fit | None = None
    certainty: Certainty | None = None
    others: tuple[Array, ...] = ()
    starts: tuple[int, int] = (0, 0)
    noise: float = float("nan")
    scales: Scales | None = None
    asked: tuple[Problem, Fit] | None = None
    ends: Array | None = None
    once: bool = False

    def deviations(self) -> Array:
        """Standard deviation of each parameter, shape (P,); of a fit only."""
        if self.fit is None or self.certainty is None or self.scales is None:
            raise ValueError("an answer without a fit has no deviations")
        return np.asarray(np.sqrt(np.diag(self.certainty.of_parameters(self.scales, self.fit.place.values))))


def firm(model: Model, answer: Answer, level: float) -> Answer:
    """A found answer with the ends of its intervals; one with a combination that is hardly seen, as what it is."""
    certainty, scales = answer.certainty, answer.scales
    if answer.verdict != Recovery.FOUND or certainty is None or scales is None:
        return answer
    if answer.asked is not None:
        answer = replace(answer, ends=profile.ends(*answer.asked, certainty, level))
    names = [model.parameters[int(np.argmax(row))] for row in scales.directions]
    told = f"condition {certainty.condition:.3g}, relative uncertainty {certainty.spread:.2g}"
    if answer.ends is not None and not np.isfinite(answer.ends).all():
        without = ", ".join(n for n, row in zip(names, answer.ends, strict=True) if not np.isfinite(row).all())
        why = f"no end was found of the interval of {without}"
    # a loss of its own has neither: NaN
    elif certainty.spread > HARDLY and (certainty.condition > WEAK or answer.once):
        told += f", met from {answer.starts[1]} of {answer.starts[0]} starts"
        why = "noise may hide another answer"
    else:
        return answer
    reason = f"{combination(names, certainty.blind)} is hardly seen ({told}): {why}"
    return replace(answer, verdict=Recovery.UNIDENTIFIED, reason=reason)


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


def judged(problem: Problem, found: Found, data: Measured, accept: float, unit: float = 1.0) -> Answer:
    """What the fits decide; `unit` is what sizes are told in: the picture's gain where it was standardised."""
    scales = problem.scales
    names = [problem.model.parameters[int(np.argmax(row))] for row in scales.directions]
    if not found.fits:
        return _unfinished(problem, found, data, accept, names)
    fit, m = found.fits[0], len(scales.directions)
    least = rounding(problem, data, fit)
    if problem.edges.open and data.known:  # what is believed of the rim was weighed against this noise
        least = 1.0
    certainty = Certainty.of(fit, m, least)
    size = data.noise * np.sqrt(fit.chi2)
    starts = (found.starts, found.met[0])
    sums = Answer(Recovery.MISFIT, "", fit, certainty, (), starts, size, scales, (problem, fit))
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
    if certainty.spread > UNSEEN:
        reason = certainty.family(names)
        return replace(sums, verdict=Recovery.UNIDENTIFIED, reason=reason, others=rivals)
    if rivals:
        reason = f"{1 + len(rivals)} answers explain the data alike"
        return replace(sums, verdict=Recovery.SEVERAL, reason=reason, others=rivals)
    alone = f"found from {found.met[0]} of {found.starts} starts"
    return replace(sums, verdict=Recovery.FOUND, reason=f"deviations of {size * unit:.3g} are noise; {alone}")


def _unfinished(problem: Problem, found: Found, data: Measured, accept: float, names: list[str]) -> Answer:
    """What fits decide of which none converged."""
    scales, tried = problem.scales, (found.starts, 0)
    halted = [f for f in found.halted if (f.misfit**2).sum() <= accept * f.freedom]
    valley = [f.place.values for f in halted]
    reason = along(problem, scales, valley) if len(valley) > 1 and wide(scales, valley) else ""
    if problem.affine and not reason:  # its starts may be alike, so that one end of a family tells of it
        each = [Certainty.of(f, len(names)) for f in halted]
        reason = next((c.family(names) for c in each if c.spread > UNSEEN), "")
    if reason:
        return Answer(Recovery.UNIDENTIFIED, reason, others=tuple(valley), starts=tried, noise=data.noise)
    why = nowhere(problem, found.starts, found.last)
    return Answer(Recovery.FAILED, why, starts=tried, noise=data.noise, scales=scales)


def rounding(problem: Problem, data: Measured, fit: Fit) -> float:
    """Sum of squares by degrees of freedom of an error that is alike in all pixels."""
    return float(fit.freedom * (CLEANEST * problem.model.scale / data.noise) ** 2)


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
