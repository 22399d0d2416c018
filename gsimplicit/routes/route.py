"""The contract every gradient route keeps, and the two calls by which one is asked.

A route finds a state from a problem and pulls derivatives of losses in that state back to the parameters. Routes know
residuals, steps and states; which losses there are and how results are presented is decided in `gradient`. A route
works on copies, so that it can change nothing for those after it; `solve_by` and `differentiate_by` see to that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch

from gsimplicit.arguments import March
from gsimplicit.equations import ModelParams
from gsimplicit.losses.loss import sees_all
from gsimplicit.progress import note
from gsimplicit.refine import Refine
from gsimplicit.results import Certificate, SteadyState, copied
from gsimplicit.routes.objective import Loss, name_of, slope_of
from gsimplicit.states import marched_state, refined_state

__all__ = [
    "Derivatives",
    "Loss",
    "Problem",
    "Route",
    "cotangents",
    "definitions",
    "differentiate_by",
    "nothing",
    "of_the_package",
    "pull_back_by",
    "seen_by",
    "solve_by",
    "without",
]


@dataclass(frozen=True, eq=False)
class Problem:
    """What a gradient is asked of, and the states found for it so far.

    Attributes:
        params: B instances, detached.
        initial: Initial fields, float64, shape (B, S, H, W).
        marching: How states are marched.

    Examples:
        >>> import gsimplicit as gs
        >>> from gsimplicit.routes import Problem
        >>> from gsimplicit.arguments import March
        >>> start = gs.initial_state(grid=(32, 32)).double()
        >>> problem = Problem(gs.Params.preset("paper"), start, March(tol=1e-4, max_steps=50_000, check_every=64))
        >>> gs.Status(problem.state().status.item()).name, gs.Status(problem.state(gs.Refine()).status.item()).name
        ('SETTLED', 'DRIFTING')
    """

    params: ModelParams
    initial: torch.Tensor
    marching: March
    _found: list[tuple[Refine | None, SteadyState]] = field(default_factory=list, init=False, repr=False)
    _lender: Problem | None = field(default=None, init=False, repr=False)

    def state(self, refine: Refine | None = None) -> SteadyState:
        """The marched state, or the root certified as `refine` says. Found once: routes that ask alike share it.

        Each gets a copy. Initial fields that already are a root are kept.
        """
        return copied((self._lender or self)._state(refine))

    def lent(self) -> Problem:
        """The same problem for one route: it may write into it what it likes, and finds the states known already."""
        shared = self.initial.stride(0) == 0  # one field for all instances
        initial = self.initial[:1].clone().expand_as(self.initial) if shared else self.initial.clone()
        copy = Problem(self.params.detach(), initial, self.marching)
        object.__setattr__(copy, "_lender", self._lender or self)
        return copy

    def _state(self, refine: Refine | None) -> SteadyState:
        state = self._known(refine)
        if state is None:
            if refine is None:
                state = marched_state(self.params, self.initial, self.marching)
            else:
                state = refined_state(self.params, self.initial, self.marching, refine, self._known(None))
            self._found.append((refine, state))
        return state

    def _known(self, refine: Refine | None) -> SteadyState | None:
        # compared, not hashed: settings may hold a solver of the caller's
        return next((state for asked, state in self._found if asked == refine), None)


@dataclass(frozen=True, eq=False)
class Derivatives:
    """Derivatives of L losses of B instances in the parameters.

    Attributes:
        gradient: float64, shape (L, B, P), columns in the order of the model's parameters; NaN where there is none.
        certificates: One a loss.

    Examples:
        >>> import torch
        >>> from gsimplicit.routes import Derivatives
        >>> Derivatives(torch.zeros(1, 1, 4, dtype=torch.float64), ()).gradient.shape
        torch.Size([1, 1, 4])
    """

    gradient: torch.Tensor
    certificates: tuple[Certificate, ...]


class Route(ABC):
    """A way from the derivative of a loss in the state to its derivative in the parameters.

    Examples:
        >>> import gsimplicit as gs
        >>> [isinstance(route, gs.routes.Route) for route in (gs.routes.Implicit(), gs.routes.Unrolled())]
        [True, True]
    """

    name: ClassVar[str]
    through_steps: ClassVar[bool]
    """Whether it differentiates through marched steps, so that marching must be float64."""

    @property
    @abstractmethod
    def needs_root(self) -> bool:
        """Whether its gradient is defined at a steady state only."""

    @property
    def biased(self) -> bool:
        """Whether some of the gradient is left out by construction, or it is another thing's that stands for it."""
        return False

    @property
    def least_dtype(self) -> torch.dtype:
        """The least precise dtype the route can march in."""
        return torch.float32

    @property
    def precise(self) -> bool:
        """Whether states are marched in float64 unless told."""
        return self.through_steps or self.least_dtype == torch.float64

    @property
    def answers(self) -> tuple[bool, ...] | None:
        """Which of the model's parameters it has a derivative in, NaN standing for the others; None is all."""
        return None

    def check(self, params: ModelParams) -> None:  # noqa: B027 (most routes take any parameters)
        """Raise a ValueError for parameters the route cannot be asked at."""

    @abstractmethod
    def solve(self, problem: Problem) -> SteadyState:
        """The state the gradient is taken at."""

    @abstractmethod
    def pull_back(self, problem: Problem, state: SteadyState, cotangents: torch.Tensor) -> Derivatives:
        """Derivatives in the parameters from derivatives in the fields of `state`, shape (L, B, S, H, W)."""

    def pull_back_to_start(self, problem: Problem, state: SteadyState, cotangents: torch.Tensor) -> torch.Tensor:
        """Derivatives in the initial fields from derivatives in the fields of `state`, both (L, B, S, H, W).

        Raises:
            ValueError: The route has none.
        """
        raise ValueError(
            f"initial must not require gradients for the {self.name} route: it has no derivative in the initial fields"
            + (", which is zero inside a basin: the root does not change with its start" if self.needs_root else "")
        )

    def differentiate(self, problem: Problem, state: SteadyState, losses: Sequence[Loss]) -> Derivatives:
        """Derivatives of losses of v in the parameters; cotangents by autograd unless a route does better."""
        return self.pull_back(problem, state, cotangents(state.fields, losses, state.model.seen))


def solve_by(route: Route, problem: Problem) -> SteadyState:
    """The state at which a route takes its gradient, in memory of its own.

    Raises:
        TypeError: The route gives no state.
    """
    own = of_the_package(route)
    state = route.solve(problem if own else problem.lent())
    if not isinstance(state, SteadyState) or len(state) != len(problem.params):
        raise TypeError(
            f"route {route.name!r} must solve for a SteadyState of {len(problem.params)} instances, got {state!r}"
        )
    return state if own else copied(state)


def of_the_package(route: Route) -> bool:
    """Whether all code of a route is the package's: it writes into nothing it is lent, and gives states of their own.

    Losses and linear solvers of the user's get copies from those that call them.
    """
    return type(route).__module__.startswith(_PACKAGE)


_PACKAGE = f"{__name__.split('.')[0]}."


def differentiate_by(route: Route, problem: Problem, state: SteadyState, losses: Sequence[Loss]) -> Derivatives:
    """Derivatives of losses of `state` by a route: NaN, and "none" in the certificate, wherever one is not finite.

    Raises:
        TypeError: What the route gives is not of the contract.
        ValueError: A loss is cut off from v, or mixes instances.
    """
    note("differentiating")
    if of_the_package(route):
        return _plain(route, route.differentiate(problem, state, losses), state, len(losses))
    return _plain(route, route.differentiate(problem.lent(), copied(state), losses), state, len(losses))


def pull_back_by(route: Route, problem: Problem, state: SteadyState, cotangents: torch.Tensor) -> Derivatives:
    """The same from derivatives in the fields, shape (L, B, S, H, W)."""
    note("differentiating")
    if of_the_package(route):
        return _plain(route, route.pull_back(problem, state, cotangents), state, len(cotangents))
    return _plain(route, route.pull_back(problem.lent(), copied(state), cotangents.clone()), state, len(cotangents))


def _plain(route: Route, given: Derivatives, state: SteadyState, losses: int) -> Derivatives:
    """What a route gave, in memory of its own and with no certificate for what is not finite."""
    shape = (losses, len(state), len(state.model.parameters))
    if not isinstance(given, Derivatives) or tuple(given.gradient.shape) != shape or len(given.certificates) != losses:
        found = tuple(given.gradient.shape) if isinstance(given, Derivatives) else type(given).__name__
        raise TypeError(
            f"route {route.name!r} must give Derivatives with a gradient of shape {shape} and a certificate a loss, "
            f"got {found}"
        )
    gradient = given.gradient.detach().to("cpu", torch.float64, copy=True)
    answers = route.answers
    lost = ~torch.isfinite(gradient if answers is None else gradient[..., list(answers)]).all(dim=-1)
    if route.needs_root:
        lost |= ~state.has_root
    for c, certificate in enumerate(given.certificates):
        if len(certificate.definition) != len(state) or "none" in certificate.definition:
            lost[c] |= torch.tensor([what == "none" for what in certificate.definition])
    if not bool(lost.any()):
        return Derivatives(gradient, tuple(given.certificates))
    gradient[lost] = torch.nan
    return Derivatives(gradient, tuple(without(c, row) for c, row in zip(given.certificates, lost, strict=True)))


def without(certificate: Certificate, lost: torch.Tensor) -> Certificate:
    """A certificate that says of some instances, bool of shape (B,), that they have no gradient."""
    told = zip(certificate.definition, lost.tolist(), strict=True)
    return replace(certificate, definition=tuple("none" if none else what for what, none in told))


def cotangents(fields: torch.Tensor, losses: Sequence[Loss], seen: int = -1) -> torch.Tensor:
    """Derivatives of each loss of the observed species in the fields (B, S, H, W), as float64 of shape (L, B, S, H, W).

    Args:
        fields: Shape (B, S, H, W).
        losses: L callables of the observed species (B, H, W).
        seen: Place of that species; the last one unless told.

    Raises:
        ValueError: A loss is cut off from v, or mixes instances.

    Examples:
        >>> import torch
        >>> from gsimplicit.routes import cotangents
        >>> fields = torch.rand(1, 2, 4, 4, dtype=torch.float64)
        >>> cotangents(fields, [lambda v: v.sum((-2, -1))])[0, 0, 1].unique().item()  # of u it is 0
        1.0
    """
    out = torch.zeros((len(losses), *fields.shape), dtype=torch.float64, device=fields.device)
    for i, loss in enumerate(losses):
        slope = slope_of(loss, seen_by(loss, fields, seen))
        if slope is None:
            raise ValueError(f"loss {name_of(loss)!r} does not depend on v for autograd: does it detach v?")
        if sees_all(loss):
            out[i] = slope
        else:
            out[i, :, seen] = slope
    return out


def seen_by(loss: Loss, fields: torch.Tensor, seen: int) -> torch.Tensor:
    """What a loss gets of fields (B, S, H, W): the observed species, or all."""
    return fields if sees_all(loss) else fields[:, seen]


def definitions(what: str, gradient: torch.Tensor) -> tuple[str, ...]:
    """What was differentiated, an instance of a gradient (B, P): "none" where it is not finite."""
    return tuple(what if ok else "none" for ok in torch.isfinite(gradient).all(dim=1).tolist())


def nothing(count: int) -> torch.Tensor:
    """NaN for `count` instances, float64."""
    return torch.full((count,), torch.nan, dtype=torch.float64)
