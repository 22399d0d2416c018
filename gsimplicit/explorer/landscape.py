"""A landscape on the page: a file of `gsimplicit.scan` that was checked before it is believed, and its points."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import gsimplicit as gs
from gsimplicit import files
from gsimplicit.landscape.cells import axes_of

if TYPE_CHECKING:
    import os

    import xarray as xr

    from gsimplicit.equations import ModelParams

__all__ = ["Landscape", "Point", "opened"]

LARGEST_FILE = 2 * 2**30
"""Bytes of a file that is read into memory."""

LARGEST_PLANE = 65_536
"""Points of a plane that a browser is sent."""

LARGEST_GRID = 2048 * 2048
"""Pixels of the fields."""


@dataclass(frozen=True)
class Point:
    """A point of a landscape.

    Attributes:
        place: Values of the two axes, down and across.
        index: Its row and column in the plane.
        sample: Index of the initial field.
        stored: Whether the scan came to it.
        status: How its march or refinement ended.
        kind: What its state looks like.
        losses: By objective; NaN where there is none.
        gradients: By route: how the route's solve ended, and by objective the derivative in the two axes.
    """

    place: tuple[float, float]
    index: tuple[int, int]
    sample: int
    stored: bool
    status: str
    kind: str
    losses: dict[str, float]
    gradients: dict[str, tuple[str, dict[str, tuple[float, float]]]]


@dataclass(frozen=True, eq=False)
class Landscape:
    """A checked landscape over two parameters.

    Attributes:
        path: File it came from.
        data: Its dataset.
        axes: Names of the two axes, down and across.
        arguments: With which `scan` makes it again; None where a file cannot hold them.
        unknown: Why there are none, empty where there are.
    """

    path: Path
    data: xr.Dataset
    axes: tuple[str, str]
    arguments: dict[str, Any] | None
    unknown: str

    @property
    def objectives(self) -> list[str]:
        """Names of the losses."""
        return [str(name) for name in self.data["objective"].values]

    @property
    def routes(self) -> list[str]:
        """Names of the routes."""
        return [str(name) for name in self.data["route"].values] if "route" in self.data.coords else []

    @property
    def samples(self) -> int:
        """Number of initial fields."""
        return int(self.data.sizes["sample"])

    @property
    def stored(self) -> tuple[int, int]:
        """Number of points that the scan has come to, and of all."""
        points = self.data.sizes[self.axes[0]] * self.data.sizes[self.axes[1]]
        return int(self.data["done"].sum()) if "done" in self.data else points, points

    def now(self) -> Landscape:
        """The landscape with what a scan that still runs has stored since; itself where that cannot be read."""
        try:
            return opened(self.path) if self.stored[0] < self.stored[1] else self
        except (OSError, ValueError):
            return self

    def values(self, axis: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Values of an axis, 0 down or 1 across."""
        return np.asarray(self.data[self.axes[axis]].values, dtype=np.float64)

    def loss(self, objective: str, sample: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The loss at every point, NaN where there is none, shape (down, across)."""
        chosen = self.data["loss"].sel(objective=objective).isel(sample=sample)
        return np.asarray(chosen.transpose(*self.axes).values, dtype=np.float64)

    def highest(self, objective: str, sample: int) -> float:
        """The highest loss of the plane; NaN where there is none."""
        return float(np.fmax.reduce(self.loss(objective, sample), axis=None))

    def cell(self) -> tuple[float, float]:
        """Mean distance of neighbouring points, down and across."""
        down, across = (self.values(n) for n in (0, 1))
        return float(np.ptp(down)) / (len(down) - 1), float(np.ptp(across)) / (len(across) - 1)

    def nearest(self, down: float, across: float) -> tuple[int, int]:
        """Row and column of the point nearest to a place; places outside belong to the rim."""
        rows, columns = (self.values(n) for n in (0, 1))
        return int(np.abs(rows - down).argmin()), int(np.abs(columns - across).argmin())

    def point(self, index: tuple[int, int], sample: int = 0) -> Point:
        """What the file holds of a point."""
        at = dict(zip(self.axes, index, strict=True))
        one = self.data.isel(at | {"sample": sample})
        names = self.objectives
        gradients = {}
        for route in self.routes:
            there = one.sel(route=route)
            slopes = {n: tuple(self._slope(there, n, axis) for axis in self.axes) for n in names}
            gradients[route] = _word(there["route_status"]), slopes
        return Point(
            (float(self.values(0)[index[0]]), float(self.values(1)[index[1]])),
            index,
            sample,
            bool(one["done"]) if "done" in one else True,
            _word(one["status"]),
            gs.Kind(int(one["kind"])).name.lower(),
            {name: float(one["loss"].sel(objective=name)) for name in names},
            gradients,  # type: ignore[arg-type]
        )

    def kept(self, point: Point) -> np.ndarray[Any, np.dtype[np.float32]] | None:
        """The pattern of a point, where the scan kept it: float32, shape (H, W)."""
        if "v" not in self.data or not point.stored:
            return None
        at = dict(zip(self.axes, point.index, strict=True)) | {"sample": point.sample}
        found = np.asarray(self.data["v"].isel(at).values, dtype=np.float32)
        return found if np.isfinite(found).all() else None

    def params(self, place: tuple[float, float]) -> ModelParams:
        """The parameters of a place on the plane.

        Raises:
            ValueError: The model is a user's own, which a file does not hold, or the place lies outside its ranges.
        """
        base: ModelParams = self.known()["base"]
        return base.replace(**dict(zip(self.axes, place, strict=True)))

    def start(self, sample: int) -> torch.Tensor:
        """The initial field of a sample, shape (1, S, H, W)."""
        return torch.from_numpy(np.array(self.data["initial"].values[[sample]], dtype=np.float64))

    def dt(self) -> float:
        """Length of a step of the scan."""
        return float(self.known()["dt"])

    def known(self) -> dict[str, Any]:
        """The arguments that make the scan again.

        Raises:
            ValueError: The file cannot hold them.
        """
        if self.arguments is None:
            raise ValueError(f"{self.path.name} can only be looked at: {self.unknown}")
        return self.arguments

    def _slope(self, there: xr.Dataset, objective: str, axis: str) -> float:
        known = [str(name) for name in there["parameter"].values]
        return float(there["gradient"].sel(objective=objective, parameter=axis)) if axis in known else float("nan")


def opened(path: str | os.PathLike[str]) -> Landscape:
    """Read a landscape, and raise unless it is one that the page can show.

    It is read by `gsimplicit.partial_scan`: nothing is unpickled, checksums are tested, and a scan that still runs may
    be looked at.

    Args:
        path: NetCDF file of `gsimplicit.scan` over two axes.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no landscape of two axes, too large, or holds what no scan writes.
        OSError: It is damaged, or no NetCDF file.
    """
    file = files.place("file", path)
    if file.exists() and file.stat().st_size > LARGEST_FILE:
        raise ValueError(
            f"{file} must hold at most {LARGEST_FILE / 2**30:g} GiB, got {file.stat().st_size / 2**30:.1f}"
        )
    try:
        data = gs.partial_scan(file)
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except OSError as error:
        raise OSError(f"{file} is no NetCDF file, or a part of it is missing: {error}") from error
    try:
        _check(data)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{file} is no landscape that can be shown: {error}") from error
    down, across = axes_of(data)
    arguments, unknown = None, ""
    try:
        arguments = gs.scan_arguments(data)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        unknown = str(error)
    return Landscape(file, data, (down, across), arguments, unknown)


def _check(data: xr.Dataset) -> None:
    """Raise unless dimensions, sizes and values are those of a scan over two axes."""
    missing = [name for name in ("status", "kind", "loss", "initial") if name not in data]
    if missing:
        raise ValueError(f"it has no {', '.join(missing)}")
    axes = axes_of(data)
    if len(axes) != 2:
        raise ValueError(f"it must have 2 axes, got {len(axes)} ({', '.join(axes)})")
    points = (*axes, "sample")
    routes = (*points, "route", "objective", "parameter")
    shapes: dict[str, tuple[str, ...]] = {"status": points, "kind": points, "loss": (*points, "objective")}
    shapes |= {"initial": ("sample", "component", "y", "x"), "gradient": routes, "route_status": routes[:4]}
    shapes |= {"v": (*points, "y", "x"), "done": tuple(axes)}
    for name, dims in shapes.items():
        if name in data and set(data[name].dims) != set(dims):
            raise ValueError(
                f"{name} must have dimensions {', '.join(dims)}, got {', '.join(map(str, data[name].dims))}"
            )
        if name in data and data[name].dtype.kind not in "fiub":
            raise ValueError(f"{name} must hold numbers, got {data[name].dtype}")
    if ("gradient" in data) != ("route_status" in data):
        raise ValueError("gradient and route_status must come together")
    _check_sizes(data, axes)
    for name in axes:
        _check_axis(name, data[name].values)
    if not np.isfinite(data["initial"].values).all():
        raise ValueError("initial must hold finite values")
    for name in [n for n in ("loss", "gradient") if n in data]:
        if np.isinf(data[name].values).any():
            raise ValueError(f"{name} must hold finite values, or NaN where there is none")
    for name, words in (("status", gs.Status), ("kind", gs.Kind), ("route_status", gs.Status)):
        if name in data and not np.isin(data[name].values, [int(word) for word in words]).all():
            raise ValueError(f"{name} must hold integers of 0..{len(words) - 1}")


def _check_sizes(data: xr.Dataset, axes: list[str]) -> None:
    """Raise where it is empty, or more than a page holds."""
    count, pixels = data.sizes[axes[0]] * data.sizes[axes[1]], data.sizes["y"] * data.sizes["x"]
    if count > LARGEST_PLANE or pixels > LARGEST_GRID:
        raise ValueError(
            f"it must have at most {LARGEST_PLANE:,} points and {LARGEST_GRID:,} pixels, got {count:,} and {pixels:,}"
        )
    if not (data.sizes["sample"] and data.sizes["objective"]):
        raise ValueError("it has no sample, or no objective")


def _check_axis(name: str, values: np.ndarray[Any, Any]) -> None:
    """Raise unless an axis has two values or more that rise."""
    if values.ndim != 1 or values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise ValueError(f"the axis {name} must hold finite numbers")
    if len(values) < 2 or not (np.diff(values) > 0).all():
        raise ValueError(f"the axis {name} must have 2 values or more that rise, got {len(values)}")


def _word(value: xr.DataArray) -> str:
    return gs.Status(int(value)).name.lower()
