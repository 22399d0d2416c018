"""States of a batch: marched, and refined to certified roots."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from gsimplicit.arguments import March
from gsimplicit.equations import Equations, ModelParams, instances, residual, warn_of_instability, warn_of_size
from gsimplicit.marching import Marched, backend_for
from gsimplicit.refine import Refine, Refined, recognise, refine, stability
from gsimplicit.refine.distance import nearness
from gsimplicit.refine.solvers import Gmres, solver_for
from gsimplicit.results import Motion, Stable, Status, SteadyState, concatenate
from gsimplicit.threads import each, one_blas_thread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["marched_state", "refined_state", "warn_of_steps"]


def marched_state(params: ModelParams, fields: torch.Tensor, marching: March) -> SteadyState:
    """March a paired batch and describe what was reached."""
    params = params.detach()
    end = marching(fields, params)
    size = len(fields)
    status = end.status(marching.tol)
    motion, factor = _overshooting(end, status, params, marching.dt)
    return SteadyState(
        fields=end.fields,
        params=params,
        status=status,
        kind=params.model.kinds(end.fields),
        stable=torch.full((size,), int(Stable.UNKNOWN)),
        steps=end.steps,
        change=end.change,
        residual=residual(end.fields.to(torch.float64), params).abs().flatten(1).amax(dim=1).cpu(),
        bordered_residual=_nan(size),
        drift=_nan(size, 2),
        moved=torch.zeros(size, dtype=torch.float64),
        least_singular=_nan(size),
        distance=_nan(size),
        evaluations=torch.zeros(size, dtype=torch.int64),
        eigenvalues=torch.empty((size, 0), dtype=torch.complex128),
        motion=motion,
        step_factor=factor,
    )


def _nan(*shape: int) -> torch.Tensor:
    return torch.full(shape, torch.nan, dtype=torch.float64)


def _overshooting(
    end: Marched, status: torch.Tensor, params: ModelParams, dt: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Motion and step factor of marched states: those that a step too long throws back and forth."""
    motion, factor = torch.zeros(len(end.fields), dtype=torch.int64), _nan(len(end.fields))
    unsteady = (status == Status.UNSTEADY).nonzero().reshape(-1).tolist()
    if unsteady and end.fields.device.type != "cpu":  # many at once, and few that do
        unsteady = [unsteady[i] for i in _turned_back(params[unsteady], end.fields[unsteady], dt)]
    for i, equations in zip(unsteady, instances(params[unsteady], dt) if unsteady else (), strict=True):
        from gsimplicit.refine.motion import reverses

        found = reverses(equations, end.fields[i].detach().cpu().numpy())
        if found:
            motion[i], factor[i] = Motion.OVERSHOOTING, found
    return motion, factor


def _turned_back(params: ModelParams, fields: torch.Tensor, dt: float) -> list[int]:
    """Instances whose steps may undo each other: those that are worth a look, on their own device."""
    by = backend_for(fields.device)
    one = by.march(params, fields, 0.0, 1, 1, dt).fields
    two = by.march(params, one, 0.0, 1, 1, dt).fields
    there, back = ((b.double() - a.double()).flatten(1) for a, b in ((fields, one), (one, two)))
    return (there * back).sum(dim=1).lt(0).nonzero().reshape(-1).tolist()


def refined_state(
    params: ModelParams,
    fields: torch.Tensor,
    marching: March,
    settings: Refine,
    marched: SteadyState | None = None,
    *,
    factorise: bool = False,
) -> SteadyState:
    """March and refine a paired batch. Fields that already are a root are kept: marching would blur them.

    Args:
        params: B instances.
        fields: Initial fields, float64, shape (B, S, H, W).
        marching: How to march.
        settings: How to refine.
        marched: The marched states of these fields, where they are known already.
        factorise: Bound the distance to the root also where that takes a factorisation of its own.
    """
    params, fields = params.detach(), fields.to("cpu", torch.float64)
    equations = list(instances(params, marching.dt))
    settings = replace(settings, linear=solver_for(settings.linear, fields[0, 0].numel(), marching.device))
    with one_blas_thread():
        known = each(lambda i: recognise(equations[i], fields[i].numpy(), settings), range(len(fields)))
    todo = [i for i, root in enumerate(known) if root is None]
    if marched is None and todo:
        some = marched_state(params[todo], fields[todo], marching)
        starts = {i: some[j] for j, i in enumerate(todo)}
    else:
        starts = {i: marched[i] for i in todo} if marched is not None else {}

    roots, bounds = _together(equations, starts, known, settings, marching.device, factorise=factorise)

    def one(i: int) -> SteadyState:
        root, bound = known[i], bounds.get(i)
        if root is not None:
            none, change = torch.tensor([[0.0], [marching.dt * root.certified.raw]], dtype=torch.float64)
            return _state_of(equations[i], root, params[i], none.long(), change, none, settings, bound, factorise)
        start = starts[i]
        before = start.fields[0].to("cpu", torch.float64)
        if start.status[0] == Status.DIVERGED:  # as it is
            nothing = torch.full((1, settings.eigenvalues), torch.nan, dtype=torch.complex128)
            return start.replace(fields=before[None], eigenvalues=nothing)
        root = roots[i] if i in roots else refine(equations[i], before.numpy(), settings)
        moved = torch.tensor([np.abs(root.fields - before.numpy()).max()], dtype=torch.float64)
        return _state_of(equations[i], root, params[i], start.steps, start.change, moved, settings, bound, factorise)

    with one_blas_thread():
        state = concatenate(each(one, range(len(fields))))
    return state.replace(fields=state.fields.to(marching.device))


def _together(
    equations: Sequence[Equations],
    starts: Mapping[int, SteadyState],
    known: Sequence[Refined | None],
    settings: Refine,
    device: torch.device,
    *,
    factorise: bool,
) -> tuple[dict[int, Refined], dict[int, tuple[float, float]]]:
    """Roots and bounds by instance, where the solver takes several at once; else none, and each is found alone."""
    if not (isinstance(settings.linear, Gmres) and settings.linear.at_once > 1):
        return {}, {}
    from gsimplicit.refine.batched import Batch

    some = [i for i, start in starts.items() if start.status[0] != Status.DIVERGED]
    roots: dict[int, Refined] = {}
    with one_blas_thread():
        if some:
            batch = Batch([equations[i] for i in some], settings, device)
            roots = dict(zip(some, batch.roots(torch.cat([starts[i].fields for i in some])), strict=True))
        every = {**roots, **{i: root for i, root in enumerate(known) if root is not None}}
        batch = Batch([equations[i] for i in every], settings, device)
        return roots, dict(zip(every, batch.bounds(list(every.values()), factorise=factorise), strict=True))


def _state_of(
    equations: Equations,
    root: Refined,
    params: ModelParams,
    steps: torch.Tensor,
    change: torch.Tensor,
    moved: torch.Tensor,
    settings: Refine,
    bound: tuple[float, float] | None,
    factorise: bool,
) -> SteadyState:
    """The state of one refined instance, with its leading eigenvalues where they are asked for, and its bound."""
    fields = torch.from_numpy(root.fields)[None]
    stable, eigenvalues = stability(equations, root, settings)
    assert settings.linear is not None
    least, distance = bound or nearness(equations, root, settings.linear, factorise=factorise)
    return SteadyState(
        fields=fields,
        params=params,
        status=torch.tensor([int(root.status)]),
        kind=params.model.kinds(fields),
        stable=torch.tensor([int(stable)]),
        steps=steps,
        change=change,
        residual=torch.tensor([root.certified.raw], dtype=torch.float64),
        bordered_residual=torch.tensor([root.certified.bordered], dtype=torch.float64),
        drift=torch.from_numpy(np.asarray(root.certified.drift, dtype=np.float64))[None],
        moved=moved,
        least_singular=torch.tensor([least], dtype=torch.float64),
        distance=torch.tensor([distance], dtype=torch.float64),
        evaluations=torch.tensor([root.evaluations]),
        eigenvalues=torch.from_numpy(eigenvalues)[None],
        motion=torch.tensor([int(root.motion)]),
        step_factor=torch.tensor([_step_factor(equations, root)], dtype=torch.float64),
    )


def _step_factor(equations: Equations, root: Refined) -> float:
    """The step factor of a root, or of a state that overshoots."""
    from gsimplicit.refine.modes import step_factor, surely_damped
    from gsimplicit.refine.motion import reverses

    if root.motion == Motion.OVERSHOOTING:
        return reverses(equations, root.fields) or step_factor(equations, root.fields)
    asked = root.status in (Status.STEADY, Status.DRIFTING) and not surely_damped(equations, root.fields)
    return step_factor(equations, root.fields) if asked else float("nan")


_SETTLED = (Status.SETTLED, Status.STEADY, Status.DRIFTING, Status.FAILED)
"""States whose size is the model's: others may still grow."""


def warn_of_steps(state: SteadyState) -> None:
    """Warn where the explicit step is unstable at the state that was reached, or it is not of its model's size."""
    settled = [i for i, s in enumerate(state.status.tolist()) if s in _SETTLED]
    if settled:
        warn_of_size(state.params[settled], state.fields[settled])
    over = (state.step_factor > 1).nonzero().reshape(-1).tolist()
    if over:
        more = f", and at {len(over) - 1} more" if len(over) > 1 else ""
        warn_of_instability(f"instance {over[0]}{more}: {state.step_text(over[0])}")
