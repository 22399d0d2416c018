"""Reverse mode through the last marched steps only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from gsimplicit import checks
from gsimplicit.results import SteadyState
from gsimplicit.routes.route import Problem
from gsimplicit.routes.unrolled import Unrolled


@dataclass(frozen=True)
class Truncated(Unrolled):
    """Backpropagation through the last K marched steps, the state before them held constant.

    The truncation of arXiv 2606.11258 (3,000 steps). It is biased: of each mode of rate lambda it keeps the share
    `1 - exp(lambda K)`, so that modes slower than 1 / K are lost. Where the march took no more than K steps it is the
    unrolled route.

    Attributes:
        steps: K, >= 1.
        detach: "last" goes through exactly the last K steps. "every" holds the state constant after every K-th step
            from the start, as a training loop does that detaches as it goes: through what has been marched since, from
            1 to K steps.

    Raises:
        ValueError: K is below 1, or `detach` is no rule.
        TypeError: K is no integer.

    Examples:
        >>> import gsimplicit as gs
        >>> params, start = gs.Params.preset("paper"), gs.initial_state(grid=(32, 32))
        >>> def mean_square(v):
        ...     return (v**2).mean((-2, -1))
        >>> routes = ["unrolled", gs.routes.Truncated(steps=10)]
        >>> table = gs.compare(params, routes, loss=mean_square, initial=start, tol=0.0, max_steps=200)
        >>> bool(table.difference.max() > 0.1)
        True
    """

    name: ClassVar[str] = "truncated"
    definition: ClassVar[str] = "last marched steps"
    steps: int = 3000
    detach: str = "last"

    def __post_init__(self) -> None:
        values = {
            "steps": checks.integer("steps of Truncated", self.steps, 1),
            "detach": checks.choice("detach of Truncated", self.detach, ("last", "every")),
        }
        checks.keep(self, values)

    def pull_back_to_start(self, problem: Problem, state: SteadyState, cotangents: torch.Tensor) -> torch.Tensor:
        """That of the unrolled route where all steps are gone through, and zero where the start is held constant."""
        out = super().pull_back_to_start(problem, state, cotangents)
        out[:, self._products(state.steps) < state.steps] = 0.0
        return out

    def _last(self, problem: Problem, some: list[int], before: torch.Tensor) -> torch.Tensor:
        start, where = super()._last(problem, some, before), problem.marching
        for count in sorted(set(before.tolist()) - {0}):
            these = [j for j, n in enumerate(before.tolist()) if n == count]
            params = problem.params[[some[j] for j in these]]
            start[these] = where.by.march(params, start[these], 0.0, count, count, where.dt).fields
        return start

    def _products(self, steps: torch.Tensor) -> torch.Tensor:
        if self.detach == "last":
            return steps.clamp(max=self.steps)
        return (steps - 1).clamp(min=0) % self.steps + steps.clamp(max=1)
