"""The implicit function theorem at a certified root."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from gsimplicit.gray_scott import parameter_derivatives
from gsimplicit.marching import each
from gsimplicit.refine import Refine
from gsimplicit.refine.threads import one_blas_thread
from gsimplicit.results import Certificate, Status, SteadyState
from gsimplicit.routes.contract import Problem, Pulled, Route, nothing
from gsimplicit.steady import solved_state

if TYPE_CHECKING:
    from gsimplicit.refine.linear import BorderedJacobian

Array = np.ndarray[Any, np.dtype[np.float64]]

ADJOINT_LIMIT = 1e-8
"""Largest relative residual of the adjoint solve at which a gradient is returned."""


@dataclass(frozen=True)
class Implicit(Route):
    """Adjoint of the steady equations: `J^T lambda = dL/dX`, `dL/dp = -lambda . dR/dp`.

    Where the raw residual is certified (status steady) J is the full Jacobian, unless the lattice pins the pattern so
    weakly that J is singular to working precision. There, and where only the bordered residual is certified (status
    drifting), J is bordered by the translations, so that the gradient is that of the shape, the drift left out. The
    certificate says which, and where both exist how far they differ.

    Attributes:
        refine: How the root is found and certified.
    """

    name: ClassVar[str] = "implicit"
    through_steps: ClassVar[bool] = False
    refine: Refine = field(default_factory=Refine)

    def __post_init__(self) -> None:
        if not isinstance(self.refine, Refine):
            raise TypeError(f"refine of Implicit must be gsimplicit.Refine, got {self.refine!r}")

    @property
    def needs_root(self) -> bool:
        """True: without a root there is nothing to differentiate."""
        return True

    def solve(self, problem: Problem, marched: SteadyState | None = None) -> SteadyState:
        """The certified root; initial fields that already are one are kept."""
        return solved_state(problem.params, problem.initial, problem.marching, self.refine, marched)

    def pull_back(self, problem: Problem, state: SteadyState, cotangents: torch.Tensor) -> Pulled:
        """Adjoint solves, one factorisation an instance for all losses; NaN where there is no root."""
        from gsimplicit.refine.linear import BorderedJacobian
        from gsimplicit.refine.newton import broken_translations, position_share

        values = problem.params.tensor().numpy()
        g = cotangents.to("cpu", torch.float64).numpy()

        def one(i: int) -> list[_Adjoint]:
            if state.status[i] not in (Status.STEADY, Status.DRIFTING):
                return [_NONE] * len(g)
            fields, still = state.fields[i].numpy(), state.status[i] == Status.STEADY
            directions = broken_translations(fields)
            slopes = parameter_derivatives(state.fields[i : i + 1])[0].numpy()

            none, rest = np.zeros((0, 2)), np.zeros(2)
            positions = [position_share(fields, directions, c) for c in g[:, i]]

            def adjoints(definition: str, system: BorderedJacobian) -> list[_Adjoint]:
                found = [_adjoint(definition, system, slopes, c) for c in g[:, i]]
                return [replace(a, position=seen) for a, seen in zip(found, positions, strict=True)]

            try:
                if not still:
                    system = BorderedJacobian(fields, values[i], directions, state.drift[i].numpy())
                    return adjoints("bordered jacobian", system)
                system = BorderedJacobian(fields, values[i], none, rest)
                full = adjoints("full jacobian", system)
                if not len(directions):
                    return full
                # the same matrix at rest: one factorisation serves both definitions
                bordered = BorderedJacobian(fields, values[i], directions, rest, factors=system.factors)
                return [_preferred(a, b) for a, b in zip(full, adjoints("bordered jacobian", bordered), strict=True)]
            except np.linalg.LinAlgError:
                return [_NONE] * len(g)

        with one_blas_thread():
            ends = each(one, range(len(state)))
        gradient = torch.from_numpy(np.array([[a.gradient for a in adjoints] for adjoints in ends])).transpose(0, 1)
        certificates = tuple(
            Certificate(
                definition=tuple(adjoints[c].definition for adjoints in ends),
                adjoint_residual=torch.tensor([adjoints[c].residual for adjoints in ends], dtype=torch.float64),
                other_definition=torch.tensor([adjoints[c].other for adjoints in ends], dtype=torch.float64),
                error=nothing(len(state)),
                position=torch.tensor([adjoints[c].position for adjoints in ends], dtype=torch.float64),
                products=torch.tensor([adjoints[c].solves for adjoints in ends]),
            )
            for c in range(len(g))
        )
        return Pulled(gradient, certificates)


@dataclass(frozen=True, eq=False)
class _Adjoint:
    """Gradient (4,) of one loss of one instance, how well its adjoint closed, how far the other definition is."""

    definition: str
    gradient: Array
    residual: float
    other: float = float("nan")
    position: float = float("nan")
    solves: int = 1


_NONE = _Adjoint("none", np.full(4, np.nan), float("inf"), solves=0)


def _adjoint(definition: str, system: BorderedJacobian, slopes: Array, cotangent: Array) -> _Adjoint:
    """One adjoint solve; `slopes` are dR/dp, shape (4, 2, H, W)."""
    if not np.isfinite(cotangent).all():
        return _NONE
    solution = system.solve(cotangent, transpose=True)
    if not solution.residual <= ADJOINT_LIMIT:
        return _Adjoint("none", _NONE.gradient, solution.residual)
    return _Adjoint(definition, -np.tensordot(slopes, solution.x, axes=3), solution.residual)


def _preferred(full: _Adjoint, bordered: _Adjoint) -> _Adjoint:
    """The full Jacobian's gradient, with its distance to the bordered one.

    Where the lattice pins the pattern so weakly that the full Jacobian is singular to working precision its adjoint
    does not close, and the bordered one is what there is.
    """
    if "none" in (full.definition, bordered.definition):
        return replace(bordered if full.definition == "none" else full, solves=2)
    size = max(float(np.linalg.norm(full.gradient)), 1e-300)
    return replace(full, other=float(np.linalg.norm(bordered.gradient - full.gradient)) / size, solves=2)
