"""What is timed: gsimplicit and its peers at the same work, each case in a process of its own.

The work is the paper's system: 128 x 128, periodic, five-point, unit steps, its ground truth parameters, from a
developed pattern. Every peer is checked against the float64 reference before it is timed. A case gives seconds (the
best of some runs in this process, CPU time unless threads are what is measured) and what else it knows.
"""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import gsimplicit as gs
from benchmarks.models import models_c, models_ours, models_torch
from gsimplicit.equations import instances
from gsimplicit.marching import KERNELS, Marched, reference
from gsimplicit.models.gray_scott_equations import step_coefficients

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


# ---------------------------------------------------------------------------------------------------------------------
# Forward
# ---------------------------------------------------------------------------------------------------------------------


def ours(dtype: torch.dtype, tol: float = 0.0, side: int = SIDE, count: int = 1) -> Callable[[int], object]:
    """March `count` patterns so many steps."""
    fields = pattern(dtype).repeat(count, 1, side // SIDE or 1, side // SIDE or 1)[..., :side, :side].contiguous()
    params = gs.Params.preset("paper").expand(count)
    return lambda steps: march(fields, params, tol, steps)


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

    run = jax.jit(_jax_scan, static_argnums=2)
    values = np.array(VALUES, np.float32)
    return forward(lambda x, steps: np.asarray(run(x, values, steps)), "jax")


def _jax_scan(x: Any, p: Any, steps: int) -> Any:
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


# ---------------------------------------------------------------------------------------------------------------------
# Batches, grids, first call
# ---------------------------------------------------------------------------------------------------------------------


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


# ---------------------------------------------------------------------------------------------------------------------
# Gradients of mean v^2 through 2,000 steps
# ---------------------------------------------------------------------------------------------------------------------


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
        segment = jax.checkpoint(lambda x, _: (_jax_scan(x, p, 50), None))
        return jnp.mean(jax.lax.scan(segment, start, None, length=GRADIENT_STEPS // 50)[0][1] ** 2)

    run = jax.jit(jax.grad(loss))
    values = np.array(VALUES, np.float32)
    before = memory()
    seconds = best(lambda: jax.block_until_ready(run(values)), 2)
    return {"seconds": seconds, "MiB": memory() - before}


# ---------------------------------------------------------------------------------------------------------------------
# Roots
# ---------------------------------------------------------------------------------------------------------------------


def root_and_implicit_gradient() -> Result:
    """A certified root at the paper's point and the implicit gradient there; and unrolling the steps to the stop."""
    from gsimplicit.refine.linear import SparseLU, jacobian

    params, loss = gs.Params.preset("paper"), lambda v: (v**2).mean(dim=(-2, -1))
    begin = time.process_time()
    root = gs.steady_state(params, refine=True)
    certified = time.process_time() - begin
    matrix = jacobian(*instances(params), root.fields[0].numpy())
    factorisation = best(lambda: SparseLU(matrix), 3)
    implicit = best(lambda: gs.grad(params, "implicit", loss, initial=root.fields), 3)
    steps = int(root.steps[0])
    begin = time.process_time()
    gs.grad(params, "unrolled", loss, tol=0.0, max_steps=steps)
    unrolled = time.process_time() - begin
    return {
        "seconds": certified,
        "factorisation": factorisation,
        "implicit": implicit,
        "implicit_factorisations": implicit / factorisation,
        "from_scratch": certified + implicit,
        "unrolled": unrolled,
        "unrolled_steps": float(steps),
    }


def solvers() -> Result:
    """Adjoints of 16 roots at 128 x 128 by LU and by GMRES: largest true residuals, distance, seconds."""
    import csv

    from gsimplicit.grid import broken_translations
    from gsimplicit.refine.linear import Bordered
    from studies.certify import CERTIFIED

    with CERTIFIED.open() as stream:
        rows = [r for r in csv.DictReader(stream) if r["side"] == "128" and r["tail"] == "euler"]
    rows = sorted((r for r in rows if r["status"] == "drifting"), key=lambda r: int(r["evaluations"]))
    params = gs.Params(DU, DV, [float(r["F"]) for r in rows], [float(r["k"]) for r in rows])
    roots = gs.steady_state(params, refine=gs.Refine(max_evaluations=4_000_000))
    found = roots.has_root.nonzero()[:16, 0].tolist()
    rows, params, roots = [rows[i] for i in found], params[found], roots[found]
    systems = [
        Bordered(e, x, broken_translations(x), c)
        for e, x, c in zip(instances(params), roots.fields.numpy(), roots.drift.numpy(), strict=True)
    ]
    draw = np.random.default_rng(0).standard_normal((len(rows), SIDE, SIDE))
    out = {"roots": float(roots.has_root.sum())}
    for name, slope in (("invariant", 2 * roots.fields[:, 1].numpy()), ("generic", draw)):
        right = [np.stack([np.zeros_like(s), s]) for s in slope]
        answers = []
        for solver in (gs.Direct(), gs.Gmres()):
            begin = time.process_time()
            answers.append(solver.prepare(systems).solve(right, transpose=True))
            out[f"{name}_{solver.name}_seconds"] = (time.process_time() - begin) / len(rows)
            out[f"{name}_{solver.name}_residual"] = max(a.residual for a in answers[-1])
        apart = [np.linalg.norm(a.x - b.x) / np.linalg.norm(a.x) for a, b in zip(*answers, strict=True)]
        out[f"{name}_apart"] = float(max(apart))
        out[f"{name}_products"] = float(np.median([a.products for a in answers[1]]))
    return out


def solver_growth() -> Result:
    """LU and GMRES by side of the grid: an adjoint at the paper's root, repeated periodically, and Newton's method.

    Newton's method starts from the root at 128 x 128, perturbed by 1e-3.
    """
    from gsimplicit.grid import broken_translations
    from gsimplicit.refine.linear import Bordered
    from gsimplicit.refine.newton import newton

    root = gs.steady_state(gs.Params.preset("paper"), refine=True)
    (equations,), drift, one = instances(root.params), root.drift[0].numpy(), root.fields[0].numpy()
    out = {}
    for times in (1, 2, 4):
        fields = np.tile(one, (1, times, times))
        system = Bordered(equations, fields, broken_translations(fields), drift)
        right = [np.stack([np.zeros_like(fields[1]), 2 * fields[1]])]
        for solver in (gs.Direct(), gs.Gmres()):
            begin = time.process_time()
            solver.prepare([system]).solve(right, transpose=True)
            out[f"{solver.name}_{SIDE * times}"] = time.process_time() - begin
    wave = np.cos(2 * np.pi * np.arange(SIDE) / SIDE * np.arange(1, 3)[:, None])
    start = one + 1e-3 * wave[:, :, None] * wave[::-1, None, :]
    for solver in (gs.Direct(), gs.Gmres()):
        begin = time.process_time()
        found = newton(equations, start, 1e-10, linear=solver)
        out[f"newton_{solver.name}"] = time.process_time() - begin
        out[f"newton_{solver.name}_residual"] = found.residual
    return out


CASES: dict[str, Callable[[], Result]] = {
    case.__name__: case
    for case in (
        forward_ours,
        forward_ours_float64,
        forward_ours_tested,
        forward_c,
        peak,
        forward_torch,
        forward_torch_compiled,
        forward_jax,
        forward_pypde,
        batch_one_thread,
        batch_two_threads,
        batch_uneven,
        grids,
        first_call,
        gradient_ours,
        gradient_ours_float64,
        gradient_ours_tangents,
        gradient_torch,
        gradient_jax,
        models_ours,
        models_c,
        models_torch,
        root_and_implicit_gradient,
        solvers,
        solver_growth,
    )
}
QUICK = (
    "forward_ours",
    "forward_ours_float64",
    "forward_ours_tested",
    "forward_c",
    "peak",
    "forward_torch",
    "forward_jax",
    "batch_one_thread",
    "batch_two_threads",
    "gradient_ours",
    "gradient_jax",
)
"""Cases of a quick run."""
ONCE = ("grids", "solvers", "solver_growth")
"""Cases of the first round only: they take minutes."""
