"""Whether what a fit leaves is noise: deviations of neighbouring pixels must not agree."""

from __future__ import annotations

from typing import Any

import numpy as np

from gsimplicit.inverse.pictures.snapshot import Snapshot

Array = np.ndarray[Any, np.dtype[np.float64]]

REACH = 3
"""Largest distance of neighbours, in pixels along each axis."""


def agreement(snapshots: tuple[Snapshot, ...], misfit: Array) -> tuple[float, float]:
    """Correlation of the deviations of pixels up to three apart, and its standard deviation under white noise.

    Args:
        snapshots: What was seen.
        misfit: Deviations of all of it, shape (count,).

    Examples:
        >>> import numpy as np
        >>> from gsimplicit.inverse.pictures.snapshot import Snapshot
        >>> from gsimplicit.inverse.pictures.whiteness import agreement
        >>> snapshot = Snapshot(np.zeros((1, 32, 32)), np.ones((1, 32, 32)), 0)
        >>> value, sd = agreement((snapshot,), np.random.default_rng(0).standard_normal(1024))
        >>> abs(value) < 4 * sd
        True
        >>> value, sd = agreement((snapshot,), np.repeat(np.sin(np.arange(32) / 8), 32))
        >>> value > 20 * sd
        True
    """
    products, pairs, at = 0.0, 0.0, 0
    for s in snapshots:
        field = np.zeros(s.shape)
        field[s.there] = misfit[at : at + s.count]
        at += s.count
        for x, there in zip(field, s.there, strict=True):
            products += _near(x)
            pairs += _near(there.astype(float))
    size = float((misfit**2).mean())
    if not (pairs > 0 and size > 0):
        return 0.0, np.inf
    return products / pairs / size, float(np.sqrt(2 / pairs))


def _near(x: Array) -> float:
    """Sum of the products of all pixels with their neighbours, each pair twice."""
    correlation = np.fft.ifft2(np.abs(np.fft.fft2(x)) ** 2).real
    lags = np.r_[0 : REACH + 1, -REACH:0]
    return float(correlation[np.ix_(lags, lags)].sum() - correlation[0, 0])
