"""Linear systems of one steady state: the Jacobian, bordered by translations, solved by sparse LU, with its transpose.

At a pattern the Jacobian is nearly singular: moving the pattern rigidly costs almost nothing. The bordered system

    [ J + c . grad    G ] [x]   [r]
    [      P^T        0 ] [s] = [q]

adds the translations G = d . grad X it is singular along as columns, and as many phase conditions P as rows, and so is
regular. Two dense rows would make sparse LU twenty times slower, so the border is eliminated by blocks; what rounding
leaves is removed by iterative refinement against the exact operator.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from gsimplicit.equations import Equations
from gsimplicit.grid import along, interleaved, separate
from gsimplicit.refine.solvers import LOOSE

Array = np.ndarray[Any, np.dtype[np.float64]]


TRIES, SLOW_TRIES = 12, 100
"""Steps of iterative refinement; and where they come slowly, which else would leave no solution."""


def jacobian(equations: Equations, fields: Array, velocity: Array | None = None) -> scipy.sparse.csc_array:
    """Sparse Jacobian of the steady residual, unknowns interleaved (the species of a pixel side by side).

    Args:
        equations: Those of the instance.
        fields: Shape (S, H, W).
        velocity: Adds `velocity . grad` by central differences, which keeps the five-point pattern.

    Returns:
        Matrix of shape (S H W, S H W).
    """
    S, H, W = fields.shape
    J = equations.reaction_jacobian(fields)
    cy, cx = velocity if velocity is not None else (0.0, 0.0)
    one = np.ones(H * W)
    values: list[Any] = []
    for i, D in enumerate(equations.diffusivity):
        # the neighbours above, below, left and right
        values += [J[i][i].ravel() - 4 * D, *((D + s * c / 2) * one for c in (cy, cx) for s in (-1, 1))]
    values += [J[i][j].ravel() for i in range(S) for j in range(S) if i != j]
    rows, columns = equations.stencil(H, W)
    data = np.concatenate(values)
    return scipy.sparse.coo_array((data, (rows, columns)), shape=(S * H * W, S * H * W)).tocsc()


class SparseLU:
    """LU factors of a sparse matrix with nearly symmetric pattern; solves with it and with its transpose.

    The first try is a minimum-degree ordering without pivoting: half the fill and a third of the time of partial
    pivoting, and accurate enough for refinement. `robust` asks for partial pivoting.

    Raises:
        np.linalg.LinAlgError: The matrix is singular to working precision.
    """

    def __init__(self, matrix: scipy.sparse.csc_array, *, robust: bool = False) -> None:
        self._lu: Any
        self.robust = robust
        try:
            if robust:
                self._lu = scipy.sparse.linalg.splu(matrix, permc_spec="COLAMD")
            else:
                self._lu = scipy.sparse.linalg.splu(
                    matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
                )
        except RuntimeError as error:
            raise np.linalg.LinAlgError(f"the Jacobian could not be factorised: {error}") from error

    def solve(self, b: Array, *, transpose: bool = False) -> Array:
        """Solve for right-hand sides of shape (n,) or (n, m)."""
        return np.asarray(self._lu.solve(b, "T" if transpose else "N"))


class BorderedLU:
    """LU factors of a sparse matrix A with r columns B and r rows P^T at its border, eliminated by blocks.

    Args:
        lu: Factors of A.
        columns: B, shape (n, r).
        rows: P, shape (n, r).
        corner: D, shape (r, r); None is zero.
    """

    def __init__(self, lu: SparseLU, columns: Array, rows: Array, corner: Array | None = None) -> None:
        self._lu, self._columns, self._rows, self._corner = lu, columns, rows, corner
        self._eliminated: dict[bool, tuple[Array, Array]] = {}

    def _eliminate(self, transpose: bool) -> tuple[Array, Array]:
        """The solved columns and their Schur complement: an adjoint alone needs only those of the transpose."""
        if transpose not in self._eliminated:
            columns, rows = (self._rows, self._columns) if transpose else (self._columns, self._rows)
            solved = self._lu.solve(columns, transpose=transpose)
            schur = rows.T @ solved
            if self._corner is not None:
                schur = schur - (self._corner.T if transpose else self._corner)
            if not np.isfinite(schur).all():
                raise np.linalg.LinAlgError("the bordered Jacobian is singular")
            self._eliminated[transpose] = solved, schur
        return self._eliminated[transpose]

    def solve(self, r: Array, q: Array, *, transpose: bool = False) -> tuple[Array, Array]:
        """Solve `A x + B s = r, P^T x + D s = q`, or with the transpose `A^T x + P s = r, B^T x + D^T s = q`.

        Raises:
            np.linalg.LinAlgError: The bordered matrix is singular to working precision.
        """
        y = self._lu.solve(r, transpose=transpose)
        if not len(q):
            return y, q
        solved, schur = self._eliminate(transpose)
        rows = self._columns if transpose else self._rows
        s: Any = np.linalg.solve(schur, rows.T @ y - q)
        return np.asarray(y - solved @ s), np.asarray(s)


@dataclass(frozen=True, eq=False)
class Bordered:
    """The linear system of one state: its Jacobian, bordered by r translations.

    Attributes:
        equations: Those of the instance.
        fields: Shape (S, H, W).
        directions: The r independent translations, rows of unit vectors (row, column), shape (r, 2); r = 0 gives the
            plain Jacobian.
        velocity: Drift of the pattern along rows and columns, shape (2,).
        phase: Phase conditions, shape (r, 2, H, W); None is the translations of the state itself.
    """

    equations: Equations
    fields: Array
    directions: Array
    velocity: Array
    phase: Array | None = None

    @property
    def parameters(self) -> Array:
        """Parameters of the instance, shape (P,)."""
        return self.equations.values


@dataclass(frozen=True)
class Solution:
    """Solution of a bordered system.

    Attributes:
        x: Field part, shape (S, H, W); NaN where the matrix is singular to working precision.
        s: Border part, shape (r,).
        residual: Relative residual against the exact operator, in the 2-norm; infinite with NaN.
        products: Products with the operator that it took.
    """

    x: Array
    s: Array
    residual: float
    products: int = 0


def unsolved(system: Bordered, *, border: bool = True) -> Solution:
    """What stands for the solution of a system that is singular to working precision, or a right-hand side with NaN."""
    r = len(system.directions) if border else 0
    return Solution(np.full_like(system.fields, np.nan), np.full(r, np.nan), float("inf"))


class BorderedJacobian:
    """A bordered Jacobian, factorised, with its transpose; the plain Jacobian shares the factors.

    Args:
        system: The state and its border.

    Raises:
        np.linalg.LinAlgError: The system is singular to working precision.
    """

    def __init__(self, system: Bordered) -> None:
        fields = system.fields
        # values of its own: who wrote into the system's would change the operator and not its factors
        values = system.parameters.copy()
        self._shape, self._system = fields.shape, replace(system, equations=system.equations.with_values(values))
        r = len(system.directions)
        self.columns = along(system.directions, fields) if r else np.zeros((0, *fields.shape))
        self.phase = self.columns if system.phase is None else system.phase
        self._factorise(SparseLU(self._matrix()))

    def _matrix(self) -> scipy.sparse.csc_array:
        return jacobian(self._system.equations, self._system.fields, self._system.velocity)

    def _factorise(self, factors: SparseLU) -> None:
        self._robust = factors.robust
        self._factors = BorderedLU(factors, interleaved(self.columns), interleaved(self.phase))

    def apply(self, x: Array, s: Array, *, transpose: bool = False) -> tuple[Array, Array]:
        """The exact operator (or its transpose) on a field part (S, H, W) and a border part, (r,) or (0,) for none."""
        y, velocity = self._system.equations.product(self._system.fields, x, transpose=transpose), self._system.velocity
        if velocity.any():
            # the spectral derivative is antisymmetric
            y = y + (-1 if transpose else 1) * along(velocity, x)
        column, row = (self.phase, self.columns) if transpose else (self.columns, self.phase)
        n = len(s)
        return y + np.tensordot(s, column[:n], axes=1), np.asarray(np.tensordot(row[:n], x, axes=3))

    def _approximate(self, r: Array, q: Array, *, transpose: bool) -> tuple[Array, Array]:
        """Solve with the factors: exact but for rounding and the drift's central differences."""
        x, s = self._factors.solve(interleaved(r[None])[:, 0], q, transpose=transpose)
        return separate(x, self._shape), s

    def solve(
        self, r: Array, q: Array | None = None, *, transpose: bool = False, border: bool = True, tol: float = 1e-12
    ) -> Solution:
        """Solve the system (or its transpose), refined against the exact operator.

        Args:
            r: Field part of the right-hand side, shape (S, H, W).
            q: Border part, shape (r,); zero by default.
            transpose: Solve with the transpose, as the adjoint needs.
            border: With the border; False solves with the plain Jacobian.
            tol: Relative residual to refine to. What was reached is reported, also where it is more.

        Returns:
            The solution and its true relative residual.
        """
        if q is None:
            q = np.zeros(len(self.columns) if border else 0)
        # scaled by a power of two, so that the squares in the norms neither vanish nor overflow
        scale = 2.0 ** int(np.frexp(max(float(np.abs(r).max()), float(np.abs(q).max(initial=0.0))))[1])
        solution = self._refined(r / scale, q / scale, transpose=transpose, tol=tol)
        if not solution.residual <= max(1e-8, tol) and not self._robust:
            self._factorise(SparseLU(self._matrix(), robust=True))
            solution = self._refined(r / scale, q / scale, transpose=transpose, tol=tol)
        return replace(solution, x=scale * solution.x, s=scale * solution.s)

    def _refined(self, r: Array, q: Array, *, transpose: bool, tol: float) -> Solution:
        size = float(np.sqrt((r**2).sum() + (q**2).sum()))
        best = Solution(np.zeros_like(r), np.zeros_like(q), 1.0 if size else 0.0)
        x, s, rest_r, rest_q = best.x, best.s, r, q
        slow = tol >= LOOSE
        for n in range(SLOW_TRIES):
            if best.residual <= tol or (n >= TRIES and not slow):
                break
            with np.errstate(all="ignore"):  # overflow in a bad factor shows in the residual
                dx, ds = self._approximate(rest_r, rest_q, transpose=transpose)
                x, s = x + dx, s + ds
                ax, as_ = self.apply(x, s, transpose=transpose)
                rest_r, rest_q = r - ax, q - as_
                residual = float(np.sqrt((rest_r**2).sum() + (rest_q**2).sum())) / size
            # the drift's central differences can spoil the factors of a pattern that is hardly held
            slow = slow or (best.residual > LOOSE and residual >= 0.5 * best.residual)
            if not residual < (0.9 if slow else 0.5) * best.residual:
                break
            best = Solution(x, s, residual, n + 1)
        return best
