"""Cliffs and plateaus of a landscape: classes of cells, jumps between neighbours, and what a gradient foresaw of them.

All functions take a dataset of `scan` reduced to one sample, and return labelled arrays. Thresholds are arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from gsimplicit import checks
from gsimplicit.arrays import real_array
from gsimplicit.results import Kind, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "Agreement",
    "CellClass",
    "agreement",
    "axes_of",
    "boundaries",
    "classes",
    "curve_distance",
    "edge_map",
    "edges",
    "loss_range",
    "plateau_cells",
]


class CellClass(IntEnum):
    """Class of a cell, from its state alone and never from its loss."""

    FAILED = 0
    TRIVIAL = 1
    UNIFORM = 2
    PATTERN = 3
    UNSTEADY = 4


def _checked(data: xr.Dataset, *objectives: str) -> None:
    """Raise unless this is a dataset of a scan that holds what is asked of it."""
    if not isinstance(data, xr.Dataset):
        raise TypeError(f"data must be a dataset of gsimplicit.scan, got {type(data).__name__}")
    asked = ("status", "kind", *(["loss"] if objectives else []))
    missing = [name for name in asked if name not in data]
    if missing:
        raise ValueError(f"data must be a dataset of gsimplicit.scan, got one without {', '.join(missing)}")
    _known("objective", objectives, data)


def _known(dimension: str, names: Sequence[str], data: xr.Dataset) -> None:
    """Raise for a name that a text coordinate of a scan does not hold."""
    known = [str(one) for one in data[dimension].values.reshape(-1)] if dimension in data.coords else []
    for name in names:
        if not isinstance(name, str) or name not in known:
            raise ValueError(f"{dimension} must be one of {known}, got {checks.shown(name)}")


def _axis_of(data: xr.Dataset, axis: str) -> str:
    """The name of an axis that a scan has."""
    return checks.choice("axis", axis, axes_of(data))


def axes_of(data: xr.Dataset) -> list[str]:
    """The parameters a scan varies, in the order of its dimensions."""
    if not isinstance(data, xr.Dataset) or "status" not in data:
        raise TypeError(f"data must be a dataset of gsimplicit.scan, got {type(data).__name__}")
    return [str(name) for name in data["status"].dims if name != "sample"]


def classes(data: xr.Dataset) -> xr.DataArray:
    """`CellClass` of every cell: the kind of its state, unless the march reached its cap, diverged or failed."""
    _checked(data)
    status, kind = data["status"], data["kind"]
    out = kind.where(status != Status.UNSTEADY, int(CellClass.UNSTEADY))
    bad = status.isin([Status.NOT_RUN, Status.DIVERGED, Status.FAILED]) | (kind == Kind.UNKNOWN)
    out = out.where(~bad, int(CellClass.FAILED))
    members = list(CellClass)
    out.attrs = {
        "long_name": "class of the cell",
        "units": "1",
        "flag_values": np.array([int(m) for m in members], dtype=np.int8),
        "flag_meanings": " ".join(m.name.lower() for m in members),
    }
    return out.rename("cell_class").astype(np.int8)


def loss_range(data: xr.Dataset, objective: str) -> float:
    """Height R of the landscape: the 99th less the 1st percentile of the loss over the scan."""
    _checked(data, objective)
    low, high = data["loss"].sel(objective=objective).quantile([0.01, 0.99]).values
    return float(high - low)


def plateau_cells(data: xr.Dataset, objective: str, route: str, share: float = 1e-3) -> xr.DataArray:
    """Cells without a pattern where the gradient foresees less than `share` of R over one cell in every direction.

    Args:
        data: One sample of a scan with gradients.
        objective: Loss.
        route: Gradient route.
        share: Bound on `sum_i |g_i| h_i / R`, with h_i the spacing of the axis.

    Returns:
        Bool over the axes; False where the route has no gradient.
    """
    _checked(data, objective)
    _known("route", [route], data)
    share = checks.real("share", share, least=0)
    foreseen = xr.zeros_like(data["status"], dtype=float)
    for axis in axes_of(data):
        slope = data["gradient"].sel(objective=objective, route=route, parameter=axis, drop=True)
        at = data[axis].values
        spacing = xr.DataArray(np.gradient(at) if len(at) > 1 else np.zeros(1), dims=axis, coords={axis: at})
        foreseen = foreseen + abs(slope) * spacing
    flat = data["kind"].isin([Kind.TRIVIAL, Kind.UNIFORM])
    return flat & (foreseen <= share * loss_range(data, objective))


def edges(
    data: xr.Dataset, axis: str, objective: str, routes: Sequence[str] = (), *, share: float = 0.25
) -> xr.Dataset:
    """What lies between neighbouring cells p, q along one axis.

    Args:
        data: One sample of a scan.
        axis: Axis along which cells are neighbours.
        objective: Loss.
        routes: Routes whose gradients are compared with the jumps; each route's own loss and gradient are used.
        share: An edge is a cliff where the loss jumps by at least this share of R.

    Returns:
        On the midpoints of `axis`: `jump` (L(q) - L(p)), `cliff`, `class_edge`, `unknown` (an end is unsteady or
        failed); and by route `route_jump`, `foreseen` ((g(p) + g(q)) (q - p) / 2, NaN where an end has no gradient),
        `route_unknown` (the route's own state is unsteady or failed at an end, or has no gradient), `route_cliff`
        (its loss jumps as much, and is known) and `unexplained` (|route_jump - foreseen| / R).
        Attributes: `height` R and `least_jump`.
    """
    R, cell = loss_range(data, objective), classes(data)
    axis, share = _axis_of(data, axis), checks.real("share", share, least=0)
    routes = checks.listed("routes", routes, "a list of names")
    _known("route", routes, data)
    middle = (data[axis].values[1:] + data[axis].values[:-1]) / 2
    h = xr.DataArray(np.diff(data[axis].values), dims=axis, coords={axis: middle})

    def pair(values: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
        p, q = values.isel({axis: slice(None, -1)}), values.isel({axis: slice(1, None)})
        return p.assign_coords({axis: middle}), q.assign_coords({axis: middle})

    (Lp, Lq), (cp, cq) = pair(data["loss"].sel(objective=objective, drop=True)), pair(cell)
    lost = [int(CellClass.FAILED), int(CellClass.UNSTEADY)]
    unknown = cp.isin(lost) | cq.isin(lost)
    out = xr.Dataset(
        {
            "jump": Lq - Lp,
            "cliff": (abs(Lq - Lp) >= share * R) & ~unknown,
            "class_edge": (cp != cq) & ~unknown,
            "unknown": unknown,
        }
    )
    out.attrs = {"height": R, "least_jump": share * R}
    if routes:
        chosen = data.sel(objective=objective, route=list(routes), drop=True)
        Rp, Rq = pair(chosen["route_loss"])
        gp, gq = pair(chosen["gradient"].sel(parameter=axis, drop=True))
        out["route_jump"] = Rq - Rp
        out["foreseen"] = (gp + gq) * h / 2
        ended = [Status.NOT_RUN, Status.UNSTEADY, Status.DIVERGED, Status.FAILED]
        sp, sq = pair(chosen["route_status"].isin(ended))
        out["route_unknown"] = sp | sq | out["foreseen"].isnull()
        out["route_cliff"] = (abs(out["route_jump"]) >= share * R) & ~out["route_unknown"]
        out["unexplained"] = abs(out["route_jump"] - out["foreseen"]) / R
    return out


def edge_map(
    data: xr.Dataset, objective: str, what: str = "cliff", *, route: str | None = None, share: float = 0.25
) -> tuple[Any, Any]:
    """Edges of a plane as one boolean map, and where nothing is known.

    Args:
        data: One sample of a scan over two parameters.
        objective: Loss.
        what: "cliff" or "class_edge" of the marched state, or "route_cliff" of a route's own loss.
        route: Route, for "route_cliff".
        share: As for `edges`.

    Returns:
        Two bool arrays of shape (2 n - 1, 2 m - 1) over the doubled lattice: cells have even indices, the edge between
        two cells the odd one between theirs. The second marks edges of which an end is unsteady or failed, or has no
        gradient.
    """
    _checked(data, objective)
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
    """How far two maps of edges are the same.

    Attributes:
        first: Edges of the first map, where both are known.
        second: Edges of the second.
        iou: Intersection over union.
        within_one: Share of the edges of both that have one of the other within a cell.
        first_within: Share of the first's that have one of the second's within a cell.
        second_within: The converse.
        hausdorff: Largest distance from an edge of one to the nearest of the other, in cells.
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
    """Compare two maps of `edge_map` of one shape; edges unknown in either are left out of both."""
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
    """Where the doubled lattice has edges: one index odd, the other even."""
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
    _checked(data)
    axis = _axis_of(data, axis)
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
