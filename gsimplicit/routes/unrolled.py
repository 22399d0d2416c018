"""Reverse mode through every marched step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from gsimplicit.marching import each, pull_back
from gsimplicit.results import Certificate, Status, SteadyState
from gsimplicit.routes.contract import Problem, Pulled, Route, nothing
from gsimplicit.steady import marched_state


@dataclass(frozen=True)
class Unrolled(Route):
    """Backpropagation through exactly the marched steps, the number of steps held constant.

    The route of arXiv 2606.11258, without truncation. Memory is two square roots of the steps in states; the price is
    four marches or so. It answers wherever the march stayed finite, steady or not: it is the derivative of the state
    after so many steps, which approaches the implicit one at the rate of the slowest mode.
    """

    name: ClassVar[str] = "unrolled"
    through_steps: ClassVar[bool] = True

    @property
    def needs_root(self) -> bool:
        """False: it is defined at finite time."""
        return False

    def solve(self, problem: Problem, marched: SteadyState | None = None) -> SteadyState:
        """The marched state."""
        return marched_state(problem.params, problem.initial, problem.marching) if marched is None else marched

    def pull_back(self, problem: Problem, state: SteadyState, cotangents: torch.Tensor) -> Pulled:
        """Adjoint of the marched steps, an instance at a time; NaN for an instance that diverged."""
        where = problem.marching

        def one(i: int) -> torch.Tensor:
            if state.status[i] == Status.DIVERGED:
                return torch.full((len(cotangents), 4), torch.nan, dtype=torch.float64)
            start = problem.initial[i].to(where.device, where.dtype)
            return pull_back(start, problem.params[i], int(state.steps[i]), cotangents[:, i])[0].cpu()

        gradient = torch.stack(each(one, range(len(state))), dim=1)
        certificate = Certificate(
            definition=tuple("none" if s == Status.DIVERGED else "marched steps" for s in state.status.tolist()),
            adjoint_residual=nothing(len(state)),
            other_definition=nothing(len(state)),
            error=nothing(len(state)),
            position=nothing(len(state)),
            products=state.steps.clone(),
        )
        return Pulled(gradient, (certificate,) * len(cotangents))
