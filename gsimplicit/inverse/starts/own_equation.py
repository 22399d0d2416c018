"""A hidden species from the equation of a seen one, pixel by pixel.

`D Lap(v) + f_v(u, v) = 0` holds u without a derivative, so u follows from v and Lap(v) by Newton's method in each
pixel. It serves models whose hidden species solves a nonlinear equation of its own, with several solutions or none (an
activator at a given substrate). Lap(v) multiplies noise: the picture must be denoised, and what follows is a start.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gsimplicit.equations import Equations, Model
from gsimplicit.inverse.fits.scales import Scales
from gsimplicit.inverse.pictures.edges import PERIODIC, Edges

Array = np.ndarray[Any, np.dtype[np.float64]]

ITERATIONS = 40
FLAT = 1e-6
"""Square of a slope, by the mean over pixels, below which a pixel is moved less."""
DIFFERENCE = 1e-4
"""Step of the differences."""
STEP = 0.7
"""Largest change of a free coordinate in one step."""
SENSELESS = 1e100
"""Relative residual from which there is none: its squares would be no numbers."""


def linear(model: Model, hidden: list[int]) -> bool:
    """Whether the hidden species' own equations are linear in them, so that one linear solve eliminates them.

    Found by trying: second derivatives at drawn fields.
    """
    draws = np.random.default_rng(0)
    X = 0.5 + draws.random((len(model.species), 4, 4))
    values = 0.5 + 0.5 * draws.random(len(model.parameters))
    d = np.zeros_like(X)
    d[hidden] = draws.random((len(hidden), 4, 4))
    return bool(np.abs(Equations(model, values).second(X, d, d)[hidden]).max() < 1e-12)


def told(equations: Equations, fields: Array, hidden: int, seen: int) -> Array:
    """Fields (S, H, W) with one hidden species from the equation of a seen one.

    Raises:
        np.linalg.LinAlgError: The equation does not hold it, or what follows is not finite.
    """
    X, scale = fields.copy(), equations.model.scale
    with np.errstate(all="ignore"):
        if not np.any(equations.reaction_jacobian(X)[seen][hidden]):  # as of u^2 v at u = 0: no way leads from there
            X[hidden] = scale
        for _ in range(ITERATIONS):
            R = equations.residual(X)[seen]
            slope = np.broadcast_to(equations.reaction_jacobian(X)[seen][hidden], R.shape)
            size = float(np.mean(slope**2))
            if not (np.isfinite(R).all() and np.isfinite(size) and size > 0):
                break
            reach = 0.5 * np.maximum(np.abs(X[hidden]), 0.1 * scale)
            step = np.clip(-R * slope / (slope**2 + FLAT * size), -reach, reach)
            X[hidden] += step
            if np.abs(step).max() < 1e-8 * scale:
                return X
        if not np.isfinite(X).all():
            raise np.linalg.LinAlgError("the hidden species cannot be told from the seen one's equation")
    return X  # a pixel may lie where noise leaves no solution: nearest to one


def relative_residual(equations: Equations, fields: Array, hidden: int, filtered: Callable[[Array], Array]) -> Array:
    """Residual of the hidden species' own equation by the size of its reaction, shape (H W,)."""
    R = equations.residual(fields)[hidden]
    bare = equations.values.copy()
    bare[: len(fields)] = 0.0
    reaction = filtered(equations.with_values(bare).residual(fields)[hidden])
    size = float(np.sqrt(np.mean((reaction - reaction.mean()) ** 2)))
    return np.asarray(filtered(R).ravel() / max(size, 1e-300))


@dataclass(frozen=True, eq=False)
class Told:
    """Parameters by the residual that is left in the hidden species' own equation.

    Attributes:
        model: The model, of which one species is hidden.
        fields: Seen species denoised, shape (S, H, W).
        hidden: Place of the hidden species.
        seen: Place of the seen species whose equation tells it.
        smooth: Width in pixels of a Gauss filter on the residual; 0 is none.
        edges: What lies outside the fields.
    """

    model: Model
    fields: Array
    hidden: int
    seen: int
    smooth: float
    edges: Edges = PERIODIC

    def residual(self, values: Array) -> Array | None:
        """Relative residual at some parameters, shape (H W,); None where there is none."""
        try:
            equations = self.edges.equations(self.model, values)
            X = told(equations, at_rest(self.model, values, self.fields, [self.hidden]), self.hidden, self.seen)
        except np.linalg.LinAlgError:
            return None
        with np.errstate(all="ignore"):
            r = relative_residual(equations, X, self.hidden, self.filtered)
        return r if np.abs(r).max() < SENSELESS else None

    def filtered(self, residual: Array) -> Array:
        """A residual through the filter, where it does not feel the rim."""
        return self.edges.smoothed(self.edges.judged(residual), self.smooth)

    def size(self, values: Array) -> float:
        """Norm of the residual; infinite where there is none."""
        r = self.residual(values)
        return np.inf if r is None else float(np.linalg.norm(r))


def at_rest(model: Model, values: Array, fields: Array, hidden: list[int]) -> Array:
    """Fields (S, H, W) with the hidden species at the state without a pattern."""
    X = fields.copy()
    rest = model.rest_of([float(p) for p in values[len(model.species) :]])
    for i in hidden:
        X[i] = rest[i] if np.isfinite(rest[i]) else model.scale
    return X


def descended(problem: Told, scales: Scales, start: Array, iterations: int = 40) -> Array:
    """Parameters (P,) of least residual from a start, by Levenberg and Marquardt's method with differences."""
    values, mu, r = start, 1e-2, problem.residual(start)
    if r is None:
        return start
    ways = np.eye(len(scales.directions))
    for _ in range(iterations):
        columns = [problem.residual(scales.moved(values, DIFFERENCE * w)) for w in ways]
        if any(c is None for c in columns):
            break
        J = np.stack([(c - r) / DIFFERENCE for c in columns if c is not None], axis=1)
        H, g = J.T @ J, J.T @ r
        for _ in range(6):
            z: Any = -np.linalg.solve(H + mu * np.diag(np.diag(H)) + 1e-12 * np.eye(len(H)), g)
            z *= min(1.0, STEP / max(float(np.abs(z).max()), 1e-300))
            there = problem.residual(scales.moved(values, z))
            if there is not None and np.linalg.norm(there) < np.linalg.norm(r):
                break
            mu *= 5
        else:
            break
        values, r, mu = scales.moved(values, z), there, mu / 5
        if np.abs(z).max() < 1e-3:
            break
    return values
