"""Fields and parameters all at once, with a penalty on the residual in place of a steady state.

Minimises, over fields X and parameters p,

    |data - X|^2 + weight^2 |R(X; p) + c . grad X|^2,

both by the noise. The weight is a time: a residual may stand that would move the fields by the noise within it. As it
grows the steady state becomes exact. Gauss and Newton's method, with the fields eliminated by one factorisation of the
quasi-definite matrix

    [ W   J^T          ]
    [ J   -1 / weight^2 ]

for all snapshots, so that a few unknowns are left: parameters and drifts. (Weak constraints of this kind are from
weather forecasting: Y. Sasaki, Monthly Weather Review 98, 875, 1970; the matrix: R. Vanderbei, SIAM J. Optim. 5, 100,
1995.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gsimplicit.equations import Equations
from gsimplicit.grid import along, broken_translations, interleaved, separate
from gsimplicit.inverse.fits.problem import Ended, Fit, Place, Problem
from gsimplicit.inverse.pictures.snapshot import Snapshot
from gsimplicit.refine.linear import SparseLU, jacobian

Array = np.ndarray[Any, np.dtype[np.float64]]

HELD = 1e-10
"""Weight of what was not measured against what was: keeps the matrix definite."""
TRUST = 0.3
"""Largest change of a free coordinate in one step."""
FIELD_STEP = 0.3
"""Largest change of a species in one step, by the model's scale."""
HALVINGS = 8
ON_THE_WAY = 1e-3
"""Change of the free coordinates that ends a stage before the last."""
LEFT = 3.0
"""A parameter that has changed by a factor exp(3) has left for nowhere."""


@dataclass(frozen=True, eq=False)
class Bent:
    """One snapshot's part of the problem at a place: its linear model with the fields eliminated.

    Attributes:
        fields: Change of the fields with everything else held, shape (S, H, W).
        by: Its derivatives in the free coordinates and the speeds, shape (m + r, S, H, W).
        hessian: Of half the sum of squares in those, shape (m + r, m + r), times the noise's square.
        slope: Its derivative, shape (m + r,).
    """

    fields: Array
    by: Array
    hessian: Array
    slope: Array

    @classmethod
    def of(cls, problem: Problem, place: Place, i: int, directions: Array, weight: float) -> Bent:
        """At the i-th snapshot of a place.

        Raises:
            np.linalg.LinAlgError: The matrix is singular to working precision.
        """
        import scipy.sparse

        X, c, snapshot = place.fields[i], place.drifts[i], problem.snapshots[i]
        equations = Equations(problem.model, place.values)
        share, off = _measured(problem, snapshot, X)
        ways = problem.scales.slopes(place.values)
        pushed = np.concatenate(
            [
                np.tensordot(ways, equations.parameter_slopes(X), axes=1),
                along(directions, X) if len(directions) else np.zeros((0, *X.shape)),
            ]
        )
        J = scipy.sparse.csc_array(jacobian(equations, X, c if c.any() else None))
        n = X.size
        corner = scipy.sparse.diags_array(interleaved(share[None])[:, 0] + HELD)
        K = scipy.sparse.block_array([[corner, J.T], [J, -scipy.sparse.eye_array(n) / weight**2]], format="csc")
        lu = SparseLU(scipy.sparse.csc_array(K))
        columns = np.zeros((2 * n, 1 + len(pushed)))
        columns[:n, 0] = -interleaved((share * off)[None])[:, 0]
        columns[n:, 0] = -interleaved(equations.defect(X, c)[None])[:, 0]
        columns[n:, 1:] = -interleaved(pushed)
        solved = lu.solve(columns)
        solved = solved + lu.solve(columns - K @ solved)
        if not np.isfinite(solved).all():
            raise np.linalg.LinAlgError("fields cannot be eliminated: the matrix is singular to working precision")
        changes = np.stack([separate(column, X.shape) for column in solved[:n].T])
        P, multipliers = -columns[n:, 1:], solved[n:]
        hessian = P.T @ multipliers[:, 1:]
        return cls(changes[0], changes[1:], (hessian + hessian.T) / 2, P.T @ multipliers[:, 0])


def _measured(problem: Problem, snapshot: Snapshot, X: Array) -> tuple[Array, Array]:
    """Weights by the largest, and deviations from the data."""
    return (problem.noise * snapshot.weights) ** 2, X - snapshot.values


def cost(problem: Problem, place: Place, weight: float) -> float:
    """Sum of squares of deviations and weighted residuals, by the noise."""
    if not all(np.isfinite(X).all() for X in place.fields):
        return np.inf
    with np.errstate(all="ignore"):
        parts = [float((weight * d / problem.noise) ** 2 @ np.ones(d.size)) for d in _defects(problem, place)]
        value = float((problem.misfit(place) ** 2).sum()) + sum(parts)
    return value if np.isfinite(value) else np.inf


def _defects(problem: Problem, place: Place) -> list[Array]:
    return [d.ravel() for d in problem.defects(place)]


def fit(
    problem: Problem, start: Place, weights: Sequence[float], *, iterations: int = 30, tol: float = 1e-8
) -> tuple[Fit, Array]:
    """The minimum at the last of some weights, each begun where the one before ended.

    Returns:
        The fit, whose first m columns are a square root of the information on the free coordinates, and the weighted
        residuals by the noise, shape (S H W of all snapshots,).
    """
    place, ended, total = start, Ended.STEPS, 0
    m = len(problem.scales.directions)
    information = np.zeros((m, m))
    for weight in weights:
        last = weight == weights[-1]
        ended, mu = Ended.STEPS, 1e-6
        for _ in range(iterations):
            total += 1
            try:
                directions = [broken_translations(X, problem.model.scale) for X in place.fields]
                bent = [Bent.of(problem, place, i, d, weight) for i, d in enumerate(directions)]
            except np.linalg.LinAlgError:
                ended = Ended.SINGULAR
                break
            information, moved, z = _step(problem, place, bent, directions, weight, mu)
            if moved is None:
                ended = Ended.CONVERGED if z < ON_THE_WAY else Ended.DIVERGED
                break
            place = moved
            if np.abs(_logs(problem, place, start)).max(initial=0) > LEFT:
                return _ended(problem, place, Ended.LEFT, total, information, weight)
            if z <= (tol if last else ON_THE_WAY):
                ended = Ended.CONVERGED
                break
        if ended in (Ended.SINGULAR, Ended.DIVERGED):
            break
    return _ended(problem, place, ended, total, information, weights[-1])


def _logs(problem: Problem, a: Place, b: Place) -> Array:
    positive = problem.scales.positive
    with np.errstate(all="ignore"):
        return np.asarray(np.log(a.values[positive] / np.where(b.values[positive] == 0, 1, b.values[positive])))


def _ended(
    problem: Problem, place: Place, ended: Ended, n: int, information: Array, weight: float
) -> tuple[Fit, Array]:
    misfit, m = problem.misfit(place), len(information)
    columns = np.zeros((len(misfit), m))
    values, vectors = np.linalg.eigh(information)
    columns[:m] = np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
    defects = _defects(problem, place)
    worst = max(float(np.abs(d).max()) for d in defects)
    return Fit(place, ended, n, worst, columns, misfit), weight * np.concatenate(defects) / problem.noise


def _step(
    problem: Problem, place: Place, bent: list[Bent], directions: list[Array], weight: float, mu: float
) -> tuple[Array, Place | None, float]:
    """Information on the free coordinates, the place after a step, and the size of the step in them."""
    m = len(problem.scales.directions)
    size = m + sum(map(len, directions))
    H, g = np.zeros((size, size)), np.zeros(size)
    at, places = m, []
    for part, d in zip(bent, directions, strict=True):
        own = np.r_[np.arange(m), np.arange(at, at + len(d))]
        H[np.ix_(own, own)] += part.hessian
        g[own] += part.slope
        at += len(d)
        places.append(own)
    if at > m:  # the speeds are eliminated
        rest: Any = np.linalg.pinv(H[m:, m:], hermitian=True)
        information = H[:m, :m] - H[:m, m:] @ rest @ H[m:, :m]
    else:
        information = H
    scale = np.sqrt(np.maximum(np.diag(H), 1e-300))
    z: Any = -np.linalg.lstsq(H / scale / scale[:, None] + mu * np.eye(size), g / scale, rcond=1e-12)[0] / scale
    changes = [p.fields + np.tensordot(z[own], p.by, axes=1) for p, own in zip(bent, places, strict=True)]
    far = max(float(np.abs(c).max()) for c in changes) / problem.model.scale
    moved = float(np.abs(z[:m]).max(initial=0))
    share = min(1.0, TRUST / max(moved, 1e-300), FIELD_STEP / max(far, 1e-300))
    here = cost(problem, place, weight)
    for _ in range(HALVINGS):
        there = replace(
            place,
            fields=tuple(X + share * c for X, c in zip(place.fields, changes, strict=True)),
            drifts=tuple(
                c + share * (z[own[m:]] @ d if len(d) else 0.0)
                for c, d, own in zip(place.drifts, directions, places, strict=True)
            ),
            values=problem.scales.moved(place.values, share * z[:m]),
        )
        if cost(problem, there, weight) <= here * (1 + 1e-12):
            return information / problem.noise**2, there, moved
        share /= 2
    return information / problem.noise**2, None, moved
