"""Faces of a plane in one list: how far the loss jumps over each, and what stands on both sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from gsimplicit.landscape.cells import CellClass, axes_of, classes
from gsimplicit.landscape.cliffs import edges, loss_range

Array = np.ndarray[Any, Any]

PATTERN, UNIFORM, TRIVIAL = CellClass.PATTERN, CellClass.UNIFORM, CellClass.TRIVIAL

FLAT = 1e-3
"""A face over which the loss changes by less than this share of its height gives no signal (as in `routes`)."""


@dataclass(frozen=True)
class Faces:
    """All faces of a plane, those along the first axis first.

    Attributes:
        share: Size of the jump as a share of the landscape's height R.
        ends: Classes of the two points, shape (faces, 2).
        height: R.
    """

    share: Array
    ends: Array
    height: float

    def between(self, one: CellClass, other: CellClass) -> Array:
        """Shares of the faces between points of two classes, or of one; those that had not settled are of neither."""
        low, high = sorted((int(one), int(other)))
        return self.share[(self.ends.min(axis=1) == low) & (self.ends.max(axis=1) == high) & np.isfinite(self.share)]


def faces(one: xr.Dataset, objective: str) -> Faces:
    """The faces of one sample of a plane."""
    height, cells, share, ends = loss_range(one, objective), classes(one), [], []
    for axis in axes_of(one):
        jump = edges(one, axis, objective)["jump"]
        share.append(np.ravel(abs(jump.transpose(*cells.dims).values)) / height)
        pair = [np.ravel(cells.isel({axis: end}).values) for end in (slice(None, -1), slice(1, None))]
        ends.append(np.stack(pair, axis=1))
    return Faces(np.concatenate(share), np.concatenate(ends), height)


def share_of(where: Array) -> float:
    """How many of a list are true; NaN of an empty one."""
    return float(np.mean(where)) if len(where) else float("nan")


def median(values: Array) -> float:
    """The median; NaN of an empty list."""
    return float(np.median(values)) if len(values) else float("nan")


def asked(known: Array, answer: bool) -> bool | None:
    """An answer, or None where there is nothing that it could be of."""
    return answer if len(known) else None
