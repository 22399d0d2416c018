"""How regularly measures of a plane of patterns change: cliffs at faces, rank correlations along lines."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

import gsimplicit as gs
from studies._order import LEAST, rank_correlation

REGIONS = {"left": gs.Kind.UNIFORM, "patterns": gs.Kind.PATTERN, "right": gs.Kind.TRIVIAL}
"""Parts of the plane by the kind of state at the stop."""


def region(data: xr.Dataset, name: str) -> xr.DataArray:
    """Where a part of the plane is: F, k and sample."""
    return data["kind"].sel(time="stop") == REGIONS[name]


def cliff_jumps(data: xr.Dataset, side: str, measure: str = "loss") -> xr.DataArray:
    """Median over the faces of the final cliff of one side of the jump of a measure, as a share of its range at a time.

    A face of the cliff lies between two neighbouring points of which one ends in a pattern and the other beyond.

    Args:
        data: A measure over F, k, sample and time, and the kind of state.
        side: "left" or "right".
        measure: Name of the measure.

    Returns:
        Over time; NaN where there is no such face.
    """
    value = data[measure].transpose("F", "k", "sample", "time")
    inside, beyond = (region(data, name).transpose("F", "k", "sample") for name in ("patterns", side))
    width = value.max(("F", "k", "sample")) - value.min(("F", "k", "sample"))
    jumps = []
    for axis in ("F", "k"):
        size = value.sizes[axis]
        first, second = {axis: slice(0, size - 1)}, {axis: slice(1, size)}
        across = (inside.isel(first).values & beyond.isel(second).values) | (
            beyond.isel(first).values & inside.isel(second).values
        )
        jumps.append(abs(value.isel(second).values - value.isel(first).values)[across])
    every = np.concatenate(jumps)
    middle = np.median(every, axis=0) if len(every) else np.full(value.sizes["time"], np.nan)
    return xr.DataArray(middle / width.values, dims="time", coords={"time": data["time"]})


def steep_faces(data: xr.Dataset) -> xr.DataArray:
    """How many faces of the plane, of all samples, have a jump of the loss of a quarter of its range, over time."""
    value = data["loss"]
    width = value.max(("F", "k", "sample")) - value.min(("F", "k", "sample"))
    count: xr.DataArray = sum((abs(value.diff(axis)) >= 0.25 * width).sum(("F", "k", "sample")) for axis in ("F", "k"))
    return count


def ranked(data: xr.Dataset, side: str, measure: str) -> xr.DataArray:
    """Median over lines along k and F within a part of the plane of |Spearman's rank correlation| of a measure.

    Lines with fewer than `LEAST` points there are left out. Where v is gone at a time the measure counts as missing. A
    line whose measure is missing at half of its points, or is the same at all, counts as 0: nothing changes there.

    Returns:
        Over time; NaN where there is no such line.
    """
    inside = region(data, side)
    out = []
    for time in data["time"].values:
        there = data["kind"].sel(time=time) != gs.Kind.TRIVIAL
        found = [abs(_rank(y)) for y in _lines(data[measure].sel(time=time).where(there), inside)]
        out.append(np.median(found) if found else np.nan)
    return xr.DataArray(out, dims="time", coords={"time": data["time"]})


def lines(data: xr.Dataset, side: str) -> int:
    """How many lines `ranked` asks."""
    return sum(1 for _ in _lines(data["v_mean"].sel(time="stop"), region(data, side)))


def _lines(value: xr.DataArray, inside: xr.DataArray) -> Iterator[np.ndarray]:
    """A measure along every line with enough points, in the order of the parameter."""
    for axis, other in (("k", "F"), ("F", "k")):
        size = value.sizes[axis]
        v = value.transpose("sample", other, axis).values.reshape(-1, size)
        there = inside.transpose("sample", other, axis).values.reshape(-1, size)
        for row, mask in zip(v, there, strict=True):
            if mask.sum() >= LEAST:
                yield row[mask]


def _rank(line: np.ndarray) -> float:
    """Rank correlation of what is there; 0 where that is half or less, or too few."""
    there = np.isfinite(line)
    return 0.0 if there.mean() <= 0.5 or there.sum() < LEAST else rank_correlation(line[there])


def spread(data: xr.Dataset, side: str, measure: str) -> xr.DataArray:
    """10th to 90th percentile of a measure within a part of the plane; NaN where there is none."""
    value = data[measure].where(region(data, side))
    ends = value.quantile([0.1, 0.9], dim=("F", "k", "sample"))
    return (ends.isel(quantile=1) - ends.isel(quantile=0)).drop_vars("quantile", errors="ignore")
