"""`grad`: the derivative of a loss of a steady state, by any route."""

from __future__ import annotations

import time
import warnings
from dataclasses import replace

import torch

from gsimplicit import checks
from gsimplicit.arguments import as_march, device_of
from gsimplicit.equations import ModelParams
from gsimplicit.losses.loss import FeatureLoss
from gsimplicit.marching import Backend
from gsimplicit.progress import line, stage
from gsimplicit.results import (
    Certificate,
    Gradient,
    NotSteady,
    ParameterGradient,
    PositionWarning,
    Status,
    SteadyState,
)
from gsimplicit.routes.arguments import Fields, as_problem, as_route, check_loss, objective_of
from gsimplicit.routes.ask import ask
from gsimplicit.routes.attach import singular_at
from gsimplicit.routes.objective import Loss, Objective, slope_of
from gsimplicit.routes.route import Route
from gsimplicit.states import warn_of_steps
from gsimplicit.surroundings import caller, own_surroundings

POSITION_LIMIT = 1e-6
"""Share of a loss's derivative along translations above which `grad` warns; rounding gives 1e-16."""


@own_surroundings
def grad(
    params: ModelParams,
    route: str | Route = "implicit",
    loss: str | Loss | FeatureLoss = "spectrum",
    target: Fields | None = None,
    initial: Fields | None = None,
    tol: float = 1e-4,
    max_steps: int = 50_000,
    check_every: int = 64,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    dt: float = 1.0,
    backend: Backend | None = None,
    progress: bool = True,
) -> Gradient:
    """Loss of a steady state and its derivative in each parameter, by any route.

    Args:
        params: B instances, or 1.
        route: "implicit", "deq", "unrolled", "truncated", "tangent" or "finite_difference", or an object of
            `gsimplicit.routes` with settings.
        loss: "spectrum", "windowed" or "gram" (arXiv 2606.11258, sections 2.1 and 4.2), any callable of v (B, H, W)
            giving (B,), or an object with `features`, `distance`, `name` and `invariant` as
            `gsimplicit.losses.FeatureLoss`. One with `all_species = True` gets all species, (B, S, H, W).
        target: The observed species (v) of shape (B, H, W) or all species of shape (B, S, H, W), or a batch of 1. None
            is the paper's point, or a model's first preset, marched to 1e-4 from seed 1: another start than the
            default, so that the gradient does not vanish at the truth. A callable has none.
        initial: Shape (B, S, H, W) or (1, S, H, W); None is one field of seed 0 on 128 x 128. Fields that
            already are a root are kept by the implicit route.
        tol: Bound on the change over a marched step; 0.0 marches exactly `max_steps` steps.
        max_steps: Cap on the marching stage, >= 1.
        check_every: Steps between tests, >= 1.
        dtype: Of the marching; None is float32 for the implicit route, float64 where a route differentiates through
            steps or `tol` is 0. Losses, adjoints and the result are float64.
        device: Where to march, and where the fields of the state lie; None is where `initial` lies.
        dt: Length of an explicit step in time units, > 0.
        backend: What steps, as for `steady_state`.
        progress: Show what is done in a line once the call takes over two seconds; only on a terminal or in a notebook.

    Returns:
        Loss and gradient of each instance, the state they were taken at, and a certificate. NaN for an instance that
        diverged under a route that needs no root. A `PositionWarning` where the implicit route meets a loss that is
        not invariant to translations.

    Raises:
        NotSteady: The route needs a root and an instance has none; the error carries the states.
        ValueError: An argument lies outside its range.
        TypeError: An argument has a wrong type.

    Example:
        >>> import gsimplicit as gs
        >>> fields = gs.initial_state(grid=(32, 32), box=gs.Box(half=5))
        >>> out = gs.grad(gs.Params.preset("paper"), route="unrolled", loss=lambda v: (v**2).mean((-2, -1)),
        ...               initial=fields, tol=0.0, max_steps=200)
        >>> out.grad.k.shape, bool(out.grad.k < 0)
        (torch.Size([1]), True)
    """
    begin = time.perf_counter()
    chosen = as_route(route)
    if isinstance(loss, str) or not callable(loss):
        check_loss(loss)
    where = device_of(device, initial)
    marching = as_march(tol, max_steps, check_every, dtype, where, dt, backend, precise=chosen.precise)
    problem = as_problem(params, [chosen], initial, marching)

    def met(state: SteadyState) -> None:
        if chosen.needs_root:
            state.require_steady()
        warn_of_steps(state)

    with line(f"grad by {chosen.name}", checks.flag("progress", progress)):
        with stage("the target, "):
            objective = objective_of(problem, loss, target)
        answer = ask(chosen, problem, [objective], met)
    state, value = answer.state, answer.losses[0]
    certificate = replace(answer.certificates[0], seconds=time.perf_counter() - begin)
    _require_gradient(chosen, objective, state, value, certificate)
    _warn_of_position(objective.name, certificate.position)
    gradient = ParameterGradient(state.model.parameters, answer.gradient[0])
    return Gradient(value, gradient, state, certificate, chosen.name, objective.name)


def _require_gradient(
    route: Route, objective: Objective, state: SteadyState, value: torch.Tensor, certificate: Certificate
) -> None:
    """Raise, saying why, where an instance that did not diverge has no gradient, or its loss is not finite."""
    certified = torch.tensor([what != "none" for what in certificate.definition])
    wild = (~torch.isfinite(value) & certified).nonzero().reshape(-1).tolist()
    if wild:
        raise ValueError(f"no gradient at instances {wild}: the loss {objective.name!r} itself is not finite there")
    lost = [i for i, d in enumerate(certificate.definition) if d == "none" and state.status[i] != Status.DIVERGED]
    if not lost:
        return
    slope = slope_of(objective, state.v)
    flat = [i for i in lost if slope is not None and not bool(torch.isfinite(slope[i]).all())]
    if flat:
        raise ValueError(
            f"no gradient at instances {flat} by the {route.name} route: the derivative of the loss {objective.name!r} "
            "in v is not finite there, as of a square root at 0"
        )
    text = f"no gradient of the loss {objective.name!r} at instances {lost} by the {route.name} route: "
    if not route.needs_root:
        raise ValueError(f"{text}the derivative of the state, or a state next to it, is not finite")
    why = singular_at(state, lost[0])
    residuals = certificate.adjoint_residual[lost]
    closed = "" if bool(torch.isnan(residuals).all()) else f" (residuals of the adjoint {residuals.tolist()})"
    raise NotSteady(
        f"{text}the root's Jacobian is too near singular{closed}: at instance {lost[0]} {why}; or a root next to it "
        "was lost, or the solver was too short of steps",
        state,
    )


def _warn_of_position(name: str, position: torch.Tensor) -> None:
    """Warn where a loss sees the position of a pattern, at the caller of `grad`."""
    seen = (position > POSITION_LIMIT).nonzero().reshape(-1).tolist()
    if seen:
        warnings.warn(
            f"the {name} loss sees the position of the pattern, which a steady state does not determine: "
            f"{position[seen].max().item():.1e} of its derivative lies along translations at instances {seen}, "
            f"more than {POSITION_LIMIT:g}; routes may answer differently",
            PositionWarning,
            stacklevel=caller(),
        )
