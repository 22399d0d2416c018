"""Clean pictures: variable projection from one start after the other, and what it may be trusted for."""

from __future__ import annotations

from typing import Any

import numpy as np

from gsimplicit.equations import Equations
from gsimplicit.inverse.answers.answer import Recovery
from gsimplicit.inverse.answers.equation_error import EquationFit, concluded, noise_draws
from gsimplicit.inverse.answers.judge import Answer
from gsimplicit.inverse.answers.prepared import Prepared
from gsimplicit.inverse.fits import variable_projection as projection
from gsimplicit.inverse.fits.scales import Scales
from gsimplicit.inverse.starts.own_equation import at_rest

Array = np.ndarray[Any, np.dtype[np.float64]]

STARTS = 6
"""Starts at most."""
CLEAN = 1e-6
"""Noise, by what was assumed, below which it draws nothing."""
REPEATS = 4
"""Fits with as much noise again."""


def recovered(ready: Prepared, limit: float, iterations: int, *, elsewhere: bool) -> Answer:
    """Parameters at which the projected residual is least.

    Args:
        ready: One picture without gaps.
        limit: Noise that the residual may show, by the picture's standard deviation.
        iterations: Most of each fit.
        elsewhere: Whether others are tried where the start leads nowhere.
    """
    most = limit * ready.spread / ready.data.noise
    best, tried, met = None, 0, 0
    for start in ready.parameters(elsewhere=elsewhere):
        if tried == STARTS or (best is not None and best.noise <= most):
            break
        tried += 1
        try:
            found = _fitted(ready, ready.question.pictures.values[0], start, iterations)
        except np.linalg.LinAlgError:
            continue
        if best is None or found.noise < best.noise:
            best, met = found, 1
    if best is None:
        reason = f"the species that were not seen could not be found from those that were, at any of {tried} starts"
        return Answer(Recovery.FAILED, reason, starts=(tried, 0), noise=ready.data.noise, scales=ready.problem.scales)
    why = (
        f"variable projection takes {limit:g} at most, since differences of neighbouring pixels multiply noise: "
        "'one-shot' takes noisy pictures"
    )
    bias = _bias(ready, best, iterations) if CLEAN < best.noise <= most else np.zeros(len(ready.free))
    return concluded(ready, best, bias, most, why, (tried, met))


def _bias(ready: Prepared, fit: EquationFit, iterations: int) -> Array:
    """By how much noise draws the free coordinates off: what as much again draws them, in the mean."""
    shifts = []
    slopes = ready.problem.scales.slopes(fit.values)[np.arange(len(ready.free)), ready.free]
    for draw in noise_draws(ready, REPEATS):
        noisier = ready.question.pictures.values[0] + fit.noise * draw[0]
        try:
            found = _fitted(ready, noisier, fit.values, iterations)
        except np.linalg.LinAlgError:
            continue
        shifts.append((found.values - fit.values)[ready.free] / slopes)
    return np.mean(shifts, axis=0) if shifts else np.zeros(len(ready.free))


def _fitted(ready: Prepared, measured: Array, start: Array, iterations: int) -> EquationFit:
    """The fit from one start, on fields (S, H, W) as they were measured."""
    model, seen, free = ready.problem.model, ready.data.guess.seen, ready.free
    inner = projection.linear_parameters(model, seen, free)
    outer = Scales.of(model, start, [model.parameters[j] for j in free if j not in inner])
    hidden = [i for i in range(len(model.species)) if i not in seen]
    fields = at_rest(model, start, measured, hidden)
    picture = projection.Picture(model, fields, seen, inner, outer)
    found, n = projection.fit(picture, start, iterations=iterations)
    equations = Equations(model, found.values)
    reduced = projection.Reduced(picture, equations, found.fields)
    columns = np.stack(reduced.columns(ready.problem.scales.slopes(found.values)), axis=1)
    drawn = np.stack([reduced.by_data(one) for (one,) in noise_draws(ready)])
    residual = equations.residual(found.fields)[seen].ravel()
    return EquationFit(found.values, (found.fields,), residual, columns, drawn, n)
