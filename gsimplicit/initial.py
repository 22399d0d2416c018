"""Initial fields: a box of reactant in a noisy rest state, keyed by (seed, index).

Field number `i` of a seed is drawn from its own random stream, so any split of the work draws the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gsimplicit import checks
from gsimplicit.equations import DEFAULT, Model, ModelParams
from gsimplicit.surroundings import own_surroundings

_MOST = 2**40
"""Values that no machine holds at once."""


@dataclass(frozen=True)
class Box:
    """A square in which u and v start at fixed values.

    Attributes:
        centre: Row and column of its centre; None is the middle of the grid. The square may wrap around an edge.
        half: Half of its side in pixels, >= 1: rows and columns `centre - half` to `centre + half - 1`.
        u: Value of u inside, dimensionless.
        v: Value of v inside, dimensionless.

    The default is the 20 x 20 square of arXiv 2606.11258, appendix A, with u = 0.5 and v = 0.25.

    Examples:
        >>> import gsimplicit as gs
        >>> start = gs.initial_state(grid=(32, 32), box=gs.Box(half=4, v=0.25))
        >>> int((start[0, 1] == 0.25).sum())
        64
    """

    centre: tuple[int, int] | None = None
    half: int = 10
    u: float = 0.5
    v: float = 0.25

    def __post_init__(self) -> None:
        # plain values, so that a list of the caller's is not read again later; what is wrong is told with the grid
        for name, check in _BOX.items():
            with suppress(TypeError, ValueError):
                checks.keep(self, {name: check(f"box.{name}", getattr(self, name))})


_BOX: dict[str, Callable[[str, Any], Any]] = {
    "centre": lambda name, value: None if value is None else checks.pair(name, value, -(2**31), 2**31, "(row, column)"),
    "half": lambda name, value: checks.integer(name, value, -(2**31), 2**31),
    "u": checks.real,
    "v": checks.real,
}
"""Checks of the box's entries that do not need the grid."""


@own_surroundings
def initial_state(
    count: int = 1,
    seed: int = 0,
    start: int = 0,
    grid: tuple[int, int] = (128, 128),
    noise: float = 0.02,
    box: Box | None = Box(),
    model: Model | ModelParams | None = None,
) -> torch.Tensor:
    """Initial fields after arXiv 2606.11258, eq. 9 and 10, or another model's rest state with noise.

    For Gray-Scott, outside the box `u = clamp(1 + noise N(0, 1), 0, 1.5)` and `v = clamp(noise N(0, 1), 0, 1)`; inside
    u and v are the box's values. The paper's text has noise = 1, which makes the explicit step diverge at its own
    parameters; its published code has 0.02, the default here.

    Args:
        count: Number of fields, >= 1.
        seed: Seed of the family of fields, >= 0.
        start: Index of the first field, >= 0: `initial_state(4, seed)[2:]` equals `initial_state(2, seed, start=2)`.
        grid: Rows H and columns W of the periodic grid, each >= 3.
        noise: Standard deviation of the noise, >= 0, as a share of the model's `scale`.
        box: The square, or None for noise alone. Gray-Scott's alone; other models start without.
        model: A model, or a model's parameters, at whose rates the rest state is taken; of a model itself those of its
            first preset. None is Gray-Scott. Species i is `rest_i + noise scale N(0, 1)`, within the bounds.

    Returns:
        Float64, shape (count, S, H, W): u and v of Gray-Scott.

    Raises:
        ValueError: An argument lies outside its range, or the box is larger than the grid.
        TypeError: An argument has a wrong type.

    Example:
        >>> import gsimplicit as gs
        >>> fields = gs.initial_state(count=4, seed=0, grid=(64, 64))
        >>> fields.shape, fields[0, 0, 32, 32].item()
        (torch.Size([4, 2, 64, 64]), 0.5)
    """
    count, seed = checks.integer("count", count, 1), checks.integer("seed", seed, 0, None)
    start = checks.integer("start", start, 0, None)
    grid = checks.pair("grid", grid, 3)
    if count * grid[0] * grid[1] > _MOST:
        asked = f"{count} fields of {grid[0]} x {grid[1]}"
        raise ValueError(f"count and grid must make at most {_MOST} pixels, got {asked}")
    noise = checks.real("noise", noise, least=0)
    rest, bounds, box = _at_rest(model, box)
    noise *= (model.model if isinstance(model, ModelParams) else model or DEFAULT).scale
    if box is not None:
        _check_box(box, grid)
    return torch.stack([_one(seed, start + i, grid, noise, box, rest, bounds) for i in range(count)])


def _check_box(box: Box, grid: tuple[int, int]) -> None:
    if not isinstance(box, Box):
        raise TypeError(f"box must be gsimplicit.Box or None, got {box!r}")
    for name, check in _BOX.items():
        check(f"box.{name}", getattr(box, name))
    if box.half < 1 or 2 * box.half > min(grid):
        raise ValueError(
            f"box.half must lie in 1..{min(grid) // 2} on a grid of {grid[0]} x {grid[1]}, got {box.half}"
            + (f"; the default box is 20 x 20: pass box=Box(half={max(1, min(grid) // 4)})" if box == Box() else "")
        )


def _at_rest(model: Any, box: Box | None) -> tuple[list[float], tuple[Any, ...], Box | None]:
    """Rest state and bounds of the species, and the box where there is one."""
    if model is None or model is DEFAULT:
        return [1.0, 0.0], DEFAULT.bounds, box
    if isinstance(model, ModelParams):
        if len(model) > 1:
            raise ValueError(f"model must be a model or one instance of its parameters, got {len(model)} instances")
        values, model = model.tensor().detach()[0].tolist(), model.model
    elif isinstance(model, Model):
        values = list(next(iter(model.presets.values()), ()))
        if not values and callable(model.rest):
            raise ValueError(f"model {model.name} has no preset that says where it rests: pass its params as model")
    else:
        raise TypeError(f"model must be a gsimplicit.Model or its params, got {checks.shown(model)}")
    if model is DEFAULT:
        return [1.0, 0.0], model.bounds, box
    if box is not None and box != Box():
        raise ValueError(
            f"box is Gray-Scott's square of u and v: for {model.name} pass box=None and fields of your own"
        )
    rest = [float(x) for x in model.rest_of(values[len(model.species) :])]
    if not np.isfinite(rest).all():
        at = ", ".join(f"{n} = {x:g}" for n, x in zip(model.parameters, values, strict=False))
        raise ValueError(f"model {model.name} has no rest state at {at}: pass fields of your own")
    return rest, model.bounds, None


def _one(
    seed: int,
    index: int,
    grid: tuple[int, int],
    noise: float,
    box: Box | None,
    rest: list[float],
    bounds: tuple[Any, ...],
) -> torch.Tensor:
    draws = np.random.default_rng([seed, index]).standard_normal((len(rest), *grid))
    fields = np.stack([_within(x + noise * draw, bound) for x, draw, bound in zip(rest, draws, bounds, strict=True)])
    if box is not None:
        centre = box.centre or (grid[0] // 2, grid[1] // 2)
        rows, columns = ((np.arange(c - box.half, c + box.half)) % n for c, n in zip(centre, grid, strict=True))
        fields[:, rows[:, None], columns[None, :]] = np.array([box.u, box.v])[:, None, None]
    return torch.from_numpy(fields)


def _within(values: Any, bound: tuple[float, float] | None) -> Any:
    return values if bound is None else np.clip(values, *bound)
