"""Derivatives of a root itself: how fields change with the parameters, and second derivatives of a loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gsimplicit.gray_scott import PARAMETERS, mixed_derivative, parameter_derivatives, second_derivative
from gsimplicit.marching import each
from gsimplicit.refine.solvers import chosen, require_linear
from gsimplicit.results import NotSteady, Status, SteadyState
from gsimplicit.routes.implicit import ADJOINT_LIMIT
from gsimplicit.routes.objective import Loss, name_of, noted, slope_of, value_of
from gsimplicit.surroundings import own_surroundings
from gsimplicit.threads import one_blas_thread

if TYPE_CHECKING:
    from gsimplicit.refine.linear import Bordered
    from gsimplicit.refine.solvers import LinearSolver, Prepared

Array = np.ndarray[Any, np.dtype[np.float64]]

__all__ = ["hessian", "root_derivatives"]


@own_surroundings
def root_derivatives(state: SteadyState, linear: LinearSolver | None = None) -> torch.Tensor:
    """Derivatives of the fields of certified roots in Du, Dv, F and k.

    `J dX/dp = -dR/dp` with the full Jacobian at a steady root and the one bordered by translations at a drifting root,
    as the implicit route has it: with the latter the pattern's position is held.

    Args:
        state: B certified roots, of `steady_state(..., refine=True)`.
        linear: How linear systems are solved; None chooses, as for `Refine`.

    Returns:
        du/dp and dv/dp, float64, shape (B, 4, 2, H, W), parameters in the order Du, Dv, F, k. One factorisation and
        four solves an instance.

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
    out = torch.empty((len(roots), len(PARAMETERS), *roots.fields.shape[1:]), dtype=torch.float64)
    with one_blas_thread():
        for still in (True, False):
            group = [i for i in range(len(roots)) if _still(roots, i) == still]
            if group:
                tangents = _tangents(_prepared(roots, group, linear), roots.fields[group], border=not still)
                out[group] = torch.from_numpy(np.stack([X for X, _ in tangents]))
    return out.to(state.fields.device)


@own_surroundings
def hessian(state: SteadyState, loss: Loss, linear: LinearSolver | None = None) -> torch.Tensor:
    """Second derivatives in Du, Dv, F and k of a loss of certified roots.

    With X_i = dX/dp_i and the adjoint `J^T lambda = dL/dX`,
    `H_ij = L_XX[X_i, X_j] - lambda . (R_XX[X_i, X_j] + R_Xi[X_j] + R_Xj[X_i])`, the drift's own derivatives included
    where the root drifts. No third factorisation, no differences.

    Args:
        state: B certified roots, of `steady_state(..., refine=True)`.
        loss: Callable of v (B, H, W) giving (B,), twice differentiable by torch.
        linear: How linear systems are solved; None chooses, as for `Refine`.

    Returns:
        float64, shape (B, 4, 4), symmetric, in the order Du, Dv, F, k.

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
    from gsimplicit.refine.linear import gradient
    from gsimplicit.refine.newton import residual

    values, fields = state.params.tensor().detach().numpy(), state.fields.detach().to("cpu", torch.float64).numpy()
    for i in range(len(state)):
        R, told = residual(fields[i], values[i]), float(state.residual[i])
        if not _still(state, i):
            R = R + np.tensordot(state.drift[i].numpy(), gradient(fields[i]), axes=1)
            told = float(state.bordered_residual[i])
        if not float(np.abs(R).max()) <= 10 * told + _ROUNDING:
            raise NotSteady(
                f"instance {i} was changed since it was certified: its residual is {float(np.abs(R).max()):.1e} now, "
                f"and was {told:.1e}",
                state,
            )


_ROUNDING = 1e-12
"""Residual that rounding may leave, of another device's sums say."""


def _system(state: SteadyState, i: int) -> Bordered:
    """The full Jacobian at a steady root, the bordered one at a drifting root."""
    from gsimplicit.refine.linear import Bordered
    from gsimplicit.refine.newton import broken_translations

    fields, values = state.fields[i].numpy(), state.params.tensor()[i].numpy()
    directions = broken_translations(fields)
    return Bordered(fields, values, directions, np.zeros(2) if _still(state, i) else state.drift[i].numpy())


def _still(state: SteadyState, i: int) -> bool:
    return bool(state.status[i] == Status.STEADY)


def _prepared(state: SteadyState, group: list[int], linear: LinearSolver | None) -> Prepared:
    return chosen(linear, state.fields[0, 0].numel(), torch.device("cpu")).prepare([_system(state, i) for i in group])


def _tangents(prepared: Prepared, fields: torch.Tensor, *, border: bool) -> list[tuple[Array, Array]]:
    """An instance: dX/dp (4, 2, H, W) and the derivatives of the drift's components (4, r)."""
    slopes = parameter_derivatives(fields).numpy()
    solutions = [prepared.solve(list(-slopes[:, p]), border=border) for p in range(len(PARAMETERS))]
    _require(max(s.residual for row in solutions for s in row))
    return [(np.stack([s.x for s in one]), np.stack([s.s for s in one])) for one in zip(*solutions, strict=True)]


def _require(residual: float) -> None:
    if not residual <= ADJOINT_LIMIT:
        raise np.linalg.LinAlgError(f"the root's Jacobian is too near singular: relative residual {residual:.1e}")


def _hessian(state: SteadyState, i: int, loss: Loss, linear: LinearSolver | None, where: torch.device) -> torch.Tensor:
    from gsimplicit.refine.linear import gradient

    fields = state.fields[i : i + 1]
    still, directions = _still(state, i), _system(state, i).directions
    prepared = _prepared(state, [i], linear)
    X, c = _tangents(prepared, fields, border=not still)[0]
    tangents = torch.from_numpy(X)
    v = fields[:, 1].clone().to(where).requires_grad_()  # where the loss is used to it
    with torch.enable_grad():
        value = value_of(loss, v, "hessian")
        seen = value.requires_grad
        with noted(loss, "the derivative of the loss"):
            slope = torch.autograd.grad(value.sum(), v, create_graph=True, allow_unused=True)[0] if seen else None
        if slope is None:
            raise ValueError(f"hessian: loss {name_of(loss)!r} does not depend on v for autograd: does it detach v?")
        if not slope.requires_grad:
            _require_linear(loss, v.detach(), slope, tangents[:, 1].to(where))
        bends = [_bend(slope, v, t[None, 1].to(where)).cpu() for t in tangents]
    if not bool(torch.isfinite(slope).all() and torch.isfinite(torch.stack(bends)).all()):
        raise ValueError(f"hessian: the derivatives of loss {name_of(loss)!r} in v are not finite at instance {i}")
    cotangent = torch.stack([torch.zeros_like(slope[0]), slope[0].detach()]).cpu().numpy()
    solution = prepared.solve([cotangent], transpose=True, border=not still)[0]
    _require(solution.residual)
    adjoint = torch.from_numpy(solution.x)
    mixed = mixed_derivative(tangents)
    # the velocity's derivative moves the other tangent: c_i . grad X_j
    moved = np.stack([np.tensordot(directions, gradient(x), axes=1) for x in X]) if c.shape[1] else None
    n = len(PARAMETERS)
    out = torch.zeros((n, n), dtype=torch.float64)
    for a in range(n):
        for b in range(a, n):
            force = second_derivative(fields, tangents[a : a + 1], tangents[b : b + 1])[0] + mixed[b, a] + mixed[a, b]
            if moved is not None:
                force = force + torch.from_numpy(
                    np.tensordot(c[a], moved[b], axes=1) + np.tensordot(c[b], moved[a], axes=1)
                )
            out[a, b] = out[b, a] = float((bends[a] * tangents[b, 1]).sum() - (adjoint * force).sum())
    return out


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
