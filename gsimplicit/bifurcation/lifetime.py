"""How long a start lives: steps until the observed species has died everywhere."""

from __future__ import annotations

import torch

from gsimplicit import checks
from gsimplicit.arguments import as_fields
from gsimplicit.equations import ModelParams
from gsimplicit.marching import KERNELS
from gsimplicit.surroundings import own_surroundings

__all__ = ["lifetime"]


@own_surroundings
def lifetime(
    params: ModelParams, fields: torch.Tensor, horizon: int = 3000, every: int = 20, dt: float = 1.0
) -> int | None:
    """Steps until the observed species has died everywhere; None where it lives at the horizon.

    Args:
        params: One instance, of a model with a `trivial` amount: 0.01 of v for Gray-Scott.
        fields: The species, shape (1, S, H, W).
        horizon: Most steps, >= 1.
        every: Steps between looks, >= 1: the resolution.
        dt: Length of a step in time units, > 0.

    Returns:
        The number of steps at the first look that finds it dead.

    Raises:
        ValueError: An argument lies outside its range, the parameters or fields are not one instance, or steps of dt
            make the fields diverge.
        TypeError: An argument has a wrong type.

    Example:
        >>> import gsimplicit as gs
        >>> from gsimplicit.bifurcation.lifetime import lifetime
        >>> start = gs.initial_state(grid=(32, 32), noise=0.0, box=gs.Box(half=5))
        >>> lifetime(gs.Params.preset("paper").replace(k=0.07), start) < 200
        True
    """
    horizon, every = checks.integer("horizon", horizon, 1), checks.integer("every", every, 1)
    params, dt = one_instance(params), checks.real("dt", dt, above=0)
    now, steps = single("fields", fields, params), 0
    while alive(params, now):
        ahead = min(every, horizon - steps)
        if not ahead:
            return None
        now, steps = marched(params, now, ahead, dt), steps + ahead
    return steps


def one_instance(params: ModelParams) -> ModelParams:
    """One instance of parameters, cut off from autograd."""
    if not isinstance(params, ModelParams):
        raise TypeError(f"params must be gsimplicit.Params, or another model's params, got {type(params).__name__}")
    if len(params) != 1:
        raise ValueError(f"params must be one instance, got {len(params)}")
    if params.model.trivial is None:
        raise ValueError(f"params must be of a model with a trivial state to die into, got {params.model.name}")
    return params.detach()


def alive(params: ModelParams, fields: torch.Tensor) -> bool:
    """Whether the observed species has not died everywhere."""
    return float(fields[0, params.model.seen].max()) >= float(params.model.trivial or 0.0)


def marched(params: ModelParams, fields: torch.Tensor, steps: int, dt: float) -> torch.Tensor:
    """Fields that many steps later.

    Raises:
        ValueError: They diverge: what is no longer finite has not died.
    """
    end = KERNELS.march(params, fields, 0.0, steps, steps, dt).fields
    if not bool(torch.isfinite(end).all()):
        at = ", ".join(f"{n} = {float(getattr(params, n)[0]):g}" for n in params.model.parameters)
        raise ValueError(f"dt must be short enough for the step to be stable, got {dt:g}: the fields diverge at {at}")
    return end


def single(name: str, fields: torch.Tensor, params: ModelParams) -> torch.Tensor:
    """One instance of fields, float64, shape (1, S, H, W)."""
    one = as_fields(name, fields, params.model)
    if len(one) != 1:
        raise ValueError(f"{name} must be one instance, got {len(one)}")
    return one
