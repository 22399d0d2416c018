"""How parameters are varied: by their logarithm where they are positive, along what is free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gsimplicit.equations import Model

Array = np.ndarray[Any, np.dtype[np.float64]]


def bound(values: Array, tied: Mapping[int, tuple[int, float]]) -> Array:
    """Parameters (P,) with those that are tied at their factor times the other one."""
    out = np.array(values)
    for own, (other, factor) in tied.items():
        out[own] = factor * out[other]
    return out


@dataclass(frozen=True, eq=False)
class Scales:
    """Coordinates z of parameters: `p = exp(z)` where the model's range begins at 0 or above, `p = size * z` elsewhere.

    Attributes:
        positive: Which parameters are varied by their logarithm, shape (P,).
        size: Typical size of the others, shape (P,); 1 for the positive ones.
        directions: Rows of the free combinations of z, shape (m, P).
        tied: Places of parameters that are a factor times another one: place of that one, and the factor.
    """

    positive: np.ndarray[Any, np.dtype[np.bool_]]
    size: Array
    directions: Array
    tied: Mapping[int, tuple[int, float]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, model: Model, around: Array, free: list[str], tied: Mapping[int, tuple[int, float]] | None = None
    ) -> Scales:
        """Those of a model around some parameters, the named ones free, each by itself or with those tied to it."""
        positive = np.array([model.range_of(name)[0] >= 0 for name in model.parameters])
        size = np.where(positive, 1.0, np.maximum(np.abs(around), 1e-3))
        directions = np.eye(len(around))[[model.parameters.index(name) for name in free]]
        tied = {} if tied is None else tied
        for own, (other, _) in tied.items():
            directions[:, own] = directions[:, other]
        return cls(positive, size, directions, tied)

    def moved(self, values: Array, by: Array) -> Array:
        """Parameters (P,) moved by a change (m,) of the free combinations."""
        z = by @ self.directions
        return bound(np.where(self.positive, values * np.exp(z), values + self.size * z), self.tied)

    def between(self, a: Array, b: Array) -> Array:
        """Change of each parameter's coordinate from b to a, shape (P,)."""
        with np.errstate(all="ignore"):
            logs = np.log(np.where(self.positive, a / np.where(b == 0, 1, b), 1.0))
        return np.asarray(np.where(self.positive, logs, (a - b) / self.size))

    def slopes(self, values: Array) -> Array:
        """Derivative of the parameters in the free combinations, shape (m, P)."""
        return np.asarray(self.directions * np.where(self.positive, values, self.size))
