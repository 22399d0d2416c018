"""What `compiled` does, by the torch reference, some hundred times slower.

Where numba is switched off, cannot compile, or the model is no formula.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gsimplicit.equations import constants, step_by
from gsimplicit.marching import reference

if TYPE_CHECKING:
    from gsimplicit.equations import Equations

Array = np.ndarray[Any, np.dtype[np.floating[Any]]]


def _torch(array: Array) -> torch.Tensor:
    return torch.from_numpy(np.array(array))


def _values(equations: Equations) -> torch.Tensor:
    return torch.from_numpy(np.array(equations.values, dtype=np.float64))[None]


def march(
    equations: Equations, fields: Array, tol: float, max_steps: int, check_every: int
) -> tuple[Array, int, float]:
    """March one instance until it settles or for `max_steps` steps."""
    with torch.inference_mode(False), torch.no_grad():
        x, p = _torch(fields)[None], _values(equations)
        end, steps, change = reference.march(equations.model, x, p, tol, max_steps, check_every, equations.dt)
    return end[0].numpy(), int(steps[0]), float(change[0])


def stabilised(equations: Equations, fields: Array, table: Array, count: int) -> tuple[Any, float]:
    """Take `count` stabilised explicit steps, and measure the change of a plain one where they end."""
    model, dt = equations.model, equations.dt
    with torch.inference_mode(False), torch.no_grad():
        x = _torch(fields)[None]
        c = constants(model, _values(equations), dt, x)
        for _ in range(count):
            older = x
            for a, b, w in table.tolist():
                x, older = a * x + b * older + w * step_by(model, x, c, dt), x
        change = float((step_by(model, x, c, dt) - x).abs().max())  # a maximum keeps NaN
    return x[0].numpy(), change if np.isfinite(change) else float("nan")


def pull_back(equations: Equations, fields: Array, steps: int, cotangents: Array) -> tuple[Array, Array]:
    """Adjoint of exactly `steps` steps of `march`."""
    with torch.inference_mode(False):
        gradient, initial = reference.pull_back(
            equations.model, _torch(fields)[None], _values(equations), steps, _torch(cotangents)[:, None], equations.dt
        )
    return gradient[:, 0].numpy(), initial[:, 0].numpy()


def push_forward(equations: Equations, fields: Array, steps: int) -> tuple[Array, Array]:
    """March exactly `steps` steps with the derivatives in the parameters."""
    with torch.inference_mode(False), torch.no_grad():
        x, p = _torch(fields)[None], _values(equations)
        end, tangents = reference.push_forward(equations.model, x, p, steps, equations.dt)
    return end[0].numpy(), tangents[0].numpy()
