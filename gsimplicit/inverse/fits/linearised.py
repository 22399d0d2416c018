"""A steady state, linearised at fields and parameters that are not yet one.

One factorisation of the bordered Jacobian gives the correction of the fields towards a root, what they change by with
each parameter, and what they change by where the pattern is moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gsimplicit.equations import Equations
from gsimplicit.grid import along
from gsimplicit.refine.linear import Bordered, BorderedJacobian

Array = np.ndarray[Any, np.dtype[np.float64]]

CLOSED = 1e-9
"""Relative residual of the linear solves: far below what one Gauss-Newton step is off by."""


@dataclass(frozen=True, eq=False)
class Change:
    """A change of a state: of its fields, shape (S, H, W), and of its drift along the broken translations, (r,)."""

    fields: Array
    speeds: Array


class Linearised:
    """The bordered Jacobian at a state.

    Args:
        equations: Model and parameters.
        fields: Shape (S, H, W).
        directions: Translations the state breaks, shape (r, 2).
        velocity: Drift, shape (2,).

    Raises:
        np.linalg.LinAlgError: It is singular to working precision.
    """

    def __init__(self, equations: Equations, fields: Array, directions: Array, velocity: Array) -> None:
        self._system = BorderedJacobian(Bordered(equations, fields, directions, velocity))
        self._moves = along(directions, fields) if len(directions) else np.zeros((0, *fields.shape))

    def correction(self, defect: Array) -> Change:
        """The Newton step that removes a defect (S, H, W), with the pattern held in place."""
        return self._solved(-defect, None)

    def moves(self) -> list[Change]:
        """What moving the pattern by a pixel along each broken translation changes."""
        sizes = (self._moves**2).sum(axis=tuple(range(1, self._moves.ndim)))
        none = np.zeros(self._moves.shape[1:])
        return [self._solved(none, size * np.eye(len(sizes))[i]) for i, size in enumerate(sizes)]

    def _solved(self, r: Array, q: Array | None) -> Change:
        answer = self._system.solve(r, q, tol=CLOSED)
        if not answer.residual < 1e-3:
            raise np.linalg.LinAlgError("the bordered Jacobian is singular to working precision")
        return Change(answer.x, answer.s)
