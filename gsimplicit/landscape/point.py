"""One point of a scan: all samples, losses and routes from one marched state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from gsimplicit.equations import ModelParams
from gsimplicit.labels import DEFINITIONS, VARIABLES, flag_word
from gsimplicit.landscape.plan import Plan
from gsimplicit.landscape.tiles import Values
from gsimplicit.losses import residual_loss
from gsimplicit.refine import Refine
from gsimplicit.results import NotSteady, Status, SteadyState
from gsimplicit.routes.ask import ask, from_one_root, losses_of
from gsimplicit.routes.route import Problem, Route

__all__ = ["Here", "Together", "evaluate", "evaluate_row"]

_ROUTE_VARIABLES = [name for name, variable in VARIABLES.items() if variable.part == "route"]


def evaluate_row(plan: Plan, backwards: bool, points: Sequence[Sequence[float]]) -> Values:
    """All variables of a row of points, stacked; each starts from the state of the one before it.

    A state that diverged is not followed: the next point starts where that one did.
    """
    rows: list[Values] = []
    fields = plan.initial
    for point in reversed(points) if backwards else points:
        values, reached = _evaluated(replace(plan, initial=fields), point)
        reached = reached.to("cpu", torch.float64)
        finite = torch.isfinite(reached).flatten(1).all(dim=1)
        fields = torch.where(finite[:, None, None, None], reached, fields)
        rows.append(values)
    if backwards:
        rows.reverse()
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def evaluate(plan: Plan, point: Sequence[float]) -> Values:
    """All variables of one point, given by its parameters in the model's order."""
    return _evaluated(plan, point)[0]


_FAILS = (np.linalg.LinAlgError, ArithmeticError, NotSteady)
"""What a route may raise: a status of the point."""


class Together:
    """The points of a tile as one batch with their samples: how a device is filled.

    Args:
        plan: Of the scan.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = replace(plan, initial=plan.initial.to(plan.marching.device))

    def __call__(self, point: Sequence[float]) -> Values:
        """All variables of one point."""
        return self.tile([point])[0]

    def tile(self, points: Sequence[Sequence[float]]) -> list[Values]:
        """All variables of each point."""
        S = len(self.plan.initial)
        try:
            found = _evaluated(self.plan.repeated(len(points)), *points)[0]
        except (*_FAILS, torch.cuda.OutOfMemoryError) as error:
            if len(points) == 1:
                raise
            # each alone, with the status that is its own; where memory is short, half of them
            size = len(points) // 2 if isinstance(error, torch.cuda.OutOfMemoryError) else 1
        else:
            return [{name: value[n * S : (n + 1) * S] for name, value in found.items()} for n in range(len(points))]
        # out here nothing holds what the attempt had made
        return [one for n in range(0, len(points), size) for one in self.tile(points[n : n + size])]


@dataclass(frozen=True)
class Here:
    """An evaluation that stays in this process: several would share one device.

    Attributes:
        evaluate: From an item to its variables.
    """

    evaluate: Callable[[Any], Values]

    def __call__(self, item: Any) -> Values:
        """The variables of one item."""
        return self.evaluate(item)

    def tile(self, items: Sequence[Any]) -> list[Values]:
        """The variables of each item."""
        return [self.evaluate(item) for item in items]


def _evaluated(plan: Plan, *points: Sequence[float]) -> tuple[Values, torch.Tensor]:
    """All variables of a point, or of some that share the samples, and the fields they were evaluated at."""
    out, fields = plan.blank(), plan.initial
    # the values were checked where the axes came in
    each = len(plan.initial) // len(points)
    params = plan.base._of(torch.tensor([list(point) for point in points for _ in range(each)], dtype=torch.float64))
    try:
        if plan.residual_at is not None:
            _residual(plan, params, out)
        if plan.objectives:
            fields = _states(plan, params, out)
    except Exception as error:
        first = ", ".join(f"{name} = {at!r}" for name, at in zip(params.model.parameters, points[0], strict=True))
        more = f", or another of {len(points)} points" if len(points) > 1 else ""
        error.add_note(f"at {first}{more}")
        raise
    return out, fields


def _residual(plan: Plan, params: ModelParams, out: Values) -> None:
    """The residual loss needs no state and no route: its derivative is exact and stands under each of them."""
    at = plan.names.index("residual")
    assert plan.residual_at is not None
    if not plan.routes:
        out["loss"][:, at] = residual_loss(params, plan.residual_at).numpy()
        return
    values = params.tensor().clone().requires_grad_()
    with torch.enable_grad():
        loss = residual_loss(params._stacked(values), plan.residual_at)
        (slope,) = torch.autograd.grad(loss.sum(), values)
    out["loss"][:, at] = loss.detach().numpy()
    out["route_loss"][:, :, at] = loss.detach().numpy()[:, None]
    out["gradient"][:, :, at] = slope.numpy()[:, None]


def _states(plan: Plan, params: ModelParams, out: Values) -> torch.Tensor:
    """Fill in what is known of the states and routes; returns the fields the losses were taken at."""
    columns = [plan.names.index(o.name) for o in plan.objectives]
    problem = Problem(params, plan.initial, plan.marching)
    state = problem.state()  # marched once: roots are refined from it, and routes at finite time are asked at it
    if plan.refine is not None:
        state = problem.state(plan.refine)
    out["loss"][:, columns] = losses_of(state, list(plan.objectives)).numpy().T
    for name in ("status", "kind", "steps", "change", "residual"):
        out[name][:] = getattr(state, name).numpy()
    v = state.observed.to(torch.float64)
    out["v_mean"][:], out["v_std"][:] = v.mean((-2, -1)).cpu().numpy(), v.std((-2, -1), correction=0).cpu().numpy()
    if plan.modes:
        out["stable"][:] = state.stable.numpy()
        out["eigenvalue_real"][:], out["eigenvalue_imag"][:] = state.eigenvalues.real, state.eigenvalues.imag
    if plan.keep_v:
        out["v"][:] = state.observed.cpu().numpy()
    if not plan.routes:
        return state.fields
    root = None
    if plan.share_root:
        problem, root = from_one_root(problem, plan.refine or Refine())
    out["route_definition"] = np.full(out["route_definition"].shape, DEFINITIONS[0], object)
    for r, route in enumerate(plan.routes):
        _route(plan, problem, root, route, {name: out[name][:, r] for name in _ROUTE_VARIABLES}, columns)
    # words, which get their numbers where all of them are known: a user's route may have any
    out["route_definition"] = out["route_definition"].astype(str)
    return state.fields


def _route(
    plan: Plan,
    problem: Problem,
    root: SteadyState | None,
    route: Route,
    out: Values,
    columns: list[int],
) -> None:
    """Gradient, loss and status of one route; `out` are views without the route's axis."""
    start = problem.state()
    try:
        answer = ask(route, problem, plan.objectives, root=root)
    except _FAILS as error:
        if plan.points > 1:  # which of them it is, each tells alone
            raise
        # a user's route may ask for a root; ours leave it in the status
        out["route_status"][:] = _failed(error.state if isinstance(error, NotSteady) and root is None else root)
        return
    except Exception as error:
        error.add_note(f"in route {route.name!r}")
        raise
    state, status = answer.state, answer.state.status.numpy().astype(np.int8)
    gradient, loss = answer.gradient.numpy().transpose(1, 0, 2), answer.losses.numpy().T
    gradient[~np.isfinite(loss)] = np.nan  # no value, no derivative
    asked = gradient if route.answers is None else gradient[..., list(route.answers)]
    gone = np.isnan(asked).any(axis=2)
    lost = gone.any(axis=1) & ~np.isin(status, (Status.UNSTEADY, Status.DIVERGED))
    # a state without a derivative: its adjoint did not close, or a difference failed
    status[lost] = Status.FAILED
    named = np.array([[flag_word(d) for d in c.definition] for c in answer.certificates], object)
    out["route_definition"][:, columns] = np.where(gone, DEFINITIONS[0], named.T)
    out["route_moved"][:] = (state.fields.cpu() - start.fields.cpu()).abs().flatten(1).amax(dim=1).numpy()
    out["gradient"][:, columns], out["route_loss"][:, columns], out["route_status"][:] = gradient, loss, status


def _failed(state: SteadyState | None) -> Any:
    """Status of a route that failed, an instance: where there is no root, that of the state."""
    return Status.FAILED if state is None else np.where(state.has_root.numpy(), Status.FAILED, state.status.numpy())
