"""Minimisation along a followed branch: Gauss and Newton's method for the data, BFGS for any torch loss.

Every iterate is a root; its derivatives in the parameters are those of the implicit function theorem, as tangents. A
step that cannot be followed is halved; where nothing is left of it the branch is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gsimplicit.inverse.fits.branch import BranchLostError, Root, followed
from gsimplicit.inverse.fits.problem import Ended, Fit, Problem
from gsimplicit.routes.objective import Loss, slope_of, value_of

Array = np.ndarray[Any, np.dtype[np.float64]]

TRUST = 0.2
"""Largest change of a free coordinate in one step."""
SHIFT = 2.0
"""Largest shift in one step, in pixels."""
HALVINGS = 8
TOLERANCE = 1e-8
"""Change of the free coordinates that ends a minimisation."""
FIRST = 0.05
"""Change of the free coordinates in the first step of BFGS."""
SLOPE = 1e-4
"""Share of the predicted decrease that a step must keep."""


@dataclass(frozen=True, eq=False)
class Walked:
    """Where a minimisation ended.

    Attributes:
        root: The last root.
        ended: How.
        iterations: Steps taken.
        value: Last value of what was minimised.
        lost: Whether steps ended because they could not be followed.
    """

    root: Root
    ended: Ended
    iterations: int
    value: float
    lost: bool = False

    def fit(self, problem: Problem) -> Fit:
        """The root as the other methods have it."""
        misfit = problem.misfit(self.root.place)
        return Fit(self.root.place, self.ended, self.iterations, self.root.residual, self.root.columns(problem), misfit)


def by_data(problem: Problem, root: Root, iterations: int, *, held: bool = False) -> Walked:
    """Least squares of the deviations, by Levenberg and Marquardt's method.

    Args:
        problem: One snapshot.
        root: Where it begins.
        iterations: Most of them.
        held: Whether the parameters stay and shifts alone are sought.
    """
    m, mu = len(root.by), 1e-4
    for n in range(iterations):
        A, r = root.columns(problem), problem.misfit(root.place)
        A = A[:, m:] if held else A
        here, size = float(r @ r), np.linalg.norm(A, axis=0)
        size[size == 0] = 1.0
        A = A / size
        moved, lost, z = None, False, np.zeros(A.shape[1])
        for _ in range(HALVINGS):
            ridge = np.sqrt(mu) * np.eye(A.shape[1])
            z = np.linalg.lstsq(np.vstack([A, ridge]), np.r_[-r, np.zeros(len(ridge))], rcond=None)[0] / size
            whole = np.r_[np.zeros(m), z] if held else z
            z = z * _share(whole[:m], whole[m:])
            whole = np.r_[np.zeros(m), z] if held else z
            small = float(np.abs(z).max(initial=0)) <= TOLERANCE
            try:
                there = followed(problem, root, whole[:m], whole[m:])
                lost = False
                if small or float((problem.misfit(there.place) ** 2).sum()) <= here * (1 + 1e-12):
                    moved = there
                    break
            except BranchLostError:
                lost = True
            mu = max(mu, 1e-6) * 10
        if moved is None:
            return Walked(root, Ended.DIVERGED if lost else Ended.STEPS, n, here, lost)
        root, mu = moved, mu / 10
        if small:
            return Walked(root, Ended.CONVERGED, n + 1, float((problem.misfit(root.place) ** 2).sum()))
    return Walked(root, Ended.STEPS, iterations, float((problem.misfit(root.place) ** 2).sum()))


def _share(z: Array, shift: Array) -> float:
    return min(
        1.0,
        TRUST / max(float(np.abs(z).max(initial=0)), 1e-300),
        SHIFT / max(float(np.abs(shift).max(initial=0)), 1e-300),
    )


Valued = Callable[[Root], tuple[float, Array]]
"""From a root to a value and its derivatives in the free coordinates and the shifts, shape (m + r,)."""


def by_loss(problem: Problem, loss: Loss) -> Valued:
    """A torch loss of the observed species (1, H, W) giving (1,), with its implicit derivatives."""

    def value(root: Root) -> tuple[float, Array]:
        seen = problem.model.seen
        v = torch.from_numpy(np.ascontiguousarray(root.place.fields[0][seen]))[None]
        slope = slope_of(loss, v)
        if slope is None:
            raise ValueError("loss must be differentiable by torch")
        g, ways = slope[0].numpy(), (*root.by, *root.moves)
        return float(value_of(loss, v)[0]), np.array([float((g * c.fields[seen]).sum()) for c in ways])

    return value


def by_deviations(problem: Problem) -> Valued:
    """Half the sum of squared deviations."""

    def value(root: Root) -> tuple[float, Array]:
        r = problem.misfit(root.place)
        return 0.5 * float(r @ r), root.columns(problem).T @ r

    return value


def by_bfgs(problem: Problem, root: Root, value: Valued, iterations: int) -> Walked:
    """Any value, over free coordinates and shifts, by the method of Broyden, Fletcher, Goldfarb and Shanno.

    Where no share of a step lowers the value it begins anew with the steepest slope; where that does not either, it is
    at a minimum as far as numbers tell.
    """
    m = len(root.by)
    here, g = value(root)
    inverse, fresh = _steepest(g), True
    for n in range(iterations):
        z = -inverse @ g
        if z @ g >= 0:
            inverse, fresh = _steepest(g), True
            z = -inverse @ g
        z = z * _share(z[:m], z[m:])
        if float(np.abs(z).max()) <= TOLERANCE:
            return Walked(root, Ended.CONVERGED, n, here)
        z, moved, lost = _searched(problem, root, value, z, here, float(z @ g))
        if moved is None:
            if lost or fresh:
                return Walked(root, Ended.DIVERGED if lost else Ended.CONVERGED, n, here, lost)
            inverse, fresh = _steepest(g), True
            continue
        y = moved[2] - g
        root, here, g = moved
        inverse, fresh = _updated(inverse, z, y, first=fresh), False
        if float(np.abs(z).max()) <= TOLERANCE:
            return Walked(root, Ended.CONVERGED, n + 1, here)
    return Walked(root, Ended.STEPS, iterations, here)


def _steepest(g: Array) -> Array:
    return np.asarray(np.eye(len(g)) * FIRST / max(float(np.abs(g).max()), 1e-300))


def _searched(
    problem: Problem, root: Root, value: Valued, z: Array, here: float, slope: float
) -> tuple[Array, tuple[Root, float, Array] | None, bool]:
    """The share of a step that lowers the value, what is there, and whether the last could not be followed."""
    m, lost = len(root.by), False
    for _ in range(2 * HALVINGS):
        try:
            there = followed(problem, root, z[:m], z[m:])
            lost = False
            found, g = value(there)
            if np.isfinite(found) and found <= here + SLOPE * slope:
                return z, (there, found, g), False
        except BranchLostError:
            lost = True
        z, slope = z / 2, slope / 2
    return z, None, lost


def _updated(inverse: Array, z: Array, y: Array, *, first: bool) -> Array:
    """The inverse Hessian after a step z that changed the derivatives by y."""
    curved = float(z @ y)
    if curved <= 1e-12 * float(np.linalg.norm(z) * np.linalg.norm(y)):
        return inverse
    if first:
        inverse = np.eye(len(z)) * curved / float(y @ y)
    left = np.eye(len(z)) - np.outer(z, y) / curved
    return np.asarray(left @ inverse @ left.T + np.outer(z, z) / curved)
