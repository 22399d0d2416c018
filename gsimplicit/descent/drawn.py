"""The fields and targets of a descent's steps, from its arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from gsimplicit import checks
from gsimplicit.arguments import as_fields
from gsimplicit.descent.draws import Draws
from gsimplicit.equations import DEFAULT, Model, ModelParams
from gsimplicit.initial import Box, initial_state
from gsimplicit.losses.loss import is_feature_loss
from gsimplicit.routes.arguments import Fields, as_target, default_target

__all__ = ["BOX", "NOISE", "as_draws"]

NOISE, BOX = 0.02, Box()
"""Of fresh fields, where no others are asked for."""


def as_draws(
    params: ModelParams,
    loss: Any,
    residual: bool,
    target: Fields | None,
    targets: Fields | None,
    initial: Fields | None,
    samples: int | None,
    seed: int | Sequence[int],
    grid: tuple[int, int] | None,
    noise: float,
    box: Box | None,
    dt: float,
) -> Draws:
    """Fields and targets of each step.

    Raises:
        ValueError: One of the arguments lies outside its range, or two do not go together.
        TypeError: One has a wrong type.
    """
    model = params.model
    named = isinstance(loss, str) or is_feature_loss(loss)
    if target is not None and targets is not None:
        raise ValueError("targets must be None beside a target: a pool, or one for every step")
    goals = {name: _goal(name, x, model, loss, residual) for name, x in (("target", target), ("targets", targets))}
    goal, pool = goals["target"], goals["targets"]
    if not named and (goal is not None or pool is not None):
        raise ValueError("target has no meaning for a callable loss: let the callable hold it")
    if residual and goal is None and pool is None:
        raise ValueError(
            f"target must be all species, (1 or samples, {len(model.species)}, H, W), for the residual loss"
        )
    if residual and initial is not None:
        raise ValueError("initial must be None with the residual loss, which marches nothing")
    if samples is not None and initial is not None:
        raise ValueError("samples must be None beside initial fields, which are the samples of every step")
    noise, drawn = checks.real("noise", noise, least=0), initial is None and not residual
    seeds = _seeds(seed, len(params))
    _check_drawn(model, noise, box, seeds, drawn=drawn, residual=residual, pool=pool is not None)
    count = None if samples is None else checks.integer("samples", samples, 1)
    fixed = None if initial is None else as_fields("initial", initial, model)
    size = _grid(grid, [x for x in (fixed, goal, pool) if x is not None])
    if fixed is None and count is None and not residual:
        fixed = initial_state(grid=size, noise=noise, box=_fitting(box, size) if model is DEFAULT else None,
                              model=model if model is DEFAULT else params[0])  # fmt: skip
    if fixed is not None:
        count = len(fixed)
    if count is None:
        count = 1 if goal is None else len(goal)
    if goal is not None and len(goal) not in (1, count):
        raise ValueError(f"target must be of 1 or {count} instances, one a sample, got {len(goal)}")
    if named and not residual and goal is None and pool is None:
        goal = default_target(size, model, dt)
    return Draws(
        samples=count, fixed=fixed, target=goal, pool=pool, seeds=seeds, grid=size,
        noise=noise, box=box if model is DEFAULT else None, rest=params[0],
    )  # fmt: skip


def _check_drawn(
    model: Model, noise: float, box: Box | None, seeds: tuple[int, ...], *, drawn: bool, residual: bool, pool: bool
) -> None:
    """Refuse what is said of fields or draws where there are none."""
    for name, changed in (("noise", noise != NOISE), ("box", box != BOX)):
        if changed and not drawn:
            beside = "with the residual loss, which has no fields" if residual else "beside initial fields"
            raise ValueError(f"{name} must be left out {beside}: it is of fields that are drawn")
    if any(seeds) and not pool and not drawn:
        raise ValueError("seed must be left out where neither fields nor targets are drawn: it would change nothing")
    if drawn and model is not DEFAULT and box is not None and box != BOX:
        raise ValueError(f"box is Gray-Scott's square of u and v: for {model.name} pass box=None and initial fields")


def _goal(name: str, value: Fields | None, model: Model, loss: Any, residual: bool) -> torch.Tensor | None:
    if value is None:
        return None
    if residual:
        return as_fields(name, value, model)
    try:
        return as_target(value, model, loss)
    except (TypeError, ValueError) as error:
        if name == "target" or not str(error).startswith("target "):
            raise
        raise type(error)(f"{name} {str(error).removeprefix('target ')}") from None


def _grid(grid: tuple[int, int] | None, given: Sequence[torch.Tensor]) -> tuple[int, int]:
    """Rows and columns: what was given has them, or the argument, or they are the paper's."""
    sizes = {(int(x.shape[-2]), int(x.shape[-1])) for x in given}
    if len(sizes) > 1:
        raise ValueError(f"target must live on the grid of the fields, got {' and '.join(map(str, sorted(sizes)))}")
    asked = None if grid is None else checks.pair("grid", grid, 3)
    if asked is not None and sizes and asked not in sizes:
        raise ValueError(f"grid must be that of what is given, {sizes.pop()}, or None, got {asked}")
    return sizes.pop() if sizes else asked or (128, 128)


def _fitting(box: Box | None, grid: tuple[int, int]) -> Box | None:
    """The box, or on a small grid the largest that fits where none was asked for."""
    return Box(half=max(1, min(grid) // 4)) if box == Box() and min(grid) < 20 else box


def _seeds(seed: int | Sequence[int], rows: int) -> tuple[int, ...]:
    found = checks.plain(seed)
    if isinstance(found, list | tuple | np.ndarray | torch.Tensor | range):
        each = [checks.integer("seed", one, 0) for one in checks.listed("seed", found)]
        if len(each) != rows:
            raise ValueError(f"seed must be one integer or {rows}, one a row, got {len(each)}")
        return tuple(each)
    return (checks.integer("seed", found, 0),) * rows
