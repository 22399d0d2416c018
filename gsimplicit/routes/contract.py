"""The contract every gradient route keeps, and nothing else.

A route finds a state from a problem and pulls derivatives of losses in that state back to the parameters. Routes know
residuals, steps and states; which losses there are and how results are presented is decided in `gradient`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from gsimplicit.gray_scott import PARAMETERS, Params
from gsimplicit.refine import Refine
from gsimplicit.results import Certificate, SteadyState
from gsimplicit.steady import March, marched_state, solved_state

Loss = Callable[[torch.Tensor], torch.Tensor]
"""From v of shape (B, H, W) to one loss an instance, shape (B,), float64."""


@dataclass(frozen=True, eq=False)
class Problem:
    """What a gradient is asked of, and the states found for it so far.

    Attributes:
        params: B instances, detached.
        initial: Initial u and v, float64, shape (B, 2, H, W).
        marching: How states are marched.
    """

    params: Params
    initial: torch.Tensor
    marching: March
    _found: list[tuple[Refine | None, SteadyState]] = field(default_factory=list, init=False, repr=False)

    def state(self, refine: Refine | None = None) -> SteadyState:
        """The marched state, or the root certified as `refine` says. Found once: routes that ask alike share it.

        Initial fields that already are a root are kept.
        """
        state = self._known(refine)
        if state is None:
            if refine is None:
                state = marched_state(self.params, self.initial, self.marching)
            else:
                state = solved_state(self.params, self.initial, self.marching, refine, self._known(None))
            self._found.append((refine, state))
        return state

    def _known(self, refine: Refine | None) -> SteadyState | None:
        # compared, not hashed: settings may hold a solver of the caller's
        return next((state for asked, state in self._found if asked == refine), None)


@dataclass(frozen=True, eq=False)
class Pulled:
    """Derivatives of L losses of B instances in the parameters.

    Attributes:
        gradient: float64, shape (L, B, 4), columns Du, Dv, F, k; NaN where there is none.
        certificates: One a loss.
    """

    gradient: torch.Tensor
    certificates: tuple[Certificate, ...]


class Route(ABC):
    """A way from the derivative of a loss in the state to its derivative in the parameters."""

    name: ClassVar[str]
    through_steps: ClassVar[bool]
    """Whether it differentiates through marched steps, so that marching must be float64."""

    @property
    @abstractmethod
    def needs_root(self) -> bool:
        """Whether its gradient is defined at a steady state only."""

    @property
    def least_dtype(self) -> torch.dtype:
        """The least precise dtype the route can march in."""
        return torch.float32

    @property
    def answers(self) -> tuple[bool, ...]:
        """Which of the parameters Du, Dv, F and k it has a derivative in; NaN stands for the others."""
        return (True,) * len(PARAMETERS)

    def check(self, params: Params) -> None:  # noqa: B027 (most routes take any parameters)
        """Raise a ValueError for parameters the route cannot be asked at."""

    @abstractmethod
    def solve(self, problem: Problem) -> SteadyState:
        """The state the gradient is taken at."""

    @abstractmethod
    def pull_back(self, problem: Problem, state: SteadyState, cotangents: torch.Tensor) -> Pulled:
        """Derivatives in the parameters from derivatives in the fields of `state`, shape (L, B, 2, H, W)."""

    def differentiate(self, problem: Problem, state: SteadyState, losses: Sequence[Loss]) -> Pulled:
        """Derivatives of losses of v in the parameters; cotangents by autograd unless a route does better."""
        return self.pull_back(problem, state, cotangents(state.fields, losses))


def cotangents(fields: torch.Tensor, losses: Sequence[Loss]) -> torch.Tensor:
    """Derivatives of each loss of v in the fields (B, 2, H, W), as float64 of shape (L, B, 2, H, W).

    Instances do not mix: the sum over the batch has each instance's own derivative as its gradient.

    Raises:
        ValueError: A loss is cut off from v.
    """
    out = torch.zeros((len(losses), *fields.shape), dtype=torch.float64, device=fields.device)
    for i, loss in enumerate(losses):
        v = fields[:, 1].detach().to(torch.float64).requires_grad_()
        with torch.enable_grad():
            value = loss(v).sum()
            slope = torch.autograd.grad(value, v, allow_unused=True)[0] if value.requires_grad else None
            if slope is None:
                name = getattr(loss, "name", getattr(loss, "__name__", type(loss).__name__))
                raise ValueError(f"loss {name!r} does not depend on v for autograd: does it detach v?")
            out[i, :, 1] = slope
    return out


def nothing(count: int) -> torch.Tensor:
    """NaN for `count` instances, float64."""
    return torch.full((count,), torch.nan, dtype=torch.float64)
