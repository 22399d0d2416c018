"""Coordinates of pictures: where the pixels lie, in the caller's unit of length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gsimplicit.checks import shown

Array = np.ndarray[Any, np.dtype[np.float64]]

EVEN = 1e-3
"""Part of the spacing by which coordinates may be off, as rounding to single precision may leave them."""


@dataclass(frozen=True, eq=False)
class Axes:
    """Coordinates of the rows and columns of pictures.

    Attributes:
        rows: Of the rows, shape (H,); None where none were given.
        columns: Of the columns, shape (W,); None where none were given.
        spacing: Distance of neighbouring pixels, the same along both; 1 where no coordinates were given.
        unit: Their unit in words; empty where nobody said it.
        names: Of the last two dimensions of a labelled array; none of others.
    """

    rows: Array | None = None
    columns: Array | None = None
    spacing: float = 1.0
    unit: str = ""
    names: tuple[str, ...] = ()


def axes_of(name: str, given: Any) -> Axes:
    """Coordinates of a labelled array's last two dimensions; those of pixels for everything else.

    Raises:
        ValueError: One of the two has none, or they are not evenly and equally spaced.
        TypeError: They are no numbers.
    """
    dims, coords = getattr(given, "dims", None), getattr(given, "coords", None)
    if type(given).__module__.partition(".")[0] != "xarray" or dims is None or coords is None or len(dims) < 2:
        return Axes()
    last = [str(d) for d in dims[-2:]]
    have = [d for d in last if d in coords]
    if not have:
        return Axes(names=tuple(last))
    if len(have) < 2:
        missing = next(d for d in last if d not in coords)
        raise ValueError(
            f"{name} must have coordinates along both {last[0]} and {last[1]}, or none: {missing} has none"
        )
    rows, columns = (_numbers(name, d, coords[d]) for d in last)
    h, w = (_spacing(name, d, x) for d, x in zip(last, (rows, columns), strict=True))
    if abs(h - w) > EVEN * min(h, w):
        raise ValueError(
            f"{name} must have pixels as high as wide: the spacing is {h:.6g} along {last[0]} and {w:.6g} along "
            f"{last[1]}; resample it"
        )
    units = {str(coords[d].attrs.get("units", "")) for d in last} - {""}
    if len(units) > 1:
        raise ValueError(f"{name} must have {last[0]} and {last[1]} in one unit, got {' and '.join(sorted(units))}")
    return Axes(rows, columns, float((h + w) / 2), "".join(units), tuple(last))


def require_same(name: str, given: Any, axes: Axes) -> None:
    """Refuse what lies elsewhere than v does.

    Raises:
        ValueError: It has coordinates of its own.
    """
    own = axes_of(name, given)
    if own.names and axes.names and own.names != axes.names:
        raise ValueError(f"{name} must have the dimensions of v, {' and '.join(axes.names)}, in this order, got "
                         f"{' and '.join(own.names)}: transpose it")  # fmt: skip
    for which, a, b in (("rows", own.rows, axes.rows), ("columns", own.columns, axes.columns)):
        if a is not None and (b is None or a.shape != b.shape or np.abs(a - b).max() > EVEN * axes.spacing):
            raise ValueError(f"{name} must lie where v does: its {which} have other coordinates")


def _numbers(name: str, dim: str, coordinate: Any) -> Array:
    values = np.asarray(coordinate.values)
    if values.ndim != 1 or values.dtype.kind not in "fiu":
        raise TypeError(f"{dim} of {name} must be numbers, got {shown(values)}")
    if not np.isfinite(values).all():
        raise ValueError(f"{dim} of {name} must be finite, got {shown(values.tolist())}")
    return values.astype(np.float64)


def _spacing(name: str, dim: str, x: Array) -> float:
    steps = np.diff(x)
    h = abs(float(x[-1] - x[0])) / max(len(steps), 1)
    if (
        len(steps) == 0
        or h == 0
        or np.abs(np.abs(steps) - h).max() > EVEN * h
        or np.abs(np.sign(steps).sum()) < len(steps)
    ):
        ends = f"{np.abs(steps).min():.6g} to {np.abs(steps).max():.6g}" if len(steps) else "none"
        raise ValueError(f"{name} must be evenly spaced along {dim}: its steps are {ends}; resample it")
    return h
