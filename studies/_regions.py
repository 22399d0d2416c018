"""Regions of a plane: connected points, the faces along their border, and where steepest descent ends."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from scipy.ndimage import label

Array = np.ndarray[Any, Any]

NEIGHBOURS = [step for step in product((-1, 0, 1), repeat=2) if step != (0, 0)]


def connected(inside: Array, to: tuple[int, int] | Array, corners: bool = False) -> Array:
    """The points of a region that are connected with one of it, or with any of some; none where those are outside.

    Args:
        inside: The region, shape (n, m), bool.
        to: Indices of the one point, or a mask of some, shape (n, m), bool.
        corners: Points with a common corner are connected, too, not only those with a common face.
    """
    found, _ = label(inside, np.ones((3, 3), int) if corners else None)
    return np.asarray(np.isin(found, found[to]) & inside) if np.any(inside[to]) else np.zeros_like(inside)


@dataclass(frozen=True)
class Border:
    """The faces along a region's border, one an entry.

    Attributes:
        inside: Indices of the point inside, shape (faces, 2).
        outside: Of the one outside.
        rim: How many points of the region lie on the rim of the plane, where it may go on.
    """

    inside: Array
    outside: Array
    rim: int


def border(region: Array) -> Border:
    """The border of a region."""
    pairs: list[tuple[tuple[int, int], tuple[int, int]]] = []
    for i, j in np.argwhere(region):
        for a, b in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
            if 0 <= a < region.shape[0] and 0 <= b < region.shape[1] and not region[a, b]:
                pairs.append(((int(i), int(j)), (int(a), int(b))))
    inner = np.zeros_like(region)
    inner[1:-1, 1:-1] = True
    inside, outside = (np.array([pair[n] for pair in pairs], int).reshape(-1, 2) for n in (0, 1))
    return Border(inside, outside, int((region & ~inner).sum()))


def at(values: Array, places: Array) -> Array:
    """Values at some points."""
    return values[places[:, 0], places[:, 1]]


def descended(loss: Array) -> Array:
    """Where steepest descent from each point ends: it goes to the lowest of eight neighbours while that is lower.

    Args:
        loss: Over a plane; NaN is taken as higher than anything.

    Returns:
        Indices of the end, shape (n, m, 2).
    """
    height = np.where(np.isfinite(loss), loss, np.inf)
    n, m = height.shape
    following = np.empty((n, m, 2), int)
    for i, j in product(range(n), range(m)):
        near = [(i + a, j + b) for a, b in NEIGHBOURS if 0 <= i + a < n and 0 <= j + b < m]
        lowest = min(near, key=lambda place: height[place])
        following[i, j] = lowest if height[lowest] < height[i, j] else (i, j)
    ends = following
    while True:  # twice as far each time
        further = ends[ends[..., 0], ends[..., 1]]
        if (further == ends).all():
            return ends
        ends = further
