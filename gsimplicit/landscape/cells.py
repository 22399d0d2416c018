"""Cells of a landscape: its axes, the class of each cell, and checks that a dataset is one of a scan."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import xarray as xr

from gsimplicit import checks
from gsimplicit.labels import flag_attributes
from gsimplicit.results import Kind, Status

__all__ = ["CellClass", "axes_of", "axis_of", "check_names", "check_scan", "classes"]


class CellClass(IntEnum):
    """Class of a cell, from its state alone and never from its loss."""

    FAILED = 0
    TRIVIAL = 1
    UNIFORM = 2
    PATTERN = 3
    UNSTEADY = 4


def axes_of(data: xr.Dataset) -> list[str]:
    """The parameters a scan varies, in the order of its dimensions."""
    if not isinstance(data, xr.Dataset) or "status" not in data:
        raise TypeError(f"data must be a dataset of gsimplicit.scan, got {type(data).__name__}")
    return [str(name) for name in data["status"].dims if name != "sample"]


def classes(data: xr.Dataset) -> xr.DataArray:
    """`CellClass` of every cell: the kind of its state, unless the march reached its cap, diverged or failed."""
    check_scan(data)
    status, kind = data["status"], data["kind"]
    out = kind.where(status != Status.UNSTEADY, int(CellClass.UNSTEADY))
    bad = status.isin([Status.NOT_RUN, Status.DIVERGED, Status.FAILED]) | (kind == Kind.UNKNOWN)
    out = out.where(~bad, int(CellClass.FAILED))
    words = flag_attributes(member.name.lower() for member in CellClass)
    out.attrs = {"long_name": "class of the cell", "units": "1", **words}
    return out.rename("cell_class").astype(np.int8)


def check_scan(data: xr.Dataset, *objectives: str) -> None:
    """Raise unless this is a dataset of a scan that holds what is asked of it."""
    if not isinstance(data, xr.Dataset):
        raise TypeError(f"data must be a dataset of gsimplicit.scan, got {type(data).__name__}")
    asked = ("status", "kind", *(["loss"] if objectives else []))
    missing = [name for name in asked if name not in data]
    if missing:
        raise ValueError(f"data must be a dataset of gsimplicit.scan, got one without {', '.join(missing)}")
    check_names("objective", objectives, data)


def check_names(dimension: str, names: Sequence[str], data: xr.Dataset) -> None:
    """Raise for a name that a text coordinate of a scan does not hold."""
    known = [str(one) for one in data[dimension].values.reshape(-1)] if dimension in data.coords else []
    for name in names:
        if not isinstance(name, str) or name not in known:
            raise ValueError(f"{dimension} must be one of {known}, got {checks.shown(name)}{checks.meant(name, known)}")


def axis_of(data: xr.Dataset, axis: str) -> str:
    """The name of an axis that a scan has."""
    return checks.choice("axis", axis, axes_of(data))
