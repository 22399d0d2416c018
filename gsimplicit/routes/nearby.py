"""How far the exact root is from a certified one, and how much its gradient differs, to first order.

With J the Jacobian in use, the exact root lies at `X + d`, `J d = -R`. On the way there the adjoint equation
`J^T lambda = g` changes in g, by what the loss's derivative does, and in J, by what the reaction bends:

    J^T lambda' = g(X + d) - g(X) - (R_XX d)^T lambda,    dL/dp' = -lambda . R_Xp d - lambda' . R_p.

Two loose solves with the factors at hand; where the root drifts its velocity and the border change along.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gsimplicit.grid import along
from gsimplicit.refine.solvers import LOOSE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsimplicit.refine.linear import Bordered, Solution
    from gsimplicit.refine.solvers import Prepared

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, eq=False)
class Correction:
    """What leads from a certified root to the closed one, to first order.

    Attributes:
        fields: d, shape (S, H, W); NaN where the Jacobian is singular.
        speeds: Change of the drift along the broken translations, shape (r,), or (0,) without a border.
        bend: Kantorovich's number along d, 0 where it is surely small: no root is proved to be near above 1/2.
    """

    fields: Array
    speeds: Array
    bend: float = 0.0

    @property
    def distance(self) -> float:
        """2-norm of d; infinite where the Jacobian is singular, or no root is proved to be near."""
        from gsimplicit.refine.distance import PROVED

        size = float(np.linalg.norm(self.fields))
        return size if np.isfinite(size) and self.bend <= PROVED else float("inf")


def corrections(prepared: Prepared, systems: Sequence[Bordered], *, border: bool) -> list[Correction]:
    """The correction of each of a batch of systems."""
    right = [-system.equations.defect(system.fields, system.velocity) for system in systems]
    solutions = prepared.solve(right, border=border, tol=LOOSE)
    closed = [s.residual <= 0.5 or not r.any() for s, r in zip(solutions, right, strict=True)]
    found = [Correction(s.x if ok else np.full_like(s.x, np.nan), s.s) for s, ok in zip(solutions, closed, strict=True)]
    return _with_bends(prepared, systems, found, right, border=border)


def _with_bends(
    prepared: Prepared, systems: Sequence[Bordered], found: list[Correction], right: list[Array], *, border: bool
) -> list[Correction]:
    """The corrections with Kantorovich's number, by more solves where it may not be small."""
    from gsimplicit.refine.distance import kantorovich, solves, surely_proved

    out = []
    for i, (system, one, r) in enumerate(zip(systems, found, right, strict=True)):
        if surely_proved(system.equations, system.fields, one.fields, r):
            out.append(one)
            continue
        directions = system.directions if border else system.directions[:0]
        solve = solves(prepared, systems, i, border=border)
        out.append(replace(one, bend=kantorovich(system.equations, system.fields, *solve(r), solve, directions)))
    return out


def changes(
    prepared: Prepared,
    systems: Sequence[Bordered],
    found: Sequence[Correction],
    adjoints: Sequence[Solution],
    slopes: Array,
    shifts: Sequence[Array],
    *,
    border: bool,
) -> Array:
    """How the gradients of one loss change on the way to the exact roots.

    Args:
        prepared: What solves with the systems.
        systems: B certified roots.
        found: Their corrections.
        adjoints: Their adjoints.
        slopes: dR/dp, shape (B, P, S, H, W).
        shifts: Changes of the loss's derivative in the fields, each of shape (S, H, W).
        border: Whether the adjoints are those of the bordered Jacobians.

    Returns:
        Shape (B, P), NaN where a Jacobian is singular, or an adjoint is of the other kind.
    """
    right, corner = [], []
    counts = [len(system.directions) if border else 0 for system in systems]
    mine = [len(adjoint.s) == count for adjoint, count in zip(adjoints, counts, strict=True)]
    for j, (system, correction, adjoint, shift) in enumerate(zip(systems, found, adjoints, shifts, strict=True)):
        if not mine[j]:
            right.append(np.zeros_like(system.fields))
            corner.append(np.zeros(counts[j]))
            continue
        d, x = np.nan_to_num(correction.fields), np.nan_to_num(adjoint.x)
        r = shift - system.equations.second_transposed(system.fields, d, x)
        q = np.zeros(counts[j])
        if border:
            moved = along(system.directions, d)  # of the border, (r, S, H, W)
            r = r + along(correction.speeds @ system.directions, x)
            r = r - np.tensordot(adjoint.s, moved, axes=1)
            q = -np.tensordot(moved, x, axes=3)
        right.append(np.asarray(r))
        corner.append(q)
    solutions = prepared.solve(right, corner if border else None, transpose=True, border=border, tol=LOOSE)
    out = np.full((len(systems), slopes.shape[1]), np.nan)
    for j, (system, correction, adjoint, solution) in enumerate(zip(systems, found, adjoints, solutions, strict=True)):
        if not mine[j]:
            continue
        mixed = system.equations.mixed(system.fields, correction.fields)
        out[j] = -np.tensordot(mixed, adjoint.x, axes=3) - np.tensordot(slopes[j], solution.x, axes=3)
    return out
