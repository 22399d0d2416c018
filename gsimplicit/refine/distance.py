"""How far a certified root may be from the closed one: its residual over the least singular value of its Jacobian.

A residual of 1e-10 says little where the lattice pins a pattern with a rate of 1e-7: the root may then lie 1e-3 away,
along the translation that is hardly held. With J the Jacobian that certifies (full where steady, bordered where
drifting), to first order `|X - X*| <= |R| / sigma_min(J)` in the 2-norm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gsimplicit.refine.modes import deviation, symbols
from gsimplicit.results import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsimplicit.refine import Refined
    from gsimplicit.refine.linear import Bordered
    from gsimplicit.refine.solvers import LinearSolver, Prepared

Array = np.ndarray[Any, np.dtype[np.float64]]

ROUNDS = 3
"""Inverse iterations, a solve with J and one with its transpose each. The value found is never below the least one."""

LOOSE = 1e-3
"""Relative residual asked of these solves: of a bound the first digit counts."""

CLOSED = 0.5
"""Relative residual of a solve above which the matrix counts as singular."""

SINGULAR = 1e-13
"""Least singular value below which a uniform state counts as one of a family: its Jacobian is singular."""

SURELY_UNIFORM = 1e-6
"""Deviation from the mean below which a root counts as uniform: certification leaves some 1e-9."""

FLAT = 0.01
"""A state counts as uniform where its waves change the Jacobian by less than this share of the value found."""


def least_singular(prepared: Prepared, systems: Sequence[Bordered], *, border: bool) -> Array:
    """Least singular values of a batch of prepared systems, by inverse iteration.

    Args:
        prepared: What solves with them.
        systems: Their states and borders.
        border: Of the bordered Jacobians; False is the plain ones.

    Returns:
        Shape (B,), per unit time; 0 where a matrix is singular to working precision.
    """
    x: list[Array] = [_start(system, border=border) for system in systems]
    s: list[Array] = [np.zeros(len(system.directions) if border else 0) for system in systems]
    found = [float("inf")] * len(systems)
    for n in range(2 * ROUNDS):
        sizes = [_norm(a, b) for a, b in zip(x, s, strict=True)]
        right = [np.asarray(a / size) for a, size in zip(x, sizes, strict=True)]
        corner = [b / size for b, size in zip(s, sizes, strict=True)]
        solutions = prepared.solve(right, corner if border else None, transpose=n % 2 == 0, border=border, tol=LOOSE)
        for i, solution in enumerate(solutions):
            if solution.residual <= CLOSED and found[i] > 0:
                x[i], s[i] = solution.x, solution.s
                found[i] = min(found[i], 1 / _norm(x[i], s[i]))
            else:
                found[i] = 0.0
    return np.array(found)


def _start(system: Bordered, *, border: bool) -> Array:
    """Random, with the translations in it where they are not bordered: a pattern's Jacobian hardly holds them."""
    from gsimplicit.refine.linear import gradient

    x: Any = np.random.default_rng(0).standard_normal(system.fields.shape)
    if border or not len(system.directions):
        return np.asarray(x)
    slopes = np.tensordot(system.directions, gradient(system.fields), axes=1).sum(axis=0)
    scale = float(np.linalg.norm(x)) / max(float(np.linalg.norm(slopes)), 1e-300)
    return np.asarray(x + scale * slopes)


def _norm(x: Array, s: Array) -> float:
    return max(float(np.sqrt((x**2).sum() + (s**2).sum())), 1e-300)


def least_singular_of_uniform(fields: Array, parameters: Array) -> float | None:
    """The same for a uniform state, in closed form by wave number; None where the state is not uniform enough.

    Args:
        fields: u and v, shape (2, H, W).
        parameters: Du, Dv, F, k.
    """
    u, v = (abs(float(f.mean())) for f in fields)
    least = float(np.linalg.svd(symbols(fields, parameters), compute_uv=False).min())
    # what waves change in the entries of the Jacobian, of which v^2 and u v bend
    return least if 8 * deviation(fields) * max(1.0, u, v) < max(FLAT * least, SINGULAR) else None


def is_of_a_family(fields: Array, parameters: Array) -> bool:
    """Whether a uniform state is no isolated root: a mode of it neither grows nor decays. False for patterns."""
    if deviation(fields) > SURELY_UNIFORM:
        return False
    return bool(np.linalg.svd(symbols(fields, parameters), compute_uv=False).min() < SINGULAR)


def nearness(root: Refined, parameters: Array, linear: LinearSolver, *, factorise: bool) -> tuple[float, float]:
    """Least singular value at a root, and the bound on its distance to the closed root.

    Args:
        root: What a refinement reached.
        parameters: Du, Dv, F, k.
        linear: How linear systems are solved.
        factorise: Prepare a system at the root where Newton's method left none that serves; else there is no bound.

    Returns:
        The value per unit time and the distance in the 2-norm; NaN where there is no root, or no system. Six solves.
    """
    from gsimplicit.refine.linear import Bordered, gradient
    from gsimplicit.refine.newton import residual

    if root.status not in (Status.STEADY, Status.DRIFTING):
        return float("nan"), float("nan")
    still, R = root.status == Status.STEADY, residual(root.fields, parameters)
    drift = np.zeros(2) if still else root.certified.drift
    if not still:
        R = R + np.tensordot(drift, gradient(root.fields), axes=1)
    least = least_singular_of_uniform(root.fields, parameters)
    if least is None:
        # a lattice's hold changes by orders of magnitude within what Newton's last steps move: it is asked at the root
        factors = None if still else root.factors
        if factors is None and factorise:
            system = Bordered(root.fields, parameters, root.certified.directions, drift)
            factors = linear.prepare([system]), system
        if factors is None:
            return float("nan"), float("nan")
        least = float(least_singular(factors[0], [factors[1]], border=not still)[0])
    return least, distance_bound(float(np.linalg.norm(R)), least)


def distance_bound(residual: float, least: float) -> float:
    """`residual / least`: 0 for a residual of 0, infinite where the matrix is singular."""
    if not residual:
        return 0.0
    return residual / least if least else float("inf")
