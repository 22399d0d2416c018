"""The residual loss: how badly given fields fail the steady equations, quadratic in the parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gsimplicit.arrays import real_fields
from gsimplicit.equations import ModelParams, residual
from gsimplicit.surroundings import own_surroundings


@own_surroundings
def residual_loss(params: ModelParams, fields: torch.Tensor | np.ndarray[Any, Any]) -> torch.Tensor:
    """Mean squared steady residual of given fields (arXiv 2606.11258, section 6.2).

    `mean over species and pixels of R^2`, with R the right-hand side of eq. 1 and 2. R is linear in Du, Dv, F and k, so
    this is quadratic in them. It is no loss of a steady state: nothing is marched.

    Args:
        params: B instances, or 1; attached to autograd if they are.
        fields: Shape (B, S, H, W) or (1, S, H, W), a tensor or numpy array of floats.

    Returns:
        Shape (B,), float64, per unit time squared, >= 0. Differentiable in the parameters and the fields. NaN where
        the fields are not finite.

    Raises:
        ValueError: The batches do not pair, or the fields are masked.
        TypeError: `params` is not `Params`, or the fields hold no floats.

    Example:
        >>> import torch, gsimplicit as gs
        >>> rest = torch.stack([torch.ones(1, 8, 8), torch.zeros(1, 8, 8)], dim=1)
        >>> gs.residual_loss(gs.Params.preset("paper"), rest).item()
        0.0
    """
    if not isinstance(params, ModelParams):
        raise TypeError(f"params must be gsimplicit.Params, or another model's params, got {type(params).__name__}")
    fields = real_fields("fields", fields)
    S = len(params.model.species)
    size = max(len(params), len(fields) if fields.ndim else 0)
    if fields.ndim != 4 or fields.shape[1] != S or {len(params), len(fields)} - {1, size} or not fields.numel():
        raise ValueError(
            f"a batch of {len(params)} parameters does not pair with fields of shape {tuple(fields.shape)}: "
            f"give (B, {S}, H, W) with equal sizes, or one of them 1"
        )
    R = residual(fields.expand(size, -1, -1, -1), params.expand(size))
    return (R**2).flatten(1).mean(dim=1)
