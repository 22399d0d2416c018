"""Explicit stepping in plain torch, on any device: the oracle of the kernels, and the path where there is no kernel.

Autograd, forward mode and torch.func pass through it. What depends on the parameters alone is formed once a call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.utils.checkpoint import checkpoint

from gsimplicit.equations import constants, step_by
from gsimplicit.grid import neighbour_sum
from gsimplicit.marching.checkpoints import segments
from gsimplicit.progress import note
from gsimplicit.threads import look

if TYPE_CHECKING:
    from gsimplicit.equations import Model


def march(
    model: Model, fields: torch.Tensor, values: torch.Tensor, tol: float, max_steps: int, check_every: int, dt: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """March a batch, each instance until its own stop test fires; finished instances leave the batch.

    Args:
        model: The model.
        fields: Shape (B, S, H, W): dtype and device marched in.
        values: Parameters, float64, shape (B, P), not attached to autograd.
        tol: Stop below this largest change over a step; 0 never stops early.
        max_steps: Cap on the steps, >= 1.
        check_every: Steps between tests, >= 1.
        dt: Length of a step.

    Returns:
        Fields (B, S, H, W), steps (B,) and the change of the last test (B,), NaN where no longer finite.
    """
    out, steps = fields.clone(), torch.zeros(len(fields), dtype=torch.int64, device="cpu")
    change = torch.full((len(fields),), float("inf"), dtype=torch.float64, device="cpu")
    active, now, c = list(range(len(fields))), fields, constants(model, values, dt, fields)
    for n in range(1, max_steps + 1):
        look()
        last, now = now, step_by(model, now, c, dt)
        if n % check_every and n != max_steps:
            continue
        difference = (now - last).abs().flatten(1)
        finite = torch.isfinite(difference).all(dim=1).cpu()
        change[active] = torch.where(finite, difference.amax(dim=1).double().cpu(), torch.nan)
        steps[active] = n
        out[active] = now
        note("by torch, step {:,} of at most {:,}", n, max_steps)
        keep = [j for j, i in enumerate(active) if bool(change[i] >= tol)]
        if len(keep) < len(active):
            active, now, c = [active[j] for j in keep], now[keep], [a[keep] for a in c]
        if not active:
            break
    return out, steps, change


def unroll(
    model: Model, fields: torch.Tensor, values: torch.Tensor, steps: int, dt: float = 1.0, *, checkpointed: bool = True
) -> torch.Tensor:
    """March exactly `steps` steps, attached to autograd in the fields and the parameters.

    Args:
        model: The model.
        fields: Shape (B, S, H, W).
        values: Parameters, shape (B, P).
        steps: Number of steps, >= 0.
        dt: Length of a step.
        checkpointed: Keep one state a segment and march each segment again backwards; without it every intermediate
            of every step is kept, about 2 MB a step at 128 x 128, and forward mode works.
    """

    def advance(x: torch.Tensor, values: torch.Tensor, count: int) -> torch.Tensor:
        c = constants(model, values, dt, x)
        for _ in range(count):
            look()
            x = step_by(model, x, c, dt)
        return x

    if not checkpointed:
        return advance(fields, values, steps)
    for segment in segments(steps):
        fields = checkpoint(advance, fields, values, segment.length, use_reentrant=False)
    return fields


def pull_back(
    model: Model, fields: torch.Tensor, values: torch.Tensor, steps: int, cotangents: torch.Tensor, dt: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Adjoint of exactly `steps` steps of a batch, for L cotangents, by torch autograd.

    Args:
        model: The model.
        fields: Initial fields, shape (B, S, H, W).
        values: Parameters, float64, shape (B, P).
        steps: Number of steps, >= 0, held constant.
        cotangents: Derivatives of L losses in the final fields, shape (L, B, S, H, W).
        dt: Length of a step.

    Returns:
        Derivatives in the parameters, float64 of shape (L, B, P), and in the initial fields, (L, B, S, H, W).
    """
    cotangents = cotangents.to(fields.dtype)
    if not steps:  # nothing of the parameters is in the graph
        return torch.zeros((len(cotangents), *values.shape), dtype=torch.float64, device=values.device), cotangents
    start, at = fields.detach().requires_grad_(), values.detach().requires_grad_()
    with torch.enable_grad():
        end = unroll(model, start, at, steps, dt)
    pairs = [
        torch.autograd.grad(end, (at, start), c, retain_graph=n < len(cotangents) - 1, materialize_grads=True)
        for n, c in enumerate(cotangents.unbind(0))
    ]
    return torch.stack([p for p, _ in pairs]), torch.stack([s for _, s in pairs])


def push_forward(
    model: Model, fields: torch.Tensor, values: torch.Tensor, steps: int, dt: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """March exactly `steps` steps of a batch with its tangents in the parameters.

    Args:
        model: The model.
        fields: Initial fields, shape (B, S, H, W).
        values: Parameters, float64, shape (B, P).
        steps: Number of steps, >= 0, held constant.
        dt: Length of a step.

    Returns:
        The fields, shape (B, S, H, W), and their derivatives in each parameter, shape (B, P, S, H, W).
    """
    x, c = fields.detach(), constants(model, values.detach(), dt, fields)
    B, S = x.shape[:2]
    d = torch.zeros((B, values.shape[1], *x.shape[1:]), dtype=x.dtype, device=x.device)
    for _ in range(steps):
        look()
        parts, around, on = x.unbind(1), neighbour_sum(x).unbind(1), neighbour_sum(d)
        rows, sums = ([list(row.unbind(1)) for row in a.unbind(1)] for a in (d, on))
        moved = _tangents(model, parts, around, rows, sums, c, dt)
        d = torch.stack([torch.stack(row, dim=1) for row in moved], dim=1)
        x = step_by(model, x, c, dt)
    return x, d.reshape(B, -1, S, *x.shape[2:])


def _tangents(model: Model, x, S, d, Sd, c, dt):  # type: ignore[no-untyped-def]
    """Tangents a step later: by the model's formulas, or by the linearised residual."""
    steps = model.steps(dt)
    if steps is not None:
        return steps.tangents(x, S, d, Sd, c)
    J, forces = model.reaction_jacobian(x, c), model.parameter_slopes(x, S, c)
    out = []
    for row, sums, force in zip(d, Sd, forces, strict=True):
        rates = [
            c[i] * (sums[i] - 4 * row[i]) + sum(J[i][j] * row[j] for j in range(len(row))) + force[i]
            for i in range(len(row))
        ]
        out.append([a + dt * rate for a, rate in zip(row, rates, strict=True)])
    return out
