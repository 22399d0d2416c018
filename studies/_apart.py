"""How far patterns are apart: the one distance of all studies, in respects that do not see where a pattern lies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from studies import _fine, _patterns

Array = np.ndarray[Any, Any]

SIDES = ("values", "wavelength", "shape")
"""Respects for patterns that fill their grid."""
GROWING = ("values", "fine wavelength", "spectrum")
"""Respects that also suit a growing patch, whose own wavelength is its size."""


def _between(measure: Callable[[Array], Array]) -> Callable[[Array, Array], Array]:
    """Difference of a measure: 0 where neither field has one, NaN where one has none."""

    def apart(v: Array, w: Array) -> Array:
        x, y = measure(v), measure(w)
        return np.where(np.isnan(x) & np.isnan(y), 0, np.abs(x - y))

    return apart


MEASURES: dict[str, Callable[[Array, Array], Array]] = {
    "values": _patterns.transport,
    "wavelength": _between(lambda v: np.log(_patterns.wavelength(v))),
    "shape": _between(_patterns.shape),
    "fine wavelength": _between(lambda v: np.log(_fine.fine_wavelength(v))),
    "spectrum": _fine.loss,
}
"""Optimal transport between values, in the units of v; |log| of the ratio of wavelengths; difference of shapes; the
same |log| for the gradient of v; the paper's spectrum loss."""


def distance(v: Array, w: Array, sides: Sequence[str] = SIDES) -> Array:
    """How far two fields are apart in some respects.

    Args:
        v: Shape (..., H, W).
        w: The same shape, or one that broadcasts with it.
        sides: Names out of `MEASURES`.

    Returns:
        Shape (..., sides). Wavelengths and shapes are 0 apart where neither field has a pattern, NaN where one has
        none.

    Examples:
        >>> import numpy as np
        >>> wave = np.tile(np.sin(2 * np.pi * np.arange(64) / 8), (64, 1))
        >>> distance(wave, wave.T).round(6).tolist(), float(distance(wave, 0 * wave)[1])
        ([0.0, 0.0, 0.0], nan)
        >>> distance(wave, wave.T, GROWING[:2]).round(6).tolist()
        [0.0, 0.0]
    """
    return np.stack(np.broadcast_arrays(*(MEASURES[side](v, w) for side in sides)), axis=-1)


def spread(samples: Array) -> Array:
    """Mean `distance` between two samples, the unit in which others can be told.

    Args:
        samples: Shape (S, H, W), S >= 2: one pattern from several starts.

    Returns:
        Shape (3,).

    Examples:
        >>> import numpy as np
        >>> wave = np.tile(np.sin(2 * np.pi * np.arange(64) / 8), (64, 1))
        >>> spread(np.stack([wave, 2 * wave])).round(2).tolist()
        [0.6, 0.0, 0.0]
    """
    first, second = np.array(list(combinations(range(len(samples)), 2))).T
    return distance(samples[first], samples[second]).mean(axis=0)
