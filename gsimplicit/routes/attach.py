"""Fields of a state attached to autograd, with the derivative of a route: what `solve` gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import torch

from gsimplicit.equations import ModelParams, instances
from gsimplicit.progress import line
from gsimplicit.results import NotSteady, SteadyState, copied
from gsimplicit.routes.route import Problem, Route, pull_back_by
from gsimplicit.surroundings import own_surroundings
from gsimplicit.transforms import BATCHED, FORWARD, VMAP, transformed

T = TypeVar("T")


def outside(params: ModelParams, find: Callable[[ModelParams], T]) -> T:
    """What `find` makes of the parameters, outside the transform of torch.func they are under, if any."""
    if not isinstance(params, ModelParams) or not transformed(params.tensor()):
        return find(params)
    call = _Call(params, find)
    _Outside.apply(params.tensor(), call)  # type: ignore[no-untyped-call]
    return call.found


class _Call(Generic[T]):
    """A call for `_Outside`, and what came of it; torch would hand over a copy of a list."""

    found: T

    def __init__(self, params: ModelParams, find: Callable[[ModelParams], T]) -> None:
        self.params, self.find = params, find


class _Outside(torch.autograd.Function):
    """`forward` gets the values that a transform wraps, and what it calls runs outside the transform."""

    @staticmethod
    def forward(values: torch.Tensor, call: _Call[Any]) -> torch.Tensor:
        call.found = call.find(call.params._stacked(values.detach()))
        return values.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return cotangents[0], None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        raise RuntimeError(FORWARD)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> Any:
        raise RuntimeError(VMAP)


def attached(values: torch.Tensor, asked: Asked, start: torch.Tensor | None = None) -> torch.Tensor:
    """The fields of a state as a function of parameters (B, P), and of initial fields (B, S, H, W) that want it."""
    out = cast("torch.Tensor", _Attach.apply(values, asked))  # type: ignore[no-untyped-call]
    if start is not None:
        out = out + cast("torch.Tensor", _Start.apply(start, asked))  # type: ignore[no-untyped-call]
    return out


def singular_at(state: SteadyState, i: int) -> str:
    """Words for what makes the Jacobian of an instance singular."""
    from gsimplicit.refine.singular import reason

    return reason(next(instances(state.params[i])), state.fields[i].detach().cpu().numpy())


@dataclass(frozen=True, eq=False)
class Asked:
    """What `backward` needs: the route, its problem, the state it solved for, which nobody else holds; and a line?"""

    route: Route
    problem: Problem
    state: SteadyState
    progress: bool = False

    @own_surroundings
    def gradients(self, cotangents: torch.Tensor) -> torch.Tensor:
        """Gradients (L, B, P) from derivatives in the fields, shape (L, B, S, H, W)."""
        try:
            given = cotangents.detach().to(torch.float64)
        except RuntimeError as error:  # torch's older vmap, which serves batched gradients, knows no such operation
            raise RuntimeError(BATCHED) from error
        with line(f"backward by {self.route.name}", self.progress):
            gradient = pull_back_by(self.route, self.problem, self.state, given).gradient
        seen = given.cpu().flatten(2)
        gradient[~seen.any(dim=2)] = 0.0  # what the loss does not see has no share, be its state what it may
        # NaN from the caller's own loss stays with its instance, as torch has it; one that has no adjoint is an error
        lost = (torch.isnan(gradient).any(dim=2) & torch.isfinite(seen).all(dim=2)).any(dim=0)
        if bool(lost.any()) and self.route.needs_root:
            raise NotSteady(
                f"no gradient at instances {lost.nonzero().reshape(-1).tolist()}: the root's Jacobian is too near "
                f"singular; at the first {singular_at(self.state, int(lost.nonzero()[0, 0]))}",
                copied(self.state),
            )
        return gradient

    @own_surroundings
    def of_start(self, cotangent: torch.Tensor) -> torch.Tensor:
        """Derivatives in the initial fields, from those in the fields, both (B, S, H, W)."""
        given = cotangent.detach().to("cpu", torch.float64)
        with line(f"backward by {self.route.name}", self.progress):
            found = self.route.pull_back_to_start(self.problem, self.state, given[None])[0]
        found[~given.flatten(1).any(dim=1)] = 0.0
        return found


class _Attach(torch.autograd.Function):
    """Fields of a state as a function of the parameters (B, P), with the route's derivative."""

    @staticmethod
    def forward(values: torch.Tensor, asked: Asked) -> torch.Tensor:
        return asked.state.fields.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        values, ctx.asked = inputs
        ctx.save_for_backward(values)

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return _Pull.apply(cotangents[0], *ctx.saved_tensors, ctx.asked), None  # type: ignore[no-untyped-call]

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        raise RuntimeError(FORWARD)

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> Any:
        raise RuntimeError(VMAP)


class _Pull(torch.autograd.Function):
    """The gradient in the parameters; it raises where it is differentiated again, instead of counting as constant.

    Cotangents that torch batches, for a Jacobian, go to the route at once: it has one adjoint for all.
    """

    @staticmethod
    def forward(cotangent: torch.Tensor, values: torch.Tensor, asked: Asked) -> torch.Tensor:
        return asked.gradients(cotangent[None])[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing is kept."""

    @staticmethod
    def vmap(info: Any, in_dims: Any, cotangent: torch.Tensor, values: torch.Tensor, asked: Asked) -> Any:
        if in_dims[1] is not None or in_dims[0] is None:
            raise RuntimeError(VMAP)
        return asked.gradients(cotangent.movedim(in_dims[0], 0)), 0

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        raise RuntimeError(SECOND)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        raise RuntimeError(SECOND)


SECOND = "gsimplicit.solve gives first derivatives only; second ones of a root: gsimplicit.hessian"


class _Start(torch.autograd.Function):
    """Zero, with the derivative of the fields of a state in the initial fields."""

    @staticmethod
    def forward(start: torch.Tensor, asked: Asked) -> torch.Tensor:
        return torch.zeros_like(asked.state.fields)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        start, ctx.asked = inputs
        ctx.dtype, ctx.device = start.dtype, start.device

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *cotangents: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return ctx.asked.of_start(cotangents[0]).to(ctx.device, ctx.dtype), None
