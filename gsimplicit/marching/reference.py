"""Explicit stepping in plain torch, on any device: the oracle of the kernels, and the path where there is no kernel.

It calls `gray_scott.step` and nothing else, so autograd, forward mode and torch.func pass through it.
"""

from __future__ import annotations

import torch
from torch.utils.checkpoint import checkpoint

from gsimplicit import gray_scott
from gsimplicit.gray_scott import Params
from gsimplicit.marching.checkpoints import segments
from gsimplicit.threads import look


def march(
    fields: torch.Tensor, params: Params, tol: float, max_steps: int, check_every: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """March a batch, each instance until its own stop test fires; finished instances leave the batch.

    Args:
        fields: u and v, shape (B, 2, H, W): dtype and device marched in.
        params: B instances, not attached to autograd.
        tol: Stop below this largest change over a step; 0 never stops early.
        max_steps: Cap on the steps, >= 1.
        check_every: Steps between tests, >= 1.

    Returns:
        Fields (B, 2, H, W), steps (B,) and the change of the last test (B,), NaN where no longer finite.
    """
    out, steps = fields.clone(), torch.zeros(len(fields), dtype=torch.int64, device="cpu")
    change = torch.full((len(fields),), float("inf"), dtype=torch.float64, device="cpu")
    active, now = list(range(len(fields))), fields
    for n in range(1, max_steps + 1):
        look()
        last, now = now, gray_scott.step(now, params[active])
        if n % check_every and n != max_steps:
            continue
        difference = (now - last).abs().flatten(1)
        finite = torch.isfinite(difference).all(dim=1).cpu()
        change[active] = torch.where(finite, difference.amax(dim=1).double().cpu(), torch.nan)
        steps[active] = n
        out[active] = now
        keep = [j for j, i in enumerate(active) if bool(change[i] >= tol)]
        if len(keep) < len(active):
            active, now = [active[j] for j in keep], now[keep]
        if not active:
            break
    return out, steps, change


def unroll(fields: torch.Tensor, params: Params, steps: int, *, checkpointed: bool = True) -> torch.Tensor:
    """March exactly `steps` steps, attached to autograd in the fields and the parameters.

    Args:
        fields: u and v, shape (B, 2, H, W).
        params: B instances.
        steps: Number of steps, >= 0.
        checkpointed: Keep one state a segment and march each segment again backwards; without it every intermediate
            of every step is kept, about 2 MB a step at 128 x 128, and forward mode works.
    """

    def advance(x: torch.Tensor, values: torch.Tensor, count: int) -> torch.Tensor:
        p = Params.stack(values)
        for _ in range(count):
            look()
            x = gray_scott.step(x, p)
        return x

    values = params.tensor()
    if not checkpointed:
        return advance(fields, values, steps)
    for segment in segments(steps):
        fields = checkpoint(advance, fields, values, segment.length, use_reentrant=False)
    return fields


def pull_back(
    fields: torch.Tensor, params: Params, steps: int, cotangents: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Adjoint of exactly `steps` steps of one instance, for L cotangents, by torch autograd.

    Args:
        fields: Initial u and v, shape (2, H, W).
        params: One instance.
        steps: Number of steps, >= 0, held constant.
        cotangents: Derivatives of L losses in the final fields, shape (L, 2, H, W).

    Returns:
        Derivatives in Du, Dv, F, k, float64 of shape (L, 4), and in the initial fields, shape (L, 2, H, W).
    """
    start = fields[None].detach().requires_grad_()
    values = params.tensor().detach().requires_grad_()
    with torch.enable_grad():
        end = unroll(start, Params.stack(values), steps)
    if not steps:  # nothing of the parameters is in the graph
        return torch.zeros((len(cotangents), 4), dtype=torch.float64, device="cpu"), cotangents.to(fields.dtype)
    pairs = [
        torch.autograd.grad(end, (values, start), c[None].to(end.dtype), retain_graph=c is not cotangents[-1])
        for c in cotangents.unbind(0)
    ]
    return torch.cat([p for p, _ in pairs]), torch.cat([s for _, s in pairs])


def push_forward(fields: torch.Tensor, params: Params, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """March exactly `steps` steps of one instance with its four tangents, by the linearised equations.

    Args:
        fields: Initial u and v, shape (2, H, W).
        params: One instance.
        steps: Number of steps, >= 0, held constant.

    Returns:
        The fields, shape (2, H, W), and their derivatives in Du, Dv, F, k, shape (4, 2, H, W).
    """
    now, four = fields.detach()[None], params.detach().expand(4)
    tangents = torch.zeros((4, *fields.shape), dtype=fields.dtype, device=fields.device)
    for _ in range(steps):
        look()
        moved = gray_scott.jacobian_product(now.expand(4, -1, -1, -1), four, tangents)
        tangents = tangents + moved + gray_scott.parameter_derivatives(now)[0]
        now = gray_scott.step(now, params.detach())
    return now[0], tangents
