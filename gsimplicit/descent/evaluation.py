"""What a descent asks at some parameters: losses, how far to trust them, and gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from gsimplicit.arguments import March
from gsimplicit.descent.draws import Draws
from gsimplicit.descent.safeguards import stays_inside
from gsimplicit.equations import Model, ModelParams
from gsimplicit.losses import residual_loss
from gsimplicit.losses.loss import FeatureLoss
from gsimplicit.results import Status, SteadyState
from gsimplicit.routes.arguments import as_objective
from gsimplicit.routes.ask import losses_of
from gsimplicit.routes.objective import Loss
from gsimplicit.routes.route import Problem, Route, differentiate_by, solve_by

__all__ = ["ByResidual", "ByRoute", "Evaluation", "Place"]


@dataclass(frozen=True, eq=False)
class Place:
    """What was found at the parameters of some rows.

    Attributes:
        rows: The rows.
        losses: Of each sample, float64, (rows, samples); NaN where it diverged.
        fine: Whether all samples of a row stayed finite and in the model's bounds, bool, (rows,).
        measured: Variables of a record by name, each (rows, samples, ...).
        gradient: Gives derivatives of the losses in all parameters, (rows, samples, P), NaN where there is none.
    """

    rows: tuple[int, ...]
    losses: torch.Tensor
    fine: torch.Tensor
    measured: dict[str, np.ndarray[Any, Any]]
    gradient: Callable[[Sequence[int]], torch.Tensor]


class Evaluation(Protocol):
    """A way to evaluate rows of parameters."""

    def admits(self, values: torch.Tensor) -> torch.Tensor:
        """Whether it can be asked at parameters (rows, P) that lie in the model's ranges, bool (rows,)."""
        ...

    def at(self, rows: Sequence[int], values: torch.Tensor, step: int) -> Place:
        """Losses of some rows at parameters (rows, P), with the fields and targets of a step."""
        ...


@dataclass(frozen=True, eq=False)
class ByRoute:
    """A loss of the state that a route takes its gradients at.

    Attributes:
        model: What is solved.
        route: The route.
        loss: The loss.
        marching: How states are marched.
        draws: Fields and targets.
        keep: Whether the observed species is kept.
    """

    model: Model
    route: Route
    loss: str | Loss | FeatureLoss
    marching: March
    draws: Draws
    keep: bool

    def admits(self, values: torch.Tensor) -> torch.Tensor:
        """Whether the route takes them: a network within what it was trained on, differences off the bounds."""
        return torch.tensor([self._admits(row) for row in values], dtype=torch.bool)

    def _admits(self, row: torch.Tensor) -> bool:
        try:
            self.route.check(ModelParams.of_values(self.model, row[None].numpy()))
        except ValueError:
            return False
        return True

    def at(self, rows: Sequence[int], values: torch.Tensor, step: int) -> Place:
        """March each sample of each row, and evaluate the loss there."""
        S, rows = self.draws.samples, tuple(rows)
        fields = self.draws.fields(rows, step)
        params = ModelParams.of_values(self.model, values.repeat_interleave(S, dim=0).numpy())
        problem = Problem(params, fields, self.marching)
        grid = (int(fields.shape[2]), int(fields.shape[3]))
        targets = self.draws.targets(rows, step)
        objective = as_objective(self.loss, targets, len(fields), grid, self.model, self.marching.dt)
        state = solve_by(self.route, problem)
        losses = losses_of(state, [objective])[0].reshape(len(rows), S)
        fine = stays_inside(state.fields, self.model).reshape(len(rows), S).all(dim=1)

        def gradient(some: Sequence[int]) -> torch.Tensor:
            if list(some) == list(range(len(rows))):
                asked, there, of = problem, state, objective
            else:
                at = [i * S + s for i in some for s in range(S)]
                asked, there = Problem(params[at], fields[at], self.marching), state[at]
                goals = None if targets is None else targets[at]
                of = as_objective(self.loss, goals, len(at), grid, self.model, self.marching.dt)
            found = differentiate_by(self.route, asked, there, [of]).gradient[0]
            return found.reshape(len(some), S, -1)

        return Place(rows, losses, fine & torch.isfinite(losses).all(dim=1), self._measured(state, S), gradient)

    def _measured(self, state: SteadyState, samples: int) -> dict[str, np.ndarray[Any, Any]]:
        seen = state.fields[:, self.model.seen].to("cpu", torch.float64)
        flat = seen.flatten(1)
        found: dict[str, torch.Tensor] = {
            "status": state.status,
            "kind": state.kind,
            "steps": state.steps,
            "change": state.change,
            "residual": state.residual,
            "v_mean": flat.mean(dim=1),
            "v_std": flat.std(dim=1, correction=0),
            **({"v": seen} if self.keep else {}),
        }
        return {n: x.cpu().numpy().reshape(-1, samples, *x.shape[1:]) for n, x in found.items()}


@dataclass(frozen=True, eq=False)
class ByResidual:
    """The residual loss at the target's own fields: nothing is marched, and the derivative is exact.

    Attributes:
        model: Whose residual.
        draws: Targets of all species.
    """

    model: Model
    draws: Draws

    def admits(self, values: torch.Tensor) -> torch.Tensor:
        """Everywhere."""
        return torch.ones(len(values), dtype=torch.bool)

    def at(self, rows: Sequence[int], values: torch.Tensor, step: int) -> Place:
        """Residual loss of each row at each of its samples' targets."""
        S, rows = self.draws.samples, tuple(rows)
        fields = self.draws.targets(rows, step)
        assert fields is not None
        at = values.detach().repeat_interleave(S, dim=0).requires_grad_()
        with torch.enable_grad():
            params = self.model.params(**{n: at[:, i] for i, n in enumerate(self.model.parameters)})
            losses = residual_loss(params, fields)
            (slope,) = torch.autograd.grad(losses.sum(), at)
        found = losses.detach().reshape(len(rows), S)
        slopes = slope.reshape(len(rows), S, -1)
        measured = {"status": np.full((len(rows), S), int(Status.NOT_RUN))}
        return Place(rows, found, torch.isfinite(found).all(dim=1), measured, lambda some: slopes[list(some)])
