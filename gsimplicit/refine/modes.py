"""What a step does to the fastest modes, and the modes of a uniform state in closed form.

The equations damp what the explicit step may blow up: a mode of eigenvalue lambda is multiplied by `1 + lambda` a step,
which for a chequerboard, lambda about `-(8 Du + F + v^2)`, leaves the unit circle at -2. A state that such a step holds
in motion may be steady for the equations: more steps do not help it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gsimplicit.equations import Equations
from gsimplicit.grid import laplacian_of

Array = np.ndarray[Any, np.dtype[np.float64]]

ITERATIONS = 50
"""Products of the power iteration: the fast end of the spectrum lies four times farther out than the slow one."""

UNIFORM = 1e-3
"""Largest deviation from its mean, by the model's scale, at which a state's modes are taken in closed form."""


def symbols(equations: Equations, fields: Array) -> Array:
    """Jacobian of the mean of a state at every wave number, shape (H, W, S, S).

    Args:
        equations: Those of the instance.
        fields: Shape (S, H, W).
    """
    return equations.symbols([float(f.mean()) for f in fields], laplacian_of(fields.shape))


def deviation(fields: Array) -> float:
    """Largest deviation of a species from its mean over the grid."""
    return float(np.abs(fields - fields.mean(axis=(1, 2), keepdims=True)).max())


def is_flat(equations: Equations, fields: Array) -> bool:
    """Whether a state is so uniform that its modes are taken in closed form."""
    return deviation(fields) < UNIFORM * equations.model.scale


def step_factor(equations: Equations, fields: Array) -> float:
    """Largest |1 + eigenvalue| of the Jacobian at a state, over the modes that the equations damp.

    Above 1 the step blows up what the equations damp.

    Args:
        equations: Those of the instance.
        fields: Shape (S, H, W).

    Returns:
        Exact for a uniform state, NaN where none of its modes is damped. At a pattern that of the fastest mode alone,
        from below: slow modes are damped by 1 - 1e-4 and the like, whatever the step.
    """
    if is_flat(equations, fields):
        values = np.linalg.eigvals(symbols(equations, fields))
        damped = values[values.real < 0]
        return float(np.abs(1 + equations.dt * damped).max()) if damped.size else float("nan")
    return abs(1 + equations.dt * _fastest(equations, fields))


def surely_damped(equations: Equations, fields: Array) -> bool:
    """Whether no mode can be so fast that a step blows it up, by Gershgorin's discs: so it is at most patterns."""
    J, most = equations.reaction_jacobian(fields), 0.0
    for i, D in enumerate(equations.diffusivity):
        beside = sum(np.abs(J[i][j]) for j in range(len(fields)) if j != i)
        most = max(most, float(np.max(8 * D - J[i][i] + beside)))
    return equations.dt * most < 2


def growth(equations: Equations, fields: Array) -> float:
    """Largest real part of an eigenvalue of the Jacobian of a uniform state, per unit time."""
    return float(np.linalg.eigvals(symbols(equations, fields)).real.max())


def _fastest(equations: Equations, fields: Array) -> float:
    """The most negative eigenvalue, by power iteration from a chequerboard with noise."""
    from gsimplicit.refine.linear import jacobian

    J, (S, H, W) = jacobian(equations, fields), fields.shape
    board = np.where((np.arange(H)[:, None] + np.arange(W)) % 2, 1.0, -1.0)
    x: Array = np.repeat((board + 0.1 * np.random.default_rng(0).standard_normal((H, W))).ravel(), S)
    value = 0.0
    for _ in range(ITERATIONS):
        x = x / np.linalg.norm(x)
        y = J @ x
        value, x = float(x @ y), y
    return value
