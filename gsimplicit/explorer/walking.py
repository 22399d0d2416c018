"""A walk over a landscape: from a place against a route's gradient, a step at a time, each gradient computed anew."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

import gsimplicit as gs
from gsimplicit import checks
from gsimplicit.explorer.landscape import Landscape, Point

__all__ = ["Stop", "begin", "downhill", "look", "state_at", "step"]


@dataclass(frozen=True)
class Stop:
    """A place of a walk.

    Attributes:
        place: Values of the two axes, down and across.
        loss: Of the state where the route took its gradient, of a point of the file that of the scan's march; NaN where
            there is none.
        slope: Derivative of the loss in the two axes; NaN where the route has none.
        status: How the state ended.
        said: Why the walk cannot go on from here, empty where it can.
        state: The state itself.
    """

    place: tuple[float, float]
    loss: float
    slope: tuple[float, float]
    status: str
    said: str
    state: gs.SteadyState | None = None


def downhill(slope: tuple[float, float], cell: tuple[float, float]) -> tuple[float, float]:
    """Where it goes down, as one cell's length measured in cells of the plane; (0, 0) where nothing is known.

    Args:
        slope: Derivative in the two axes.
        cell: Distance of neighbouring points along each.

    Examples:
        >>> from gsimplicit.explorer.walking import downhill
        >>> downhill((0.0, 5.0), (0.01, 0.002)), downhill((float("nan"), 1.0), (1.0, 1.0))
        ((-0.0, -1.0), (0.0, 0.0))
    """
    steep = [g * h for g, h in zip(slope, cell, strict=True)]
    norm = math.hypot(*steep)
    if not math.isfinite(norm) or norm == 0:
        return 0.0, 0.0
    return -steep[0] / norm, -steep[1] / norm


def begin(point: Point, route: str, objective: str) -> Stop:
    """A stop at a point of the file, with the gradient that the scan stored there."""
    status, slopes = point.gradients[route]
    slope = slopes[objective]
    said = "" if all(map(math.isfinite, slope)) else f"the {route} route has no gradient here: it ended {status}"
    return Stop(point.place, point.losses[objective], slope, status, said)


def look(plane: Landscape, place: tuple[float, float], route: str, objective: str, sample: int) -> Stop:
    """Loss and gradient at any place of a plane, asked as the scan asked them. Takes as long as a point of the scan.

    Raises:
        ValueError: The file does not hold what makes it again, the route or loss is not among its own, or the loss is
            none of a state.
    """
    known = plane.known()
    if objective == "residual":
        raise ValueError("the residual loss is taken at the target and follows no route: choose another loss")
    index = plane.objectives.index(checks.choice("objective", objective, plane.objectives))
    which = plane.routes.index(checks.choice("route", route, plane.routes))
    try:
        params = plane.params(place)
        out = gs.grad(
            params,
            known["routes"][which],
            loss=known["losses"][index],
            target=_target(plane, sample),
            initial=plane.start(sample),
            progress=False,
            **_march(plane),
        )
    except gs.NotSteady as error:
        status = gs.Status(int(error.state.status[0])).name.lower()
        return Stop(place, math.nan, (math.nan, math.nan), status, str(error).splitlines()[0], error.state)
    slope = tuple(float(getattr(out.grad, name)[0]) for name in plane.axes)
    status = gs.Status(int(out.state.status[0])).name.lower()
    said = "" if all(map(math.isfinite, slope)) else f"the {route} route has no gradient here"
    return Stop(place, float(out.loss[0]), (slope[0], slope[1]), status, said, out.state)


def step(plane: Landscape, stop: Stop, length: float) -> tuple[float, float]:
    """The place one step on from a stop: so many cells downhill, and no further than half a cell outside the plane.

    Raises:
        ValueError: There is no way down from here, or the length is not above 0.
    """
    length = checks.real("length", length)
    if length <= 0:
        raise ValueError(f"length must be > 0 cells, got {length:g}")
    cell = plane.cell()
    way = downhill(stop.slope, cell)
    if way == (0.0, 0.0):
        raise ValueError(stop.said or "the gradient is zero here")
    out = []
    for axis in (0, 1):
        values, half = plane.values(axis), cell[axis] / 2
        moved = stop.place[axis] + length * way[axis] * cell[axis]
        out.append(min(max(moved, float(values[0]) - half), float(values[-1]) + half))
    return out[0], out[1]


def state_at(plane: Landscape, place: tuple[float, float], sample: int) -> gs.SteadyState:
    """The state of any place of a plane, marched and refined as the scan did.

    Raises:
        ValueError: The file does not hold what makes it again.
    """
    refine = plane.known()["refine"]
    return gs.steady_state(plane.params(place), plane.start(sample), refine=refine, progress=False, **_march(plane))


def _march(plane: Landscape) -> dict[str, Any]:
    """How the scan marched."""
    return {name: plane.known()[name] for name in ("tol", "max_steps", "check_every", "dtype", "dt", "backend")}


def _target(plane: Landscape, sample: int) -> Any:
    """The target of a sample, shape (1, H, W); of all species where the file has them alone."""
    for name in ("target", "target_fields"):
        if name in plane.data:
            values = plane.data[name].values
            return torch.from_numpy(values[[min(sample, len(values) - 1)]].astype("float64"))
    raise ValueError(f"{plane.path.name} holds no target")
