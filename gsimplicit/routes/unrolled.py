"""Reverse mode through every marched step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from gsimplicit.gray_scott import Params
from gsimplicit.marching import each, pull_back
from gsimplicit.results import Certificate, Status, SteadyState
from gsimplicit.routes.contract import Problem, Pulled, Route, definitions, nothing


@dataclass(frozen=True)
class Unrolled(Route):
    """Backpropagation through exactly the marched steps, the number of steps held constant.

    The route of arXiv 2606.11258, without truncation. Memory is two square roots of the steps in states; the price is
    four marches or so. It answers wherever the march stayed finite, steady or not: it is the derivative of the state
    after so many steps, which approaches the implicit one at the rate of the slowest mode.
    """

    name: ClassVar[str] = "unrolled"
    through_steps: ClassVar[bool] = True
    definition: ClassVar[str] = "marched steps"

    @property
    def needs_root(self) -> bool:
        """False: it is defined at finite time."""
        return False

    def solve(self, problem: Problem) -> SteadyState:
        """The marched state."""
        return problem.state()

    def pull_back(self, problem: Problem, state: SteadyState, cotangents: torch.Tensor) -> Pulled:
        """Adjoint of the marched steps, an instance at a time; NaN for an instance that diverged."""
        where = problem.marching

        def one(i: int) -> torch.Tensor:
            if state.status[i] == Status.DIVERGED:
                return torch.full((len(cotangents), 4), torch.nan, dtype=torch.float64)
            start = problem.initial[i : i + 1].to(where.device, where.dtype)
            start, steps = self._last(start, problem.params[i], int(state.steps[i]))
            return pull_back(start[0], problem.params[i], steps, cotangents[:, i].to(where.device))[0].cpu()

        gradient = torch.stack(each(one, range(len(state))), dim=1)
        certificates = tuple(
            Certificate(
                definition=definitions(self.definition, of_loss),
                adjoint_residual=nothing(len(state)),
                other_definition=nothing(len(state)),
                error=nothing(len(state)),
                position=nothing(len(state)),
                products=self._products(state.steps),
            )
            for of_loss in gradient
        )
        return Pulled(gradient, certificates)

    def _last(self, start: torch.Tensor, params: Params, steps: int) -> tuple[torch.Tensor, int]:
        """Fields (1, 2, H, W) from which to pull back, and through how many steps."""
        return start, steps

    def _products(self, steps: torch.Tensor) -> torch.Tensor:
        return steps.clone()
