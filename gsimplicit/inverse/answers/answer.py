"""What a fit says about the parameters: how sure it is, and what it cannot see."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from gsimplicit.inverse.fits.problem import Fit
    from gsimplicit.inverse.fits.scales import Scales

Array = np.ndarray[Any, np.dtype[np.float64]]

UNSEEN = 1.0
"""Standard deviation of a logarithm above which a combination of parameters counts as not identified: a factor of e."""

PART = 0.05
"""Share in a combination, a unit vector, from which a parameter counts as part of it."""


class Recovery(IntEnum):
    """How an inversion ended. Stored as these integers.

    Examples:
        >>> import gsimplicit as gs
        >>> gs.Recovery(1).name
        'FOUND'
    """

    FAILED = 0
    """No start led to a steady state that is nearest to the data."""
    FOUND = 1
    """One set of parameters explains the data."""
    SEVERAL = 2
    """More than one does; the best is given, with the others beside it."""
    UNIDENTIFIED = 3
    """It explains the data, and so do, or may do, others: some combination of parameters is not or hardly seen."""
    MISFIT = 4
    """The nearest steady state found does not explain the data."""
    REFUSED = 5
    """The data cannot tell: too few, flat, or outside what the model allows."""


@dataclass(frozen=True, eq=False)
class Certainty:
    """How sure the parameters are.

    Attributes:
        covariance: Of the free coordinates (logarithms of positive parameters), shape (m, m).
        freedom: Degrees of freedom left.
        condition: Ratio of the best to the worst seen combination of relative changes.
        blind: The worst seen combination, a unit vector of the free coordinates, shape (m,).
        spread: Its standard deviation.
        unit: Mean square of the deviations that it was made with, by that of the noise; NaN where it was had otherwise.
    """

    covariance: Array
    freedom: int
    condition: float
    blind: Array
    spread: float
    unit: float = math.nan

    @classmethod
    def of(cls, fit: Fit, m: int, least: float = 0.0) -> Certainty:
        """From the columns of a fit, whose first m are the free coordinates.

        The noise is taken as large as the deviations are: what the data say about themselves.

        Args:
            fit: The fit.
            m: Number of free coordinates.
            least: Sum of squares by degrees of freedom that is taken at least: clean pictures are steady states to
                their own residual only.
        """
        A = fit.columns
        size = np.linalg.norm(A, axis=0)
        size[size == 0] = 1e-300
        # what shifts and gain can do is taken out of the parameters' columns
        rest = A[:, m:] / size[m:]
        own = A[:, :m] / size[:m]
        if rest.shape[1]:
            basis = np.linalg.qr(rest)[0]
            own = own - basis @ (basis.T @ own)
        _, s, vectors = np.linalg.svd(own * size[:m], full_matrices=False)
        unit = max(fit.chi2, least)
        with np.errstate(all="ignore"):
            spread = np.sqrt(unit) / np.maximum(s, 1e-300)
        covariance = (vectors.T * np.minimum(spread, 1e8) ** 2) @ vectors
        return cls(covariance, fit.freedom, float(s[0] / max(s[-1], 1e-300)), vectors[-1], float(spread[-1]), unit)

    @classmethod
    def from_covariance(cls, covariance: Array, freedom: int) -> Certainty:
        """From a covariance of the free coordinates (m, m) that was had otherwise."""
        values, vectors = np.linalg.eigh(covariance)
        sizes = np.sqrt(np.maximum(values, 1e-300))
        return cls(covariance, freedom, float(sizes[-1] / sizes[0]), vectors[:, -1], float(sizes[-1]))

    def widths(self, scales: Scales) -> Array:
        """Standard deviation of each parameter's coordinate, its logarithm where it is positive, shape (P,)."""
        return np.asarray(np.sqrt(((scales.directions.T @ self.covariance) * scales.directions.T).sum(1)))

    def moved(self, scales: Scales) -> Array:
        """Which parameters an unseen combination moves, shape (P,): none where all are seen."""
        if not self.spread > UNSEEN:
            return np.zeros(scales.directions.shape[1], dtype=bool)
        return np.asarray((self.widths(scales) > UNSEEN) | (np.abs(scales.directions.T @ self.blind) >= PART))

    def family(self, names: list[str]) -> str:
        """What is not seen of free parameters with these names, in a sentence with its number."""
        return (
            f"{combination(names, self.blind)} is not seen (relative uncertainty {self.spread:.2g}): a family fits "
            "alike, and values that it moves are not given"
        )

    def interval(self, scales: Scales, values: Array, level: float, ends: Array | None = None) -> Array:
        """Interval of each parameter, shape (P, 2); of one that is not free its value twice.

        Args:
            scales: How parameters were varied.
            values: The answer, shape (P,).
            level: Level of the interval.
            ends: Lowest and highest change of each free coordinate, shape (m, 2); None takes those of the ellipse.
        """
        from scipy.stats import t as student

        if ends is None:
            width = student.ppf((1 + level) / 2, self.freedom) * self.widths(scales)
            changes = np.stack([-width, width], axis=1)
        else:
            changes = np.zeros((len(values), 2))
            for row, pair in zip(scales.directions, ends, strict=True):
                changes[row != 0] = pair
        open_ended, positive = self.moved(scales), scales.positive[:, None]
        changes[open_ended] = -np.inf, np.inf
        with np.errstate(over="ignore", invalid="ignore"):
            varied = values[:, None] * np.exp(changes)
            out = np.where(positive, varied, values[:, None] + scales.size[:, None] * changes)
        out[open_ended, 1] = np.inf  # of a value 0 too
        return np.asarray(out)

    def of_parameters(self, scales: Scales, values: Array) -> Array:
        """Covariance of the parameters, shape (P, P), to first order."""
        slopes = scales.slopes(values)
        return np.asarray(slopes.T @ self.covariance @ slopes)


def combination(names: list[str], weights: Array) -> str:
    """A combination of relative changes in words: "Du^0.71 Dv^-0.71".

    Examples:
        >>> import numpy as np
        >>> from gsimplicit.inverse.answers.answer import combination
        >>> combination(["Du", "Dv", "F"], np.array([0.6, -0.8, 0.001]))
        'Du^0.60 Dv^-0.80'
    """
    return " ".join(f"{n}^{w:.2f}" for n, w in zip(names, weights, strict=True) if abs(w) >= PART)
