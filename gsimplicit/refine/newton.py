"""Newton's method for a steady or rigidly drifting pattern, with true residuals in float64.

Solves for the fields X and the velocity c of a pattern that moves without changing shape,

    R(X) + c . grad X = 0,    <grad X0, X - X0> = 0,

with as many velocities as the pattern breaks translations: two for spots and labyrinths, one for stripes, none for a
uniform state. How its steps are made as long as they may be lies in `steps`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from gsimplicit.arrays import real_fields
from gsimplicit.equations import Equations
from gsimplicit.grid import along, broken_translations, shifted, slopes
from gsimplicit.refine.asking import Solving, alone, solved
from gsimplicit.refine.linear import Bordered
from gsimplicit.refine.solvers import LinearSolver, Prepared, guarded
from gsimplicit.refine.steps import Task, by_error, by_residual

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Certified:
    """Residuals of one state.

    Attributes:
        raw: Max norm of the steady residual per unit time.
        bordered: Max norm after the best rigid drift is taken out.
        drift: That drift along rows and columns, pixels per unit time, shape (2,).
        directions: Independent translations the state breaks, shape (r, 2).
    """

    raw: float
    bordered: float
    drift: Array
    directions: Array


@dataclass(frozen=True)
class Root:
    """Where Newton's method ended.

    Attributes:
        fields: Shape (S, H, W).
        drift: Velocity along rows and columns, pixels per unit time, shape (2,); zeros for the lattice root.
        residual: Max norm of the residual it solved for, bordered or raw.
        evaluations: Residual evaluations.
        converged: Whether the residual is at most the tolerance.
        factors: The last linear system met, near the root, and what solves with it; None where none was needed.
    """

    fields: Array
    drift: Array
    residual: float
    evaluations: int
    converged: bool
    factors: tuple[Prepared, Bordered] | None = None


def position_share(fields: Array, directions: Array, cotangent: Array) -> float:
    """Share of a derivative in the fields that lies along translations of the state, in 0..1.

    Args:
        fields: Shape (S, H, W).
        directions: Translations the state breaks, shape (r, 2).
        cotangent: Derivative of a loss in the fields, shape (S, H, W).

    Returns:
        `|P g| / |g|` with P the projection onto the translations; 0 where there are none, or no derivative.
    """
    size = float(np.linalg.norm(cotangent))
    if not len(directions) or not size:
        return 0.0
    columns = along(directions, fields).reshape(len(directions), -1)
    basis = np.linalg.qr(columns.T)[0]
    return float(np.linalg.norm(basis.T @ cotangent.ravel())) / size


def certify(equations: Equations, fields: Array) -> Certified:
    """Raw and bordered residual of any state, the drift fitted by least squares.

    Args:
        equations: Those of the instance.
        fields: Float64, shape (S, H, W).
    """
    R = equations.residual(fields)
    directions = broken_translations(fields, equations.model.scale)
    raw = float(np.abs(R).max())
    if not len(directions):
        return Certified(raw, raw, np.zeros(2), directions)
    columns = along(directions, fields).reshape(len(directions), -1)
    speeds = np.linalg.lstsq(columns.T, -R.ravel(), rcond=None)[0]
    bordered = float(np.abs(R.ravel() + speeds @ columns).max())
    return Certified(raw, bordered, speeds @ directions, directions)


def newton(
    equations: Equations,
    fields: Array,
    tol: float,
    *,
    bordered: bool = True,
    linear: LinearSolver | None = None,
    hurry: bool = False,
    held: Array | None = None,
) -> Root:
    """Refine one state to a root of the bordered (or the raw) residual.

    Args:
        equations: Those of the instance.
        fields: Start, float64, shape (S, H, W); it fixes the phase.
        tol: Max norm of the residual to reach, per unit time.
        bordered: Solve for the drift as well; False solves the raw lattice equations.
        linear: How the linear systems are solved; None is sparse LU.
        hurry: Give up where steps must be short: for callers that can march on, which is cheaper.
        held: What the residual is to be instead of zero, shape (S, H, W): what a certified root leaves of its own, so
            that roots near by are followed from that very root.

    Returns:
        The state of least residual met, with `converged` false where that is above `tol`.
    """
    linear = guarded(linear)
    work = closing(equations, fields, tol, bordered=bordered, keep=linear.factorises, hurry=hurry, held=held)
    return alone(work, partial(solved, linear))


def closing(
    equations: Equations,
    fields: Array,
    tol: float,
    *,
    bordered: bool = True,
    keep: bool = False,
    hurry: bool = False,
    held: Array | None = None,
) -> Solving[Root]:
    """The same as work that asks for its linear solves; `keep` says that what solves is worth keeping."""
    directions = broken_translations(fields, equations.model.scale) if bordered else np.zeros((0, 2))
    drift = certify(equations, fields).drift if bordered else np.zeros(2)
    task = Task(equations, fields, tol, directions, held)
    end = yield from (by_error if keep else by_residual)(task, task.at(fields, drift), hurry=hurry)
    evaluations = task.evaluations + 1  # the first drift took one
    return Root(end.here.X, end.here.c, end.here.size, evaluations, end.here.size <= tol, end.factors)


def rigid_distance(fields: Array, goal: Array) -> float:
    """Largest difference of two patterns (S, H, W) after the rigid shift that fits best, in the max norm.

    The shift is found to a pixel by correlation, then by least squares.

    Raises:
        ValueError: The patterns are not of one shape (S, H, W), not finite, or masked.
        TypeError: One is no tensor or array of floats.
    """
    fields, goal = (
        np.asarray(real_fields(n, x, attached=False, device="cpu")) for n, x in (("fields", fields), ("goal", goal))
    )
    if fields.ndim != 3 or fields.shape != goal.shape:
        raise ValueError(f"fields and goal must be of one shape (S, H, W), got {fields.shape} and {goal.shape}")
    if not (np.isfinite(fields).all() and np.isfinite(goal).all()):
        raise ValueError("fields and goal must be finite")
    correlation = np.fft.ifft2(np.fft.fft2(fields[-1]) * np.fft.fft2(goal[-1]).conj()).real
    at = np.array(np.unravel_index(np.argmax(correlation), correlation.shape), dtype=np.float64)
    for _ in range(6):
        moved = shifted(goal, at)
        steep = slopes(moved).reshape(2, -1)
        at = at - np.linalg.lstsq(steep.T, (fields - moved).ravel(), rcond=None)[0]
    return float(np.abs(fields - shifted(goal, at)).max())
