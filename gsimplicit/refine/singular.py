"""Why the Jacobian of a root is singular: a conservation law, a family of roots, a pattern free to move, a fold.

Its null vectors tell. The left one, w with `w . J = 0`, is conserved if `w . R` vanishes at any state; along the right
one there is a family of roots if the residual stays zero at a distance.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from gsimplicit.equations import Equations
from gsimplicit.grid import interleaved, separate, slopes
from gsimplicit.refine.linear import SparseLU, jacobian

Array = np.ndarray[Any, np.dtype[np.float64]]

SHIFT = 1e-11
"""Added to the diagonal, so that a singular matrix has factors."""

ROUNDS = 4
FAR, STEADY = 0.01, 1e-8
"""A root is one of a family where the residual stays below the second when it is moved by the first, by the scale."""

EXACT = 1e-9
"""Share of its terms below which a sum counts as zero."""

ALONG = 0.9
"""Share of a null vector along the translations of a pattern above which it counts as one."""


def reason(equations: Equations, fields: Array) -> str:
    """Words for what makes the Jacobian of a root singular, or nearly so.

    Args:
        equations: Those of the instance.
        fields: Shape (S, H, W).
    """
    left, right, value = _null_vectors(equations, fields)
    if _conserved(equations, left, fields):
        law = " + ".join(
            name if w == 1 else f"{w:.3g} {name}"
            for name, w in zip(equations.model.species, _weights(left), strict=True)
            if w
        )
        return (
            f"the equations conserve the mean of {law}, so that the root is one of a family (nothing feeds or removes)"
        )
    scale = equations.model.scale
    moved = fields + scale * FAR * right / np.abs(right).max()
    if float(np.abs(equations.residual(moved)).max()) < scale * STEADY:
        along, names = ", ".join(f"{w:.3g}" for w in _weights(right)), ", ".join(equations.model.species)
        return f"the root is one of a family: moved by ({along}) in ({names}) everywhere it stays steady"
    if _along_translations(fields, right) > ALONG:
        return f"the lattice holds the position of the pattern with a rate of {value:.1e} at most"
    return f"a fold or another bifurcation is near: the least singular value is at most {value:.1e}"


def _null_vectors(equations: Equations, fields: Array) -> tuple[Array, Array, float]:
    """The left and the right vector of the least singular value, and the value, by inverse iteration."""
    J = jacobian(equations, fields)
    n = J.shape[0]
    factors = SparseLU((J - SHIFT * scipy.sparse.eye_array(n)).tocsc(), robust=True)
    right: Array = interleaved(1.0 + 0.1 * np.random.default_rng(0).standard_normal((1, *fields.shape)))[:, 0]
    left = right
    for _ in range(ROUNDS):
        left = factors.solve(right / np.linalg.norm(right), transpose=True)
        right = factors.solve(left / np.linalg.norm(left))
    left, right = left / np.linalg.norm(left), right / np.linalg.norm(right)
    return separate(left, fields.shape), separate(right, fields.shape), float(np.linalg.norm(J @ right))


def _conserved(equations: Equations, left: Array, fields: Array) -> bool:
    """Whether what the left null vector weighs is conserved at any state, not only about the root."""
    other = fields + 0.1 * equations.model.scale * np.random.default_rng(1).random(fields.shape)
    R = equations.residual(other)
    return bool(abs((left * R).sum()) < EXACT * np.abs(left * R).sum())


def _weights(x: Array) -> list[float]:
    """Means of the fields of a vector over the larger one, rounding taken out."""
    means = x.mean(axis=(1, 2))
    weights = means / means[np.argmax(np.abs(means))]
    return [float(np.round(w, 6)) + 0.0 for w in weights]


def _along_translations(fields: Array, x: Array) -> float:
    """Share of a vector along the translations of a state."""
    steep = slopes(fields).reshape(2, -1)
    if not steep.any():
        return 0.0
    basis = np.linalg.svd(steep, full_matrices=False)[2]
    return float(np.linalg.norm(basis @ x.ravel()) / np.linalg.norm(x))
