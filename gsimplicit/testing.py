"""Checks for your own losses and routes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from gsimplicit import checks
from gsimplicit.arguments import as_march, device_of
from gsimplicit.arrays import real_array
from gsimplicit.equations import DEFAULT, ModelParams
from gsimplicit.losses.loss import FeatureLoss
from gsimplicit.marching import Backend
from gsimplicit.refine import Refine
from gsimplicit.refine.solvers import solver_for
from gsimplicit.results import SteadyState
from gsimplicit.routes.arguments import Fields, as_problem, as_route, objective_of
from gsimplicit.routes.ask import losses_of
from gsimplicit.routes.finite_difference import carried
from gsimplicit.routes.objective import Loss
from gsimplicit.routes.route import Problem, Route, differentiate_by, solve_by
from gsimplicit.surroundings import own_surroundings

__all__ = ["TaylorTest", "taylor_test"]


SIZES = (2.0**-14, 2.0**-15, 2.0**-16, 2.0**-17, 2.0**-18)
"""Steps of a Taylor test unless told."""


@dataclass(frozen=True)
class TaylorTest:
    """Remainders `|L(p + h d) - L(p) - h dL/dp . d|` of a loss along a direction.

    Attributes:
        sizes: h, falling, shape (n,).
        remainders: One a size, shape (n,).
        orders: Power of h by which neighbouring remainders fall, shape (n - 1,): 2 where the gradient is right and the
            sizes are neither so large that higher terms show nor so small that rounding does; 1 where it is wrong.

    Examples:
        >>> import gsimplicit as gs
        >>> from gsimplicit.testing import taylor_test
        >>> params, start = gs.Params.preset("paper"), gs.initial_state(grid=(32, 32))
        >>> def loss(v):
        ...     return (v**2).mean((-2, -1))
        >>> found = taylor_test(params, "unrolled", loss, initial=start, tol=0.0, max_steps=100)
        >>> bool((abs(found.orders - 2) < 0.1).all())
        True
    """

    sizes: np.ndarray[Any, np.dtype[np.float64]]
    remainders: np.ndarray[Any, np.dtype[np.float64]]
    orders: np.ndarray[Any, np.dtype[np.float64]]


@own_surroundings
def taylor_test(
    params: ModelParams,
    route: str | Route = "implicit",
    loss: str | Loss | FeatureLoss = "spectrum",
    direction: Sequence[float] | None = None,
    sizes: tuple[float, ...] = SIZES,
    target: Fields | None = None,
    initial: Fields | None = None,
    tol: float = 1e-4,
    max_steps: int = 50_000,
    dt: float = 1.0,
    backend: Backend | None = None,
) -> TaylorTest:
    """Test the gradient of a loss by a route along a direction in the parameters.

    Routes at finite time take as many steps at every point as at the base point. Routes at a root follow the base
    point's root by Newton's method, which keeps a pattern's position and what certification left of the residual.

    Args:
        params: One instance.
        route: Name or object of `gsimplicit.routes`.
        loss: Name of a loss, or a callable of v (B, H, W) giving (B,).
        direction: d, one number a parameter; None is (0.3, -0.2, 0.05, 0.1) for Gray-Scott's Du, Dv, F and k, and a
            random one in proportion to the parameters for other models.
        sizes: h, at least two, > 0, falling.
        target: Target of a named loss, as for `grad`.
        initial: Initial fields, shape (1, S, H, W); None is the default field.
        tol: Bound on the change over a marched step at the base point.
        max_steps: Cap on its marching stage, >= 1.
        dt: Length of an explicit step in time units, > 0.
        backend: What steps, as for `steady_state`.

    Returns:
        The remainders and their orders.

    Raises:
        ValueError: Not one instance, sizes that do not fall or are not positive, or a direction that is none.
        NotSteady: The route needs a root and there is none.

    Example:
        >>> import gsimplicit as gs
        >>> from gsimplicit.testing import taylor_test
        >>> fields = gs.initial_state(grid=(32, 32), box=gs.Box(half=5))
        >>> found = taylor_test(gs.Params.preset("paper"), "unrolled", lambda v: (v**2).mean((-2, -1)),
        ...                     initial=fields, tol=0.0, max_steps=200)
        >>> bool(abs(found.orders - 2).max() < 0.05)
        True
    """
    lengths, along = _sizes(sizes), _direction(params, direction)
    chosen = as_route(route)
    marching = as_march(tol, max_steps, 64, torch.float64, device_of(None, initial), dt, backend)
    problem = as_problem(params, [chosen], initial, marching)
    if len(problem.params) != 1:
        raise ValueError(f"a Taylor test takes one instance, got {len(problem.params)} from params and initial")
    objective = objective_of(problem, loss, target)
    state = solve_by(chosen, problem)
    if chosen.needs_root:
        state.require_steady()
        problem = replace(problem, initial=state.fields.cpu())
    else:
        steps = max(1, int(state.steps[0]))
        problem = replace(problem, marching=replace(problem.marching, tol=0.0, max_steps=steps))
    gradient = differentiate_by(chosen, problem, state, [objective]).gradient[0, 0].numpy()
    state_at = _followed(chosen, problem, state)

    def value(h: float) -> float:
        moved = problem.params._stacked(problem.params.tensor() + h * torch.from_numpy(along))
        return float(losses_of(state_at(moved) if h else state, [objective])[0, 0])

    base, slope = value(0.0), float(gradient @ along)
    remainders = np.array([abs(value(float(h)) - base - h * slope) for h in lengths])
    ratios = [np.log(a / b) if a and b else np.nan for a, b in pairwise(remainders)]
    return TaylorTest(lengths, remainders, np.array(ratios) / -np.diff(np.log(lengths)))


def _followed(route: Route, problem: Problem, state: SteadyState) -> Callable[[ModelParams], SteadyState]:
    """The states near by that belong to a base point's: its root followed, or as many steps as it took."""
    if not route.needs_root:
        return lambda moved: solve_by(route, replace(problem, params=moved))
    settings = getattr(route, "refine", None)
    linear = settings.linear if isinstance(settings, Refine) else None
    linear = solver_for(linear, state.fields[0, 0].numel(), torch.device("cpu"))
    return lambda moved: state.replace(fields=carried(state, moved, linear)[None])


NUMBERS = "a sequence or array of real numbers"


def _sizes(sizes: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The steps asked for, or a clear error."""
    lengths = real_array("sizes", sizes, NUMBERS)
    good = lengths.ndim == 1 and len(lengths) >= 2 and bool((np.isfinite(lengths) & (lengths > 0)).all())
    if not good or np.diff(lengths).max() >= 0:
        raise ValueError(
            f"sizes must be at least two numbers > 0, each smaller than the one before, got {checks.shown(sizes)}"
        )
    return lengths


def _direction(params: Any, direction: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The direction asked for, or the default one of the model."""
    if not isinstance(params, ModelParams):
        raise TypeError(f"params must be gsimplicit.Params, or another model's params, got {type(params).__name__}")
    along = _default_direction(params) if direction is None else real_array("direction", direction, NUMBERS)
    if along.shape != (len(params.model.parameters),) or not np.isfinite(along).all() or not along.any():
        raise ValueError(
            f"direction must be {len(params.model.parameters)} finite numbers, not all 0, got {checks.shown(direction)}"
        )
    return along


def _default_direction(params: ModelParams) -> np.ndarray[Any, np.dtype[np.float64]]:
    """One of some length in every parameter: fixed for Gray-Scott, drawn in proportion to another model's."""
    if params.model is DEFAULT:
        return np.array([0.3, -0.2, 0.05, 0.1])
    size = np.abs(params.tensor().detach().numpy()[0])
    draws = np.random.default_rng(0).choice([-1.0, 1.0], len(size)) * np.linspace(0.5, 1.0, len(size))
    return np.asarray(draws * np.where(size > 0, size, 1.0))
