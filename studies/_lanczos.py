"""The ends of a Hessian's spectrum from its products alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

Array = np.ndarray[Any, Any]


def products(loss: Callable[[torch.Tensor], torch.Tensor], at: torch.Tensor) -> Callable[[Array], Array]:
    """Products of the Hessian of a loss with vectors, by differentiating its gradient."""
    z = at.clone().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(loss(z), z, create_graph=True)

    def product(x: Array) -> Array:
        with torch.enable_grad():
            (found,) = torch.autograd.grad(slope, z, torch.from_numpy(x), retain_graph=True)
        return found.numpy()

    return product


def ends(product: Callable[[Array], Array], count: int, steps: int, seed: int = 0) -> tuple[Array, Array]:
    """Least and largest Ritz value of a symmetric matrix, and their vectors, by Lanczos with full reorthogonalisation.

    They lie inside the spectrum: the largest is near after tens of steps, a small negative one can be missed.

    Examples:
        >>> import numpy as np
        >>> values, vectors = ends(lambda x: np.array([-1.0, 2.0, 5.0]) * x, 3, 3)
        >>> values.round(9).tolist(), np.abs(vectors).round(6).tolist()
        ([-1.0, 5.0], [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    """
    from scipy.linalg import eigh_tridiagonal

    x = np.random.default_rng(seed).standard_normal(count)
    basis, diagonal, off = [x / np.linalg.norm(x)], [], []
    for _ in range(min(steps, count)):
        y = product(basis[-1])
        diagonal.append(float(basis[-1] @ y))
        Q = np.array(basis)
        y = y - Q.T @ (Q @ y)
        y -= Q.T @ (Q @ y)
        size = float(np.linalg.norm(y))
        if len(basis) == min(steps, count) or size < 1e-12 * max(abs(diagonal[0]), 1e-300):
            break
        off.append(size)
        basis.append(y / size)
    values, vectors = eigh_tridiagonal(np.array(diagonal), np.array(off[: len(diagonal) - 1]))
    return values[[0, -1]], (np.array(basis[: len(diagonal)]).T @ vectors[:, [0, -1]]).T
