"""Forward mode: the derivatives of the fields in the parameters, then of any loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from gsimplicit import checks
from gsimplicit.arguments import as_refine, plain_refine
from gsimplicit.refine import Refine
from gsimplicit.results import Certificate, Status, SteadyState
from gsimplicit.routes.route import Derivatives, Problem, Route, definitions, nothing
from gsimplicit.routes.sensitivity import root_derivatives
from gsimplicit.routes.unrolled import through_steps
from gsimplicit.threads import each, one_blas_thread


@dataclass(frozen=True)
class Tangent(Route):
    """Forward mode through all marched steps, all tangents at once; at a root, the linearised equations.

    Exact, as the unrolled route is, without its history: no memory that grows with the steps, and one pass for any
    number of losses. With `refine` it solves `J dX/dp = -dR/dp` at a certified root, with the full
    Jacobian where the raw residual is certified and the bordered one where the pattern drifts. Where the lattice pins a
    pattern so weakly that the full one is near singular, a loss that sees the position gets a gradient from it that
    means little; the implicit route's certificate says how far the two definitions differ.

    Attributes:
        refine: Take the tangents of a certified root; a `Refine` sets how it is found.

    Raises:
        TypeError: `refine` is neither a bool nor a `Refine`.

    Examples:
        >>> import gsimplicit as gs
        >>> params, start = gs.Params.preset("paper"), gs.initial_state(grid=(32, 32))
        >>> def mean_square(v):
        ...     return (v**2).mean((-2, -1))
        >>> routes = ["implicit", gs.routes.Tangent(refine=True)]
        >>> table = gs.compare(params, routes, loss=mean_square, initial=start)
        >>> bool(table.difference.max() < 1e-8)
        True
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

    def pull_back(self, problem: Problem, state: SteadyState, cotangents: torch.Tensor) -> Derivatives:
        """Tangents of the fields, contracted with the derivatives of the losses; NaN where there are none."""
        settings, count = as_refine(self.refine), len(state.model.parameters)
        tangents = self._marched(problem, state) if settings is None else _at_roots(state, settings)
        gradient = torch.einsum("lbchw,bpchw->lbp", cotangents.to("cpu", torch.float64), tangents)
        what = "tangents of marched steps" if settings is None else "tangents at a root"
        certificates = tuple(
            Certificate(
                definition=definitions(what, of_loss),
                adjoint_residual=nothing(len(state)),
                other_definition=nothing(len(state)),
                error=nothing(len(state)),
                position=nothing(len(state)),
                products=count * state.steps if settings is None else torch.full((len(state),), count),
            )
            for of_loss in gradient
        )
        return Derivatives(gradient, certificates)

    def pull_back_to_start(self, problem: Problem, state: SteadyState, cotangents: torch.Tensor) -> torch.Tensor:
        """Of marched states by the adjoint of the steps: tangents of every pixel would be too many."""
        if self.needs_root:
            return super().pull_back_to_start(problem, state, cotangents)
        return through_steps(problem, state, cotangents)

    def _marched(self, problem: Problem, state: SteadyState) -> torch.Tensor:
        """Derivatives of marched fields, float64, shape (B, P, S, H, W); NaN where the march diverged."""
        where, out = problem.marching, _none(state)
        some = [i for i in range(len(state)) if state.status[i] != Status.DIVERGED]
        if some:
            start = where.placed(problem.initial[some])
            found = where.by.push_forward(problem.params[some], start, state.steps[some], where.dt)[1]
            out[some] = found.to("cpu", torch.float64)
        return out


def _none(state: SteadyState) -> torch.Tensor:
    shape = (len(state), len(state.model.parameters), *state.fields.shape[1:])
    return torch.full(shape, torch.nan, dtype=torch.float64, device="cpu")


def _at_roots(state: SteadyState, settings: Refine) -> torch.Tensor:
    """Derivatives of roots, float64, shape (B, P, S, H, W); NaN where there is none, or it is singular."""
    out = _none(state)

    def one(i: int) -> torch.Tensor | None:
        try:
            return root_derivatives(state[i], settings.linear)[0].cpu() if state.has_root[i] else None
        except np.linalg.LinAlgError:
            return None

    with one_blas_thread():  # it cannot be had on the threads of `each`
        for i, found in enumerate(each(one, range(len(state)))):
            if found is not None:
                out[i] = found
    return out
