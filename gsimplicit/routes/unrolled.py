"""Reverse mode through every marched step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from gsimplicit.results import Certificate, Status, SteadyState
from gsimplicit.routes.route import Derivatives, Problem, Route, definitions, nothing


def through_steps(problem: Problem, state: SteadyState, cotangents: torch.Tensor) -> torch.Tensor:
    """Derivatives in the initial fields through all marched steps, float64, shape (L, B, S, H, W)."""
    out = torch.full_like(cotangents, torch.nan, dtype=torch.float64, device="cpu")
    some = [i for i in range(len(state)) if state.status[i] != Status.DIVERGED]
    if some:
        where, start = problem.marching, problem.marching.placed(problem.initial[some])
        given = cotangents[:, some].to(where.device, where.dtype)
        found = where.by.pull_back(problem.params[some], start, state.steps[some], given, where.dt)[1]
        out[:, some] = found.to("cpu", torch.float64)
    return out


@dataclass(frozen=True)
class Unrolled(Route):
    """Backpropagation through exactly the marched steps, the number of steps held constant.

    The route of arXiv 2606.11258, without truncation. Memory is two square roots of the steps in states; the price is
    four marches or so. It answers wherever the march stayed finite, steady or not: it is the derivative of the state
    after so many steps, which approaches the implicit one at the rate of the slowest mode.

    Examples:
        >>> import gsimplicit as gs
        >>> params, start = gs.Params.preset("paper"), gs.initial_state(grid=(32, 32))
        >>> def mean_square(v):
        ...     return (v**2).mean((-2, -1))
        >>> out = gs.grad(params, gs.routes.Unrolled(), mean_square, initial=start, tol=0.0, max_steps=200)
        >>> out.certificate.definition
        ('marched steps',)
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

    def pull_back(self, problem: Problem, state: SteadyState, cotangents: torch.Tensor) -> Derivatives:
        """Adjoint of the marched steps; NaN for an instance that diverged."""
        gradient = torch.full(
            (*cotangents.shape[:2], len(state.model.parameters)), torch.nan, dtype=torch.float64, device="cpu"
        )
        some = [i for i in range(len(state)) if state.status[i] != Status.DIVERGED]
        if some:
            where, params, steps = problem.marching, problem.params[some], self._products(state.steps[some])
            start = self._last(problem, some, state.steps[some] - steps)
            given = cotangents[:, some].to(where.device, where.dtype)
            gradient[:, some] = where.by.pull_back(params, start, steps, given, where.dt)[0].to("cpu", torch.float64)
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
        return Derivatives(gradient, certificates)

    def pull_back_to_start(self, problem: Problem, state: SteadyState, cotangents: torch.Tensor) -> torch.Tensor:
        """Adjoint of the marched steps, down to where they began; NaN for an instance that diverged."""
        return through_steps(problem, state, cotangents)

    def _last(self, problem: Problem, some: list[int], before: torch.Tensor) -> torch.Tensor:
        """Fields from which to pull back, `before` steps from the start."""
        return problem.marching.placed(problem.initial[some])

    def _products(self, steps: torch.Tensor) -> torch.Tensor:
        """Steps pulled back, of those marched."""
        return steps.clone()
