"""What is believed of the rim of an open window, where nothing was measured: its differences are those of inside.

What they are taken to be follows the state. So a steep pattern is as likely as a flat one, and the belief pulls towards
neither, if its derivative has that too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from gsimplicit.inverse.pictures.edges import inner
from gsimplicit.inverse.pictures.snapshot import Snapshot

Array = np.ndarray[Any, np.dtype[np.float64]]
Sparse = scipy.sparse.csr_array

SLOPE = 0.2
"""Difference of a hidden value on the rim from its inner neighbour, by the model's scale, thought usual at least."""


def usual(X: Array, scale: float) -> Array:
    """By how much neighbours in a state (S, H, W) are thought to differ, a number a species.

    At least as much as they do inside the rim: what a steep pattern does not meet would pull the parameters.
    """
    within = inner(X)
    steps = np.concatenate([np.diff(within, axis=axis).reshape(len(X), -1) for axis in (1, 2)], axis=1)
    return np.asarray(np.maximum(SLOPE * scale, np.sqrt((steps**2).mean(axis=1))))


def believed(snapshot: Snapshot, differences: Array) -> Sparse:
    """Rows of the belief: for each value on the rim that was not measured, its difference from its inner neighbour.

    Args:
        snapshot: What was measured.
        differences: What is thought usual, a number a species.
    """
    S, H, W = snapshot.shape
    grid = np.arange(H * W).reshape(H, W)
    rim = np.ones((H, W), dtype=bool)
    rim[1:-1, 1:-1] = False
    i, j = np.nonzero(rim)
    near = grid[np.clip(i, 1, H - 2), np.clip(j, 1, W - 2)]
    own, inward, sizes = [], [], []
    for s in range(S):
        unseen = ~snapshot.there[s][rim]
        own.append(S * grid[rim][unseen] + s)
        inward.append(S * near[unseen] + s)
        sizes.append(np.full(int(unseen.sum()), 1.0 / differences[s]))
    rows, size = np.concatenate(own), np.concatenate(sizes)
    n = len(rows)
    entries = np.concatenate([size, -size])
    places = (np.tile(np.arange(n), 2), np.concatenate([rows, *inward]))
    return scipy.sparse.csr_array(scipy.sparse.coo_array((entries, places), shape=(n, S * H * W)))


def usual_slopes(X: Array, scale: float) -> Array:
    """Derivative of the logarithm of each species' `usual` difference in its values, (S, H, W); 0 at its least.

    Examples:
        >>> import numpy as np
        >>> from gsimplicit.inverse.fits.belief import usual_slopes
        >>> X = np.random.default_rng(0).random((1, 5, 6))
        >>> round(float((usual_slopes(X, 1.0) * X).sum()), 12)  # it grows as the state does
        1.0
        >>> bool(usual_slopes(X, 100.0).any())
        False
    """
    within = inner(X)
    out, slopes = np.zeros_like(X), np.zeros_like(within)
    for axis in (1, 2):
        # minus the divergence of the differences
        slopes -= np.diff(np.diff(within, axis=axis), axis=axis, prepend=0.0, append=0.0)
    size = np.einsum("shw,shw->s", slopes, within)
    bent = usual(X, scale) > SLOPE * scale
    out[bent, 1:-1, 1:-1] = slopes[bent] / size[bent, None, None]
    return out
