"""What a step of length 1 does to the fastest modes, and the modes of a uniform state in closed form.

The equations damp what the explicit step may blow up: a mode of eigenvalue lambda is multiplied by `1 + lambda` a step,
which for a chequerboard, lambda about `-(8 Du + F + v^2)`, leaves the unit circle at -2. A state that such a step holds
in motion may be steady for the equations: more steps do not help it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gsimplicit import gray_scott

Array = np.ndarray[Any, np.dtype[np.float64]]

ITERATIONS = 50
"""Products of the power iteration: the fast end of the spectrum lies four times farther out than the slow one."""

UNIFORM = 1e-3
"""Largest deviation from its mean at which a state's modes are taken in closed form."""


def symbols(fields: Array, parameters: Array) -> Array:
    """Jacobian of the mean of a state at every wave number, shape (H, W, 2, 2).

    Args:
        fields: u and v, shape (2, H, W).
        parameters: Du, Dv, F, k.
    """
    Du, Dv, F, k = (float(p) for p in parameters)
    u, v = (float(f.mean()) for f in fields)
    a, b = (2 * np.cos(2 * np.pi * np.arange(n) / n) - 2 for n in fields.shape[1:])
    lap = a[:, None] + b[None, :]
    uu, uv, vu, vv = gray_scott.reaction_jacobian(u, v, F, k)
    rows = [[uu + Du * lap, np.full_like(lap, uv)], [np.full_like(lap, vu), vv + Dv * lap]]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def deviation(fields: Array) -> float:
    """Largest deviation of u or v from its mean over the grid."""
    return float(np.abs(fields - fields.mean(axis=(1, 2), keepdims=True)).max())


def step_factor(fields: Array, parameters: Array) -> float:
    """Largest |1 + eigenvalue| of the Jacobian at a state, over the modes that the equations damp.

    Above 1 the step of length 1 blows up what the equations damp.

    Args:
        fields: u and v, shape (2, H, W).
        parameters: Du, Dv, F, k.

    Returns:
        Exact for a uniform state, NaN where none of its modes is damped. At a pattern that of the fastest mode alone,
        from below: slow modes are damped by 1 - 1e-4 and the like, whatever the step.
    """
    if deviation(fields) < UNIFORM:
        values = np.linalg.eigvals(symbols(fields, parameters))
        damped = values[values.real < 0]
        return float(np.abs(1 + damped).max()) if damped.size else float("nan")
    return abs(1 + _fastest(fields, parameters))


def surely_damped(fields: Array, parameters: Array) -> bool:
    """Whether no mode can be so fast that a step of 1 blows it up, by Gershgorin's discs: so it is at most patterns."""
    Du, Dv, F, k = (float(p) for p in parameters)
    u, v = (np.abs(f) for f in fields)
    of_u = 8 * Du + F + v * v + 2 * u * v
    of_v = 8 * Dv + F + k - 2 * fields[0] * fields[1] + v * v
    return bool(max(of_u.max(), of_v.max()) < 2)


def growth(fields: Array, parameters: Array) -> float:
    """Largest real part of an eigenvalue of the Jacobian of a uniform state, per unit time."""
    return float(np.linalg.eigvals(symbols(fields, parameters)).real.max())


def _fastest(fields: Array, parameters: Array) -> float:
    """The most negative eigenvalue, by power iteration from a chequerboard with noise."""
    from gsimplicit.refine.linear import jacobian

    J, (_, H, W) = jacobian(fields, parameters), fields.shape
    board = np.where((np.arange(H)[:, None] + np.arange(W)) % 2, 1.0, -1.0)
    x: Array = np.repeat((board + 0.1 * np.random.default_rng(0).standard_normal((H, W))).ravel(), 2)
    value = 0.0
    for _ in range(ITERATIONS):
        x = x / np.linalg.norm(x)
        y = J @ x
        value, x = float(x @ y), y
    return value
