"""A walk over a landscape: from a place against a route's gradient, a step at a time, each gradient computed anew."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import gsimplicit as gs
from gsimplicit import checks
from gsimplicit.explorer.landscape import Landscape, Point

__all__ = ["NOTHING", "Stop", "begin", "downhill", "least_change", "look", "state_at", "step"]

Array = np.ndarray[Any, np.dtype[np.float64]]

NOTHING = "the gradient says nothing here: over a cell the loss changes by less than a thousandth of itself"
"""Why a walk ends where it is flat."""


@dataclass(frozen=True)
class Stop:
    """A place of a walk.

    Attributes:
        place: Values of the two axes, down and across.
        loss: Of the state where the route took its gradient, of a point of the file that of the scan's march; NaN where
            there is none.
        slope: Derivative of the loss in the two axes; NaN where the route has none.
        least: Change of the loss over a cell below which the derivative says nothing: see `least_change`.
        status: How the state ended.
        said: Why the walk cannot go on from here, empty where it can.
        state: The state itself.
    """

    place: tuple[float, float]
    loss: float
    slope: tuple[float, float]
    least: float
    status: str
    said: str
    state: gs.SteadyState | None = None


def least_change(loss: float | Array, highest: float) -> Array:
    """Change of a loss over a cell below which a gradient says nothing, and is drawn as a dot.

    A thousandth of the loss there: a plateau is flat, whatever rounding makes of its derivative. And a billionth of the
    highest loss of the plane, where the loss itself is next to zero.

    Args:
        loss: At the place, or at many; NaN where there is none.
        highest: Of the plane.

    Examples:
        >>> from gsimplicit.explorer.walking import least_change
        >>> [float(least_change(loss, 200.0)) for loss in (100.0, 0.0)]
        [0.1, 2e-07]
    """
    return np.asarray(np.fmax(1e-3 * np.abs(loss), 1e-9 * abs(highest)))


def downhill(slope: tuple[float, float], cell: tuple[float, float], least: float = 0.0) -> tuple[float, float]:
    """Where it goes down, as one cell's length measured in cells of the plane; (0, 0) where nothing is known.

    Args:
        slope: Derivative in the two axes.
        cell: Distance of neighbouring points along each.
        least: Change over a cell that is told from none, see `least_change`.

    Examples:
        >>> from gsimplicit.explorer.walking import downhill
        >>> downhill((0.0, 5.0), (0.01, 0.002)), downhill((float("nan"), 1.0), (1.0, 1.0))
        ((-0.0, -1.0), (0.0, 0.0))
        >>> downhill((0.0, 5.0), (0.01, 0.002), least=0.1)
        (0.0, 0.0)
    """
    steep = [g * h for g, h in zip(slope, cell, strict=True)]
    norm = math.hypot(*steep)
    if not math.isfinite(norm) or norm <= least:
        return 0.0, 0.0
    return -steep[0] / norm, -steep[1] / norm


def begin(plane: Landscape, point: Point, route: str, objective: str) -> Stop:
    """A stop at a point of the file, with the gradient that the scan stored there."""
    status, slopes = point.gradients[route]
    why = f"the {route} route has no gradient here: it ended {status}"
    return _stop(plane, point.place, point.losses[objective], slopes[objective], (objective, point.sample), status, why)


def _stop(
    plane: Landscape,
    place: tuple[float, float],
    loss: float,
    slope: tuple[float, float],
    of: tuple[str, int],
    status: str,
    why: str,
    state: gs.SteadyState | None = None,
) -> Stop:
    """A stop at which it is said whether the derivative is one; `why` says that there is none."""
    least = float(least_change(loss, plane.highest(*of)))
    said = "" if downhill(slope, plane.cell(), least) != (0.0, 0.0) else NOTHING
    return Stop(place, loss, slope, least, status, said if all(map(math.isfinite, slope)) else why, state)


def look(plane: Landscape, place: tuple[float, float], route: str, objective: str, sample: int) -> Stop:
    """Loss and gradient at any place of a plane, asked as the scan asked them. Takes as long as a point of the scan.

    The residual loss follows no route: its derivative is exact whatever the route, and the state is marched to be seen.

    Raises:
        ValueError: The file does not hold what makes it again, or the route or loss is not among its own.
    """
    known, of = plane.known(), (objective, sample)
    index = plane.objectives.index(checks.choice("objective", objective, plane.objectives))
    which = plane.routes.index(checks.choice("route", route, plane.routes))
    params = plane.params(place)
    if objective == "residual":
        state = state_at(plane, place, sample)
        value, slope = _residual(plane, place, sample)
        return _stop(plane, place, value, slope, of, _status(state), "it has no derivative here", state)
    try:
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
        why, none = str(error).splitlines()[0], (math.nan, math.nan)
        return _stop(plane, place, math.nan, none, of, _status(error.state), why, error.state)
    slope = float(getattr(out.grad, plane.axes[0])[0]), float(getattr(out.grad, plane.axes[1])[0])
    why = f"the {route} route has no gradient here"
    return _stop(plane, place, float(out.loss[0]), slope, of, _status(out.state), why, out.state)


def step(plane: Landscape, stop: Stop, length: float) -> tuple[float, float]:
    """The place one step on from a stop: so many cells downhill, and no further than half a cell outside the plane.

    Raises:
        ValueError: There is no way down from here, or the length is not above 0.
    """
    length = checks.real("length", length)
    if length <= 0:
        raise ValueError(f"length must be > 0 cells, got {length:g}")
    cell = plane.cell()
    way = downhill(stop.slope, cell, stop.least)
    if way == (0.0, 0.0):
        raise ValueError(stop.said)
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


def _residual(plane: Landscape, place: tuple[float, float], sample: int) -> tuple[float, tuple[float, float]]:
    """The residual loss of all species of the target, and its exact derivative in the two axes."""
    values = plane.data["target_fields"].values
    fields = torch.from_numpy(values[[min(sample, len(values) - 1)]].astype("float64"))
    down, across = (torch.tensor([x], dtype=torch.float64, requires_grad=True) for x in place)
    at = dict(zip(plane.axes, (down, across), strict=True))
    loss = gs.residual_loss(plane.known()["base"].replace(**at), fields)
    slope = torch.autograd.grad(loss.sum(), (down, across))
    return float(loss.detach()), (float(slope[0]), float(slope[1]))


def _status(state: gs.SteadyState) -> str:
    return gs.Status(int(state.status[0])).name.lower()
