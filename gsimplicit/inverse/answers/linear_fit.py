"""All species seen, and a model that is linear in its parameters: one linear least-squares problem.

Both sides are put through a Gauss filter, which leaves the equations true and takes noise out of their differences.
Noise in the columns of a linear fit draws its solution towards zero. The fit is repeated with as much noise again: the
shift that this makes, in the mean, is the shift that the first noise has made, and is taken off (J. Cook and
L. Stefanski, Journal of the American Statistical Association 89, 1314, 1994).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gsimplicit.equations import Equations, Model
from gsimplicit.inverse.answers.equation_error import EquationFit, concluded, noise_draws
from gsimplicit.inverse.answers.judge import Answer
from gsimplicit.inverse.answers.prepared import Prepared
from gsimplicit.inverse.fits.variable_projection import inside
from gsimplicit.inverse.pictures.noise import smoothed
from gsimplicit.inverse.starts.measured import ROUGH, SURE

Array = np.ndarray[Any, np.dtype[np.float64]]

REPEATS = 24
"""Fits with more noise."""


def nonlinear(model: Model, free: list[int], fixed: dict[int, float]) -> list[str]:
    """Free parameters in which the model is not linear together with the other free ones; found by trying."""
    draws = np.random.default_rng(0)
    X = 0.5 + draws.random((len(model.species), 4, 4))
    slopes = []
    for _ in range(2):
        values = inside(model, draws.random(len(model.parameters)))
        values[list(fixed)] = list(fixed.values())
        slopes.append(Equations(model, values).parameter_slopes(X))
    return [model.parameters[j] for j in free if not np.allclose(slopes[0][j], slopes[1][j], rtol=1e-12, atol=0)]


def recovered(ready: Prepared, width: float) -> Answer:
    """Parameters by linear least squares, with their shift by noise taken off.

    Args:
        ready: Pictures of all species without gaps.
        width: Of the Gauss filter, in pixels; 0 is none.
    """
    pictures = tuple(ready.question.pictures.values)
    rough = _Fit(ready, width, np.ones(len(pictures[0])))
    units = rough.units(pictures)
    fit = _Fit(ready, width, units)
    values = fit.solved(pictures)
    found = fit.at(values, pictures)
    bias = np.zeros(len(fit.free))
    if found.noise > 1e-6:
        shifts = []
        for draw in noise_draws(ready, REPEATS):
            noisier = tuple(X + found.noise * d for X, d in zip(pictures, draw, strict=True))
            shifts.append((fit.solved(noisier) - values)[fit.free])
        shift = np.mean(shifts, axis=0)
        values = values.copy()
        corrected = values[fit.free] - shift
        ways = ready.problem.scales
        values[fit.free] = np.where(ways.positive[fit.free] & (corrected <= 0), values[fit.free], corrected)
        size = ways.slopes(values)[np.arange(len(fit.free)), fit.free]
        bias = shift / np.where(size == 0, 1e-300, size)
        found = fit.at(values, pictures)
    most = float(np.sqrt(1 + SURE * np.sqrt(2 / found.freedom))) * (1 + ROUGH)
    why = (
        f"the pictures' own is {ready.data.noise:.2g}: they are no steady state of this model, or their noise is not "
        "independent"
    )
    return concluded(ready, found, bias, most, why, (1, 1))


class _Fit:
    """Least squares over the free parameters, each species' equation by a unit of its own."""

    def __init__(self, ready: Prepared, width: float, units: Array) -> None:
        self.ready, self.width, self.per = ready, width, units
        self.model, self.free = ready.problem.model, ready.free
        self.fixed = np.zeros(len(self.model.parameters))
        for j, value in ready.question.wanted.fixed.items():
            self.fixed[j] = value

    def _rows(self, fields: Array) -> Array:
        return np.asarray((smoothed(fields, self.width) / self.per[:, None, None]).reshape(*fields.shape[:-3], -1))

    def _slopes(self, pictures: tuple[Array, ...], values: Array) -> Array:
        slopes = [Equations(self.model, values).parameter_slopes(X)[self.free] for X in pictures]
        return np.asarray(np.concatenate([self._rows(s) for s in slopes], axis=1).T)

    def solved(self, pictures: tuple[Array, ...]) -> Array:
        """The parameters (P,) of least residual."""
        rest = np.concatenate([self._rows(Equations(self.model, self.fixed).residual(X)) for X in pictures])
        A, values = self._slopes(pictures, self.fixed), np.array(self.fixed)
        values[self.free] = np.linalg.lstsq(A, -rest, rcond=None)[0]
        return values

    def at(self, values: Array, pictures: tuple[Array, ...]) -> EquationFit:
        """Residual, columns and drawn noise at some parameters."""
        residual = np.concatenate([self._rows(Equations(self.model, values).residual(X)) for X in pictures])
        columns = (
            self._slopes(pictures, values)
            * self.ready.problem.scales.slopes(values)[np.arange(len(self.free)), self.free]
        )
        return EquationFit(values, pictures, residual, columns, self._drawn(values, pictures), 1, self._alike())

    def _alike(self) -> float:
        return max(1.0, 4 * np.pi * self.width**2)

    def _drawn(self, values: Array, pictures: tuple[Array, ...]) -> Array:
        equations = Equations(self.model, values)
        rows = [
            np.concatenate([self._rows(equations.product(X, d)) for X, d in zip(pictures, draw, strict=True)])
            for draw in noise_draws(self.ready)
        ]
        return np.asarray(np.stack(rows))

    def units(self, pictures: tuple[Array, ...]) -> Array:
        """What noise makes of the residual of each species' equation, (S,)."""
        drawn = self._drawn(self.solved(pictures), pictures)
        parts = drawn.reshape(len(drawn), len(pictures), len(self.per), -1)
        size: Array = np.sqrt((parts**2).mean((0, 1, 3)))
        return np.asarray(np.maximum(size, 1e-300))
