"""Whether patterns of one kind of start, or of other parameters, look like given samples: distance against spread."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from studies._apart import SIDES, distance, spread

FLOOR = (1e-3, 0.02, 0.02)
"""What the measures of `SIDES` can tell apart: a spread below counts as this."""

BAR = 2.0
"""Patterns are alike where on every side they are at most this many times the samples' own spread away."""


@dataclass(frozen=True)
class Likeness:
    """Patterns against samples.

    Attributes:
        apart: Mean distance between a pattern and a sample, by side; NaN where one has no pattern.
        own: Mean distance between two samples, by side.
    """

    apart: tuple[float, ...]
    own: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """Distance over spread, by side."""
        return tuple(a / max(b, low) for a, b, low in zip(self.apart, self.own, FLOOR, strict=True))

    @property
    def ratio(self) -> float:
        """The largest of them; infinite where there is no pattern to compare."""
        return max(r if np.isfinite(r) else np.inf for r in self.ratios)

    @property
    def alike(self) -> bool:
        """Whether they look like the samples."""
        return self.ratio <= BAR

    def __str__(self) -> str:
        """The ratios by side.

        Examples:
            >>> print(Likeness((0.02, 0.03, 0.1), (0.01, 0.03, 0.1)))
            values 2.0, wavelength 1.0, shape 1.0
        """
        return ", ".join(f"{side} {r:.1f}" for side, r in zip(SIDES, self.ratios, strict=True))


def likeness(samples: np.ndarray, others: np.ndarray) -> Likeness:
    """How far other patterns, shape (O, H, W), are from samples, shape (S, H, W) with S >= 2."""
    first, second = np.array(list(product(range(len(others)), range(len(samples))))).T
    apart = distance(others[first], samples[second]).mean(axis=0)
    return Likeness(tuple(map(float, apart)), tuple(map(float, spread(samples))))
