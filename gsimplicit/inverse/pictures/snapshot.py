"""What is seen of one steady state: values of some species at some pixels, with their noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A picture of one steady state.

    Attributes:
        values: What was measured, shape (S, H, W); of no meaning where nothing was.
        weights: One over the standard deviation of the noise, shape (S, H, W); zero where nothing was measured.
        seen: Place of the species whose gain and offset may be unknown.
    """

    values: Array
    weights: Array
    seen: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the fields, (S, H, W)."""
        return tuple(self.values.shape)

    @property
    def there(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Where something was measured, shape (S, H, W)."""
        return np.asarray(self.weights > 0)

    @property
    def count(self) -> int:
        """Number of measured values."""
        return int(self.there.sum())

    def misfit(self, fields: Array, gain: tuple[float, float] = (0.0, 1.0)) -> Array:
        """Deviations of fields from what was measured, in standard deviations, shape (count,).

        Args:
            fields: Shape (S, H, W).
            gain: Offset a and gain b: what is measured of the seen species is `a + b x`.
        """
        return np.asarray((self.weights * (self.measured(fields, gain) - self.values))[self.there])

    def measured(self, fields: Array, gain: tuple[float, float]) -> Array:
        """What would be measured of fields."""
        if gain == (0.0, 1.0):
            return fields
        out = fields.copy()
        out[self.seen] = gain[0] + gain[1] * fields[self.seen]
        return out

    def change(self, fields: Array, gain: tuple[float, float] = (0.0, 1.0)) -> Array:
        """The misfit's derivative along a change of the fields (S, H, W), shape (count,)."""
        return np.asarray((self.weights * (self.measured(fields, gain) - self.measured(0 * fields, gain)))[self.there])

    def of_gain(self, fields: Array) -> Array:
        """The misfit's derivatives in offset and gain, shape (count, 2)."""
        ones, x = np.zeros_like(fields), np.zeros_like(fields)
        ones[self.seen], x[self.seen] = 1.0, fields[self.seen]
        return np.stack([(self.weights * one)[self.there] for one in (ones, x)], axis=1)

    def of_camera(self, fields: Array) -> Array:
        """The misfit's derivatives in what a camera does to the seen species, shape (count, 3).

        Offset, gain, and a bend: the square of the distance from the mean.
        """
        bend = np.zeros_like(fields)
        bend[self.seen] = (fields[self.seen] - fields[self.seen].mean()) ** 2
        return np.column_stack([self.of_gain(fields), (self.weights * bend)[self.there]])
