"""What `gsimplicit.marching` had in version 0.1.0, for one more version.

They are methods of a backend now, with other arguments.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gsimplicit.equations import ModelParams
from gsimplicit.marching.backend import backend_for
from gsimplicit.threads import each

__all__ = ["each", "march", "pull_back", "push_forward"]


@dataclass(frozen=True, eq=False)
class Former:
    """What a march reached: as `Marched`, with the status as a tensor."""

    fields: torch.Tensor
    steps: torch.Tensor
    change: torch.Tensor
    status: torch.Tensor


def march(fields: torch.Tensor, params: ModelParams, *, tol: float, max_steps: int, check_every: int = 64) -> Former:
    """March a batch in the dtype and on the device of `fields`, by steps of 1."""
    found = backend_for(fields.device).march(params.detach(), fields, tol, max_steps, check_every, 1.0)
    return Former(found.fields, found.steps, found.change, found.status(tol))


def pull_back(
    fields: torch.Tensor, params: ModelParams, steps: int, cotangents: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Adjoint of `steps` steps of one instance, from fields (S, H, W), for cotangents (L, S, H, W)."""
    count, by = torch.tensor([steps]), backend_for(fields.device)
    gradient, initial = by.pull_back(params.detach(), fields[None], count, cotangents[:, None], 1.0)
    return gradient[:, 0], initial[:, 0]


def push_forward(fields: torch.Tensor, params: ModelParams, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Fields (S, H, W) after `steps` steps of one instance, and their derivatives in each parameter."""
    end, tangents = backend_for(fields.device).push_forward(params.detach(), fields[None], torch.tensor([steps]), 1.0)
    return end[0], tangents[0]
