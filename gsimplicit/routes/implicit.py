"""The implicit function theorem at a certified root."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from gsimplicit.gray_scott import parameter_derivatives
from gsimplicit.marching import each
from gsimplicit.refine import Refine
from gsimplicit.results import Certificate, Status, SteadyState
from gsimplicit.routes.contract import Problem, Pulled, Route, nothing
from gsimplicit.steady import solved_state

if TYPE_CHECKING:
    from gsimplicit.refine.linear import BorderedJacobian

Array = np.ndarray[Any, np.dtype[np.float64]]

ADJOINT_LIMIT = 1e-6
"""Largest relative residual of the adjoint solve at which a gradient is returned."""


@dataclass(frozen=True)
class Implicit(Route):
    """Adjoint of the steady equations: `J^T lambda = dL/dX`, `dL/dp = -lambda . dR/dp`.

    Where the raw residual is certified (status steady) J is the full Jacobian. Where only the bordered one is (status
    drifting) J is bordered by the translations, so that the gradient is that of the shape, the drift left out. The
    certificate says which, and where both exist how far they differ.

    Attributes:
        refine: How the root is found and certified.
    """

    name: ClassVar[str] = "implicit"
    through_steps: ClassVar[bool] = False
    refine: Refine = field(default_factory=Refine)

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
        from gsimplicit.refine.newton import broken_translations

        values = problem.params.tensor().numpy()
        g = cotangents.to("cpu", torch.float64).numpy()

        def one(i: int) -> list[tuple[Array, float, float, str, int]]:
            status, fields = state.status[i], state.fields[i].numpy()
            if status not in (Status.STEADY, Status.DRIFTING):
                return [(np.full(4, np.nan), np.nan, np.nan, "none", 0)] * len(g)
            directions, still = broken_translations(fields), status == Status.STEADY
            none = np.zeros((0, 2))
            try:
                system = BorderedJacobian(
                    fields, values[i], none if still else directions, np.zeros(2) if still else state.drift[i].numpy()
                )
                other = (
                    BorderedJacobian(fields, values[i], directions, np.zeros(2)) if still and len(directions) else None
                )
            except np.linalg.LinAlgError:
                return [(np.full(4, np.nan), np.inf, np.nan, "none", 0)] * len(g)
            slopes = parameter_derivatives(state.fields[i : i + 1])[0].numpy()
            rows = []
            for c in g[:, i]:
                gradient, residual = _adjoint(system, slopes, c)
                distance = np.nan
                if other is not None:
                    second, second_residual = _adjoint(other, slopes, c)
                    if second_residual <= ADJOINT_LIMIT:
                        distance = float(np.linalg.norm(second - gradient)) / max(
                            float(np.linalg.norm(gradient)), 1e-300
                        )
                definition = ("full" if still else "bordered") + " jacobian"
                if not residual <= ADJOINT_LIMIT:
                    gradient, definition = np.full(4, np.nan), "none"
                rows.append((gradient, residual, distance, definition, 1 if other is None else 2))
            return rows

        ends = each(one, range(len(state)))
        gradient = torch.tensor(np.array([[row[0] for row in rows] for rows in ends])).transpose(0, 1)
        certificates = tuple(
            Certificate(
                definition=tuple(rows[c][3] for rows in ends),
                adjoint_residual=torch.tensor([rows[c][1] for rows in ends], dtype=torch.float64),
                other_definition=torch.tensor([rows[c][2] for rows in ends], dtype=torch.float64),
                error=nothing(len(state)),
                products=torch.tensor([rows[c][4] for rows in ends]),
            )
            for c in range(len(g))
        )
        return Pulled(gradient, certificates)


def _adjoint(system: BorderedJacobian, slopes: Array, cotangent: Array) -> tuple[Array, float]:
    """Gradient (4,) and relative residual of the adjoint solve; `slopes` are dR/dp, shape (4, 2, H, W)."""
    if not np.isfinite(cotangent).all():
        return np.full(4, np.nan), np.inf
    solution = system.solve(cotangent, transpose=True)
    return -np.tensordot(slopes, solution.x, axes=3), solution.residual
