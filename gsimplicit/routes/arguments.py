"""What the doors of the routes take, made into what routes know: routes by name, losses, targets, the problem."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from gsimplicit import checks
from gsimplicit.arguments import March, as_fields, check_finite, pair_up
from gsimplicit.arrays import real_fields
from gsimplicit.equations import DEFAULT, Model, ModelParams, warn_if_unstable
from gsimplicit.initial import Box, initial_state
from gsimplicit.losses import LOSSES, settled
from gsimplicit.losses.loss import FeatureLoss, is_feature_loss, sees_all
from gsimplicit.marching import KERNELS
from gsimplicit.routes.deq import Deq
from gsimplicit.routes.finite_difference import FiniteDifference
from gsimplicit.routes.implicit import Implicit
from gsimplicit.routes.objective import Loss, Objective
from gsimplicit.routes.route import Problem, Route, of_the_package
from gsimplicit.routes.surrogate import Surrogate, unknown_surrogate
from gsimplicit.routes.tangent import Tangent
from gsimplicit.routes.truncated import Truncated
from gsimplicit.routes.unrolled import Unrolled
from gsimplicit.surroundings import own_surroundings

ROUTES: dict[str, Callable[[], Route]] = {
    **{r.name: r for r in (Implicit, Deq, Unrolled, Truncated, Tangent, FiniteDifference)},
    Surrogate.name: unknown_surrogate,
}

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
    features = settled(LOSSES[loss] if isinstance(loss, str) else loss)
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


def as_problem(params: ModelParams, routes: Sequence[Route], initial: Fields | None, marching: March) -> Problem:
    """The problem that some routes are asked, from parameters and initial fields as users give them."""
    params, fields = pair_up(params, initial)
    params = params.detach()
    for route in routes:
        check_dtype(route, marching.dtype)
        route.check(params if of_the_package(route) else params.detach())
    warn_if_unstable(params, marching.dt)
    return Problem(params, fields, marching)


def objective_of(problem: Problem, loss: str | Loss | FeatureLoss, target: Fields | None) -> Objective:
    """The objective of a problem's states, from a loss and a target as users give them."""
    model, (H, W) = problem.params.model, problem.initial.shape[2:]
    goal = as_target(target, model, loss)
    return as_objective(loss, goal, len(problem.params), (int(H), int(W)), model, problem.marching.dt)
