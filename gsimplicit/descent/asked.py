"""The arguments of a descent, checked, and the configuration by which it is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gsimplicit import checks, provenance
from gsimplicit.arguments import March, as_fields, as_march, device_of
from gsimplicit.configuration import digest
from gsimplicit.descent.draws import Draws
from gsimplicit.descent.evaluation import ByResidual, ByRoute, Evaluation
from gsimplicit.descent.reparametrisation import Reparametrisation, as_bounds
from gsimplicit.descent.row import OptimizerFactory, as_optimizer, optimizer_recipe
from gsimplicit.descent.safeguards import Safeguards
from gsimplicit.equations import DEFAULT, Model, ModelParams, warn_if_unstable
from gsimplicit.initial import Box, initial_state
from gsimplicit.landscape.recipe import device_recipe, loss_recipe, model_recipe
from gsimplicit.landscape.settings import encoded
from gsimplicit.losses.loss import FeatureLoss, is_feature_loss
from gsimplicit.marching import Backend
from gsimplicit.routes.arguments import (
    Fields,
    as_objective,
    as_route,
    as_target,
    check_dtype,
    check_loss,
    default_target,
)
from gsimplicit.routes.objective import Loss
from gsimplicit.routes.route import Route, of_the_package

__all__ = ["Asked", "as_asked"]

RESIDUAL, UNROLLED = "residual", "unrolled"
NOISE, BOX = 0.02, Box()
"""Of fresh fields, where no others are asked for."""
MARCHING = {"tol": 1e-4, "max_steps": 50_000, "check_every": 64, "dtype": None, "dt": 1.0, "backend": None}
"""What marches are by default."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Asked:
    """What a descent is asked for: the arguments of `descend` that decide its values.

    Attributes:
        params: Where the rows start, B instances, detached.
        how: Which parameters move, and how they are made from raw ones.
        draws: Fields and targets of each step.
        route: The route; None for the residual loss.
        loss: The loss.
        marching: How states are marched.
        steps: Steps asked for.
        optimizer: Makes the optimiser of a row.
        safeguards: How the next parameters are tried, or None.
        keep: "v" where it is kept of every step, or None.
    """

    params: ModelParams
    how: Reparametrisation
    draws: Draws
    route: Route | None
    loss: str | Loss | FeatureLoss
    marching: March
    steps: int
    optimizer: OptimizerFactory
    safeguards: Safeguards | None
    keep: str | None

    @property
    def model(self) -> Model:
        """The model that is descended."""
        return self.params.model

    def evaluation(self) -> Evaluation:
        """What is asked at each place."""
        if self.route is None:
            return ByResidual(self.model, self.draws)
        return ByRoute(self.model, self.route, self.loss, self.marching, self.draws, self.keep is not None)

    def configuration(self, *, kept: bool) -> dict[str, Any]:
        """All that decides its values, of JSON types.

        Args:
            kept: Whether it is to be told from others; else what is the user's own is told by its name.

        Raises:
            ValueError: Something of the user's cannot be told from others.
        """
        draws = self.draws

        def told(value: torch.Tensor | None) -> str | None:
            return None if value is None else digest(value.numpy())

        return {
            "descent": "gsimplicit.descend",
            "params": self.params.tensor().tolist(),
            "free": list(self.how.names),
            "bounds": [list(self.how.low), list(self.how.high)],
            "route": None if self.route is None else encoded("route", self.route, kept=kept),
            "loss": loss_recipe(self.loss, kept=kept),
            "steps": self.steps,
            "samples": draws.samples,
            "initial": told(draws.fixed) if draws.fixed is not None or self.route is None else "fresh",
            "target": told(draws.target),
            "targets": told(draws.pool),
            "seed": list(draws.seeds),
            "grid": list(draws.grid),
            "noise": draws.noise,
            "box": None if draws.box is None else list(_box(draws.box)),
            "marching": encoded("marching", self.marching),
            "optimizer": optimizer_recipe(self.optimizer, kept=kept),
            "safeguards": None if self.safeguards is None else vars(self.safeguards),
            "keep": self.keep,
            "code": provenance.code_fingerprint(room="descent"),
            **model_recipe(self.model, kept=kept),
            **device_recipe(self.marching),
        }


def _box(box: Box) -> tuple[Any, ...]:
    return (None if box.centre is None else list(box.centre), box.half, box.u, box.v)


def as_asked(
    *,
    params: ModelParams,
    target: Fields | None,
    route: str | Route,
    loss: str | Loss | FeatureLoss,
    initial: Fields | None,
    steps: int,
    optimizer: OptimizerFactory | None,
    safeguards: Safeguards | None,
    free: Sequence[str] | None,
    bounds: Any,
    samples: int | None,
    targets: Fields | None,
    seed: int | Sequence[int],
    grid: tuple[int, int] | None,
    noise: float,
    box: Box | None,
    tol: float,
    max_steps: int,
    check_every: int,
    dtype: torch.dtype | None,
    device: torch.device | str | None,
    dt: float,
    backend: Backend | None,
    keep: str | None,
) -> Asked:
    """The arguments of `descend`, checked.

    Raises:
        ValueError: One lies outside its range, or two do not go together.
        TypeError: One has a wrong type.
    """
    if not isinstance(params, ModelParams):
        raise TypeError(f"params must be gsimplicit.Params, or another model's params, got {type(params).__name__}")
    params, model = params.detach(), params.model
    residual = isinstance(checks.plain(loss), str) and loss == RESIDUAL
    chosen = None if residual else as_route(route)
    if residual and not (isinstance(route, str) and route == UNROLLED):
        raise ValueError(
            f"route must be left out with the residual loss, which marches nothing, got {checks.shown(route)}"
        )
    if chosen is not None and (isinstance(loss, str) or not callable(loss)):
        check_loss(loss)
    if residual:
        _refuse_marching(tol=tol, max_steps=max_steps, check_every=check_every, dtype=dtype, dt=dt, backend=backend)
    marching = as_march(
        tol, max_steps, check_every, dtype, device_of(device, initial), dt, backend,
        precise=chosen is None or chosen.precise,
    )  # fmt: skip
    how = as_bounds(model, free, bounds)
    how.check(params.tensor()[:, [model.parameters.index(n) for n in how.names]])
    if safeguards is not None and not isinstance(safeguards, Safeguards):
        raise TypeError(f"safeguards must be gsimplicit.Safeguards or None, got {checks.shown(safeguards)}")
    if keep is not None and checks.plain(keep) != "v":
        raise ValueError(f"keep must be 'v' or None, got {checks.shown(keep)}")
    if residual and keep is not None:
        raise ValueError("keep must be None with the residual loss, which marches nothing")
    draws = _draws(params, loss, residual, target, targets, initial, samples, seed, grid, noise, box, dt)
    if chosen is not None:
        check_dtype(chosen, marching.dtype)
        chosen.check(params if of_the_package(chosen) else params.detach())
        warn_if_unstable(params, marching.dt)
        as_objective(loss, draws.targets([0], 0), draws.samples, draws.grid, model, marching.dt)
        draws.fields([0], 0)
    return Asked(
        params=params, how=how, draws=draws, route=chosen, loss=loss, marching=marching,
        steps=checks.integer("steps", steps, 0, 2**31 - 2), optimizer=as_optimizer(optimizer), safeguards=safeguards,
        keep=None if keep is None else "v",
    )  # fmt: skip


def _refuse_marching(**given: Any) -> None:
    """What is said about marching, where nothing is marched, would change nothing: it is refused.

    Raises:
        ValueError: One is not its default.
    """
    for name, value in given.items():
        if value != MARCHING[name]:
            raise ValueError(f"{name} must be left out with the residual loss, which marches nothing, got {value!r}")


def _draws(
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
    """Fields and targets of each step."""
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
    for name, changed in (("noise", noise != NOISE), ("box", box != BOX)):
        if changed and not drawn:
            beside = "with the residual loss, which has no fields" if residual else "beside initial fields"
            raise ValueError(f"{name} must be left out {beside}: it is of fields that are drawn")
    seeds = _seeds(seed, len(params))
    if any(seeds) and pool is None and (residual or initial is not None):
        raise ValueError("seed must be left out where neither fields nor targets are drawn: it would change nothing")
    if drawn and model is not DEFAULT and box is not None and box != BOX:
        raise ValueError(f"box is Gray-Scott's square of u and v: for {model.name} pass box=None and initial fields")
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
