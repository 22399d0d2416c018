"""One instance in numpy arrays by the torch reference: what `cpu` falls back on. See there for the arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gsimplicit import gray_scott
from gsimplicit.gray_scott import Params
from gsimplicit.marching import reference

Array = np.ndarray[Any, np.dtype[np.floating[Any]]]


def _torch(array: Array) -> torch.Tensor:
    """A copy: torch takes no read-only arrays, and no strides below zero."""
    return torch.from_numpy(np.array(array))


def _params(parameters: Array) -> Params:
    return Params.stack(_torch(parameters)[None])


def march(fields: Array, parameters: Array, tol: float, max_steps: int, check_every: int) -> tuple[Array, int, float]:
    """March one instance until it settles or for `max_steps` steps."""
    with torch.inference_mode(False), torch.no_grad():
        end, steps, change = reference.march(_torch(fields)[None], _params(parameters), tol, max_steps, check_every)
    return end[0].numpy(), int(steps[0]), float(change[0])


def stabilised(fields: Array, parameters: Array, table: Array, count: int) -> tuple[Any, float]:
    """Take `count` stabilised explicit steps, and measure the residual where they end."""
    with torch.inference_mode(False), torch.no_grad():
        params = _params(parameters)
        x = _torch(fields)[None]
        for _ in range(count):
            older = x
            for a, b, c in table.tolist():
                x, older = a * x + b * older + c * gray_scott.step(x, params), x
        change = float((gray_scott.step(x, params) - x).abs().max())  # a maximum keeps NaN
    return x[0].numpy(), change if np.isfinite(change) else float("nan")


def pull_back(fields: Array, parameters: Array, steps: int, cotangents: Array) -> tuple[Array, Array]:
    """Adjoint of exactly `steps` steps of `march`."""
    with torch.inference_mode(False):
        gradient, initial = reference.pull_back(_torch(fields), _params(parameters), steps, _torch(cotangents))
    return gradient.numpy(), initial.numpy()


def push_forward(fields: Array, parameters: Array, steps: int) -> tuple[Array, Array]:
    """March exactly `steps` steps with the derivatives in Du, Dv, F and k."""
    with torch.inference_mode(False), torch.no_grad():
        end, tangents = reference.push_forward(_torch(fields), _params(parameters), steps)
    return end.numpy(), tangents.numpy()
