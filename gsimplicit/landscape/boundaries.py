"""Boundaries of the region of patterns along an axis of a scan, and how far they lie from a curve."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from gsimplicit import checks
from gsimplicit.arrays import real_array
from gsimplicit.landscape.cells import CellClass, axis_of, check_scan, classes

__all__ = ["boundaries", "curve_distance"]


def boundaries(data: xr.Dataset, axis: str = "k") -> xr.Dataset:
    """Where, along an axis, the region of patterns begins and ends.

    Args:
        data: One sample of a scan.
        axis: Axis along which uniform states come first, then patterns, then the trivial state.

    Returns:
        Over the other axes: `left`, the middle between the last uniform cell and a pattern after it, and `right`, the
        middle between the last pattern and a trivial cell after it; NaN where there is none, or something else between.
        Unsteady cells count as patterns.
    """
    check_scan(data)
    axis = axis_of(data, axis)
    cell, at = classes(data), data[axis].values
    order = cell.get_axis_num(axis)
    values = np.moveaxis(cell.values, order, -1)
    out = {name: np.full(values.shape[:-1], np.nan) for name in ("left", "right")}
    for i in np.ndindex(values.shape[:-1]):
        row = values[i]
        pattern = np.isin(row, [CellClass.PATTERN, CellClass.UNSTEADY])
        left = np.flatnonzero((row[:-1] == CellClass.UNIFORM) & pattern[1:])
        right = np.flatnonzero(pattern[:-1] & (row[1:] == CellClass.TRIVIAL))
        if len(left):
            out["left"][i] = (at[left[-1]] + at[left[-1] + 1]) / 2
        if len(right):
            out["right"][i] = (at[right[-1]] + at[right[-1] + 1]) / 2
    dims = [str(d) for d in cell.dims if d != axis]
    words = {"left": "where uniform states end", "right": "where the trivial state begins"}
    variables = {n: (dims, v, {"long_name": words[n], "units": "1"}) for n, v in out.items()}
    return xr.Dataset(variables, {d: cell[d] for d in dims})


def curve_distance(boundary: xr.DataArray, curve: Any, cell: float) -> dict[str, float]:
    """How far a boundary lies from a curve, in cells; positive where the boundary is at larger values.

    Args:
        boundary: Positions over rows, NaN where there is none.
        curve: Positions of the curve at the same rows.
        cell: Length of a cell, > 0.

    Returns:
        `median`, `least`, `most`, `within` (share of rows within one cell), `spread` (half the range from the 5th to
        the 95th percentile after the best constant shift: parallel is not aligned) and `rows`.
    """
    cell = checks.real("cell", cell, above=0)
    if not isinstance(boundary, xr.DataArray):
        raise TypeError(f"boundary must be a labelled array of boundaries, got {type(boundary).__name__}")
    at = real_array("curve", curve)
    if at.shape not in ((), boundary.shape):
        raise ValueError(f"curve must have the shape of boundary, {boundary.shape}, got {at.shape}")
    away = (boundary.values - at) / cell
    away = away[np.isfinite(away)]
    if not len(away):
        return dict.fromkeys(("median", "least", "most", "within", "spread"), float("nan")) | {"rows": 0.0}
    low, high = np.percentile(away, [5, 95])
    return {
        "median": float(np.median(away)), "least": float(away.min()), "most": float(away.max()),
        "within": float((np.abs(away) <= 1 + 1e-9).mean()), "spread": float((high - low) / 2), "rows": float(len(away)),
    }  # fmt: skip
