"""Cases of gradients: of mean v^2 through 2,000 steps."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

import gsimplicit as gs
from benchmarks.work import (
    GRADIENT_STEPS,
    SIDE,
    VALUES,
    Result,
    best,
    jax_scan,
    march,
    memory,
    pattern,
    pull_back,
)
from gsimplicit.marching import KERNELS, reference


def _gradient(dtype: torch.dtype) -> Result:
    params, start = gs.Params.preset("paper"), pattern(dtype)
    end = march(start, params, 0.0, GRADIENT_STEPS).fields
    cotangent = torch.zeros_like(end)[None]
    cotangent[0, :, 1] = 2 * end[:, 1] / SIDE**2
    pull_back(start, params, 2, cotangent)  # compiled before memory is measured
    before = memory()
    backward = best(lambda: pull_back(start, params, GRADIENT_STEPS, cotangent))
    used = memory() - before
    ahead = best(lambda: march(start, params, 0.0, GRADIENT_STEPS))
    return {"seconds": backward, "against_forward": backward / ahead, "MiB": used}


def gradient_ours() -> Result:
    """Adjoint in float32."""
    return _gradient(torch.float32)


def gradient_ours_float64() -> Result:
    """Adjoint in float64."""
    return _gradient(torch.float64)


def gradient_ours_tangents() -> Result:
    """Four fused forward tangents in float32."""
    params, start = gs.Params.preset("paper"), pattern()
    few, many = torch.tensor([2]), torch.tensor([GRADIENT_STEPS])
    KERNELS.push_forward(params, start, few, 1.0)
    before = memory()
    seconds = best(lambda: KERNELS.push_forward(params, start, many, 1.0), 3)
    used = memory() - before
    ahead = best(lambda: march(start, params, 0.0, GRADIENT_STEPS))
    return {"seconds": seconds, "against_forward": seconds / ahead, "MiB": used}


def gradient_torch() -> Result:
    """torch, checkpointed in segments of 45 steps."""
    start, values = pattern(), torch.tensor([VALUES], requires_grad=True)

    def run() -> torch.Tensor:
        end = reference.unroll(gs.Params.model, start, values, GRADIENT_STEPS)
        return torch.autograd.grad((end[:, 1] ** 2).mean(), values)[0]

    before = memory()
    begin = time.process_time()
    run()
    return {"seconds": time.process_time() - begin, "MiB": memory() - before}


def gradient_jax() -> Result:
    """jax, checkpointed every 50 steps."""
    import jax
    import jax.numpy as jnp

    start = pattern()[0].numpy()

    def loss(p: Any) -> Any:
        segment = jax.checkpoint(lambda x, _: (jax_scan(x, p, 50), None))
        return jnp.mean(jax.lax.scan(segment, start, None, length=GRADIENT_STEPS // 50)[0][1] ** 2)

    run = jax.jit(jax.grad(loss))
    values = np.array(VALUES, np.float32)
    before = memory()
    seconds = best(lambda: jax.block_until_ready(run(values)), 2)
    return {"seconds": seconds, "MiB": memory() - before}
