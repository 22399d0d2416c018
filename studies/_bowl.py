"""The residual loss of one state as the quadratic it is: its minimum, its curvatures, and how exact that is."""

from __future__ import annotations

from typing import Any

import numpy as np

import gsimplicit as gs
from gsimplicit.equations import instances

Array = np.ndarray[Any, Any]

TRUTH = {"Du": 0.16, "Dv": 0.08, "F": 0.035, "k": 0.065}
BOX = {"Du": (0.05, 0.25), "Dv": (0.03, 0.12), "F": (0.01, 0.06), "k": (0.04, 0.09)}
"""Where the quadratic is compared with the loss."""
TRIED = 16
"""Points of the box at which it is."""


def equations_at_truth(fields: Array) -> tuple[Array, Array]:
    """The steady equations at given fields, linear in the parameters: `residual = A (p - truth) + b`.

    Args:
        fields: Shape (2, H, W).

    Returns:
        A, shape (2 H W, 4), columns in the order of `TRUTH`; and b, shape (2 H W,).
    """
    (at,) = instances(gs.Params(**TRUTH))
    return at.parameter_slopes(fields).reshape(4, -1).T, at.residual(fields).ravel()


def minimum(A: Array, b: Array, free: tuple[int, ...] = (0, 1, 2, 3)) -> Array:
    """Where `mean (A p + b)^2` is least, as a step from the truth, relative to it; parameters not free stay.

    Examples:
        >>> import numpy as np
        >>> A = np.eye(6)[:, :4]
        >>> minimum(A, -A @ np.array([0.16, 0.0, 0.0, 0.0065])).round(6).tolist()
        [1.0, 0.0, 0.0, 0.1]
    """
    step = np.zeros(4)
    step[list(free)] = np.linalg.lstsq(A[:, list(free)], -b)[0]
    return step / np.array(list(TRUTH.values()))


def hessian(A: Array) -> Array:
    """Second derivatives of `mean (A p + b)^2`, shape (P, P)."""
    return 2 * A.T @ A / len(A)


def relative_hessian(A: Array) -> Array:
    """The same in each parameter as a share of its true value, so that the four can be compared."""
    scale = np.array(list(TRUTH.values()))
    return hessian(A * scale[: A.shape[1]])


def deviation(fields: Array, A: Array, b: Array, seed: int = 0) -> float:
    """Largest difference of the package's residual loss from the quadratic over random points of `BOX`.

    Args:
        fields: Shape (2, H, W).
        A: Slopes of the residual, shape (2 H W, 4).
        b: The residual at the truth, shape (2 H W,).
        seed: Of the points.

    Returns:
        The difference, relative to the range of the loss over these points.
    """
    low, high = np.array(list(BOX.values())).T
    points = np.random.default_rng(seed).uniform(low, high, (TRIED, 4))
    loss = gs.residual_loss(gs.Params(*points.T), fields[None]).numpy()
    step = points - np.array(list(TRUTH.values()))
    quadratic = (b @ b + 2 * step @ (A.T @ b)) / len(b) + 0.5 * np.einsum("ni,ij,nj->n", step, hessian(A), step)
    return float(np.abs(loss - quadratic).max() / np.ptp(loss))


def fitted(first: Array, second: Array, values: Array) -> tuple[Array, Array, float]:
    """The quadratic in two parameters that fits values on a grid best, by least squares.

    Args:
        first: Values of the first parameter, shape (M,).
        second: Of the second, shape (N,).
        values: Shape (M, N).

    Returns:
        Its minimum, shape (2,); its Hessian, shape (2, 2); and the largest deviation of a value from it, relative to
        the range of the values.

    Examples:
        >>> import numpy as np
        >>> x, y = np.linspace(0, 1, 5), np.linspace(2, 4, 6)
        >>> place, H, off = fitted(x, y, (x[:, None] - 0.3) ** 2 + 2 * (y - 2.5) ** 2)
        >>> place.round(9).tolist(), H.round(9).tolist(), off < 1e-13
        ([0.3, 2.5], [[2.0, 0.0], [0.0, 4.0]], True)
    """
    centre, half = zip(*(((a[0] + a[-1]) / 2, (a[-1] - a[0]) / 2) for a in (first, second)), strict=True)
    x, y = np.meshgrid((first - centre[0]) / half[0], (second - centre[1]) / half[1], indexing="ij")
    terms = np.stack([one.ravel() for one in (np.ones_like(x), x, y, x * x, x * y, y * y)], axis=1)
    c = np.linalg.lstsq(terms, values.ravel())[0]
    off = np.abs(terms @ c - values.ravel()).max() / np.ptp(values)
    H = np.array([[2 * c[3], c[4]], [c[4], 2 * c[5]]])
    place = np.array(centre) - np.array(half) * np.linalg.solve(H, c[1:3])
    return place, H / np.outer(half, half), float(off)
