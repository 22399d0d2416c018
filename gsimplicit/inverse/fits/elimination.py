"""Species that were not seen, from those that were: their own equations, with the seen ones held."""

from __future__ import annotations

from typing import Any

import numpy as np

from gsimplicit.equations import Equations
from gsimplicit.refine.linear import SparseLU, jacobian

Array = np.ndarray[Any, np.dtype[np.float64]]

ITERATIONS = 25


class Held:
    """The equations of some species with the others held, at one state.

    Args:
        equations: Model and parameters.
        fields: Shape (S, H, W).
        free: Places of the species that are solved for.

    Raises:
        np.linalg.LinAlgError: Their Jacobian is singular.
    """

    def __init__(self, equations: Equations, fields: Array, free: list[int]) -> None:
        import scipy.sparse

        S = len(fields)
        self.free, self._shape = free, (len(free), *fields.shape[1:])
        chosen = np.isin(np.arange(fields.size) % S, free)
        J = scipy.sparse.csc_array(jacobian(equations, fields))
        self._lu = SparseLU(scipy.sparse.csc_array(J[chosen][:, chosen]))

    def solve(self, r: Array) -> Array:
        """Changes of the free species, shape (free, H, W), that change their rates by r."""
        column = r.transpose(1, 2, 0).reshape(-1)
        return np.asarray(self._lu.solve(column).reshape(*self._shape[1:], self._shape[0]).transpose(2, 0, 1))


def eliminated(equations: Equations, fields: Array, free: list[int], tol: float = 1e-10) -> Array:
    """Fields (S, H, W) with the free species solved for by Newton's method, the others as they are.

    Gray-Scott's u is linear given v: one step.

    Raises:
        np.linalg.LinAlgError: A Jacobian is singular, or the method does not converge.
    """
    X, scale = fields.copy(), equations.model.scale
    for _ in range(ITERATIONS):
        R = equations.residual(X)[free]
        if not np.isfinite(R).all():
            break
        if np.abs(R).max() <= tol * scale:
            return X
        step = -Held(equations, X, free).solve(R)
        X[free] += step * min(
            1.0, 2.0 * max(scale, float(np.abs(X[free]).max())) / max(float(np.abs(step).max()), 1e-300)
        )
    raise np.linalg.LinAlgError("the species that were not seen could not be found from those that were")
