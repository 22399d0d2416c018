"""What the parts cost on this machine: steps, their adjoint, its memory, factorisations, and the default gradient.

Run by `python -m benchmarks.kernels`, one thread. Times are the best of three.
"""

from __future__ import annotations

import platform
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import scipy.sparse.linalg
import torch

import gsimplicit as gs
from gsimplicit.marching import march, pull_back
from gsimplicit.refine.linear import SparseLU, jacobian


def best(work: Callable[[], object]) -> float:
    """Seconds of the quickest of three runs, after one that compiles."""
    work()
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)


def main() -> None:
    """Print one line a measurement."""
    torch.set_num_threads(1)
    print(
        f"{platform.processor() or platform.machine()}, numpy {np.__version__}, torch {torch.__version__}, one thread"
    )
    params, fields = gs.Params.preset("paper"), gs.initial_state()
    cotangent = torch.zeros(1, 2, 128, 128, dtype=torch.float64)
    cotangent[0, 1] = 1e-4
    for dtype in (torch.float32, torch.float64):
        start = fields.to(dtype)
        for steps in (2_000, 20_000):
            forward = best(lambda: march(start, params, tol=0.0, max_steps=steps))  # noqa: B023
            backward = best(lambda: pull_back(start[0], params, steps, cotangent))  # noqa: B023
            tracemalloc.start()
            pull_back(start[0], params, steps, cotangent)
            memory = tracemalloc.get_traced_memory()[1] / 2**20
            tracemalloc.stop()
            print(
                f"128 x 128 {dtype}, {steps} steps: {forward / steps * 1e6:.1f} us a step, "
                f"adjoint {backward / forward:.1f} marches, {memory:.0f} MiB"
            )
    matrix = jacobian(march(fields, params, tol=1e-4, max_steps=50_000).fields[0].numpy(), params.tensor()[0].numpy())
    ours = best(lambda: SparseLU(matrix))
    theirs = best(lambda: scipy.sparse.linalg.splu(matrix))
    print(f"sparse LU of the Jacobian: {ours:.2f} s by minimum degree without pivoting, {theirs:.2f} s by COLAMD")
    print(gs.grad(params))


if __name__ == "__main__":
    main()
