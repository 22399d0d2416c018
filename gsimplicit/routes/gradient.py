"""`grad` and `solve`: every route behind one call."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any, cast

import numpy as np
import torch

from gsimplicit import checks
from gsimplicit.arrays import real_fields
from gsimplicit.equations import DEFAULT, Model, ModelParams, warn_if_unstable
from gsimplicit.initial import Box, initial_state
from gsimplicit.losses import LOSSES
from gsimplicit.losses.loss import FeatureLoss, is_feature_loss, sees_all
from gsimplicit.marching import KERNELS, Backend
from gsimplicit.progress import line, stage
from gsimplicit.results import (
    Certificate,
    Gradient,
    NotSteady,
    ParameterGradient,
    PositionWarning,
    Status,
    SteadyState,
    copied,
)
from gsimplicit.routes.ask import ask
from gsimplicit.routes.attach import Asked, attached, outside, singular_at
from gsimplicit.routes.contract import Problem, Route, of_the_package, solved
from gsimplicit.routes.deq import Deq
from gsimplicit.routes.finite_difference import FiniteDifference
from gsimplicit.routes.implicit import Implicit
from gsimplicit.routes.objective import Loss, Objective, slope_of
from gsimplicit.routes.surrogate import Surrogate, unknown_surrogate
from gsimplicit.routes.tangent import Tangent
from gsimplicit.routes.truncated import Truncated
from gsimplicit.routes.unrolled import Unrolled
from gsimplicit.steady import as_fields, as_march, check_finite, device_of, paired, warn_of_steps
from gsimplicit.surroundings import caller, own_surroundings

ROUTES: dict[str, Callable[[], Route]] = {
    **{r.name: r for r in (Implicit, Deq, Unrolled, Truncated, Tangent, FiniteDifference)},
    Surrogate.name: unknown_surrogate,
}

POSITION_LIMIT = 1e-6
"""Share of a loss's derivative along translations above which `grad` warns; rounding gives 1e-16."""

Fields = torch.Tensor | np.ndarray[Any, Any]


def as_route(route: str | Route) -> Route:
    """The route meant by a name or a settings object.

    Raises:
        ValueError: No route has that name.
        TypeError: Neither a name nor a route.
    """
    if isinstance(route, Route):
        for attribute, kind in (("name", str), ("through_steps", bool)):
            if not isinstance(getattr(route, attribute, None), kind):
                raise TypeError(f"a route must have {attribute!r}, a {kind.__name__}: {type(route).__name__} has none")
        return route
    if not isinstance(route, str):
        raise TypeError(f"route must be a name or a gsimplicit.routes object, got {route!r}")
    if route not in ROUTES:
        nearest = checks.meant(route, ROUTES)
        raise ValueError(f"route must be one of {', '.join(map(repr, ROUTES))} or an object, got {route!r}{nearest}")
    return ROUTES[str(route)]()


def as_objective(
    loss: str | Loss | FeatureLoss,
    target: torch.Tensor | None,
    size: int,
    grid: tuple[int, int],
    model: Model,
    dt: float = 1.0,
) -> Objective:
    """The objective meant by a name, a callable or an object with features; `target` as `as_target` gives it."""
    if not (isinstance(loss, str) or is_feature_loss(loss)) and callable(loss):
        if target is not None:
            raise ValueError("target has no meaning for a callable loss: let the callable hold it")
        return Objective(getattr(loss, "__name__", type(loss).__name__), loss)
    check_loss(loss)
    features: FeatureLoss = LOSSES[loss] if isinstance(loss, str) else loss
    if target is None and sees_all(features):
        raise ValueError(f"target must be given for the loss {features.name!r} of all species")
    v = default_target(grid, model, dt) if target is None else target
    if v.shape[-2:] != grid:
        raise ValueError(
            f"target must live on the grid of the fields, {grid[0]} x {grid[1]}, got {tuple(v.shape[-2:])}"
        )
    if len(v) not in (1, size):
        raise ValueError(
            f"a target of {len(v)} instances does not pair with {size}: the sizes must be equal, or the target's 1"
        )
    objective = Objective(loss if isinstance(loss, str) else loss.name, features, v.expand(size, *v.shape[1:]))
    with torch.no_grad():
        features.features(v[:1].clone())  # a grid the loss cannot take is refused here, before any marching
    return objective


def check_loss(loss: object) -> None:
    """Raise unless `loss` is the name of a loss of the steady state, or an object with features."""
    if is_feature_loss(loss):
        if not isinstance(getattr(loss, "name", None), str) or not isinstance(getattr(loss, "invariant", None), bool):
            raise TypeError(f"a loss with features must have a name, text, and invariant, a bool: {loss!r} has not")
        return
    if not isinstance(loss, str):
        raise TypeError(f"loss must be a name or a callable of v (B, H, W) giving (B,), got {loss!r}")
    if loss == "residual":
        raise ValueError("'residual' is no loss of the steady state: call gsimplicit.residual_loss(params, fields)")
    if loss not in LOSSES:
        nearest = checks.meant(loss, LOSSES)
        raise ValueError(f"loss must be one of {', '.join(map(repr, LOSSES))} or a callable, got {loss!r}{nearest}")


def as_target(target: Fields | None, model: Model, loss: Any = None) -> torch.Tensor | None:
    """The target's observed species, float64, shape (B, H, W), from it or from all species; all, where a loss sees all.

    Raises:
        ValueError: It is of another shape, or not finite.
        TypeError: It is no tensor or array of floats.
    """
    if target is None:
        return None
    if sees_all(loss) or (isinstance(target, torch.Tensor | np.ndarray) and target.ndim == 4):
        fields = as_fields("target", target, model)
        return fields if sees_all(loss) else fields[:, model.seen]
    tensor = real_fields("target", target, attached=False, device="cpu")
    if tensor.ndim != 3 or len(tensor) == 0:
        raise ValueError(
            f"target must be {model.observed} of shape (B, H, W) or {' and '.join(model.species)} of shape "
            f"(B, {len(model.species)}, H, W), got {tuple(tensor.shape)}"
        )
    check_finite("target", tensor)
    return tensor


def default_target(grid: tuple[int, int], model: Model, dt: float) -> torch.Tensor:
    """The target of a named loss unless told, shape (1, H, W): v of the paper's point marched to 1e-4 from seed 1.

    Of another model its first preset, marched from seed 1 until it changes by less than 1e-4 per unit time. Marched by
    the reproducible float64 kernel, in steps of dt, or of 1 for Gray-Scott.

    Raises:
        ValueError: The model has no preset, or it diverges.
    """
    if not model.presets:
        raise ValueError(f"target must be given for a named loss of {model.name}: it has no preset to take one from")
    return _default_target(grid, model, 1.0 if model is DEFAULT else dt).clone()  # nobody else's to write into


@lru_cache(maxsize=8)
@own_surroundings
def _default_target(grid: tuple[int, int], model: Model, dt: float) -> torch.Tensor:
    half = max(1, min(10, min(grid) // 4)) if min(grid) < 20 else 10  # the paper's box where it fits
    params = model.preset(next(iter(model.presets)))
    fields = initial_state(count=1, seed=1, grid=grid, box=Box(half=half) if model is DEFAULT else None, model=params)
    v = KERNELS.march(params, fields, 1e-4 * dt, 50_000, 64, dt).fields[:, model.seen]
    if not bool(torch.isfinite(v).all()):
        raise ValueError(f"target must be given: {params} diverges when marched with dt = {dt:g}")
    return v


def check_dtype(route: Route, dtype: torch.dtype | None) -> None:
    """Raise where a route cannot march in the dtype asked for."""
    if checks.floats("dtype", dtype) == torch.float32 and route.least_dtype == torch.float64:
        raise ValueError(f"dtype must be torch.float64 for the {route.name} route, got {dtype}")


def posed(
    params: ModelParams,
    route: Route,
    initial: Fields | None,
    tol: float,
    max_steps: int,
    check_every: int,
    dtype: torch.dtype | None,
    device: torch.device | str | None,
    dt: float = 1.0,
    backend: Backend | None = None,
) -> Problem:
    """The problem meant by the arguments of `grad` and `solve`."""
    params, fields = paired(params, initial)
    params = params.detach()
    check_dtype(route, dtype)
    route.check(params if of_the_package(route) else params.detach())
    marching = as_march(
        tol, max_steps, check_every, dtype, device_of(device, initial), dt, backend, precise=route.through_steps
    )
    warn_if_unstable(params, marching.dt)
    return Problem(params, fields, marching)


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
        loss: "spectrum" or "windowed" (arXiv 2606.11258, section 2.1), any callable of v (B, H, W) giving (B,), or an
            object with `features`, `distance`, `name` and `invariant` as `gsimplicit.losses.FeatureLoss`. One with
            `all_species = True` gets all species, (B, S, H, W).
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
    progress = checks.flag("progress", progress)
    problem = posed(params, chosen, initial, tol, max_steps, check_every, dtype, device, dt, backend)

    def met(state: SteadyState) -> None:
        if chosen.needs_root:
            state.require_steady()
        warn_of_steps(state)

    with line(f"grad by {chosen.name}", progress):
        grid = cast("tuple[int, int]", tuple(problem.initial.shape[2:]))
        with stage("the default target, "):
            objective = as_objective(
                loss,
                as_target(target, params.model, loss),
                len(problem.params),
                grid,
                params.model,
                problem.marching.dt,
            )
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


@own_surroundings
def solve(
    params: ModelParams,
    route: str | Route = "implicit",
    initial: Fields | None = None,
    tol: float = 1e-4,
    max_steps: int = 50_000,
    check_every: int = 64,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    dt: float = 1.0,
    backend: Backend | None = None,
    progress: bool = True,
) -> SteadyState:
    """A steady state whose fields are attached to autograd in the parameters, by any route.

    Args:
        params: B instances, or 1, holding tensors that require gradients.
        route: "implicit", "deq", "unrolled", "truncated", "tangent" or "finite_difference", or an object of
            `gsimplicit.routes` with settings.
        initial: Shape (B, S, H, W) or (1, S, H, W); None is one field of seed 0 on 128 x 128. Attached to autograd it
            gets its own gradient by routes at finite time; one at a root refuses, since inside a basin it is zero.
        tol: Bound on the change over a marched step; 0.0 marches exactly `max_steps` steps.
        max_steps: Cap on the marching stage, >= 1.
        check_every: Steps between tests, >= 1.
        dtype: Of the marching, as in `grad`.
        device: Where to march, and where the fields of the state lie; None is where `initial` lies.
        dt: Length of an explicit step in time units, > 0.
        backend: What steps, as for `steady_state`.
        progress: Show what is done in a line once the call takes over two seconds; only on a terminal or in a notebook.

    Returns:
        The state; `fields`, `u` and `v` can be used in any torch loss. Derivatives of first order only.

    Raises:
        NotSteady: The route needs a root and an instance has none.
        ValueError: An argument lies outside its range.
        TypeError: An argument has a wrong type.

    Example:
        >>> import torch, gsimplicit as gs
        >>> k = torch.tensor(0.065, dtype=torch.float64, requires_grad=True)
        >>> fields = gs.initial_state(grid=(32, 32), box=gs.Box(half=5))
        >>> state = gs.solve(gs.Params(0.16, 0.08, 0.035, k), route="unrolled", initial=fields, tol=0.0, max_steps=200)
        >>> (state.v**2).mean().backward()
        >>> bool(k.grad < 0)
        True
    """
    chosen = as_route(route)
    start = initial if isinstance(initial, torch.Tensor) and initial.requires_grad else None
    if start is not None:
        refuse_start(chosen)
        initial = start.detach()

    progress = checks.flag("progress", progress)

    def find(plain: ModelParams) -> tuple[Asked, SteadyState]:
        problem = posed(plain, chosen, initial, tol, max_steps, check_every, dtype, device, dt, backend)
        with line(f"solve by {chosen.name}", progress):
            state = solved(chosen, problem)
        if chosen.needs_root:
            state.require_steady()
        warn_of_steps(state)
        # what backward reads is kept apart from what the caller gets
        return Asked(chosen, problem.lent(), state, progress), copied(state)

    asked, given = outside(params, find)
    values = params.expand(len(given)).tensor()
    shared = None if start is None else start.expand(len(given), -1, -1, -1)
    return given.replace(fields=attached(values, asked, shared))


def refuse_start(route: Route) -> None:
    """Raise where a route has no derivative in the initial fields."""
    if route.needs_root or type(route).pull_back_to_start is Route.pull_back_to_start:
        Route.pull_back_to_start(route, *(None,) * 3)  # type: ignore[arg-type]
