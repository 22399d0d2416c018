"""Asking a route: its state, the losses there, their derivatives and how far to trust them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from gsimplicit.arguments import March
from gsimplicit.refine import Refine
from gsimplicit.results import Certificate, Status, SteadyState
from gsimplicit.routes.objective import value_of
from gsimplicit.routes.route import Problem, Route, differentiate_by, seen_by, solve_by, without

if TYPE_CHECKING:
    from gsimplicit.routes.objective import Objective

__all__ = ["Answer", "ask", "from_one_root", "losses_of"]


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


def from_one_root(problem: Problem, refine: Refine, marching: March | None = None) -> tuple[Problem, SteadyState]:
    """Certify one root an instance, from which every route starts.

    Args:
        problem: What the routes would be asked.
        refine: How the root is found and certified.
        marching: How routes at finite time march on from it; None is as the problem does.

    Returns:
        The problem to ask the routes, and the root to give to `ask` beside it: an instance without one has no gradient
        and no loss by any route. Until that is said it starts from its initial fields.
    """
    root = problem.state(refine)
    found = root.fields.to("cpu", torch.float64)
    start = torch.where(root.has_root[:, None, None, None], found, problem.initial)
    return Problem(problem.params, start, marching or problem.marching), root


def ask(
    route: Route,
    problem: Problem,
    objectives: Sequence[Objective],
    met: Callable[[SteadyState], None] | None = None,
    root: SteadyState | None = None,
) -> Answer:
    """Ask a route; nothing else in the package puts its parts together.

    An instance without a root has no gradient by a route that needs one, and one that diverged none by any.

    Args:
        route: The route.
        problem: What it is asked of.
        objectives: L losses.
        met: Called with the state before anything is differentiated; it may raise.
        root: The root that the problem starts from, of `from_one_root`: where an instance has none there is neither
            gradient nor loss, and the status is the root's.
    """
    state = solve_by(route, problem)
    if met is not None:
        met(state)
    losses = losses_of(state, objectives)
    found = differentiate_by(route, problem, state, objectives)
    answer = Answer(state, losses, found.gradient, found.certificates)
    return answer if root is None else _where_rooted(answer, root)


def _where_rooted(answer: Answer, root: SteadyState) -> Answer:
    """An answer without the instances that have no root."""
    lost = ~root.has_root
    if not bool(lost.any()):
        return answer
    state = answer.state.replace(status=torch.where(lost, root.status, answer.state.status))
    losses = answer.losses.masked_fill(lost, torch.nan)
    gradient = answer.gradient.masked_fill(lost[:, None], torch.nan)
    return Answer(state, losses, gradient, tuple(without(c, lost) for c in answer.certificates))


def losses_of(state: SteadyState, objectives: Sequence[Objective]) -> torch.Tensor:
    """Losses of a state, float64, shape (L, B); NaN for an instance that diverged."""
    seen = state.model.seen
    values = [value_of(objective, seen_by(objective, state.fields, seen).detach()).cpu() for objective in objectives]
    out = torch.stack(values)
    out[:, state.status == Status.DIVERGED] = torch.nan
    return out
