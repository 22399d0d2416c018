"""Steps by plain torch, torch.compile and jax, on the work of `benchmarks.gpu`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.gpu_work import apart, fields_of, some
from gsimplicit.equations import step
from gsimplicit.marching import KERNELS, TORCH

if TYPE_CHECKING:
    from benchmarks.gpu import Bench


def peers(b: Bench) -> None:
    """Plain torch, and torch.compile with CUDA graphs, on a batch of 512."""
    count, side = b.size(512, 2), b.size(128, 16)
    params = some("gray_scott", count)
    x = fields_of("gray_scott", params, (side, side)).to(b.device, torch.float32)
    n = b.size(40, 4)
    eager = b.seconds(lambda: TORCH.march(params, x, 0.0, n, n, 1.0)) / n / count
    b.keep("plain torch", {"ns": eager * 1e9})
    values = params.tensor().to(b.device, torch.float32)[:, :, None, None]

    def stepped(y: torch.Tensor) -> torch.Tensor:
        u, v = y[:, 0], y[:, 1]
        Du, Dv, F, k = values.unbind(1)
        w = u * v * v
        around = [a.roll(1, -1) + a.roll(-1, -1) + a.roll(1, -2) + a.roll(-1, -2) - 4 * a for a in (u, v)]
        return torch.stack([u + Du * around[0] - w + F * (1 - u), v + Dv * around[1] + w - (F + k) * v], 1)

    assert apart(stepped(x), step(x.cpu().double(), params)) < 1e-5
    if b.dry:
        return
    one, graph, buffer = torch.compile(stepped), torch.cuda.CUDAGraph(), x.clone()
    with torch.cuda.stream(torch.cuda.Stream()):
        for _ in range(3):
            one(buffer)
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        y = buffer
        for _ in range(20):
            y = one(y)
        buffer.copy_(y)

    def replayed() -> None:
        for _ in range(10):
            graph.replay()

    b.keep("torch.compile in a CUDA graph", {"ns": b.seconds(replayed) / 200 / count * 1e9})


def by_jax(b: Bench) -> None:
    """Jax where it is installed, a jitted scan on a batch of 512, on the device that it chooses."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        import jax
    except ImportError:
        b.keep("jax", "not installed")
        return
    count, side, n = b.size(512, 2), b.size(128, 16), b.size(40, 4)
    params = some("gray_scott", count)
    x = fields_of("gray_scott", params, (side, side)).float()
    values = params.tensor().float().numpy().T[:, :, None, None]

    def stepped(y: Any, _: None) -> tuple[Any, None]:
        u, v = y
        Du, Dv, F, k = values
        w = u * v * v
        around = [sum(jax.numpy.roll(a, s, axis) for s in (1, -1) for axis in (1, 2)) - 4 * a for a in (u, v)]
        return (u + Du * around[0] - w + F * (1 - u), v + Dv * around[1] + w - (F + k) * v), None

    run = jax.jit(lambda y: jax.lax.scan(stepped, y, None, length=n)[0])
    given = tuple(jax.numpy.asarray(x[:, s].numpy()) for s in (0, 1))
    found = torch.stack([torch.from_numpy(np.array(a)) for a in run(given)], dim=1)
    exact = KERNELS.march(params, x.double(), 0.0, n, n, 1.0).fields
    best = b.seconds(lambda: jax.block_until_ready(run(given))) / n / count
    b.keep("jax", {"ns": best * 1e9, "device": str(jax.devices()[0]), "difference": apart(found, exact)})
