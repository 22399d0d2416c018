"""The slow tail of a march, taken in long stabilised steps.

What is left of a march once its pattern stands is slow: translations, gliding defects, rates of 1e-5. Euler must still
take unit steps because diffusion allows no longer ones. A first-order Runge-Kutta-Chebyshev step of a few stages is
stable over tens of time units (van der Houwen and Sommeijer 1980), with a fraction of the evaluations.

Where the reaction oscillates such a step can be unstable, or excite a mode that Euler damps. So its length is
controlled: a batch of steps after which the residual has grown is taken back and the step halved, down to Euler; and
now and then a burst of Euler steps is taken, and if that lowers the residual by a good part the long steps had held it
up, and the step is halved as well. The trajectory is not Euler's to the last digit, so a sensitive pattern may end in
another root: `moved` says how far.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from gsimplicit.equations import Equations
from gsimplicit.marching import cpu
from gsimplicit.progress import note

Array = np.ndarray[Any, np.dtype[np.float64]]

LONGEST = 24
"""Longest stabilised step, in steps of dt; beyond it the reaction's complex eigenvalues bind, not diffusion."""

DAMPING = 3
"""eps of the Chebyshev polynomials. Less is longer on the real axis, more is wider around it, which the reaction's
complex eigenvalues need: with 3 a step of 24 takes seven stages."""

BATCH = 8
"""Steps between controls of the residual."""

GROWTH = 1.3
"""Growth of the residual over a batch at which the batch is taken back."""

BURST = 64
"""Euler steps of a burst, taken every `BURST_EVERY` batches."""

BURST_EVERY = 16
HELD_UP = 0.7
"""A burst that lowers the residual below this share shows that long steps held it up."""


@dataclass(frozen=True)
class Tail:
    """Where an accelerated march ended.

    Attributes:
        fields: Shape (S, H, W).
        change: Max norm of `dt residual` there; NaN where not finite.
        evaluations: Residual evaluations spent.
    """

    fields: Array
    change: float
    evaluations: int


def chebyshev(length: int, radius: float) -> Array:
    """Stages of a damped first-order Runge-Kutta-Chebyshev step.

    `Y_j = mu_j Y_(j-1) + nu_j Y_(j-2) + mu~_j h F(Y_(j-1))` with `b_j = 1 / T_j(w0)`, `w0 = 1 + eps / s^2`,
    `w1 = T_s(w0) / T_s'(w0)`: so many stages that `length * radius` lies in the stable interval.

    Args:
        length: Step h in time units, >= 1.
        radius: Bound on the spectral radius of the Jacobian.

    Returns:
        Coefficients (a, b, c) of each stage, shape (s, 3): `Y_j = a Y_(j-1) + b Y_(j-2) + c (Y_(j-1) + F(Y_(j-1)))`.
    """
    return _chebyshev(length, radius).copy()  # what is kept is nobody else's to write into


@lru_cache(maxsize=16)
def _chebyshev(length: int, radius: float) -> Array:
    s = 1
    while True:
        w0 = 1 + DAMPING / s**2
        T, dT = [1.0, w0], [0.0, 1.0]
        for _ in range(2, s + 1):
            dT.append(2 * T[-1] + 2 * w0 * dT[-1] - dT[-2])
            T.append(2 * w0 * T[-1] - T[-2])
        w1 = T[s] / dT[s]
        if (1 + w0) / w1 >= length * radius:
            break
        s += 1
    first = w1 / w0 * length
    rows = [(1 - first, 0.0, first)]
    for j in range(2, s + 1):
        mu, nu = 2 * w0 * T[j - 1] / T[j], -T[j - 2] / T[j]
        step = 2 * w1 * T[j - 1] / T[j] * length
        rows.append((mu - step, nu, step))
    return np.array(rows)


def march_on(equations: Equations, fields: Array, level: float, max_evaluations: int) -> Tail:
    """March one instance by stabilised steps until its residual is below `level`.

    Args:
        equations: Those of the instance; lengths of steps are in units of their dt.
        fields: Float64, shape (S, H, W).
        level: Change over a step to reach.
        max_evaluations: Cap on residual evaluations, passed by one batch at most.

    Returns:
        The state reached.
    """
    radius = equations.dt * equations.model.radius(equations.values.tolist(), list(fields))
    X, change, spent = fields, cpu.stabilised(equations, fields, chebyshev(1, radius), 0)[1], 1
    length = longest = LONGEST
    batches = 0
    while spent < max_evaluations and change >= level:
        note("marching in long steps, change {:.1e}", change)
        if length == 1:
            X, steps, change = _euler(equations, X, level, BURST * BATCH)
            spent, length = spent + steps, min(3, longest)
            continue
        table = chebyshev(length, radius)
        Y, after = cpu.stabilised(equations, X, table, BATCH)
        spent += BATCH * len(table) + 1
        if not after <= GROWTH * change:
            length //= 2
            continue
        X, change, batches = Y, after, batches + 1
        if change < level:
            break
        if batches % BURST_EVERY == 0:
            X, steps, burst = _euler(equations, X, level, BURST)
            spent += steps
            if burst < HELD_UP * change:
                longest = max(longest // 2, 1)
            elif batches % (4 * BURST_EVERY) == 0:
                longest = min(2 * longest, LONGEST)
            change = burst
        length = min(2 * length, longest)
        if np.isnan(change):
            break
    return Tail(X, change, spent)


def _euler(equations: Equations, fields: Array, level: float, steps: int) -> tuple[Array, int, float]:
    end, taken, change = cpu.march(equations, fields, level, steps, BURST)
    return np.asarray(end, dtype=np.float64), taken, change
