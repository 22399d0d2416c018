"""The arguments of a descent, checked, and the configuration by which it is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gsimplicit import checks, provenance
from gsimplicit.arguments import March, as_march, device_of
from gsimplicit.configuration import digest
from gsimplicit.descent.drawn import as_draws
from gsimplicit.descent.draws import Draws
from gsimplicit.descent.evaluation import ByResidual, ByRoute, Evaluation
from gsimplicit.descent.reparametrisation import Reparametrisation, as_bounds
from gsimplicit.descent.row import OptimizerFactory, as_optimizer, optimizer_recipe
from gsimplicit.descent.safeguards import Safeguards
from gsimplicit.equations import Model, ModelParams, warn_if_unstable
from gsimplicit.initial import Box
from gsimplicit.landscape.recipe import device_recipe, loss_recipe, model_recipe
from gsimplicit.landscape.settings import encoded
from gsimplicit.losses.loss import FeatureLoss
from gsimplicit.marching import Backend
from gsimplicit.routes.arguments import (
    Fields,
    as_objective,
    as_route,
    check_dtype,
    check_loss,
)
from gsimplicit.routes.objective import Loss
from gsimplicit.routes.route import Route, of_the_package

__all__ = ["Asked", "as_asked"]

RESIDUAL, UNROLLED = "residual", "unrolled"
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
    draws = as_draws(params, loss, residual, target, targets, initial, samples, seed, grid, noise, box, dt)
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
