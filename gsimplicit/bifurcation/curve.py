"""The equations of a branch: those of a root, and one more that says how far along it.

As in refinement the drift along each translation a pattern breaks is an unknown, with a phase condition for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gsimplicit.equations import Equations
from gsimplicit.grid import along, broken_translations, interleaved, separate
from gsimplicit.refine.eigenvalues import leading
from gsimplicit.refine.linear import BorderedLU, SparseLU, jacobian

__all__ = ["SHARE", "TOLERANCE", "UNIT", "BranchPoint", "Curve", "Point"]

Array = np.ndarray[Any, np.dtype[np.float64]]

TOLERANCE = 1e-12
"""Largest bordered residual of a point of a branch, per unit time and by the model's scale."""

MAX_ITERATIONS = 8
"""Newton iterations before a step along the branch is halved."""

UNIT, SHARE = 0.01, 0.1
"""A change of the parameter by this counts as far along the branch as a change of the fields by 1 everywhere, unless
told: by the first for Gray-Scott, by this share of its value, and no less, for other models."""

CLOSE = 1e-6
"""Distance in the parameter, by its unit, to which folds and instabilities are found."""


@dataclass(frozen=True, eq=False)
class Point:
    """A root, or a state near one.

    Attributes:
        X: Fields, shape (S, H, W).
        c: Drift along rows and columns, shape (2,).
        params: All parameters, shape (P,).
        residual: Largest bordered residual; infinite where it was not asked.
    """

    X: Array
    c: Array
    params: Array
    residual: float = np.inf


@dataclass(frozen=True, eq=False, kw_only=True)
class BranchPoint(Point):
    """A point of a branch with its unit tangent.

    Attributes:
        tX: The tangent in the fields, shape (S, H, W).
        tp: The tangent in the parameter, by its unit.
    """

    tX: Array
    tp: float

    def reversed(self) -> BranchPoint:
        """The same point with the tangent the other way."""
        return replace(self, tX=-self.tX, tp=-self.tp)


class Curve:
    """The extended equations of a branch: bordered residual, phase conditions, and a last equation.

    Args:
        equations: Those of an instance.
        name: Of the parameter.
        fields: A root, shape (S, H, W): which translations it breaks.
        unit: Change of the parameter that counts as far as one of the fields by the model's scale.
    """

    def __init__(self, equations: Equations, name: str, fields: Array, unit: float = UNIT) -> None:
        self.equations, self.name, self.index = equations, name, equations.model.parameters.index(name)
        self.least = equations.model.range_of(name)[0]
        self.unit, self.scale = unit, equations.model.scale
        self.directions = broken_translations(fields, self.scale)
        self.cells = fields[0].size * self.scale**2  # what squares of a change everywhere are divided by

    def at(self, params: Array) -> Equations:
        """The equations at other parameters."""
        return self.equations.with_values(params)

    def value(self, point: Point) -> float:
        """The parameter at a point."""
        return float(point.params[self.index])

    def leading(self, point: Point, count: int) -> np.ndarray[Any, np.dtype[np.complex128]]:
        """Leading eigenvalues of the shape, shape (count,), NaN where fewer were found."""
        if not count:
            return np.zeros(0, np.complex128)
        values = leading(self.at(point.params), point.X, self.directions, point.c, count).values
        return np.concatenate([values, np.full(count - len(values), np.nan)])

    def defect(self, X: Array, c: Array, params: Array) -> Array:
        """The residual with the drift taken out, shape (S, H, W)."""
        return self.at(params).defect(X, c)

    def translations(self, X: Array) -> Array:
        """Columns of the drift speeds, shape (r, S, H, W)."""
        r = len(self.directions)
        return along(self.directions, X) if r else np.zeros((0, *X.shape))

    def along(self, X: Array, params: Array) -> Array:
        """Derivative of the residual in the parameter, by its unit."""
        return np.asarray(self.unit * self.at(params).parameter_slopes(X)[self.index])

    def system(self, point: Point, phase: Array, row: Array, corner: float) -> BorderedLU:
        """The linearised equations with the last row `row . dX + corner dp`."""
        lu = SparseLU(jacobian(self.at(point.params), point.X, point.c))
        columns = np.concatenate([self.translations(point.X), self.along(point.X, point.params)[None]])
        rows = np.concatenate([phase, row[None]])
        corners = np.zeros((len(columns), len(columns)))
        corners[-1, -1] = corner
        return BorderedLU(lu, interleaved(columns), interleaved(rows), corners)

    def closed(self, start: Point) -> Point | None:
        """The root at the parameters of a state near it."""
        fixed = self._newton(start, start, np.zeros_like(start.X), 1.0, 0.0)
        return None if fixed is None else fixed[0]

    def advanced(self, now: BranchPoint, step: float) -> tuple[BranchPoint, int] | None:
        """The point a step along the branch, with its tangent, and the iterations it took; None where Newton failed."""
        moved = now.params.copy()
        moved[self.index] += step * now.tp * self.unit
        if moved[self.index] < self.least:
            return None
        guess = Point(now.X + step * now.tX, now.c, moved)
        done = self._newton(guess, now, now.tX / self.cells, now.tp, step)
        if done is None:
            return None
        root, iterations = done
        new = self.with_tangent(root, now)
        # a turn of more than 60 degrees is another branch, or a step too long
        if (new.tX * now.tX).sum() / self.cells + new.tp * now.tp < 0.5:
            return None
        return new, iterations

    def _newton(self, guess: Point, origin: Point, row: Array, corner: float, step: float) -> tuple[Point, int] | None:
        """Newton's method on the extended equations, the last one `row . (X - X0) + corner (p - p0) = step`."""
        phase = self.translations(origin.X) / self.scale**2
        X, c, params = guess.X, guess.c, guess.params.copy()
        for n in range(MAX_ITERATIONS):
            R = self.defect(X, c, params)
            away = (params[self.index] - origin.params[self.index]) / self.unit
            off = np.concatenate(
                [np.tensordot(phase, X - origin.X, axes=3), [(row * (X - origin.X)).sum() + corner * away - step]]
            )
            size = float(np.abs(R).max())
            if not np.isfinite(size):
                return None
            if size < TOLERANCE * self.scale and np.abs(off).max() < 1e-10:
                return Point(X, c, params, residual=size), n
            try:
                system = self.system(Point(X, c, params), phase, row, corner)
                x, s = system.solve(interleaved(-R[None])[:, 0], -off)
            except np.linalg.LinAlgError:
                return None
            X = X + separate(x, X.shape)
            c = c + s[:-1] @ self.directions if len(self.directions) else c
            params[self.index] += self.unit * s[-1]
            if params[self.index] < self.least:
                return None
        return None

    def with_tangent(self, point: Point, before: BranchPoint | None) -> BranchPoint:
        """A root with its unit tangent, in the direction of the one before."""
        row = np.zeros_like(point.X) if before is None else before.tX / self.cells
        corner = 1.0 if before is None else before.tp
        system = self.system(point, self.translations(point.X), row, corner)
        goal = np.zeros(len(self.directions) + 1)
        goal[-1] = 1.0
        x, s = system.solve(np.zeros(point.X.size), goal)
        tX, tp = separate(x, point.X.shape), float(s[-1])
        length = np.sqrt((tX**2).sum() / self.cells + tp**2)
        return BranchPoint(point.X, point.c, point.params, point.residual, tX=tX / length, tp=tp / length)

    def between(self, now: BranchPoint, step: float, test: Callable[[BranchPoint], float]) -> BranchPoint:
        """The point within a step at which a test function vanishes, by bisection and false position."""
        low, high, at_low = 0.0, step, test(now)
        ahead = self.advanced(now, high)
        assert ahead is not None
        best, at_high = ahead[0], test(ahead[0])
        left = now
        for n in range(60):
            share = at_low / (at_low - at_high)
            # false position alone keeps one end for ever where the function is curved
            middle = low + (high - low) * (0.5 if n % 3 == 2 else min(max(share, 0.02), 0.98))
            ahead = self.advanced(now, middle)
            if ahead is None:
                break
            point, value = ahead[0], test(ahead[0])
            if value * at_low > 0:
                low, at_low, left = middle, value, point
            else:
                high, at_high, best = middle, value, point
            if abs(self.value(best) - self.value(left)) < CLOSE * self.unit and high - low < 1e-4 * step:
                break
        return best if abs(at_high) < abs(at_low) else left
