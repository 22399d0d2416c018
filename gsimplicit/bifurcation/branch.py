"""Branches of patterns: a certified root followed in a parameter past its folds, and where it loses stability.

Pseudo-arclength continuation after Keller: the parameter is one more unknown, and the distance along the branch one
more equation, so that a fold is a point like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gsimplicit import checks
from gsimplicit.bifurcation.curve import SHARE, UNIT, BranchPoint, Curve, Point
from gsimplicit.bifurcation.met import Fold, Instability
from gsimplicit.equations import DEFAULT, Model, instances
from gsimplicit.results import SteadyState
from gsimplicit.surroundings import own_surroundings
from gsimplicit.threads import one_blas_thread

__all__ = ["Branch", "Fold", "Instability", "follow"]

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, eq=False)
class Branch:
    """A branch of roots in one parameter.

    Attributes:
        parameter: Name of the parameter.
        params: All parameters of each point, shape (n, P).
        fields: Shape (n, S, H, W).
        drift: Velocity along rows and columns, shape (n, 2).
        slope: Derivative of the parameter along the branch, shape (n,); it changes sign at a fold.
        eigenvalues: Leading eigenvalues, shape (n, m), m = 0 unless asked for.
        residual: Largest bordered residual, shape (n,).
        folds: Where it turned back, in the order they were met.
        instabilities: Where its leading eigenvalue crossed, in the order they were met.
        ended: Why it ended: "range", "points", "folds", "step", or "branching" where another branch crosses and the
            tangent turns at once.
        model: The model.
        unit: Change of the parameter that counted as far along the branch as one of the fields by the model's scale.

    Examples:
        >>> import gsimplicit as gs
        >>> from gsimplicit.bifurcation.branch import follow
        >>> start = gs.initial_state(grid=(4, 4), noise=0.0, box=None) * 0 + 0.3
        >>> state = gs.steady_state(gs.Params(0.16, 0.08, 0.05, 0.055), start, refine=True)
        >>> branch = follow(state, "k", low=0.05)
        >>> branch.parameter, branch.fields.shape[1:], len(branch.folds)
        ('k', (2, 4, 4), 1)
    """

    parameter: str
    params: Array
    fields: Array
    drift: Array
    slope: Array
    eigenvalues: np.ndarray[Any, np.dtype[np.complex128]]
    residual: Array
    folds: tuple[Fold, ...]
    instabilities: tuple[Instability, ...]
    ended: str
    model: Model = DEFAULT
    unit: float = UNIT

    @property
    def values(self) -> Array:
        """The parameter at each point, shape (n,)."""
        return self.params[:, self.model.parameters.index(self.parameter)]


@own_surroundings
def follow(
    state: SteadyState,
    parameter: str = "k",
    *,
    direction: int = 1,
    low: float | None = None,
    high: float = np.inf,
    step: float = 0.02,
    max_step: float = 0.05,
    max_points: int = 200,
    max_folds: int | None = None,
    eigenvalues: int = 0,
    watch: Callable[[float, int], None] | None = None,
    unit: float | None = None,
    dt: float = 1.0,
) -> Branch:
    """Follow a root in a parameter, past folds.

    Args:
        state: One certified root, of `steady_state(..., refine=True)`.
        parameter: Name of one of the model's parameters.
        direction: 1 begins with the parameter rising, -1 falling.
        low: Ends where the parameter falls below; None is the lowest value of its range.
        high: Ends where it rises above.
        step: First step along the branch, > 0: root of the mean square of the species' change, by the model's scale,
            and the square of the parameter's change, by its unit.
        max_step: Longest step.
        max_points: Most points, >= 2.
        max_folds: Ends at the first point past so many folds, >= 1; None goes on.
        eigenvalues: Leading eigenvalues at each point; with at least 1 instabilities are located.
        watch: Called with the parameter and the number of points after each.
        unit: Change of the parameter that counts as far along the branch as a change of all species by the model's
            scale, > 0. None is 0.01 for Gray-Scott, for other models a tenth of the parameter's value and at least
            0.01. Where a branch takes too many points, a larger one takes longer steps in the parameter.
        dt: Length of the explicit steps by which eigenvalues are first looked for, > 0.

    Returns:
        The branch, every point to a bordered residual of 1e-12 by the model's scale, folds and instabilities to 1e-6 of
        the unit.

    Raises:
        NotSteady: The state is no root.
        ValueError: An argument lies outside its range, or the root could not be closed.

    Example:
        >>> import gsimplicit as gs
        >>> from gsimplicit.bifurcation.branch import follow
        >>> from gsimplicit.bifurcation.uniform import saddle_node
        >>> start = gs.initial_state(grid=(4, 4), noise=0.0, box=None) * 0 + 0.3
        >>> state = gs.steady_state(gs.Params(0.16, 0.08, 0.05, 0.055), start, refine=True)
        >>> branch = follow(state, "k", low=0.05)
        >>> bool(abs(branch.folds[0].value - saddle_node(0.05)) < 1e-8)
        True
    """
    _require_one(state)
    parameter = checks.choice("parameter", parameter, state.model.parameters)
    if checks.integer("direction", direction, -checks.LARGEST) not in (1, -1):
        raise ValueError(f"direction must be 1 or -1, got {checks.shown(direction)}")
    step = checks.real("step", step, above=0)
    bounds = state.model.range_of(parameter)
    until = _limits(bounds[0] if low is None else low, high, step, max_step, max_points, max_folds)
    eigenvalues = checks.integer("eigenvalues", eigenvalues, 0)
    if not (watch is None or callable(watch)):
        raise TypeError(f"watch must be a callable of a parameter and a number, or None, got {checks.shown(watch)}")
    state.require_steady()
    _require_inside(until.ends, bounds, parameter, float(getattr(state.params, parameter)[0]))
    fields = state.fields[0].detach().to("cpu", torch.float64).numpy()
    unit = _unit(state, parameter) if unit is None else checks.real("unit", unit, above=0)
    curve = Curve(next(instances(state.params, checks.real("dt", dt, above=0))), parameter, fields, unit)
    start = Point(fields, state.drift[0].numpy(), state.params.tensor()[0].numpy())
    with one_blas_thread():
        trail = _Trail(curve, _first(curve, start, int(direction)), eigenvalues)
        return trail.branch(_followed(trail, step, until, watch))


@dataclass(frozen=True)
class _Limits:
    """Where a branch ends: `follow` says what they mean."""

    ends: tuple[float, float]
    max_step: float
    max_points: int
    max_folds: int | None


def _limits(low: float, high: float, step: float, max_step: float, max_points: int, max_folds: int | None) -> _Limits:
    """The limits of a branch, checked."""
    return _Limits(
        ends=(checks.real("low", low, finite=False), checks.real("high", high, finite=False)),
        max_step=checks.real("max_step", max_step, least=step),
        max_points=checks.integer("max_points", max_points, 2),
        max_folds=None if max_folds is None else checks.integer("max_folds", max_folds, 1),
    )


def _unit(state: SteadyState, parameter: str) -> float:
    """The unit of a parameter unless told."""
    value = abs(float(getattr(state.params, parameter)[0]))
    return UNIT if state.model is DEFAULT else max(UNIT, SHARE * value)


def _require_one(state: Any) -> None:
    """Raise unless this is a steady state of one instance."""
    if not isinstance(state, SteadyState):
        raise TypeError(f"state must be of gsimplicit.steady_state, got {type(state).__name__}")
    if len(state) != 1:
        raise ValueError(f"state must be one instance, got {len(state)}")


def _require_inside(ends: tuple[float, float], bounds: tuple[float, float], parameter: str, value: float) -> None:
    """Raise unless the ends lie within the parameter's bounds and about its value."""
    low, high = ends
    if not bounds[0] <= low <= value <= high:
        raise ValueError(
            f"low and high must enclose the state's {parameter}, {bounds[0]:g} <= low <= {value:g} <= high; "
            f"got {low:g}, {high:g}"
        )


def _first(curve: Curve, start: Point, direction: int) -> BranchPoint:
    """The first point of a branch, with its tangent in the direction asked for."""
    root = curve.closed(start)
    if root is None:
        raise ValueError("the root could not be closed to 1e-12")
    first = curve.with_tangent(root, None)
    return first.reversed() if first.tp * direction < 0 else first


class _Trail:
    """What was met along a branch so far."""

    def __init__(self, curve: Curve, start: BranchPoint, eigenvalues: int) -> None:
        self.curve, self._count = curve, eigenvalues
        self.points, self._eigenvalues = [start], [curve.leading(start, eigenvalues)]
        self.folds: list[Fold] = []
        self._instabilities: list[Instability] = []

    @property
    def now(self) -> BranchPoint:
        """The last point."""
        return self.points[-1]

    def take(self, new: BranchPoint, step: float) -> bool:
        """Go on to a point a step ahead, with what lies between; False where another branch crosses there."""
        curve, now, count = self.curve, self.now, self._count
        if now.tp * new.tp < 0:
            at = curve.between(now, step, lambda point: point.tp)
            if abs(at.tp) > 1e-3 * min(abs(now.tp), abs(new.tp)) + 1e-9:
                return False  # the tangent turns at once: this is no fold
            self.folds.append(Fold(curve.value(at), at.X, at.tX / np.linalg.norm(at.tX), at.residual))
        values = curve.leading(new, count)
        if count and self._eigenvalues[-1][0].real * values[0].real < 0:
            at = curve.between(now, step, lambda point: float(curve.leading(point, count)[0].real))
            eigenvalue = complex(curve.leading(at, count)[0])
            self._instabilities.append(Instability(curve.value(at), eigenvalue, at.X))
        self.points.append(new)
        self._eigenvalues.append(values)
        return True

    def branch(self, ended: str) -> Branch:
        """All of it as a branch."""
        points = self.points
        return Branch(
            self.curve.name,
            np.stack([p.params for p in points]),
            np.stack([p.X for p in points]),
            np.stack([p.c for p in points]),
            np.array([p.tp * self.curve.unit for p in points]),
            np.stack(self._eigenvalues),
            np.array([p.residual for p in points]),
            tuple(self.folds),
            tuple(self._instabilities),
            ended,
            self.curve.equations.model,
            self.curve.unit,
        )


def _followed(trail: _Trail, step: float, until: _Limits, watch: Callable[[float, int], None] | None) -> str:
    """Follow a branch until it ends; why it did."""
    curve = trail.curve
    while len(trail.points) < until.max_points:
        ahead = curve.advanced(trail.now, step)
        if ahead is None:
            step /= 2
            if step < 1e-5:
                return "step"
            continue
        new, iterations = ahead
        if not trail.take(new, step):
            return "branching"
        if watch is not None:
            watch(curve.value(new), len(trail.points))
        if until.max_folds is not None and len(trail.folds) >= until.max_folds:
            return "folds"
        if not until.ends[0] <= curve.value(new) <= until.ends[1]:
            return "range"
        step = min(until.max_step, step * (1.5 if iterations <= 4 else 0.7 if iterations >= 6 else 1.0))
    return "points"
