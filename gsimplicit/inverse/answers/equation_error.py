"""Answers of methods that put the measured fields into the equations: what noise makes of the residual, and of them.

The residual of the equations at measured fields is not 0: noise of the data, through derivatives, is in it. Drawn
noise, put through the same linear map, says how large the residual must be, and how far off the parameters. So the
residual tells the noise, and the noise the intervals.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gsimplicit.equations import Equations
from gsimplicit.inverse.answers.answer import UNSEEN, Certainty, Recovery
from gsimplicit.inverse.answers.judge import Answer
from gsimplicit.inverse.answers.prepared import Prepared
from gsimplicit.inverse.fits.problem import Ended, Fit, Place
from gsimplicit.inverse.starts.search import CLEANEST

Array = np.ndarray[Any, np.dtype[np.float64]]

DRAWS = 48
"""Draws of noise: the intervals are then known to a tenth."""
DRAWN_OFF = 0.1
"""Shift of a coordinate by noise above which the fit is not believed."""
WIDEST = 1e8
"""Standard deviation of a coordinate that stands for anything larger."""


@dataclass(frozen=True, eq=False)
class EquationFit:
    """Parameters at which the residual is least.

    Attributes:
        values: The parameters, shape (P,).
        fields: What was put into the equations, one (S, H, W) a picture.
        residual: What is left, shape (n,).
        columns: Its derivatives in the free coordinates, shape (n, m).
        drawn: What the assumed noise makes of it, one draw a row, (draws, n).
        iterations: Iterations it took.
        alike: Neighbours that a filter makes alike: what is left is worth n by so many values.
    """

    values: Array
    fields: tuple[Array, ...]
    residual: Array
    columns: Array
    drawn: Array
    iterations: int
    alike: float = 1.0

    @property
    def freedom(self) -> float:
        """Independent values beyond those that the free coordinates take."""
        return float(max(len(self.residual) / self.alike - self.columns.shape[1], 1.0))

    @property
    def unit(self) -> float:
        """Size of the residual that the assumed noise makes."""
        return max(float(np.sqrt((self.drawn**2).mean())), 1e-300)

    @property
    def noise(self) -> float:
        """Noise that the residual shows, by what was assumed."""
        return float(np.sqrt((self.residual**2).sum() / self.alike / self.freedom)) / self.unit

    def moved(self) -> Array:
        """What each draw of noise moves the free coordinates by, shape (draws, m)."""
        size = np.linalg.norm(self.columns, axis=0)
        size[size == 0] = 1e-300
        left, s, right = np.linalg.svd(self.columns / size, full_matrices=False)
        with np.errstate(all="ignore"):
            moved = -(self.drawn @ left) / np.maximum(s, 1e-300) @ right / size
        return np.asarray(np.clip(np.nan_to_num(moved, nan=WIDEST), -WIDEST, WIDEST))

    def covariance(self, least: float) -> Array:
        """Covariance of the free coordinates (m, m) at the noise that the residual shows, `least` by the assumed."""
        moved = self.moved()
        return np.asarray(max(self.noise, least) ** 2 * (moved.T @ moved) / len(moved))


def concluded(ready: Prepared, fit: EquationFit, bias: Array, most: float, why: str, starts: tuple[int, int]) -> Answer:
    """The answer of such a fit.

    Args:
        ready: The question.
        fit: The fit.
        bias: By how much the free coordinates may be off beside their spread, shape (m,).
        most: Noise that the residual may show, by what was assumed.
        why: What it means where it shows more.
        starts: Starts tried, and how many led to it.
    """
    problem, scales = ready.problem, ready.problem.scales
    least = CLEANEST * problem.model.scale / ready.data.noise
    covariance = fit.covariance(least) + np.outer(bias, bias)
    certainty = Certainty.from_covariance(covariance, int(fit.freedom))
    place = Place(fit.fields, tuple(np.zeros(2) for _ in fit.fields), fit.values)
    worst = max(float(np.abs(Equations(problem.model, fit.values).residual(X)).max()) for X in fit.fields)
    unit = fit.unit
    whole = Fit(place, Ended.CONVERGED, fit.iterations, worst, fit.columns / unit, fit.residual / unit)
    size = fit.noise * ready.data.noise
    told = f"the residual is that of noise {size:.2g}, {size / ready.spread:.2g} of the standard deviation"
    answer = Answer(Recovery.MISFIT, f"{told}; {why}", whole, certainty, (), starts, size, scales)
    if fit.noise > most:
        return answer
    worst_shift = int(np.argmax(np.abs(bias)))
    if abs(bias[worst_shift]) > DRAWN_OFF:
        name = problem.model.parameters[ready.free[worst_shift]]
        reason = f"{told}, which draws {name} off by {abs(bias[worst_shift]):.0%}: 'one-shot' is not drawn off"
        return Answer(Recovery.FAILED, reason, starts=starts, noise=size, scales=scales)
    if certainty.spread > UNSEEN:
        reason = certainty.family([problem.model.parameters[j] for j in ready.free])
        return Answer(Recovery.UNIDENTIFIED, reason, whole, certainty, (), starts, size, scales)
    return Answer(Recovery.FOUND, told, whole, certainty, (), starts, size, scales)


def noise_draws(ready: Prepared, count: int = DRAWS) -> list[list[Array]]:
    """Draws of the assumed noise, each one (S, H, W) a picture, always the same; zero in species not seen."""
    draws = np.random.default_rng(0)
    sizes = []
    for snapshot in ready.problem.snapshots:
        weights = snapshot.weights
        sizes.append(np.divide(1.0, weights, out=np.zeros_like(weights), where=weights > 0))
    return [[size * draws.standard_normal(size.shape) for size in sizes] for _ in range(count)]
