"""The implicit function theorem at a certified root."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from gsimplicit.gray_scott import parameter_derivatives
from gsimplicit.refine import Refine
from gsimplicit.refine.solvers import chosen
from gsimplicit.refine.threads import one_blas_thread
from gsimplicit.results import Certificate, Status, SteadyState
from gsimplicit.routes.contract import Problem, Pulled, Route, nothing

if TYPE_CHECKING:
    from gsimplicit.refine.linear import Solution

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

    def solve(self, problem: Problem) -> SteadyState:
        """The certified root; initial fields that already are one are kept."""
        return problem.state(self.refine)

    def pull_back(self, problem: Problem, state: SteadyState, cotangents: torch.Tensor) -> Pulled:
        """Adjoint solves, one factorisation an instance for all losses; NaN where there is no root."""
        from gsimplicit.refine.linear import Bordered
        from gsimplicit.refine.newton import broken_translations, position_share

        values, fields = problem.params.tensor().numpy(), state.fields.numpy()
        g = cotangents.to("cpu", torch.float64).numpy()
        adjoints = [[_NONE] * len(state) for _ in g]
        roots = [i for i in range(len(state)) if state.status[i] in (Status.STEADY, Status.DRIFTING)]
        broken = {i: broken_translations(fields[i]) for i in roots}
        still = {i: state.status[i] == Status.STEADY for i in roots}
        both = [i for i in roots if still[i] and len(broken[i])]
        solver = chosen(self.refine.linear, fields[0, 0].size, problem.marching.device)

        with one_blas_thread():
            for group in (both, [i for i in roots if i not in both]):
                if not group:
                    continue
                drifts = [np.zeros(2) if still[i] else state.drift[i].numpy() for i in group]
                prepared = solver.prepare(
                    [Bordered(fields[i], values[i], broken[i], drift) for i, drift in zip(group, drifts, strict=True)]
                )
                slopes = parameter_derivatives(state.fields[group]).numpy()
                for c, cotangent in enumerate(g):
                    right = [cotangent[i] for i in group]
                    # without a translation to break, the bordered jacobian is the full one
                    bordered = prepared.solve(right, transpose=True)
                    full = prepared.solve(right, transpose=True, border=False) if group is both else bordered
                    for j, i in enumerate(group):
                        name = "bordered jacobian" if group is both or not still[i] else "full jacobian"
                        found = _adjoint(name, slopes[j], bordered[j])
                        if group is both:
                            found = _preferred(_adjoint("full jacobian", slopes[j], full[j]), found)
                        adjoints[c][i] = replace(found, position=position_share(fields[i], broken[i], cotangent[i]))

        gradient = torch.from_numpy(np.array([[a.gradient for a in row] for row in adjoints]))
        certificates = tuple(
            Certificate(
                definition=tuple(a.definition for a in row),
                adjoint_residual=torch.tensor([a.residual for a in row], dtype=torch.float64),
                other_definition=torch.tensor([a.other for a in row], dtype=torch.float64),
                error=nothing(len(state)),
                position=torch.tensor([a.position for a in row], dtype=torch.float64),
                products=torch.tensor([a.products for a in row]),
            )
            for row in adjoints
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
    products: int = 0


_NONE = _Adjoint("none", np.full(4, np.nan), float("inf"))


def _adjoint(definition: str, slopes: Array, solution: Solution) -> _Adjoint:
    """The gradient from an adjoint; `slopes` are dR/dp, shape (4, 2, H, W)."""
    if not solution.residual <= ADJOINT_LIMIT:
        return _Adjoint("none", _NONE.gradient, solution.residual, products=solution.products)
    gradient = -np.tensordot(slopes, solution.x, axes=3)
    if not np.isfinite(gradient).all():
        return _Adjoint("none", _NONE.gradient, solution.residual, products=solution.products)
    return _Adjoint(definition, gradient, solution.residual, products=solution.products)


def _preferred(full: _Adjoint, bordered: _Adjoint) -> _Adjoint:
    """The full Jacobian's gradient, with its distance to the bordered one.

    Where the lattice pins the pattern so weakly that the full Jacobian is singular to working precision its adjoint
    does not close, and the bordered one is what there is.
    """
    products = full.products + bordered.products
    if "none" in (full.definition, bordered.definition):
        return replace(bordered if full.definition == "none" else full, products=products)
    size = max(float(np.linalg.norm(full.gradient)), 1e-300)
    other = float(np.linalg.norm(bordered.gradient - full.gradient)) / size
    return replace(full, other=other, products=products)
