"""How parameters are varied: by their logarithm where they are positive, along what is free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gsimplicit.models.model import Model

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, eq=False)
class Scales:
    """Coordinates z of parameters: `p = exp(z)` where the model's range begins at 0 or above, `p = size * z` elsewhere.

    Attributes:
        positive: Which parameters are varied by their logarithm, shape (P,).
        size: Typical size of the others, shape (P,); 1 for the positive ones.
        directions: Rows of the free combinations of z, shape (m, P).
    """

    positive: np.ndarray[Any, np.dtype[np.bool_]]
    size: Array
    directions: Array

    @classmethod
    def of(cls, model: Model, around: Array, free: list[str]) -> Scales:
        """Those of a model around some parameters, with the named ones free, each by itself."""
        positive = np.array([model.range_of(name)[0] >= 0 for name in model.parameters])
        size = np.where(positive, 1.0, np.maximum(np.abs(around), 1e-3))
        return cls(positive, size, np.eye(len(around))[[model.parameters.index(name) for name in free]])

    def moved(self, values: Array, by: Array) -> Array:
        """Parameters (P,) moved by a change (m,) of the free combinations."""
        z = by @ self.directions
        return np.asarray(np.where(self.positive, values * np.exp(z), values + self.size * z))

    def slopes(self, values: Array) -> Array:
        """Derivative of the parameters in the free combinations, shape (m, P)."""
        return np.asarray(self.directions * np.where(self.positive, values, self.size))
