"""The plan of a scan: all a worker needs to evaluate any point, with targets resolved."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch

from gsimplicit.arguments import March
from gsimplicit.equations import ModelParams
from gsimplicit.identity import label
from gsimplicit.labels import VARIABLES, Part
from gsimplicit.landscape.arguments import Arguments
from gsimplicit.landscape.tiles import Values
from gsimplicit.losses.loss import FeatureLoss, is_feature_loss, sees_all
from gsimplicit.refine import Refine
from gsimplicit.routes.arguments import as_objective
from gsimplicit.routes.objective import Objective
from gsimplicit.routes.route import Loss, Route
from gsimplicit.states import marched_state

__all__ = ["Plan", "planned"]


@dataclass(frozen=True, eq=False)
class Plan:
    """All a worker needs to evaluate any point of a scan.

    Attributes:
        base: Parameters of the model, one instance: those of a point take its place.
        initial: Initial fields of the samples, shape (samples, S, H, W).
        objectives: Losses of the state, with their targets.
        residual_at: All species the residual loss is evaluated at, of the shape of `initial`, or None
            where it is not asked for.
        names: Names of all losses in the order asked for, "residual" among them.
        routes: Gradient routes.
        marching: How states are marched.
        refine: How marched states are certified, or None.
        share_root: Whether every route starts from one certified root.
        keep_v: Whether v is kept.
        points: How many points the samples are those of, one after the other.
    """

    base: ModelParams
    initial: torch.Tensor
    objectives: tuple[Objective, ...]
    residual_at: torch.Tensor | None
    names: tuple[str, ...]
    routes: tuple[Route, ...]
    marching: March
    refine: Refine | None
    share_root: bool
    keep_v: bool
    points: int = 1

    @property
    def modes(self) -> int:
        """Eigenvalues kept of every root."""
        return self.refine.eigenvalues if self.refine is not None and self.objectives else 0

    def repeated(self, times: int) -> Plan:
        """The plan for several points at once: the samples of one after those of the other."""
        many = (times, 1, 1, 1)
        return replace(
            self,
            initial=self.initial.repeat(many),
            points=times,
            objectives=tuple(objective.repeated(times) for objective in self.objectives),
            residual_at=None if self.residual_at is None else self.residual_at.repeat(many),
        )

    @property
    def parts(self) -> tuple[Part, ...]:
        """What of the table of variables is there at every point."""
        there: dict[Part, bool] = {
            "state": True,
            "eigenvalues": bool(self.modes),
            "route": bool(self.routes),
            "kept": self.keep_v and bool(self.objectives),
        }
        return tuple(part for part in there if there[part])

    @property
    def sizes(self) -> dict[str, int]:
        """Lengths of the dimensions that variables of a point have."""
        S, _, H, W = self.initial.shape
        return {
            "sample": S,
            "route": len(self.routes),
            "objective": len(self.names),
            "parameter": len(self.base.model.parameters),
            "mode": self.modes,
            "y": H,
            "x": W,
        }

    def blank(self) -> Values:
        """The variables of a point that was not computed, each without the axes of the scan."""
        kept = str(self.marching.dtype if self.refine is None else torch.float64).removeprefix("torch.")
        there = {name: variable for name, variable in VARIABLES.items() if variable.part in self.parts}
        return {name: variable.blank(self.sizes, kept) for name, variable in there.items()}


def planned(asked: Arguments) -> Plan:
    """The plan of a scan: targets resolved, so that workers need nothing but it.

    Raises:
        ValueError: The base diverges, so that it makes no target, or the target lacks species that a loss needs.
    """
    S, grid = len(asked.initial), cast("tuple[int, int]", tuple(asked.initial.shape[2:]))
    base, target = asked.base, asked.target
    if target is None and any(isinstance(loss, str) or is_feature_loss(loss) for loss in asked.losses):
        target = marched_state(base.expand(S), asked.initial, asked.marching).fields.to("cpu", torch.float64)
        if not bool(torch.isfinite(target).all()):
            raise ValueError(f"base diverges when marched, so it makes no target: {base}")
    every = target if target is not None and target.ndim == 4 else None
    observed = every[:, base.model.seen] if every is not None else target
    objectives = tuple(
        as_objective(loss, _target_of(loss, observed, every), S, grid, base.model, asked.marching.dt)
        for loss in asked.losses
        if loss != "residual"
    )
    names = tuple(label(loss) for loss in asked.losses)
    if "residual" not in names:
        every = None
    elif every is None:
        raise ValueError("the residual loss needs all species of the target, shape (S, species, H, W); got one alone")
    return Plan(
        base, asked.initial, objectives, every, names, asked.routes, asked.marching, asked.refine, asked.share_root,
        asked.keep == "v",
    )  # fmt: skip


def _target_of(
    loss: str | Loss | FeatureLoss, observed: torch.Tensor | None, every: torch.Tensor | None
) -> torch.Tensor | None:
    """What a loss compares with: the target's observed species, or all of them; a callable with nothing."""
    if not (isinstance(loss, str) or is_feature_loss(loss)):
        return None
    return every if sees_all(loss) else observed
