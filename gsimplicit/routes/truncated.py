"""Reverse mode through the last marched steps only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from gsimplicit import checks
from gsimplicit.marching import each, march, pull_back
from gsimplicit.results import Certificate, Status, SteadyState
from gsimplicit.routes.contract import Problem, Pulled, Route, nothing
from gsimplicit.steady import marched_state


@dataclass(frozen=True)
class Truncated(Route):
    """Backpropagation through the last K marched steps, the state before them held constant.

    The truncation of arXiv 2606.11258 (3,000 steps). It is biased: of each mode of rate lambda it keeps the share
    `1 - exp(lambda K)`, so that modes slower than 1 / K are lost. Where the march took no more than K steps it is the
    unrolled route.

    Attributes:
        steps: K, >= 1.

    Raises:
        ValueError: K is below 1.
        TypeError: K is no integer.
    """

    name: ClassVar[str] = "truncated"
    through_steps: ClassVar[bool] = True
    steps: int = 3000

    def __post_init__(self) -> None:
        checks.integer("steps of Truncated", self.steps, 1)

    @property
    def needs_root(self) -> bool:
        """False: it is defined at finite time."""
        return False

    def solve(self, problem: Problem, marched: SteadyState | None = None) -> SteadyState:
        """The marched state."""
        return marched_state(problem.params, problem.initial, problem.marching) if marched is None else marched

    def pull_back(self, problem: Problem, state: SteadyState, cotangents: torch.Tensor) -> Pulled:
        """March anew to K steps before the end, and pull back from there; NaN for an instance that diverged."""
        where = problem.marching

        def one(i: int) -> torch.Tensor:
            if state.status[i] == Status.DIVERGED:
                return torch.full((len(cotangents), 4), torch.nan, dtype=torch.float64)
            start, params = problem.initial[i : i + 1].to(where.device, where.dtype), problem.params[i]
            before = int(state.steps[i]) - self.steps
            if before > 0:
                start = march(start, params, tol=0.0, max_steps=before).fields
            steps = min(self.steps, int(state.steps[i]))
            return pull_back(start[0], params, steps, cotangents[:, i])[0].cpu()

        gradient = torch.stack(each(one, range(len(state))), dim=1)
        certificate = Certificate(
            definition=tuple("none" if s == Status.DIVERGED else "last marched steps" for s in state.status.tolist()),
            adjoint_residual=nothing(len(state)),
            other_definition=nothing(len(state)),
            error=nothing(len(state)),
            position=nothing(len(state)),
            products=state.steps.clamp(max=self.steps),
        )
        return Pulled(gradient, (certificate,) * len(cotangents))
