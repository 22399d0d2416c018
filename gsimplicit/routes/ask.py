"""Asking a route: its state, the losses there, their derivatives and how far to trust them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from gsimplicit.results import Certificate, Status, SteadyState
from gsimplicit.routes.objective import value_of
from gsimplicit.routes.route import Problem, Route, differentiate_by, seen_by, solve_by

if TYPE_CHECKING:
    from gsimplicit.routes.objective import Objective

__all__ = ["Answer", "ask", "losses_of"]


@dataclass(frozen=True, eq=False)
class Answer:
    """What a route gave for B instances and L losses.

    Attributes:
        state: Where it took its gradients.
        losses: Losses there, float64, shape (L, B); NaN for an instance that diverged.
        gradient: Their derivatives in the P parameters, float64, shape (L, B, P), NaN where there is none.
        certificates: One a loss; definition "none" where there is no gradient.
    """

    state: SteadyState
    losses: torch.Tensor
    gradient: torch.Tensor
    certificates: tuple[Certificate, ...]


def ask(
    route: Route,
    problem: Problem,
    objectives: Sequence[Objective],
    met: Callable[[SteadyState], None] | None = None,
) -> Answer:
    """Ask a route; nothing else in the package puts its parts together.

    An instance without a root has no gradient by a route that needs one, and one that diverged none by any.

    Args:
        route: The route.
        problem: What it is asked of.
        objectives: L losses.
        met: Called with the state before anything is differentiated; it may raise.
    """
    state = solve_by(route, problem)
    if met is not None:
        met(state)
    losses = losses_of(state, objectives)
    found = differentiate_by(route, problem, state, objectives)
    return Answer(state, losses, found.gradient, found.certificates)


def losses_of(state: SteadyState, objectives: Sequence[Objective]) -> torch.Tensor:
    """Losses of a state, float64, shape (L, B); NaN for an instance that diverged."""
    seen = state.model.seen
    values = [value_of(objective, seen_by(objective, state.fields, seen).detach()).cpu() for objective in objectives]
    out = torch.stack(values)
    out[:, state.status == Status.DIVERGED] = torch.nan
    return out
