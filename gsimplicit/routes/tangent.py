"""Forward mode: the derivatives of the fields in the four parameters, then of any loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from gsimplicit import checks
from gsimplicit.marching import each, push_forward
from gsimplicit.refine import Refine
from gsimplicit.results import Certificate, Status, SteadyState
from gsimplicit.routes.contract import Problem, Pulled, Route, definitions, nothing
from gsimplicit.routes.sensitivity import root_derivatives
from gsimplicit.steady import as_refine, plain_refine
from gsimplicit.threads import one_blas_thread


@dataclass(frozen=True)
class Tangent(Route):
    """Forward mode through all marched steps, four tangents at once; at a root, the linearised equations.

    Exact, as the unrolled route is, without its history: no memory that grows with the steps, and one pass for any
    number of losses. With `refine` it solves `J dX/dp = -dR/dp` at a certified root, with the full
    Jacobian where the raw residual is certified and the bordered one where the pattern drifts. Where the lattice pins a
    pattern so weakly that the full one is near singular, a loss that sees the position gets a gradient from it that
    means little; the implicit route's certificate says how far the two definitions differ.

    Attributes:
        refine: Take the tangents of a certified root; a `Refine` sets how it is found.

    Raises:
        TypeError: `refine` is neither a bool nor a `Refine`.
    """

    name: ClassVar[str] = "tangent"
    through_steps: ClassVar[bool] = True
    refine: bool | Refine = False

    def __post_init__(self) -> None:
        checks.keep(self, {"refine": plain_refine(self.refine)})

    @property
    def needs_root(self) -> bool:
        """Whether the tangents are those of a root."""
        return self.refine is not False

    def solve(self, problem: Problem) -> SteadyState:
        """The marched state, or the certified root."""
        return problem.state(as_refine(self.refine))

    def pull_back(self, problem: Problem, state: SteadyState, cotangents: torch.Tensor) -> Pulled:
        """Tangents of the fields, contracted with the derivatives of the losses; NaN where there are none."""
        settings, where = as_refine(self.refine), problem.marching
        linear = None if settings is None else settings.linear

        def one(i: int) -> torch.Tensor:
            lost = torch.full((4, *state.fields.shape[1:]), torch.nan, dtype=torch.float64)
            if settings is not None:
                if not state.has_root[i]:
                    return lost
                try:
                    return root_derivatives(state[i], linear)[0].cpu()
                except np.linalg.LinAlgError:
                    return lost
            if state.status[i] == Status.DIVERGED:
                return lost
            start = problem.initial[i].to(where.device, where.dtype)
            return push_forward(start, problem.params[i], int(state.steps[i]))[1].to("cpu", torch.float64)

        with one_blas_thread():  # it cannot be had on the threads of `each`
            tangents = torch.stack(each(one, range(len(state))))
        gradient = torch.einsum("lbchw,bpchw->lbp", cotangents.to("cpu", torch.float64), tangents)
        what = "tangents of marched steps" if settings is None else "tangents at a root"
        certificates = tuple(
            Certificate(
                definition=definitions(what, of_loss),
                adjoint_residual=nothing(len(state)),
                other_definition=nothing(len(state)),
                error=nothing(len(state)),
                position=nothing(len(state)),
                products=4 * state.steps if settings is None else torch.full((len(state),), 4),
            )
            for of_loss in gradient
        )
        return Pulled(gradient, certificates)
