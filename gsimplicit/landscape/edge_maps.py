"""Faces of a plane as boolean maps, and how far two of them are the same."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from gsimplicit import checks
from gsimplicit.landscape.cells import axes_of, check_scan
from gsimplicit.landscape.cliffs import edges

__all__ = ["Agreement", "agreement", "edge_map"]


def edge_map(
    data: xr.Dataset, objective: str, what: str = "cliff", *, route: str | None = None, share: float = 0.25
) -> tuple[Any, Any]:
    """Faces of a plane as one boolean map, and where nothing is known.

    Args:
        data: One sample of a scan over two parameters.
        objective: Loss.
        what: "cliff" or "class_edge" of the marched state, or "route_cliff" of a route's own loss.
        route: Route, for "route_cliff".
        share: As for `edges`.

    Returns:
        Two bool arrays of shape (2 n - 1, 2 m - 1) over the doubled lattice: cells have even indices, the face between
        two cells the odd one between theirs. The second marks faces of which an end is unsteady or failed, or has no
        gradient.
    """
    check_scan(data, objective)
    what = checks.choice("what", what, ("cliff", "class_edge", "route_cliff"))
    if len(axes_of(data)) != 2 or "sample" in data["status"].dims:
        raise ValueError(f"data must be one sample of a scan over two parameters, got dimensions {data['status'].dims}")
    if (what == "route_cliff") != (route is not None):
        raise ValueError(
            f"what must be 'route_cliff' where a route is given, and only there, got {what!r} and {route!r}"
        )
    down, across = axes_of(data)
    n, m = data.sizes[down], data.sizes[across]
    found, unknown = np.zeros((2 * n - 1, 2 * m - 1), bool), np.zeros((2 * n - 1, 2 * m - 1), bool)
    for axis, rows, columns in (
        (down, slice(1, None, 2), slice(0, None, 2)),
        (across, slice(0, None, 2), slice(1, None, 2)),
    ):
        one = edges(data, axis, objective, [] if route is None else [route], share=share)
        if route is not None:
            one = one.isel(route=0)
        one = one.transpose(down, across)
        found[rows, columns] = one[what].values
        lost = one["unknown"] if route is None else one["route_unknown"]
        unknown[rows, columns] = lost.values
    return found, unknown


@dataclass(frozen=True)
class Agreement:
    """How far two maps of faces are the same.

    Attributes:
        first: Faces of the first map, where both are known.
        second: Faces of the second.
        iou: Intersection over union.
        within_one: Share of the faces of both that have one of the other within a cell.
        first_within: Share of the first's that have one of the second's within a cell.
        second_within: The converse.
        hausdorff: Largest distance from a face of one to the nearest of the other, in cells.
        hausdorff95: Its 95th percentile.
        kappa: Cohen's kappa of the two maps: 1 the same, 0 as chance has it.
        null: Mean kappa against copies of the second shifted by 3 to 6 cells along both axes.
    """

    first: int
    second: int
    iou: float
    within_one: float
    first_within: float
    second_within: float
    hausdorff: float
    hausdorff95: float
    kappa: float
    null: float


def agreement(first: tuple[Any, Any], second: tuple[Any, Any]) -> Agreement:
    """Compare two maps of `edge_map` of one shape; faces unknown in either are left out of both."""
    from scipy.spatial import KDTree

    first, second = (_map(name, given) for name, given in (("first", first), ("second", second)))
    if first[0].shape != second[0].shape:
        raise ValueError(f"first and second must be maps of one shape, got {first[0].shape} and {second[0].shape}")
    known = ~(first[1] | second[1])
    a, b = first[0] & known, second[0] & known
    lattice = _edge_lattice(a.shape)
    either = int((a | b).sum())
    points = [np.argwhere(x) / 2 for x in (a, b)]
    nan = float("nan")
    if not len(points[0]) or not len(points[1]):
        # an empty map has no distance to another, but is far from one that is not empty
        none = 0.0 if either else nan
        return Agreement(len(points[0]), len(points[1]), none, none, none, none, nan, nan, nan, nan)
    each: list[Any] = [KDTree(points[1]).query(points[0])[0], KDTree(points[0]).query(points[1])[0]]
    apart = np.concatenate(each)
    # along both axes at once: a straight cliff shifted along itself would still be itself
    shifts = [d for d in range(-12, 13) if abs(d) >= 6 and d % 2 == 0]
    copies = [_shifted_kappa(a, b, known & lattice, *s) for s in product(shifts, shifts)]
    null = [kappa for kappa in copies if np.isfinite(kappa)] or [nan]
    return Agreement(
        len(points[0]), len(points[1]), float((a & b).sum() / either), float((apart <= 1).mean()),
        float((each[0] <= 1).mean()), float((each[1] <= 1).mean()), float(apart.max()),
        float(np.percentile(apart, 95)), _kappa(a, b, known & lattice), float(np.mean(null)),
    )  # fmt: skip


def _map(name: str, given: tuple[Any, Any]) -> tuple[Any, Any]:
    """Two boolean arrays of one shape, as `edge_map` gives them."""
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise TypeError(f"{name} must be the two maps of edge_map, got {checks.shown(given)}")
    found, unknown = (np.asarray(one) for one in given)
    if found.dtype != bool or unknown.dtype != bool or found.ndim != 2 or found.shape != unknown.shape:
        raise ValueError(f"{name} must be two boolean arrays of one shape, got {found.shape} and {unknown.shape}")
    return found, unknown


def _edge_lattice(shape: tuple[int, ...]) -> Any:
    """Where the doubled lattice has faces: one index odd, the other even."""
    rows, columns = np.indices(shape)
    return (rows + columns) % 2 == 1


def _shifted_kappa(a: Any, b: Any, known: Any, down: int, across: int) -> float:
    """Kappa of a against b shifted, where the two overlap and both are known."""

    def cut(x: Any, by: tuple[int, int]) -> Any:
        rows, columns = (slice(max(s, 0), max(n + min(s, 0), 0)) for s, n in zip(by, x.shape, strict=True))
        return x[rows, columns]

    here, there = (down, across), (-down, -across)
    return _kappa(cut(a, here), cut(b, there), cut(known, here) & cut(known, there))


def _kappa(a: Any, b: Any, where: Any) -> float:
    x, y = a[where], b[where]
    if not len(x):
        return float("nan")
    same, p, q = float((x == y).mean()), float(x.mean()), float(y.mean())
    chance = p * q + (1 - p) * (1 - q)
    return (same - chance) / (1 - chance) if chance < 1 else float("nan")
