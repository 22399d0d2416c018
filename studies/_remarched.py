"""Descent on the spectrum loss with each state marched anew from one initial field: BFGS on the logarithms."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import torch

import gsimplicit as gs
from gsimplicit.routes import Route

Array = np.ndarray[Any, Any]

NAMES = ("Du", "Dv", "F", "k")
CALLS = 20
"""Gradients of a descent at most, unless told."""
FIRST, TRUST, SMALLEST, FLAT = 0.005, 0.1, 1e-9, 1e-4
"""Largest change of a logarithm in the first step, in any, the smallest; and a slope that is none."""
WITHIN = (np.zeros(4), np.array([0.24, 0.24, 0.12, 0.12]))
"""Where states are asked for: above, the explicit step is unstable or everything dies."""


class End(IntEnum):
    """How a descent ended. Stored as these integers."""

    NOT_RUN = 0
    NO_GRADIENT = 1
    """No parameter changes the loss: a slope below `FLAT`."""
    CALLS_USED = 2
    SMALL_STEP = 3
    """No step along the gradient lowers the loss, down to `SMALLEST`."""
    NO_STATE = 4
    """The start has no state that the route could differentiate, or lies outside `WITHIN`."""


@dataclass(frozen=True, eq=False)
class Descent:
    """Where a descent led.

    Attributes:
        values: Du, Dv, F, k at its end.
        calls: Gradients taken, those of refused steps among them.
        end: How it ended.
        first: Loss at the start, infinite without a state.
        last: Loss at the end.
    """

    values: Array
    calls: int
    end: End
    first: float
    last: float


@dataclass(eq=False)
class _Marched:
    """The loss and its slope in the logarithms, each state marched from the field; counts how often it is asked."""

    v: torch.Tensor
    route: str | Route
    within: tuple[Array, Array]
    calls: int = 0

    def __call__(self, at: Array) -> tuple[float, Array]:
        self.calls += 1
        low, high = self.within
        if (at < low).any() or (at > high).any():
            return np.inf, np.zeros(4)
        initial = gs.initial_state(grid=(self.v.shape[-2], self.v.shape[-1]))
        try:
            out = gs.grad(gs.Params(*at), self.route, loss="spectrum", target=self.v, initial=initial, progress=False)
        except gs.NotSteady:
            return np.inf, np.zeros(4)
        except ValueError as error:  # the derivative through so many steps is not finite
            if not str(error).startswith("no gradient"):
                raise
            return np.inf, np.zeros(4)
        loss, slope = float(out.loss[0]), at * np.array([float(getattr(out.grad, name)[0]) for name in NAMES])
        # a march that diverged has neither
        return (loss, slope) if np.isfinite(loss) and np.isfinite(slope).all() else (np.inf, np.zeros(4))


def remarched(
    start: Array,
    v: torch.Tensor,
    route: str | Route = "implicit",
    calls: int = CALLS,
    within: tuple[Array, Array] = WITHIN,
) -> Descent:
    """BFGS on the logarithms with the spectrum loss, each state marched from the field of seed 0.

    A step that leads to no state, or to a higher loss, is halved; the first changes no parameter by more than a part
    of `FIRST`, none by more than of `TRUST`.

    Args:
        start: Du, Dv, F, k.
        v: The picture, shape (1, side, side).
        route: What gives the gradient.
        calls: Gradients at most.
        within: Least and largest values of the four that are asked for.
    """
    value, values = _Marched(v, route, within), start
    first, g = value(values)
    here, inverse, fresh = first, None, True
    while np.isfinite(here) and np.abs(g).max() > FLAT and value.calls < calls:
        if inverse is None or g @ inverse @ g <= 0:
            inverse, fresh = np.eye(4) * FIRST / np.abs(g).max(), True
        z, there, slope = _step(value, calls, values, here, g, -inverse @ g)
        if not there < here:
            if fresh or value.calls >= calls:
                break
            inverse = None
            continue
        inverse = _updated(inverse, z, slope - g, fresh)
        values, here, g, fresh = values * np.exp(z), there, slope, False
    return Descent(values, value.calls, _end(here, g, value.calls >= calls), first, here)


def _step(value: _Marched, calls: int, values: Array, here: float, g: Array, z: Array) -> tuple[Array, float, Array]:
    """A step along z, cut to `TRUST` and halved until the loss falls enough, with the loss and slope there."""
    z = z * min(1.0, TRUST / np.abs(z).max())
    there, slope = value(values * np.exp(z))
    while not there <= here + 1e-4 * (z @ g) and value.calls < calls and np.abs(z).max() > SMALLEST:
        z = z / 2
        there, slope = value(values * np.exp(z))
    return z, there, slope


def _updated(inverse: Array, z: Array, y: Array, fresh: bool) -> Array:
    """The inverse Hessian after a step z that changed the slope by y; kept where the loss is not convex along it."""
    if (curved := z @ y) <= 0:
        return inverse
    inverse = np.eye(4) * curved / (y @ y) if fresh else inverse
    left = np.eye(4) - np.outer(z, y) / curved
    out: Array = left @ inverse @ left.T + np.outer(z, z) / curved
    return out


def _end(here: float, g: Array, used: bool) -> End:
    if not np.isfinite(here):
        return End.NO_STATE
    if np.abs(g).max() <= FLAT:
        return End.NO_GRADIENT
    return End.CALLS_USED if used else End.SMALL_STEP
