"""What a pattern is like, in measures that do not see where it lies: its values, its wavelength, its shape.

All take v on the periodic grid, shape (..., H, W), and work in float64. A field without a pattern has neither
wavelength nor shape: NaN.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Array = np.ndarray[Any, Any]

FLAT = 1e-3
"""Standard deviation of v below which there is no pattern: the package's bound of a uniform state."""

WIDTH = 0.5
"""Width of the kernel of the radial average, in wave numbers of the shorter side."""


@cache
def _rings(H: int, W: int) -> tuple[Array, Array, Array]:
    """Wave numbers looked at; the ring of each wave vector; the weight of each ring at each wave number."""
    short = min(H, W)
    length = np.hypot(np.fft.fftfreq(H)[:, None], np.fft.fftfreq(W)[None]).round(12)
    radius, ring, count = np.unique(length, return_inverse=True, return_counts=True)
    q = np.arange(1, short / 2, 0.1) / short
    weight = np.exp(-0.5 * ((q[:, None] - radius) * short / WIDTH) ** 2)
    weight[:, 0] = 0  # the mean of v
    return q, ring.ravel(), weight / (weight @ count)[:, None]


def radial_spectrum(v: Array) -> tuple[Array, Array]:
    """Power of v against the length of the wave vector, averaged over directions.

    The average is weighted by a Gaussian of `WIDTH`, so that it is smooth and its peak may lie between the wave numbers
    of the grid.

    Args:
        v: Shape (..., H, W).

    Returns:
        Wave numbers in cycles a pixel, shape (Q,), from one wave across the shorter side to a half; and the mean power
        of a wave vector of that length, shape (..., Q).

    Examples:
        >>> import numpy as np
        >>> wave = np.tile(np.sin(2 * np.pi * np.arange(64) / 8), (64, 1))
        >>> q, power = radial_spectrum(wave)
        >>> round(float(q[power.argmax()]), 3)
        0.125
    """
    v = np.asarray(v, np.float64)
    H, W = v.shape[-2:]
    q, ring, weight = _rings(H, W)
    power = np.abs(np.fft.fft2(v) / (H * W)) ** 2
    rings = np.array([np.bincount(ring, one.ravel(), weight.shape[1]) for one in power.reshape(-1, H, W)])
    return q, (rings @ weight.T).reshape(*v.shape[:-2], len(q))


def wavelength(v: Array) -> Array:
    """Dominant wavelength in pixels: where the radially averaged power is largest, a parabola through the peak's log.

    For a single wave in any direction good to 2 % from four waves across the shorter side on, to 1 % from six. For a
    pattern of many directions (labyrinths, hexagons with defects) it scatters more: ask several samples.

    Args:
        v: Shape (..., H, W).

    Returns:
        Shape (...); NaN where the standard deviation of v is below `FLAT`.

    Examples:
        >>> import numpy as np
        >>> x = np.arange(64)
        >>> round(float(wavelength(np.sin(2 * np.pi * (3 * x[:, None] + 4 * x) / 64))), 1)  # five waves across
        12.9
    """
    v = np.asarray(v, np.float64)
    q, power = radial_spectrum(v)
    log = np.log(np.maximum(power, 1e-300))
    peak = np.clip(log.argmax(axis=-1), 1, len(q) - 2)
    before, at, after = (np.take_along_axis(log, (peak + n)[..., None], -1)[..., 0] for n in (-1, 0, 1))
    bend = before - 2 * at + after
    shift = np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, 1), 0)
    found = 1 / (q[peak] + np.clip(shift, -1, 1) * (q[1] - q[0]))
    return np.where(v.std(axis=(-2, -1)) < FLAT, np.nan, found)


def raised(v: Array) -> Array:
    """Pixels of high v: above the middle between the 1st and the 99th percentile. Shape (..., H, W), bool."""
    low, high = np.quantile(v, (0.01, 0.99), axis=(-2, -1), keepdims=True)
    return np.asarray(v) > (low + high) / 2


def components(v: Array) -> Array:
    """Connected pieces of high v, pixels with a common side being connected, also across the edges of the grid.

    Args:
        v: Shape (..., H, W).

    Returns:
        Shape (...), integers: many for spots, few for labyrinths; 0 where there is no pattern.

    Examples:
        >>> import numpy as np
        >>> v = np.zeros((8, 8))
        >>> v[0, 0] = v[7, 0] = v[4, 4] = 1  # the first two touch across the edge
        >>> int(components(v))
        2
    """
    v = np.asarray(v, np.float64)
    fields = zip(raised(v).reshape(-1, *v.shape[-2:]), v.reshape(-1, *v.shape[-2:]), strict=True)
    counts = [_pieces(high) if one.std() >= FLAT else 0 for high, one in fields]
    return np.array(counts, int).reshape(v.shape[:-2])


def _pieces(high: Array) -> int:
    """Connected pieces of a mask on the periodic grid."""
    labels, count = ndimage.label(high)
    pairs = np.vstack([np.column_stack([labels[-1], labels[0]]), np.column_stack([labels[:, -1], labels[:, 0]])])
    a, b = pairs[(pairs > 0).all(axis=1)].T - 1
    return int(connected_components(coo_array((np.ones(len(a)), (a, b)), shape=(count, count)))[0])


def euler(v: Array) -> Array:
    """Euler characteristic of high v: pieces less holes.

    Counted on the periodic grid as pixels, less pairs with a common side, plus full squares of four.

    Args:
        v: Shape (..., H, W).

    Returns:
        Shape (...), integers: the number of spots, about 0 for stripes, below 0 for holes; 0 without a pattern.

    Examples:
        >>> import numpy as np
        >>> ring = np.zeros((8, 8))
        >>> ring[2:5, 2:5] = 1
        >>> solid = int(euler(ring))
        >>> ring[3, 3] = 0
        >>> solid, int(euler(ring)), int(euler(1 - ring))
        (1, 0, 0)
    """
    v = np.asarray(v, np.float64)
    high = raised(v)
    beside, below = high & np.roll(high, -1, -1), high & np.roll(high, -1, -2)
    square = beside & np.roll(beside, -1, -2)
    count = sum(sign * part.sum(axis=(-2, -1)) for sign, part in ((1, high), (-1, beside), (-1, below), (1, square)))
    return np.where(v.std(axis=(-2, -1)) < FLAT, 0, count)


def shape(v: Array) -> Array:
    """Euler characteristic of high v per squared wavelength: what a pattern is made of, whatever its scale.

    Hexagons of spots have 0.87, stripes 0, hexagons of holes -0.87; labyrinths lie near 0.

    Args:
        v: Shape (..., H, W).

    Returns:
        Shape (...), dimensionless; NaN where there is no pattern.

    Examples:
        >>> import numpy as np
        >>> wave = np.cos(2 * np.pi * np.arange(64) / 8)
        >>> spots = wave[:, None] + wave  # a square lattice: one spot in 64 pixels
        >>> round(float(shape(spots))), float(shape(np.tile(wave, (64, 1))))
        (1, 0.0)
    """
    v = np.asarray(v, np.float64)
    return euler(v) * wavelength(v) ** 2 / (v.shape[-2] * v.shape[-1])


def transport(v: Array, w: Array) -> Array:
    """Optimal transport between the values of two fields: how far a pixel's value must go, on average.

    Args:
        v: Shape (..., H, W).
        w: The same shape, or one that broadcasts with it.

    Returns:
        Shape (...), in the units of v.

    Examples:
        >>> import numpy as np
        >>> v = np.arange(16.0).reshape(4, 4)
        >>> float(transport(v, v.T + 0.5))
        0.5
    """
    sorted_ = (np.sort(np.asarray(f, np.float64).reshape(*f.shape[:-2], -1), axis=-1) for f in (v, w))
    return np.abs(np.subtract(*sorted_)).mean(axis=-1)
