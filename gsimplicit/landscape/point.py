"""One point of a scan: all samples, losses and routes from one marched state."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from gsimplicit.arguments import March
from gsimplicit.equations import ModelParams
from gsimplicit.landscape.tiles import Values
from gsimplicit.losses import residual_loss
from gsimplicit.refine import Refine
from gsimplicit.results import NotSteady, Status, SteadyState
from gsimplicit.routes.ask import ask, from_one_root, losses_of
from gsimplicit.routes.objective import Objective
from gsimplicit.routes.route import Problem, Route


@dataclass(frozen=True, eq=False)
class Plan:
    """All a worker needs to evaluate any point of a scan.

    Attributes:
        base: Parameters of the model, one instance: those of a point take its place.
        initial: Initial fields of the samples, shape (samples, S, H, W).
        objectives: Losses of the state, with their targets.
        residual_at: All species the residual loss is evaluated at, of the shape of `initial`, or None
            where it is not asked for.
        names: Names of all losses in the order asked for, "residual" among them.
        routes: Gradient routes.
        marching: How states are marched.
        refine: How marched states are certified, or None.
        share_root: Whether every route starts from one certified root.
        keep_v: Whether v is kept.
    """

    base: ModelParams
    initial: torch.Tensor
    objectives: tuple[Objective, ...]
    residual_at: torch.Tensor | None
    names: tuple[str, ...]
    routes: tuple[Route, ...]
    marching: March
    refine: Refine | None
    share_root: bool
    keep_v: bool

    @property
    def modes(self) -> int:
        """Eigenvalues kept of every root."""
        return self.refine.eigenvalues if self.refine is not None and self.objectives else 0


def blank(plan: Plan) -> Values:
    """The variables of a point that was not computed, each without the axes of the scan."""
    (S, _, H, W), L, R = plan.initial.shape, len(plan.names), len(plan.routes)
    out: Values = {
        "loss": np.full((S, L), np.nan),
        "status": np.full(S, int(Status.NOT_RUN), np.int8),
        "kind": np.zeros(S, np.int8),
        "steps": np.zeros(S, np.int32),
        **{name: np.full(S, np.nan) for name in ("change", "residual", "v_mean", "v_std")},
    }
    modes = plan.modes
    if modes:
        out["stable"] = np.zeros(S, np.int8)
        out["eigenvalue_real"], out["eigenvalue_imag"] = np.full((S, modes), np.nan), np.full((S, modes), np.nan)
    if R:
        out["gradient"] = np.full((S, R, L, len(plan.base.model.parameters)), np.nan)
        out["route_loss"] = np.full((S, R, L), np.nan)
        out["route_status"] = np.full((S, R), int(Status.NOT_RUN), np.int8)
        out["route_definition"] = np.zeros((S, R, L), np.int8)
        out["route_moved"] = np.full((S, R), np.nan)
    if plan.keep_v and plan.objectives:
        kept = plan.marching.dtype if plan.refine is None else torch.float64
        out["v"] = np.full((S, H, W), np.nan, str(kept).removeprefix("torch."))
    return out


def evaluate_row(plan: Plan, backwards: bool, points: Sequence[Sequence[float]]) -> Values:
    """All variables of a row of points, stacked; each starts from the state of the one before it.

    A state that diverged is not followed: the next point starts where that one did.
    """
    rows: list[Values] = []
    fields = plan.initial
    for point in reversed(points) if backwards else points:
        values, reached = _evaluated(replace(plan, initial=fields), point)
        finite = torch.isfinite(reached).flatten(1).all(dim=1)
        fields = torch.where(finite[:, None, None, None], reached, fields)
        rows.append(values)
    if backwards:
        rows.reverse()
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def evaluate(plan: Plan, point: Sequence[float]) -> Values:
    """All variables of one point, given by its parameters in the model's order."""
    return _evaluated(plan, point)[0]


def _evaluated(plan: Plan, point: Sequence[float]) -> tuple[Values, torch.Tensor]:
    """All variables of a point, and the fields it was evaluated at, float64."""
    out, fields = blank(plan), plan.initial
    # the values were checked where the axes came in
    params = plan.base._of(torch.tensor([list(point)] * len(plan.initial), dtype=torch.float64))
    try:
        if plan.residual_at is not None:
            _residual(plan, params, out)
        if plan.objectives:
            fields = _states(plan, params, out)
    except Exception as error:
        named = zip(params.model.parameters, point, strict=True)
        error.add_note(f"at {', '.join(f'{name} = {at!r}' for name, at in named)}")
        raise
    return out, fields


def _residual(plan: Plan, params: ModelParams, out: Values) -> None:
    """The residual loss needs no state and no route: its derivative is exact and stands under each of them."""
    at = plan.names.index("residual")
    assert plan.residual_at is not None
    values = params.tensor().clone().requires_grad_()
    with torch.enable_grad():
        loss = residual_loss(params._stacked(values), plan.residual_at)
        (slope,) = torch.autograd.grad(loss.sum(), values)
    out["loss"][:, at] = loss.detach().numpy()
    if plan.routes:
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
    v = state.observed.to("cpu", torch.float64)
    out["v_mean"][:], out["v_std"][:] = v.mean((-2, -1)).numpy(), v.std((-2, -1), correction=0).numpy()
    if plan.modes:
        out["stable"][:] = state.stable.numpy()
        out["eigenvalue_real"][:], out["eigenvalue_imag"][:] = state.eigenvalues.real, state.eigenvalues.imag
    if plan.keep_v:
        out["v"][:] = state.observed.cpu().numpy()
    reached = state.fields.to("cpu", torch.float64)
    if not plan.routes:
        return reached
    root = None
    if plan.share_root:
        problem, root = from_one_root(problem, plan.refine or Refine())
    out["route_definition"] = np.full(out["route_definition"].shape, _word(DEFINITIONS[0]), object)
    for r, route in enumerate(plan.routes):
        _route(plan, problem, root, route, {name: out[name][:, r] for name in ROUTE_VARIABLES}, columns)
    # words, which get their numbers where all of them are known: a user's route may have any
    out["route_definition"] = out["route_definition"].astype(str)
    return reached


ROUTE_VARIABLES = ("gradient", "route_loss", "route_status", "route_definition", "route_moved")

DEFINITIONS = (
    "none",
    "full jacobian",
    "bordered jacobian",
    "marched steps",
    "differences of marched states",
    "differences of roots",
    "last marched steps",
    "tangents of marched steps",
    "tangents at a root",
    "fixed point by torchdeq",
    "phantom steps by torchdeq",
    "network",
)
"""Definitions of this package's routes, stored by their place here; those of a user's route come after them."""


def _word(definition: str) -> str:
    """A definition as one word, as flags have it."""
    return re.sub(r"[^\w.+@-]+", "_", str(definition).strip()) or DEFINITIONS[0]


def flags() -> dict[str, Any]:
    """What the numbers of definitions mean before any route of a user's has been asked."""
    words = [_word(d) for d in DEFINITIONS]
    return {"flag_values": np.arange(len(words), dtype=np.int8), "flag_meanings": " ".join(words)}


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
    except (np.linalg.LinAlgError, ArithmeticError):
        out["route_status"][:] = _failed(root)
        return
    except NotSteady as error:  # of a user's route that asks for a root; ours leave it in the status
        out["route_status"][:] = _failed(error.state if root is None else root)
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
    named = np.array([[_word(d) for d in c.definition] for c in answer.certificates], object)
    out["route_definition"][:, columns] = np.where(gone, _word(DEFINITIONS[0]), named.T)
    out["route_moved"][:] = (state.fields.cpu() - start.fields.cpu()).abs().flatten(1).amax(dim=1).numpy()
    out["gradient"][:, columns], out["route_loss"][:, columns], out["route_status"][:] = gradient, loss, status


def _failed(state: SteadyState | None) -> Any:
    """Status of a route that failed, an instance: where there is no root, that of the state."""
    return Status.FAILED if state is None else np.where(state.has_root.numpy(), Status.FAILED, state.status.numpy())
