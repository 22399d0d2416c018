"""Cliffs and plateaus of a landscape: jumps of the loss between neighbours, and what a gradient foresaw of them.

All functions take a dataset of `scan` reduced to one sample, and return labelled arrays. Thresholds are arguments.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from gsimplicit import checks
from gsimplicit.landscape.cells import CellClass, axes_of, axis_of, check_names, check_scan, classes
from gsimplicit.results import Kind, Status

__all__ = ["edges", "flat_plateau", "loss_range"]


def loss_range(data: xr.Dataset, objective: str) -> float:
    """Height R of the landscape: the 99th less the 1st percentile of the loss over the scan."""
    check_scan(data, objective)
    low, high = data["loss"].sel(objective=objective).quantile([0.01, 0.99]).values
    return float(high - low)


def flat_plateau(data: xr.Dataset, objective: str, route: str, share: float = 1e-3) -> xr.DataArray:
    """Cells without a pattern where the gradient foresees less than `share` of R over one cell in every direction.

    Args:
        data: One sample of a scan with gradients.
        objective: Loss.
        route: Gradient route.
        share: Bound on `sum_i |g_i| h_i / R`, with h_i the spacing of the axis.

    Returns:
        Bool over the axes; False where the route has no gradient.
    """
    check_scan(data, objective)
    check_names("route", [route], data)
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
        share: A face is a cliff where the loss jumps by at least this share of R.

    Returns:
        On the midpoints of `axis`: `jump` (L(q) - L(p)), `cliff`, `class_edge`, `unknown` (an end is unsteady or
        failed); and by route `route_jump`, `foreseen` ((g(p) + g(q)) (q - p) / 2, NaN where an end has no gradient),
        `route_unknown` (the route's own state is unsteady or failed at an end, or has no gradient), `route_cliff`
        (its loss jumps as much, and is known) and `unexplained` (|route_jump - foreseen| / R).
        Attributes: `height` R and `least_jump`.
    """
    R, cell = loss_range(data, objective), classes(data)
    axis, share = axis_of(data, axis), checks.real("share", share, least=0)
    routes = checks.listed("routes", routes, "a list of names")
    check_names("route", routes, data)
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
