"""Whether numbers order along lines of a plane: the one rank correlation of all studies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

Array = np.ndarray[Any, Any]

LEAST = 4
"""Numbers a line must have to count."""
SHUFFLES = 9_999
"""Random orders of the rows with which the found one is compared."""


@dataclass(frozen=True)
class Order:
    """How a measure orders along one direction of a plane.

    Attributes:
        rho: Rank correlation with the place in the row (Spearman), mean over rows; NaN without rows.
        p: Share of random orders within rows that give as much or more, either sign.
        rows: Rows with `LEAST` numbers or more; one whose numbers are all the same counts as 0.
        monotone: Rows that rise, or fall, all along, in the direction of `rho`.
        steepest: Largest difference of two neighbours, as a share of the range of all numbers.
    """

    rho: float
    p: float
    rows: int
    monotone: int
    steepest: float

    @property
    def text(self) -> str:
        """In a few words."""
        return f"rho {self.rho:+.2f} (p {self.p:.4f}), {self.monotone} of {self.rows} lines monotone"


def order(values: Array, seed: int = 0) -> Order:
    """How values order along the second axis, row by row; NaN where there is none.

    Args:
        values: Shape (R, N).
        seed: Of the random orders.

    Examples:
        >>> import numpy as np
        >>> nan = np.nan
        >>> found = order(np.array([[1.0, 2, 3, 4, nan], [nan, 3, 5, 6, 7], [nan, nan, 2, 1, 0]]))
        >>> found.rho, found.rows, found.monotone, found.p < 0.01
        (1.0, 2, 2, True)
    """
    rows = [row[np.isfinite(row)] for row in values]
    rows = [row for row in rows if len(row) >= LEAST]
    steps = np.abs(np.diff(values, axis=1))
    known = np.isfinite(values)
    steepest = float(np.nanmax(steps) / np.ptp(values[known])) if np.isfinite(steps).any() else float("nan")
    if not rows:
        return Order(float("nan"), 1.0, 0, 0, steepest)
    ranks = [rankdata(row) for row in rows]
    rho = float(np.mean([rank_correlation(row) for row in rows]))
    generator = np.random.default_rng(seed)
    shuffled = np.mean([_rho(generator.permuted(np.tile(r, (SHUFFLES, 1)), axis=1)) for r in ranks], axis=0)
    as_much = int((np.abs(shuffled) >= abs(rho) - 1e-12).sum())
    way = np.sign(rho)
    monotone = sum(bool((way * np.diff(row) > 0).all()) for row in rows)
    return Order(rho, (1 + as_much) / (1 + SHUFFLES), len(rows), monotone, steepest)


def rank_correlation(line: Array) -> float:
    """Spearman's rank correlation of the numbers of a line with their places; 0 where all are the same.

    Args:
        line: Shape (N,), finite, N >= 2.

    Examples:
        >>> import numpy as np
        >>> rank_correlation(np.array([1.0, 4, 9])), rank_correlation(np.ones(3))
        (1.0, 0.0)
    """
    return float(_rho(rankdata(line)))


def _rho(ranks: Array) -> Array:
    """Correlation of ranks with places, over the last axis; 0 where all ranks are the same."""
    places = np.arange(ranks.shape[-1])
    a, b = ranks - ranks.mean(axis=-1, keepdims=True), places - places.mean()
    size = np.sqrt((a**2).sum(axis=-1) * (b**2).sum())
    return np.asarray((a * b).sum(axis=-1) / np.where(size > 0, size, 1))
