"""Cases of marching: ours, C, torch, jax and py-pde, batches, grids, and the first call."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import gsimplicit as gs
from benchmarks.work import (
    DU,
    DV,
    SIDE,
    STEPS,
    VALUES,
    F,
    K,
    Result,
    best,
    checked,
    forward,
    jax_scan,
    march,
    ours,
)
from gsimplicit.marching import reference
from gsimplicit.models.gray_scott_equations import step_coefficients


def forward_ours() -> Result:
    """float32."""
    work = ours(torch.float32)
    return {"seconds": best(lambda: work(4 * STEPS)) / (4 * STEPS)}


def forward_ours_float64() -> Result:
    """float64."""
    work = ours(torch.float64)
    return {"seconds": best(lambda: work(4 * STEPS)) / (4 * STEPS)}


def forward_ours_tested() -> Result:
    """float32, with the stop test at the default cadence."""
    work = ours(torch.float32, tol=1e-30)
    return {"seconds": best(lambda: work(4 * STEPS)) / (4 * STEPS)}


def forward_c() -> Result:
    """The best of two vector widths and two schedules of the C kernel, and the same without contraction to fma."""
    coefficients = np.array([DU, DV, *step_coefficients(DU, DV, F, K), F, 0, 0, 0], np.float32)
    builds = {"seconds": "-ffast-math", "without_contraction": "-ffp-contract=off"}
    out = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, flag in builds.items():
            found = []
            for size in (32, 64):
                library = Path(folder) / f"{kind}{size}.so"
                flags = ["-O3", flag, "-march=native", "-shared", "-fPIC", f"-DBYTES={size}", "-Wno-psabi"]
                source = Path(__file__).with_name("peer.c")
                subprocess.run([os.environ.get("CC", "gcc"), *flags, str(source), "-o", str(library)], check=True)
                call = ctypes.CDLL(str(library)).march
                for tile, depth in ((0, 0), (16, 8)):

                    def run(x: np.ndarray, steps: int, call: Any = call, how: Any = (tile, depth)) -> np.ndarray:
                        pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in (x, coefficients)]
                        call(pointers[0], ctypes.c_int(steps), *map(ctypes.c_int, how), pointers[1])
                        return x

                    found.append(forward(run, "C", 4 * STEPS)["seconds"])
            out[kind] = min(found)
    return out


def forward_torch() -> Result:
    """Eager, by roll."""
    params = gs.Params.preset("paper")

    def run(x: np.ndarray, steps: int) -> np.ndarray:
        end, _, _ = reference.march(params.model, torch.from_numpy(x)[None], params.tensor(), 0.0, steps, steps, 1.0)
        return end[0].numpy()

    return forward(run, "torch", 200)


def forward_torch_compiled() -> Result:
    """torch.compile, ten steps a graph."""

    def lap(a: torch.Tensor) -> torch.Tensor:
        return a.roll(1, -1) + a.roll(-1, -1) + a.roll(1, -2) + a.roll(-1, -2) - 4 * a

    def ten(u: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        for _ in range(10):
            reaction = u * v * v
            u, v = u + DU * lap(u) - reaction + F * (1 - u), v + DV * lap(v) + reaction - (F + K) * v
        return u, v

    compiled = torch.compile(ten, dynamic=False)

    def run(x: np.ndarray, steps: int) -> np.ndarray:
        u, v = torch.from_numpy(x)
        with torch.no_grad():
            for _ in range(steps // 10):
                u, v = compiled(u, v)
        return torch.stack([u, v]).numpy()

    return forward(run, "torch.compile")


def forward_jax() -> Result:
    """A jitted scan."""
    import jax

    run = jax.jit(jax_scan, static_argnums=2)
    values = np.array(VALUES, np.float32)
    return forward(lambda x, steps: np.asarray(run(x, values, steps)), "jax")


def forward_pypde() -> Result:
    """py-pde's explicit Euler solver with its numba backend, which computes in float64."""
    import pde

    grid = pde.CartesianGrid([[0, SIDE]] * 2, SIDE, periodic=True)
    equations = pde.PDE(
        {"u": f"{DU} * laplace(u) - u * v**2 + {F} * (1 - u)", "v": f"{DV} * laplace(v) + u * v**2 - {F + K} * v"}
    )

    def run(x: np.ndarray, steps: int) -> np.ndarray:
        state = pde.FieldCollection([pde.ScalarField(grid, a) for a in x.astype(np.float64)])
        end = equations.solve(state, t_range=steps, dt=1.0, solver="explicit", adaptive=False, tracker=None)
        return np.stack([f.data for f in end])

    start = checked("py-pde", run)  # each call compiles anew: the difference of two lengths is the marching
    times = []
    for steps in (100, 100 + 20 * STEPS):
        begin = time.process_time()
        run(start, steps)
        times.append(time.process_time() - begin)
    return {"seconds": (times[1] - times[0]) / (20 * STEPS)}


def peak() -> Result:
    """Additions a second in vectors, and the least time those of a step can take.

    A pixel takes 11 additions and 6 multiplications, which have units of their own; contracted to multiply-adds, 6
    additions.
    """
    turns, most = 2_000_000, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for size in (32, 64):
            library = Path(folder) / f"peak{size}.so"
            flags = ["-O2", "-march=native", "-shared", "-fPIC", f"-DBYTES={size}", "-Wno-psabi"]
            source = Path(__file__).with_name("peak.c")
            subprocess.run([os.environ.get("CC", "gcc"), *flags, str(source), "-o", str(library)], check=True)
            additions = ctypes.CDLL(str(library)).additions
            seconds = best(lambda: additions(ctypes.c_long(turns)), 3)  # noqa: B023 (called at once)
            most = max(most, 12 * turns * (size // 4) / seconds)
    return {"additions": most, "floor": 11 * SIDE**2 / most, "floor_contracted": 6 * SIDE**2 / most}


def _batch(threads: int) -> Result:
    torch.set_num_threads(threads)
    work = ours(torch.float32, count=16)
    return {"seconds": best(lambda: work(2 * STEPS), clock=time.perf_counter) / (2 * STEPS)}


def batch_one_thread() -> Result:
    """16 instances on one core: seconds a step of all, wall time."""
    return _batch(1)


def batch_two_threads() -> Result:
    """16 instances on two cores: seconds a step of all, wall time."""
    return _batch(2)


def batch_uneven() -> Result:
    """15 instances that settle at once and one that marches 50,000 steps, against that one alone."""
    params = gs.Params(DU, DV, F, [0.075] * 15 + [K])
    fields = torch.cat([gs.initial_state(noise=0.0, box=None).expand(15, -1, -1, -1), gs.initial_state()]).float()
    together = best(lambda: march(fields, params, 1e-9, 50_000), 1)
    alone = best(lambda: march(fields[15:], params[15], 1e-9, 50_000), 1)
    return {"seconds": together, "against_alone": together / alone}


def grids() -> Result:
    """Nanoseconds a pixel and step by side of the grid."""
    out = {}
    for side in (32, 64, 128, 130, 256, 512):
        params, fields = gs.Params.preset("paper"), gs.initial_state(grid=(side, side), box=gs.Box(half=5)).float()
        steps = max(50, 4 * STEPS * SIDE**2 // side**2)
        seconds = best(lambda: march(fields, params, 0.0, steps))  # noqa: B023 (called at once)
        out[f"ns_per_cell_{side}"] = seconds / steps / side**2 * 1e9
    return out


def first_call() -> Result:
    """Seconds of the first march and gradient in a process: nothing compiled yet, and all in the cache."""
    code = (
        "import time, torch, gsimplicit as gs; from gsimplicit.marching import KERNELS; b = time.perf_counter();"
        "x = gs.initial_state().float(); p = gs.Params.preset('paper'); KERNELS.march(p, x, 0.0, 1, 64, 1.0);"
        "c = time.perf_counter(); KERNELS.pull_back(p, x, torch.tensor([2]), x[None], 1.0);"
        "print(c - b, time.perf_counter() - c)"
    )
    with tempfile.TemporaryDirectory() as folder:
        times = []
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, "-c", code],
                env={**os.environ, "NUMBA_CACHE_DIR": folder},
                check=True,
                capture_output=True,
                text=True,
            )
            times.append([float(t) for t in done.stdout.split()])
    return {"march": times[0][0], "gradient": times[0][1], "cached": sum(times[1])}
