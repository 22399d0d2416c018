"""Leading eigenvalues of a root, and whether it is stable.

A pattern has slow modes by the dozen, so power iteration alone cannot tell their signs; shift-and-invert alone finds
the eigenvalues nearest to a shift, not the rightmost ones. So both are used. A kicked state is marched on: after 20,000
steps what grows at 5e-4 or faster stands out, and gives a first guess of its eigenvalue. Then shift-and-invert Arnoldi
looks around that guess, around 0 for what is slow, and around two frequencies of the reaction's oscillations.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from gsimplicit.equations import Equations
from gsimplicit.grid import along, interleaved
from gsimplicit.marching import cpu
from gsimplicit.refine.linear import BorderedLU, SparseLU, jacobian

if TYPE_CHECKING:
    from collections.abc import Sequence

Array = np.ndarray[Any, np.dtype[np.float64]]
Complex = np.ndarray[Any, np.dtype[np.complex128]]

KICK_STEPS = 20_000
KICK = 1e-7
LINEAR = 1e-4
"""Largest difference to the root that still counts as linear; like the kick by the model's scale."""

MOST_STRETCHES = 100
"""Marches of a kicked state. Short ones are those in which it grows a thirtyfold: long before the last it has only the
fastest mode left."""

OVERSHOT = -1.0
"""Real part of an eigenvalue, by the step, below which a mode that stands out is one that the step blows up."""

ACCURATE = 1e-6
"""Largest residual of an eigenpair that is kept."""

LEAST = 6
"""Eigenvalues sought around each shift, however few are asked for: the rightmost need not be the nearest."""

_OFFSET = 1e-7
"""Real part added to a shift, so that the shifted matrix of a pinned pattern is not singular."""


@dataclass(frozen=True)
class Eigenpairs:
    """Leading eigenpairs of the linearised dynamics.

    Attributes:
        values: Eigenvalues per unit time, sorted by falling real part, complex, shape (n,); of a conjugate pair one
            may stand for both.
        vectors: Their modes, complex, shape (n, 2, H, W), of unit 2-norm.
        residual: Largest 2-norm of `J x - lambda x` over the pairs, at most 1e-6.
    """

    values: Complex
    vectors: Complex
    residual: float


def leading(
    equations: Equations,
    fields: Array,
    directions: Array,
    velocity: Array,
    count: int = 6,
    shifts: Sequence[complex] | None = None,
) -> Eigenpairs:
    """The leading eigenvalues of the Jacobian, or of the dynamics of the shape alone.

    With directions the translations are taken out: the eigenvalues are those of the bordered pencil, the linearised
    dynamics in the frame that moves and shifts with the pattern.

    Args:
        equations: Those of the instance.
        fields: Shape (S, H, W).
        directions: Translations to take out, unit vectors (row, column), shape (r, 2).
        velocity: Drift of the pattern along rows and columns, shape (2,).
        count: Number of eigenvalues, >= 1.
        shifts: Points to look around. None is 0, frequencies of the reaction, and where a kicked copy of the root
            leads, which only a root has; with shifts of one's own a mode far from them is missed.

    Returns:
        The `count` eigenvalues of largest real part among those found near the shifts; of one that is met several
        times some copies may be missing.

    Raises:
        np.linalg.LinAlgError: The Jacobian could not be factorised, or the iteration did not converge.
    """
    J = jacobian(equations, fields, velocity)
    G = along(directions, fields) if len(directions) else np.zeros((0, *fields.shape))
    border = interleaved(G)
    values: list[complex] = []
    vectors: list[Complex] = []
    around = (*_shifts(equations, fields), _fastest(equations, fields, J)) if shifts is None else shifts
    for shift in around:
        before = list(values)  # pairs of earlier shifts are met again; multiples of one shift are kept
        for value, vector in _near(J, border, shift, count):
            if all(abs(value - other) > 1e-9 + 1e-6 * abs(value) for other in before):
                values.append(value)
                vectors.append(vector)
    good = [i for i in range(len(values)) if _residual(J, border, values[i], vectors[i]) < ACCURATE]
    if not good:
        raise np.linalg.LinAlgError("no eigenpair was found to 1e-6")
    order = sorted(good, key=lambda i: -values[i].real)[:count]
    chosen = np.array([values[i] for i in order], dtype=np.complex128)
    modes: Any = np.stack([np.reshape(vectors[i], (*fields.shape[1:], len(fields))).transpose(2, 0, 1) for i in order])
    return Eigenpairs(chosen, modes, max(_residual(J, border, values[i], vectors[i]) for i in order))


def _near(J: Any, border: Array, shift: complex, count: int) -> list[tuple[complex, Complex]]:
    """Eigenpairs near a shift, the border's columns taken out, by shift-and-invert Arnoldi."""
    n = J.shape[0]
    complex_shift = complex(shift + _OFFSET)
    sigma = complex_shift if complex_shift.imag else complex_shift.real
    kind = np.complex128 if complex_shift.imag else np.float64
    matrix = (J.astype(kind) - scipy.sparse.diags_array(np.full(n, sigma, kind))).tocsc()
    factors = BorderedLU(SparseLU(matrix), border.astype(kind), border.astype(kind))
    none = np.zeros(border.shape[1], kind)
    inverse = scipy.sparse.linalg.LinearOperator(
        (n, n), matvec=lambda b: factors.solve(b.astype(kind).ravel(), none)[0], dtype=kind
    )
    start = np.random.default_rng(0).standard_normal(n).astype(kind)
    k = min(max(count, LEAST), n - 2)  # ARPACK's limit, met on tiny grids alone
    try:
        found = scipy.sparse.linalg.eigs(inverse, k=k, which="LM", v0=start, tol=1e-8, ncv=min(4 * k, n))
    except scipy.sparse.linalg.ArpackError as error:
        raise np.linalg.LinAlgError(f"eigenvalues near {shift} did not converge: {error}") from error
    return [(complex(sigma + 1 / mu), vector) for mu, vector in zip(found[0], found[1].T, strict=True)]


def _shifts(equations: Equations, fields: Array) -> tuple[complex, ...]:
    """Points always looked around: what is slow, and what the reaction oscillates with."""
    return (0.0, *(1j * w for w in equations.model.frequencies(equations.values.tolist(), list(fields))))


def _fastest(equations: Equations, fields: Array, J: Any) -> complex:
    """First guess of the eigenvalue that grows fastest, from a kicked state marched on.

    Where the step itself blows up what the equations damp, that is what stands out: then it is taken again by steps
    short enough for the whole spectrum.
    """
    found = _kicked(equations, fields, J)
    if found.real * equations.dt > OVERSHOT:
        return found
    dt = 1.9 / equations.model.radius(equations.values.tolist(), list(fields))
    found = _kicked(replace(equations, dt=dt), fields, J)
    return found if np.isfinite(found) else 0.0


def _kicked(equations: Equations, fields: Array, J: Any) -> complex:
    """The eigenvalue of what a kick becomes in many steps; NaN where that diverges.

    The difference to the root is in the end the leading mode d, or the plane of a complex pair: the roots of
    `z^2 = a z + b` with `J^2 d = a J d + b d` by least squares.
    """
    scale = equations.model.scale
    d: Any = KICK * scale * np.random.default_rng(1).standard_normal(fields.shape)
    steps, length = 0, KICK_STEPS // 20
    for _ in range(MOST_STRETCHES):
        end, _, change = cpu.march(equations, fields + d, 0.0, length, length)
        moved = np.asarray(end, dtype=np.float64) - fields
        size = float(np.abs(moved).max())
        if (np.isnan(change) or size > LINEAR * scale) and length > 1:
            length //= 2  # it grows fast: in shorter stretches the difference stays linear
            continue
        if np.isnan(change):
            return complex("nan")
        if size < 1e-300:
            return 0.0
        d, steps = moved * (KICK * scale / size), steps + length
        if steps >= KICK_STEPS:
            break
    x = interleaved(d[None])[:, 0]
    x = x / np.linalg.norm(x)
    Jx = J @ x
    a, b = np.linalg.lstsq(np.stack([Jx, x], axis=1), J @ Jx, rcond=None)[0]
    roots = np.roots([1.0, -a, -b])
    return complex(max(roots, key=lambda z: z.real))


def _residual(J: Any, border: Array, value: complex, x: Complex) -> float:
    """2-norm of `J x - lambda x`, what the border's columns span taken out."""
    rest = J @ x - value * x
    if border.shape[1]:
        rest = rest - border @ np.linalg.lstsq(border, rest, rcond=None)[0]
    return float(np.linalg.norm(rest))
