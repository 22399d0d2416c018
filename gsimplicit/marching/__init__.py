"""Explicit stepping, forward and its discrete adjoint, an instance at a time with the stop test.

On the CPU the compiled kernels of `cpu` do the work, on other devices the torch reference. Instances share nothing: one
that turns non-finite never changes another's bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gsimplicit.gray_scott import Params
from gsimplicit.marching import reference
from gsimplicit.results import Status
from gsimplicit.threads import each

__all__ = ["Marched", "each", "march", "pull_back", "push_forward"]


@dataclass(frozen=True, eq=False)
class Marched:
    """What a march reached.

    Attributes:
        fields: u and v, shape (B, 2, H, W).
        steps: Steps taken, int64, shape (B,).
        change: Largest |difference| over the last step tested, float64, shape (B,); NaN where diverged.
        status: FIXED, SETTLED, UNSTEADY or DIVERGED, int64, shape (B,).
    """

    fields: torch.Tensor
    steps: torch.Tensor
    change: torch.Tensor
    status: torch.Tensor


def march(fields: torch.Tensor, params: Params, *, tol: float, max_steps: int, check_every: int = 64) -> Marched:
    """March a batch in the dtype and on the device of `fields`.

    Args:
        fields: u and v, shape (B, 2, H, W).
        params: B instances.
        tol: Stop an instance once its largest change over a step is below this; 0 marches exactly `max_steps`.
        max_steps: Cap on the steps, >= 1.
        check_every: Steps between tests, >= 1; 1 is the letter of arXiv 2606.11258, section 2.1.

    Returns:
        The fields reached, detached from autograd.
    """
    values = params.tensor().detach()
    if fields.device.type == "cpu":
        from gsimplicit.marching import cpu  # compiles on import: only where it is needed

        starts = fields.detach().numpy()

        def one(i: int) -> tuple[torch.Tensor, int, float]:
            end, steps, change = cpu.march(starts[i], values[i].numpy(), tol, max_steps, check_every)
            return torch.from_numpy(end), steps, change

        ends = each(one, range(len(fields)))
        out = torch.stack([end for end, _, _ in ends])
        steps = torch.tensor([n for _, n, _ in ends], dtype=torch.int64, device="cpu")
        change = torch.tensor([c for _, _, c in ends], dtype=torch.float64, device="cpu")
    else:
        out, steps, change = reference.march(fields.detach(), Params.stack(values), tol, max_steps, check_every)
    status = torch.full((len(out),), int(Status.UNSTEADY if tol else Status.FIXED), device="cpu")
    status[change < tol] = Status.SETTLED
    status[torch.isnan(change)] = Status.DIVERGED
    return Marched(out, steps, change, status)


def pull_back(
    fields: torch.Tensor, params: Params, steps: int, cotangents: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Adjoint of exactly `steps` steps of one instance, for L losses at once.

    Args:
        fields: Initial u and v, shape (2, H, W).
        params: One instance.
        steps: Number of steps, >= 0, held constant.
        cotangents: Derivatives of the losses in the final fields, shape (L, 2, H, W).

    Returns:
        Derivatives in Du, Dv, F, k, float64 of shape (L, 4), and in the initial fields, shape (L, 2, H, W).
        Cost: about four marches and, for 20,000 steps at 128 x 128 in float64, 75 MB.
    """
    if fields.device.type != "cpu":
        return reference.pull_back(fields, params, steps, cotangents)
    from gsimplicit.marching import cpu

    gradient, initial = cpu.pull_back(
        fields.detach().numpy(), params.tensor().detach()[0].numpy(), steps, cotangents.detach().numpy()
    )
    return torch.from_numpy(gradient), torch.from_numpy(initial)


def push_forward(fields: torch.Tensor, params: Params, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """March exactly `steps` steps of one instance with its derivatives in the four parameters beside it.

    Args:
        fields: Initial u and v, shape (2, H, W).
        params: One instance.
        steps: Number of steps, >= 0, held constant.

    Returns:
        The fields, shape (2, H, W), and their derivatives in Du, Dv, F, k, shape (4, 2, H, W), in the dtype of
        `fields`. Cost: about nine marches, and no memory that grows with the steps.
    """
    if fields.device.type != "cpu":
        return reference.push_forward(fields, params, steps)
    from gsimplicit.marching import cpu

    end, tangents = cpu.push_forward(fields.detach().numpy(), params.tensor().detach()[0].numpy(), steps)
    return torch.from_numpy(end), torch.from_numpy(tangents)
