"""The least singular value of a root's Jacobian: by bidiagonalisation, and of a uniform state in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gsimplicit.equations import Equations
from gsimplicit.refine.asking import Solve, Solved, Solving, alone
from gsimplicit.refine.modes import deviation, symbols
from gsimplicit.refine.solvers import LOOSE

if TYPE_CHECKING:
    from gsimplicit.refine.linear import Bordered, Solution
    from gsimplicit.refine.solvers import Prepared

Array = np.ndarray[Any, np.dtype[np.float64]]

ROUNDS = 8
"""Solves with J, and as many with its transpose, at most; two to four of each are usual."""

SHARP = 0.05
"""Relative width of the interval at which it is narrow enough."""

CLOSED = 0.5
"""Relative residual of a solve above which the matrix counts as singular."""

SINGULAR = 1e-13
"""Least singular value below which a uniform state counts as one of a family: its Jacobian is singular."""

SURELY_UNIFORM = 1e-6
"""Deviation from the mean, by the scale, below which a root counts as uniform: certification leaves some 1e-9."""

FLAT = 0.01
"""A state counts as uniform where its waves change the Jacobian by less than this share of the value found."""


def least_singular(prepared: Prepared, system: Bordered, *, border: bool) -> float:
    """Least singular value of a prepared system, from below, by Golub and Kahan's bidiagonalisation.

    Args:
        prepared: What solves with it.
        system: Its state and border.
        border: Of the bordered Jacobian; False is the plain one.

    Returns:
        Per unit time: the lower end of an interval of `SHARP` in which a singular value lies, the least one unless a
        start at random misses it; 0 where the matrix is singular to working precision.
    """

    def answer(ask: Solve) -> Solved:
        q = None if ask.q is None else [ask.q]
        found = prepared.solve([ask.r], q, transpose=ask.transpose, border=border, tol=ask.tol)
        return Solved(found[0], prepared)

    return alone(seeking(system, prepared, border=border), answer)[0]


def seeking(system: Bordered, known: Prepared | None, *, border: bool) -> Solving[tuple[float, Prepared]]:
    """The same as work that asks for its solves, and what solves with the system; `known` does, if there is some."""
    found = _Inverse(system, border=border)
    for _ in range(ROUNDS):
        for transpose in (True, False):
            r, q = found.asked(transpose=transpose)
            corner = q if border else None
            answer = yield Solve(system, r, corner, known, known is None, transpose, border, LOOSE)
            known = answer.prepared
            found.take(answer.solution, transpose=transpose)
        if found.sharp:
            break
    assert known is not None
    return found.least, known


class _Inverse:
    """Bidiagonalisation of B, the inverse of the transpose: `B Q = P U` and `B^T P = Q U^T + b q y^T`.

    The largest singular value of U is one of B but for the rest `b |y|`, its left vector's last entry times the next b.
    The border counts by the model's scale: else small fields would make a small singular value.
    """

    def __init__(self, system: Bordered, *, border: bool) -> None:
        self._shape, self._size, self._scale = system.fields.shape, system.fields.size, system.equations.model.scale
        # at random: a start that favours the translations overlooks a fold beside them
        start = np.random.default_rng(0).standard_normal(self._size + (len(system.directions) if border else 0))
        self._next: Array = start / float(np.linalg.norm(start))
        self._bases: tuple[list[Array], list[Array]] = [], []
        self._diagonal: list[float] = []
        self._beside: list[float] = []
        self._ended = False
        self.sharp, self.least = False, float("inf")

    def asked(self, *, transpose: bool) -> tuple[Array, Array]:
        """The next right-hand side, of the transposed system or of the system itself."""
        x = self._next if transpose or not self._bases[1] else self._bases[1][-1]
        return x[: self._size].reshape(self._shape), self._scale * x[self._size :]

    def take(self, solution: Solution, *, transpose: bool) -> None:
        """Take the solution of what was asked."""
        if self._ended:
            return
        if not solution.residual <= CLOSED:
            self.sharp, self.least, self._ended = True, 0.0, True
            return
        y = np.concatenate([solution.x.ravel(), self._scale * solution.s])
        if transpose:
            self._bases[0].append(self._next)
        basis = self._bases[1 if transpose else 0]
        for _ in range(2):  # again: what rounding, and loose solves, leave along the others
            for other in basis:
                y = y - (other @ y) * other
        size = float(np.linalg.norm(y))
        unit: Array = y / max(size, 1e-300)
        if transpose:
            self._diagonal.append(size)
            self._bases[1].append(unit)
        else:
            self._measure(size)
            self._beside.append(size)
            self._next = unit

    def _measure(self, beside: float) -> None:
        """The least singular value of the matrix that is seen so far."""
        U = np.diag(self._diagonal) + np.diag(self._beside, 1)
        left, values, _ = np.linalg.svd(U)
        rest = beside * abs(float(left[-1, 0]))
        self.least = 1 / max(float(values[0]) + rest, 1e-300)
        self.sharp = rest <= SHARP * float(values[0])
        # a basis that ended has seen all there is to see from this start
        self._ended = beside <= 1e-12 * float(values[0])


def least_singular_of_uniform(equations: Equations, fields: Array) -> float | None:
    """The same for a uniform state, in closed form by wave number; None where the state is not uniform enough.

    Args:
        equations: Those of the instance.
        fields: Shape (S, H, W).
    """
    largest = max(abs(float(f.mean())) for f in fields)
    values = np.linalg.svd(symbols(equations, fields), compute_uv=False)
    least = float(values.min())
    if least < np.finfo(np.float64).eps * values.max():  # rounding: what a pattern's solves would say of it, too
        least = 0.0
    # what waves change in the entries of the Jacobian, whose slopes are of the size of the fields
    scale = equations.model.scale
    return least if 8 * (deviation(fields) / scale) * max(1.0, largest / scale) < max(FLAT * least, SINGULAR) else None


def is_of_a_family(equations: Equations, fields: Array) -> bool:
    """Whether a uniform state is no isolated root: a mode of it neither grows nor decays. False for patterns."""
    if deviation(fields) > SURELY_UNIFORM * equations.model.scale:
        return False
    return bool(np.linalg.svd(symbols(equations, fields), compute_uv=False).min() < SINGULAR)
