"""Parameters from clean pictures: the residual of the seen species, with everything else eliminated.

For given parameters the species that were not seen follow from their own equations. What is left is the residual of
the seen species at its picture. Parameters that enter that residual alone, and linearly (Gray-Scott's Dv and k), follow
by linear least squares; the others (Du and F) are sought by Levenberg and Marquardt's method on their logarithms, with
Kaufman's derivative of the projected residual (G. Golub and V. Pereyra, Inverse Problems 19, R1, 2003). The residual is
divided by the size of its part without the linear parameters: else F -> 0 with u -> 0 drives it to nothing.

Differences of neighbouring pixels multiply the picture's noise: exact for clean pictures, biased from 0.1 % of noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gsimplicit.equations import Equations, Model
from gsimplicit.inverse.fits.elimination import Held, eliminated
from gsimplicit.inverse.fits.scales import Scales
from gsimplicit.inverse.pictures.edges import PERIODIC, Edges

Array = np.ndarray[Any, np.dtype[np.float64]]

ITERATIONS = 60
STEP = 0.7
"""Largest change of a logarithm in one step."""


@dataclass(frozen=True, eq=False)
class Projected:
    """The projected residual at some outer parameters.

    Attributes:
        values: All parameters, the linear ones fitted, shape (P,).
        fields: Seen species as measured, the others eliminated, shape (S, H, W).
        residual: Of the seen species over its size without the linear parameters, over that of the seen species where
            there are none, shape (seen, H, W).
        slopes: Its derivatives in the outer coordinates, shape (outer, size); empty if not asked for.
    """

    values: Array
    fields: Array
    residual: Array
    slopes: Array

    @property
    def size(self) -> float:
        """Norm of the residual."""
        return float(np.linalg.norm(self.residual))


@dataclass(frozen=True, eq=False)
class Picture:
    """What the method works on.

    Attributes:
        model: The model.
        fields: Seen species as measured, shape (S, H, W); the others are first guesses.
        seen: Places of the seen species.
        inner: Places of the parameters that are fitted linearly.
        outer: Scales of the others that are free.
        smooth: Width in pixels of a Gauss filter on the residual; 0 is none.
        edges: What lies outside the fields.
    """

    model: Model
    fields: Array
    seen: list[int]
    inner: list[int]
    outer: Scales
    smooth: float = 0.0
    edges: Edges = PERIODIC

    @property
    def hidden(self) -> list[int]:
        """Places of the species that were not seen."""
        return [i for i in range(len(self.fields)) if i not in self.seen]

    def filtered(self, fields: Array) -> Array:
        """Fields (..., H, W) through the filter, where they do not feel the rim."""
        return self.edges.smoothed(self.edges.judged(fields), self.smooth)


def linear_parameters(model: Model, seen: list[int], free: list[int]) -> list[int]:
    """Places of the free parameters that enter the seen species' equations alone, and linearly.

    Found by trying: derivatives at drawn fields and parameters.
    """
    draws = np.random.default_rng(0)
    X = 0.5 + draws.random((len(model.species), 4, 4))
    tried = [Equations(model, inside(model, draws.random(len(model.parameters)))) for _ in range(2)]
    slopes = [e.parameter_slopes(X) for e in tried]
    hidden = [i for i in range(len(X)) if i not in seen]
    alone = [bool(np.all(slopes[0][j][hidden] == 0)) for j in range(len(model.parameters))]
    steady = [bool(np.array_equal(slopes[0][j][seen], slopes[1][j][seen])) for j in range(len(model.parameters))]
    return [j for j in free if alone[j] and steady[j]]


def inside(model: Model, shares: Array) -> Array:
    """Parameters within the model's ranges, near 1 where those are open."""
    out = []
    for name, share in zip(model.parameters, shares, strict=True):
        low, high = model.range_of(name)
        low = low if np.isfinite(low) else min(0.0, high - 1 if np.isfinite(high) else 0.0)
        high = high if np.isfinite(high) else low + 1.0
        out.append(low + (0.25 + 0.5 * share) * (high - low))
    return np.array(out)


def projected(picture: Picture, values: Array, *, slopes: bool = False) -> Projected:
    """The projected residual at some parameters; those of `inner` are fitted.

    Raises:
        np.linalg.LinAlgError: The species that were not seen cannot be found.
    """
    equations = picture.edges.equations(picture.model, values)
    X = eliminated(equations, picture.fields, picture.hidden) if picture.hidden else picture.fields
    all_slopes = equations.parameter_slopes(X)
    columns = [picture.filtered(all_slopes[j][picture.seen]).ravel() for j in picture.inner]
    bare = values.copy()
    bare[picture.inner] = 0.0
    rest = picture.filtered(equations.with_values(bare).residual(X)[picture.seen]).ravel()
    B = np.array(columns).reshape(len(columns), rest.size).T
    fitted = np.linalg.lstsq(B, -rest, rcond=None)[0]
    # where nothing is fitted linearly the rest is the residual itself: it must not be measured by its own size
    size, full = max(float(np.linalg.norm(rest if columns else picture.fields[picture.seen])), 1e-300), values.copy()
    full[picture.inner] = fitted
    r = rest + B @ fitted
    if not slopes:
        return Projected(full, X, r / size, np.zeros((0, r.size)))
    basis = np.linalg.qr(B)[0]
    held = Reduced(picture, equations.with_values(full), X)
    rows = []
    for moved in held.columns(picture.outer.slopes(values)):
        # of the part without the linear parameters, for its norm: they multiply seen species alone, which are held
        growth = float(rest @ moved) / size**2 if columns else 0.0
        rows.append((moved - basis @ (basis.T @ moved)) / size - r / size * growth)
    return Projected(full, X, r / size, np.stack(rows))


class Reduced:
    """The seen species' residual as a function of parameters and data, with the other species eliminated.

    Args:
        picture: What was seen.
        equations: Model and parameters.
        fields: Seen species as measured, the others eliminated, shape (S, H, W).

    Raises:
        np.linalg.LinAlgError: The equations of the species that were not seen are singular.
    """

    def __init__(self, picture: Picture, equations: Equations, fields: Array) -> None:
        self._picture, self._equations, self._fields = picture, equations, fields
        self._held = Held(equations, fields, picture.hidden) if picture.hidden else None

    def columns(self, ways: Array) -> list[Array]:
        """Derivatives along some changes (m, P) of the parameters, each (size,)."""
        slopes = self._equations.parameter_slopes(self._fields)
        return [self._moved(np.zeros_like(self._fields), np.tensordot(way, slopes, axes=1)) for way in ways]

    def by_data(self, change: Array) -> Array:
        """Derivative along a change of the seen species, shape (S, H, W), zero in the others; shape (size,)."""
        return self._moved(change, np.zeros_like(change))

    def _moved(self, change: Array, pushed: Array) -> Array:
        picture, total = self._picture, self._equations.product(self._fields, change) + pushed
        if self._held is not None:
            follows = np.zeros_like(change)
            follows[picture.hidden] = -self._held.solve(total[picture.hidden])
            total = total + self._equations.product(self._fields, follows)
        return picture.filtered(total[picture.seen]).ravel()


def fit(picture: Picture, start: Array, *, tol: float = 1e-12, iterations: int = ITERATIONS) -> tuple[Projected, int]:
    """The least projected residual from a start, and the iterations it took.

    Raises:
        np.linalg.LinAlgError: The species that were not seen cannot be found at the start.
    """
    if not len(picture.outer.directions):  # all is linear: one least-squares problem
        return projected(picture, start), 1
    here, values, mu, n = projected(picture, start, slopes=True), start, 1e-3, 0
    while n < iterations:
        n += 1
        J, r = here.slopes.T, here.residual.ravel()
        H, g = J.T @ J, J.T @ r
        for _ in range(12):
            z: Any = -np.linalg.solve(H + mu * np.diag(np.diag(H)) + 1e-300 * np.eye(len(H)), g)
            z *= min(1.0, STEP / max(float(np.abs(z).max()), 1e-300))
            try:
                there = projected(picture, picture.outer.moved(values, z))
            except np.linalg.LinAlgError:
                there = None
            if there is not None and there.size < here.size:
                break
            mu = max(5 * mu, 1e-8)
        else:
            break
        values, mu = picture.outer.moved(values, z), mu / 5
        here = projected(picture, values, slopes=True)
        if np.abs(z).max() < tol or here.size < 1e-14:
            break
    return here, n
