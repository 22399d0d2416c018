"""`solve`: a steady state whose fields are attached to autograd, by any route."""

from __future__ import annotations

import torch

from gsimplicit import checks
from gsimplicit.arguments import as_march, device_of
from gsimplicit.equations import ModelParams
from gsimplicit.marching import Backend
from gsimplicit.progress import line
from gsimplicit.results import SteadyState, copied
from gsimplicit.routes.arguments import Fields, as_problem, as_route
from gsimplicit.routes.attach import Asked, attached, outside
from gsimplicit.routes.route import Route, solve_by
from gsimplicit.states import warn_of_steps
from gsimplicit.surroundings import own_surroundings


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

    where = device_of(device, initial)
    marching = as_march(tol, max_steps, check_every, dtype, where, dt, backend, precise=chosen.precise)

    progress = checks.flag("progress", progress)

    def find(plain: ModelParams) -> tuple[Asked, SteadyState]:
        problem = as_problem(plain, [chosen], initial, marching)
        with line(f"solve by {chosen.name}", progress):
            state = solve_by(chosen, problem)
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
