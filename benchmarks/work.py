"""What every case needs: the pattern and its march, the check of a peer, and the clock."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import gsimplicit as gs
from gsimplicit.marching import KERNELS, Marched, reference

SIDE, STEPS, GRADIENT_STEPS = 128, 1000, 2000
VALUES = gs.Params.preset("paper").tensor()[0].tolist()
DU, DV, F, K = VALUES
CADENCE = 64
"""Steps between two tests."""
Result = dict[str, float]


def memory() -> float:
    """Peak resident memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def best(work: Callable[[], object], runs: int = 5, clock: Callable[[], float] = time.process_time) -> float:
    """Seconds of the quickest run, after one that warms up."""
    work()
    seconds = []
    for _ in range(runs):
        begin = clock()
        work()
        seconds.append(clock() - begin)
    return min(seconds)


def march(fields: torch.Tensor, params: gs.Params, tol: float, steps: int) -> Marched:
    """March by the kernels."""
    return KERNELS.march(params, fields, tol, steps, CADENCE, 1.0)


def pull_back(
    fields: torch.Tensor, params: gs.Params, steps: int, cotangents: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Adjoint of so many steps of a batch, by the kernels."""
    return KERNELS.pull_back(params, fields, torch.full((len(fields),), steps), cotangents, 1.0)


def pattern(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A developed pattern, shape (1, 2, 128, 128)."""
    return march(gs.initial_state(), gs.Params.preset("paper"), 0.0, 3000).fields.to(dtype)


def checked(name: str, run: Callable[[np.ndarray, int], np.ndarray]) -> np.ndarray:
    """The pattern in float32, after `run` has shown that it marches it 100 steps rightly."""
    start = pattern()
    params = gs.Params.preset("paper")
    expected, _, _ = reference.march(params.model, start.double(), params.tensor(), 0.0, 100, 100, 1.0)
    error = np.abs(np.asarray(run(start[0].numpy().copy(), 100)) - expected[0].numpy()).max()
    if not error < 2e-5:
        raise RuntimeError(f"{name} is not the same work: it is off by {error:.1e} after 100 steps")
    return start[0].numpy().copy()


def forward(run: Callable[[np.ndarray, int], np.ndarray], name: str, steps: int = STEPS) -> Result:
    """Seconds a step of one instance."""
    start = checked(name, run)
    return {"seconds": best(lambda: run(start, steps)) / steps}


def ours(dtype: torch.dtype, tol: float = 0.0, side: int = SIDE, count: int = 1) -> Callable[[int], object]:
    """March `count` patterns so many steps."""
    fields = pattern(dtype).repeat(count, 1, side // SIDE or 1, side // SIDE or 1)[..., :side, :side].contiguous()
    params = gs.Params.preset("paper").expand(count)
    return lambda steps: march(fields, params, tol, steps)


def jax_scan(x: Any, p: Any, steps: int) -> Any:
    """So many steps in jax, from fields (2, H, W) and Du, Dv, F, k."""
    import jax
    import jax.numpy as jnp

    def lap(a: Any) -> Any:
        return jnp.roll(a, 1, -1) + jnp.roll(a, -1, -1) + jnp.roll(a, 1, -2) + jnp.roll(a, -1, -2) - 4 * a

    def step(x: Any, _: None) -> tuple[Any, None]:
        u, v = x
        reaction = u * v * v
        u, v = u + p[0] * lap(u) - reaction + p[2] * (1 - u), v + p[1] * lap(v) + reaction - (p[2] + p[3]) * v
        return jnp.stack([u, v]), None

    return jax.lax.scan(step, x, None, length=steps)[0]
