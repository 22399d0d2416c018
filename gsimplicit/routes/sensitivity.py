"""Derivatives of fields: how roots and marched fields change with the parameters, and second ones of a loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gsimplicit import checks
from gsimplicit.arguments import as_march, device_of, pair_up
from gsimplicit.equations import Equations, ModelParams, instances, warn_if_unstable
from gsimplicit.grid import along, broken_translations
from gsimplicit.refine.solvers import require_linear, solver_for
from gsimplicit.results import NotSteady, Status, SteadyState
from gsimplicit.routes.implicit import ADJOINT_LIMIT
from gsimplicit.routes.objective import Loss, name_of, noted, slope_of, value_of
from gsimplicit.surroundings import own_surroundings
from gsimplicit.threads import each, one_blas_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from gsimplicit.marching import Backend
    from gsimplicit.refine.linear import Bordered
    from gsimplicit.refine.solvers import LinearSolver, Prepared
    from gsimplicit.routes.arguments import Fields

Array = np.ndarray[Any, np.dtype[np.float64]]

__all__ = ["hessian", "marched_derivatives", "root_derivatives"]


@own_surroundings
def root_derivatives(state: SteadyState, linear: LinearSolver | None = None) -> torch.Tensor:
    """Derivatives of the fields of certified roots in each parameter.

    `J dX/dp = -dR/dp` with the full Jacobian at a steady root and the one bordered by translations at a drifting root,
    as the implicit route has it: with the latter the pattern's position is held.

    Args:
        state: B certified roots, of `steady_state(..., refine=True)`.
        linear: How linear systems are solved; None chooses, as for `Refine`.

    Returns:
        dX/dp, float64, shape (B, P, S, H, W), parameters in the model's order: Du, Dv, F, k for Gray-Scott. One
        factorisation and P solves an instance.

    Raises:
        TypeError: Not a steady state.
        NotSteady: An instance is not certified.
        np.linalg.LinAlgError: A Jacobian is singular, as at a fold.

    Example:
        >>> import gsimplicit as gs
        >>> fields = gs.initial_state(grid=(32, 32), box=gs.Box(half=5))
        >>> root = gs.steady_state(gs.Params(Du=0.16, Dv=0.08, F=0.03, k=0.05), fields, refine=True)
        >>> gs.root_derivatives(root).shape
        torch.Size([1, 4, 2, 32, 32])
    """
    roots = _on_cpu(state)
    require_linear(linear)
    out = torch.empty((len(roots), len(roots.model.parameters), *roots.fields.shape[1:]), dtype=torch.float64)
    with one_blas_thread():
        for still in (True, False):
            group = [i for i in range(len(roots)) if _still(roots, i) == still]
            if group:
                tangents = _tangents(_prepared(roots, group, linear), _systems(roots, group), border=not still)
                out[group] = torch.from_numpy(np.stack([X for X, _ in tangents]))
    return out.to(state.fields.device)


@own_surroundings
def marched_derivatives(
    params: ModelParams,
    initial: Fields | None = None,
    steps: int = 100,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    dt: float = 1.0,
    backend: Backend | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fields after exactly so many steps, and their derivatives in each parameter: the tangents of the march.

    What least squares in the parameters need, as by Gauss-Newton or Levenberg-Marquardt; for the gradient of one loss
    there is `grad(route="tangent")`. About ten marches for four parameters, and no memory that grows with the steps.

    Args:
        params: B instances, or 1.
        initial: Shape (B, S, H, W) or (1, S, H, W); None is one field of seed 0 on 128 x 128.
        steps: Steps to take, >= 1.
        dtype: Of the march; None is float64.
        device: Where to march; None is where `initial` lies.
        dt: Length of an explicit step in time units, > 0.
        backend: What steps, as for `steady_state`.

    Returns:
        The fields, shape (B, S, H, W), and dX/dp, shape (B, P, S, H, W), parameters in the model's order: Du, Dv, F, k
        for Gray-Scott. Both are float64 unless `dtype` says otherwise, and not finite where the march diverged.

    Raises:
        ValueError: An argument lies outside its range.
        TypeError: An argument has a wrong type.

    Example:
        >>> import torch, gsimplicit as gs
        >>> params, start = gs.Params.preset("paper"), gs.initial_state(grid=(32, 32), box=gs.Box(half=7))
        >>> fields, slopes = gs.marched_derivatives(params, start, steps=50)
        >>> out = gs.grad(params, "tangent", lambda v: v.mean((-2, -1)), initial=start, tol=0.0, max_steps=50)
        >>> slopes.shape, bool(torch.allclose(slopes[:, :, 1].mean((-2, -1)), out.grad.tensor(), rtol=1e-9))
        (torch.Size([1, 4, 2, 32, 32]), True)
    """
    params, fields = pair_up(params, initial)
    steps = checks.integer("steps", steps, 1, 2**31 - 2)
    where = as_march(0.0, steps, 1, dtype, device_of(device, initial), dt, backend)
    warn_if_unstable(params.detach(), where.dt)
    count = torch.full((len(params),), steps, dtype=torch.int64, device="cpu")
    return where.by.push_forward(params.detach(), where.placed(fields), count, where.dt)


@own_surroundings
def hessian(state: SteadyState, loss: Loss, linear: LinearSolver | None = None) -> torch.Tensor:
    """Second derivatives in the parameters of a loss of certified roots.

    With X_i = dX/dp_i and the adjoint `J^T lambda = dL/dX`,
    `H_ij = L_XX[X_i, X_j] - lambda . (R_XX[X_i, X_j] + R_Xi[X_j] + R_Xj[X_i] + R_ij)`, the drift's own derivatives
    included where the root drifts. No third factorisation, no differences.

    Args:
        state: B certified roots, of `steady_state(..., refine=True)`.
        loss: Callable of v (B, H, W) giving (B,), twice differentiable by torch.
        linear: How linear systems are solved; None chooses, as for `Refine`.

    Returns:
        float64, shape (B, P, P), symmetric, in the model's order: Du, Dv, F, k for Gray-Scott.

    Raises:
        NotSteady: An instance is not certified.
        np.linalg.LinAlgError: A Jacobian is singular, as at a fold.

    Example:
        >>> import gsimplicit as gs
        >>> fields = gs.initial_state(grid=(32, 32), box=gs.Box(half=5))
        >>> root = gs.steady_state(gs.Params(Du=0.16, Dv=0.08, F=0.03, k=0.05), fields, refine=True)
        >>> gs.hessian(root, lambda v: (v**2).mean(dim=(-2, -1))).shape
        torch.Size([1, 4, 4])
    """
    roots = _on_cpu(state)
    require_linear(linear)
    if not callable(loss):
        raise TypeError(f"loss must be a callable of v (B, H, W) giving (B,), got {loss!r}")
    with one_blas_thread():
        return torch.stack(each(lambda i: _hessian(roots, i, loss, linear, state.fields.device), range(len(roots))))


def _on_cpu(state: SteadyState) -> SteadyState:
    """Certified roots, cut off from autograd, where the linear systems are solved."""
    if not isinstance(state, SteadyState):
        raise TypeError(f"state must be of gsimplicit.steady_state, got {type(state).__name__}")
    state.require_steady()
    _require_untouched(state)
    return state.replace(fields=state.fields.detach().to("cpu", torch.float64))


def _require_untouched(state: SteadyState) -> None:
    """Raise where fields or parameters are others than those that were certified."""
    fields = state.fields.detach().to("cpu", torch.float64).numpy()
    for i, equations in enumerate(instances(state.params)):
        still = _still(state, i)
        found = float(np.abs(equations.defect(fields[i], np.zeros(2) if still else state.drift[i].numpy())).max())
        told = float(state.residual[i] if still else state.bordered_residual[i])
        if not found <= 10 * told + _ROUNDING:
            raise NotSteady(
                f"instance {i} was changed since it was certified: its residual is {found:.1e} now, and was {told:.1e}",
                state,
            )


_ROUNDING = 1e-12
"""Residual that rounding may leave, of another device's sums say."""


def _system(state: SteadyState, i: int) -> Bordered:
    """The full Jacobian at a steady root, the bordered one at a drifting root."""
    from gsimplicit.refine.linear import Bordered

    fields, equations = state.fields[i].numpy(), next(instances(state.params[i]))
    directions = broken_translations(fields, state.model.scale)
    return Bordered(equations, fields, directions, np.zeros(2) if _still(state, i) else state.drift[i].numpy())


def _still(state: SteadyState, i: int) -> bool:
    return bool(state.status[i] == Status.STEADY)


def _prepared(state: SteadyState, group: list[int], linear: LinearSolver | None) -> Prepared:
    return solver_for(linear, state.fields[0, 0].numel(), torch.device("cpu")).prepare(_systems(state, group))


def _systems(state: SteadyState, group: list[int]) -> list[Bordered]:
    return [_system(state, i) for i in group]


def _tangents(prepared: Prepared, systems: list[Bordered], *, border: bool) -> list[tuple[Array, Array]]:
    """An instance: dX/dp (P, S, H, W) and the derivatives of the drift's components (P, r)."""
    slopes = [system.equations.parameter_slopes(system.fields) for system in systems]
    solutions = [prepared.solve([-s[p] for s in slopes], border=border) for p in range(len(slopes[0]))]
    _require(max(s.residual for row in solutions for s in row))
    return [(np.stack([s.x for s in one]), np.stack([s.s for s in one])) for one in zip(*solutions, strict=True)]


def _require(residual: float) -> None:
    if not residual <= ADJOINT_LIMIT:
        raise np.linalg.LinAlgError(f"the root's Jacobian is too near singular: relative residual {residual:.1e}")


def _hessian(state: SteadyState, i: int, loss: Loss, linear: LinearSolver | None, where: torch.device) -> torch.Tensor:
    fields, seen = state.fields[i : i + 1], state.model.seen
    still, system = _still(state, i), _system(state, i)
    prepared = _prepared(state, [i], linear)
    X, c = _tangents(prepared, [system], border=not still)[0]
    tangents = torch.from_numpy(X)
    v = fields[:, seen].clone().to(where).requires_grad_()  # where the loss is used to it
    with torch.enable_grad():
        value = value_of(loss, v, "hessian")
        attached = value.requires_grad
        with noted(loss, "the derivative of the loss"):
            slope = torch.autograd.grad(value.sum(), v, create_graph=True, allow_unused=True)[0] if attached else None
        if slope is None:
            raise ValueError(f"hessian: loss {name_of(loss)!r} does not depend on v for autograd: does it detach v?")
        if not slope.requires_grad:
            _require_linear(loss, v.detach(), slope, tangents[:, seen].to(where))
        bends = [_bend(slope, v, t[None, seen].to(where)).cpu() for t in tangents]
    if not bool(torch.isfinite(slope).all() and torch.isfinite(torch.stack(bends)).all()):
        raise ValueError(f"hessian: the derivatives of loss {name_of(loss)!r} in v are not finite at instance {i}")
    cotangent = np.zeros_like(system.fields)
    cotangent[seen] = slope[0].detach().cpu().numpy()
    solution = prepared.solve([cotangent], transpose=True, border=not still)[0]
    _require(solution.residual)
    forces = _second_forces(system.equations, system, X, c)
    n = len(X)
    out = torch.zeros((n, n), dtype=torch.float64)
    for a in range(n):
        for b in range(a, n):
            bent = float((bends[a] * tangents[b, seen]).sum())
            out[a, b] = out[b, a] = bent - float((solution.x * forces(a, b)).sum())
    return out


def _second_forces(equations: Equations, system: Bordered, X: Array, c: Array) -> Callable[[int, int], Array]:
    """What drives the second derivative of a root in two parameters, from its first ones X (P, S, H, W), c (P, r)."""
    mixed = [equations.mixed(system.fields, x) for x in X]
    own = equations.second_slopes(system.fields)
    # the velocity's derivative moves the other tangent: c_i . grad X_j
    moved = [along(system.directions, x) for x in X] if c.shape[1] else None

    def force(a: int, b: int) -> Array:
        out = equations.second(system.fields, X[a], X[b]) + mixed[b][a] + mixed[a][b] + own[a][b]
        if moved is not None:
            out = out + np.tensordot(c[a], moved[b], axes=1) + np.tensordot(c[b], moved[a], axes=1)
        return np.asarray(out)

    return force


def _require_linear(loss: Loss, v: torch.Tensor, slope: torch.Tensor, directions: torch.Tensor) -> None:
    """Raise where a loss without a second derivative in torch is not linear in v: zero would be wrong."""
    for direction in directions:
        size = float(direction.abs().max())
        there = slope_of(loss, v + (1e-3 / max(size, 1e-300)) * direction)
        if there is not None and not torch.allclose(there, slope.detach(), rtol=1e-7, atol=1e-14):
            raise ValueError(
                f"hessian: loss {name_of(loss)!r} is curved, and torch has no second derivative of it: its backward is "
                "not differentiable"
            )


def _bend(slope: torch.Tensor, v: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """Second derivative of a loss in v along a direction, shape (H, W); zero for a linear loss."""
    if not slope.requires_grad:
        return torch.zeros_like(direction[0])
    (bend,) = torch.autograd.grad(slope, v, direction, retain_graph=True, allow_unused=True)
    return torch.zeros_like(direction[0]) if bend is None else bend[0]
