"""Leading eigenvalues of a root, and whether it is stable.

A pattern has slow modes by the dozen, so power iteration cannot tell their signs. Shift-and-invert Arnoldi finds the
eigenvalues nearest to a few points of the imaginary axis: 0 for what grows or decays slowly, and two frequencies of the
reaction's oscillations. What is unstable lies near one of them: an eigenvalue of a bounded reaction-diffusion operator
crosses the axis where it starts to grow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from gsimplicit.refine.linear import BorderedLU, SparseLU, gradient, interleaved, jacobian

Array = np.ndarray[Any, np.dtype[np.float64]]
Complex = np.ndarray[Any, np.dtype[np.complex128]]

SHIFTS = (0.0, 0.03j, 0.08j)
"""Points of the imaginary axis looked around. Spots oscillate at 0.03, the uniform state at sqrt((F + k)(k - F))."""

_OFFSET = 1e-7
"""Real part added to a shift, so that the shifted matrix of a pinned pattern is not singular."""


@dataclass(frozen=True)
class Spectrum:
    """Leading eigenpairs of the linearised dynamics.

    Attributes:
        values: Eigenvalues per unit time, sorted by falling real part, complex, shape (n,).
        vectors: Their modes, complex, shape (n, 2, H, W), of unit 2-norm.
        residual: Largest 2-norm of `J x - lambda x` over the pairs.
    """

    values: Complex
    vectors: Complex
    residual: float


def leading(fields: Array, parameters: Array, directions: Array, velocity: Array, count: int = 6) -> Spectrum:
    """The leading eigenvalues of the Jacobian, or of the dynamics of the shape alone.

    With directions the translations are taken out: the eigenvalues are those of the bordered pencil, the linearised
    dynamics in the frame that moves and shifts with the pattern.

    Args:
        fields: u and v of a root, shape (2, H, W).
        parameters: Du, Dv, F, k.
        directions: Translations to take out, unit vectors (row, column), shape (r, 2).
        velocity: Drift of the pattern along rows and columns, shape (2,).
        count: Number of eigenvalues, >= 1.

    Returns:
        The `count` eigenvalues of largest real part among those found near the shifts.

    Raises:
        np.linalg.LinAlgError: The Jacobian could not be factorised, or the iteration did not converge.
    """
    J = jacobian(fields, parameters, velocity)
    n = J.shape[0]
    G = np.tensordot(directions, gradient(fields), axes=1) if len(directions) else np.zeros((0, *fields.shape))
    border = interleaved(G)
    values: list[complex] = []
    vectors: list[Complex] = []
    for shift in SHIFTS:
        complex_shift = complex(shift + _OFFSET)
        sigma = complex_shift if complex_shift.imag else complex_shift.real
        kind = np.complex128 if complex_shift.imag else np.float64
        matrix = (J.astype(kind) - scipy.sparse.diags_array(np.full(n, sigma, kind))).tocsc()
        factors = BorderedLU(SparseLU(matrix), border.astype(kind), border.astype(kind))
        none = np.zeros(border.shape[1], kind)
        inverse = scipy.sparse.linalg.LinearOperator(
            (n, n), matvec=lambda b, f=factors, q=none, d=kind: f.solve(b.astype(d).ravel(), q)[0], dtype=kind
        )
        start = np.random.default_rng(0).standard_normal(n).astype(kind)
        try:
            found = scipy.sparse.linalg.eigs(inverse, k=count, which="LM", v0=start, tol=1e-8, ncv=max(4 * count, 24))
        except scipy.sparse.linalg.ArpackError as error:
            raise np.linalg.LinAlgError(f"eigenvalues near {shift} did not converge: {error}") from error
        for mu, vector in zip(found[0], found[1].T, strict=True):
            value = complex(sigma + 1 / mu)
            if all(abs(value - other) > 1e-9 + 1e-6 * abs(value) for other in values):
                values.append(value)
                vectors.append(vector)
    order = np.argsort([-v.real for v in values])[:count]
    chosen = np.array([values[i] for i in order], dtype=np.complex128)
    modes: Any = np.stack([np.reshape(vectors[i], (*fields.shape[1:], 2)).transpose(2, 0, 1) for i in order])
    return Spectrum(chosen, modes, _residual(J, border, chosen, [vectors[i] for i in order]))


def _residual(J: Any, border: Array, values: Complex, vectors: list[Complex]) -> float:
    """Largest residual of the pairs, what the border's columns span taken out."""
    worst = 0.0
    for value, x in zip(values, vectors, strict=True):
        rest = J @ x - value * x
        if border.shape[1]:
            rest = rest - border @ np.linalg.lstsq(border, rest, rcond=None)[0]
        worst = max(worst, float(np.linalg.norm(rest)))
    return worst
