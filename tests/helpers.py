"""What several test modules share: parameter points, fields, losses, norms and independent derivatives."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import gsimplicit as gs
from gsimplicit import equations, models
from gsimplicit.equations import Equations
from gsimplicit.marching import Backend, Marched, backend_for, reference

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


PAPER = (0.16, 0.08, 0.035, 0.065)
UNIFORM = (0.16, 0.08, 0.03, 0.05)
"""A point whose upper uniform state is stable on every small grid."""
OSCILLATING = (0.16, 0.08, 0.014, 0.04)
"""A point that never settles on 48 x 48: waves and pulses."""
DIVERGING = (0.6, 0.08, 0.035, 0.065)
TRIVIAL = (0.16, 0.08, 0.035, 0.075)


def mean_square(v: torch.Tensor) -> torch.Tensor:
    """Mean of v^2, the smooth loss of the sharp tests."""
    return (v**2).mean(dim=(-2, -1))


def weighted(grid: tuple[int, int], seed: int = 0) -> Callable[[torch.Tensor], torch.Tensor]:
    """A linear loss with random weights: it sees every mode, the translations too."""
    weights = torch.rand(*grid, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return lambda v: (weights * v).mean(dim=(-2, -1))


def random_fields(count: int, grid: tuple[int, int], seed: int = 0) -> torch.Tensor:
    """Independent random u in (0.2, 0.7) and v in (0.1, 0.5), float64, shape (count, 2, H, W)."""
    draws = torch.rand(count, 2, *grid, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.stack([0.2 + 0.5 * draws[:, 0], 0.1 + 0.4 * draws[:, 1]], dim=1)


def random_params(count: int, seed: int = 0) -> gs.Params:
    """Independent random parameters at which `random_fields` do not die out."""
    draws = torch.rand(count, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    low, high = torch.tensor([[0.1, 0.05, 0.02, 0.04], [0.2, 0.1, 0.06, 0.055]], dtype=torch.float64)
    return gs.Params.stack(low + (high - low) * draws)


def small_start(n: int, half: int, count: int = 1) -> torch.Tensor:
    """Initial fields on a small square grid."""
    return gs.initial_state(count=count, grid=(n, n), box=gs.Box(half=half))


def relative(found: torch.Tensor | np.ndarray, expected: torch.Tensor | np.ndarray) -> float:
    """2-norm of the difference over that of `expected`."""
    a, b = np.asarray(found), np.asarray(expected)
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def farthest(found: torch.Tensor | np.ndarray, expected: torch.Tensor | np.ndarray) -> float:
    """Max norm of the difference."""
    return float(np.abs(np.asarray(found) - np.asarray(expected)).max())


def polished(fields: np.ndarray, parameters: Sequence[float]) -> np.ndarray:
    """A root of the raw residual to rounding, from one that is nearly so, by Newton's method with a dense matrix."""
    X = fields.copy()
    for _ in range(4):
        R = equations.residual(torch.from_numpy(X)[None], gs.Params(*parameters))[0].numpy()
        X = X - np.linalg.solve(dense_jacobian(X, parameters), R.ravel()).reshape(X.shape)
    return X


def instance(parameters: Sequence[float]) -> Equations:
    """The Gray-Scott equations at one parameter point."""
    return Equations(models.gray_scott, np.array(parameters, dtype=np.float64))


def dense_jacobian(fields: np.ndarray, parameters: Sequence[float]) -> np.ndarray:
    """Jacobian of the residual by torch, all of u before all of v: shape (2 H W, 2 H W)."""
    x, params = torch.from_numpy(fields), gs.Params(*parameters)
    full = torch.autograd.functional.jacobian(lambda f: equations.residual(f[None], params)[0], x)
    return full.reshape(x.numel(), x.numel()).numpy()


def march(
    fields: torch.Tensor,
    params: gs.Params,
    *,
    tol: float,
    max_steps: int,
    check_every: int = 64,
    by: Backend | None = None,
) -> Marched:
    """A march of steps of length 1 by a backend; None is that of the device."""
    return (by or backend_for(fields.device)).march(params, fields, tol, max_steps, check_every, 1.0)


def pull_back(
    fields: torch.Tensor, params: gs.Params, steps: int, cotangents: torch.Tensor, by: Backend | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Adjoint of `steps` steps of length 1 of one instance, fields (2, H, W), for cotangents (L, 2, H, W)."""
    backend, count = by or backend_for(fields.device), torch.tensor([steps])
    gradient, initial = backend.pull_back(params, fields[None], count, cotangents[:, None], 1.0)
    return gradient[:, 0], initial[:, 0]


def push_forward(
    fields: torch.Tensor, params: gs.Params, steps: int, by: Backend | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """`steps` steps of length 1 of one instance, fields (2, H, W), and their derivatives (4, 2, H, W)."""
    end, tangents = (by or backend_for(fields.device)).push_forward(params, fields[None], torch.tensor([steps]), 1.0)
    return end[0], tangents[0]


def forward_mode(
    function: Callable[[torch.Tensor], torch.Tensor], at: torch.Tensor, tangent: torch.Tensor
) -> torch.Tensor:
    """Derivative of `function` along `tangent` by torch's forward mode."""
    with warnings.catch_warnings():
        # torch 2.13 calls its own deprecated torch.jit.script the first time
        warnings.filterwarnings("ignore", message=".*torch.jit.script", category=DeprecationWarning)
        return torch.func.jvp(function, (at,), (tangent,))[1]


def forward_tangents(fields: torch.Tensor, parameters: Sequence[float], steps: int) -> torch.Tensor:
    """Derivatives of v after `steps` steps in Du, Dv, F and k by forward mode, shape (4, H, W).

    Four instances, each with the tangent of one parameter, go through the torch reference at once. Nothing of the
    package's hand-written derivatives is used.
    """
    start = fields.expand(4, -1, -1, -1)
    values = torch.tensor([parameters] * 4, dtype=torch.float64)
    return forward_mode(
        lambda p: reference.unroll(models.gray_scott, start, p, steps, checkpointed=False)[:, 1],
        values,
        torch.eye(4, dtype=torch.float64),
    )


def noise(shape: Sequence[int], size: float, seed: int = 0) -> torch.Tensor:
    """Normal noise of a standard deviation, float64."""
    return size * torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def invert(*args: Any, **kwargs: Any) -> gs.Inversion:
    """`gs.invert` without a line of progress."""
    return gs.invert(*args, progress=False, **kwargs)


def error(found: gs.Inversion, truth: Sequence[float] | torch.Tensor = PAPER) -> float:
    """Largest relative error of the parameters of all sets."""
    return float((found.params.tensor() / torch.as_tensor(truth, dtype=torch.float64) - 1).abs().max())


def covered(found: gs.Inversion, truth: Sequence[float] | torch.Tensor = PAPER) -> bool:
    """Whether all intervals of the first set hold the truth."""
    low, high = found.interval[0].unbind(-1)
    at = torch.as_tensor(truth, dtype=torch.float64)
    return bool(((low <= at) & (at <= high)).all())
