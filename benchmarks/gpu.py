"""Steps on a GPU: right first, then how fast, against plain torch and torch.compile on the same work.

`python -m benchmarks.gpu` takes some four minutes on one device; what is found is written after every item, so that a
run that is cut short still tells. `--dry` runs every item at toy size on the CPU, the kernels on threads.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import gsimplicit as gs
from benchmarks.roots import roots
from gsimplicit.equations import step
from gsimplicit.marching import KERNELS, TORCH
from gsimplicit.marching.gpu import GPU, Gpu
from gsimplicit.marching.layouts import in_registers
from gsimplicit.models import ModelParams

RESULTS = Path(__file__).parent / "results"
MODELS = {"gray_scott": ("paper", 1.0), "schnakenberg": ("hexagons", 0.02), "gierer_meinhardt": ("spots", 0.01)}
"""Preset and length of a step."""


class Bench:
    """What is measured where, and what was found so far."""

    def __init__(self, file: Path, *, dry: bool, long: bool) -> None:
        self.file, self.dry, self.long, self.found = file, dry, long, dict[str, Any]()
        self.start = time.perf_counter()
        if dry:
            from benchmarks.shim import ThreadsMachine

            self.gpu, self.device = Gpu(ThreadsMachine()), torch.device("cpu")
        else:
            self.gpu, self.device = GPU, torch.device("cuda")
        self.processors = self.gpu.machine_for(self.device).processors

    def size(self, real: int, toy: int) -> int:
        """One number for a device and another for a dry run."""
        return toy if self.dry else real

    def keep(self, name: str, value: Any) -> None:
        """Write what was found."""
        self.found[name] = value
        print(f"{time.perf_counter() - self.start:6.1f} s  {name}: {json.dumps(value)}", flush=True)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(self.found, indent=1) + "\n")

    def seconds(self, work: Callable[[], object], repeats: int = 3) -> float:
        """The least of some timings, after a first one that compiles."""
        work()
        best = float("inf")
        for _ in range(1 if self.dry else repeats):
            self.wait()
            begin = time.perf_counter()
            work()
            self.wait()
            best = min(best, time.perf_counter() - begin)
        return best

    def wait(self) -> None:
        """Until the device is done."""
        if not self.dry:
            torch.cuda.synchronize()


def fields_of(name: str, params: ModelParams, grid: tuple[int, int], seed: int = 0) -> torch.Tensor:
    """Fields of different noise, one a parameter instance, float64."""
    if name == "gray_scott":
        return gs.initial_state(count=len(params), grid=grid, box=gs.Box(half=max(grid[0] // 8, 1)), seed=seed)
    return gs.initial_state(count=len(params), grid=grid, model=params[0], seed=seed)


def some(name: str, count: int) -> ModelParams:
    """Instances around a preset, one a field."""
    model = getattr(gs.models, name)
    preset = model.preset(MODELS[name][0])
    noise = np.random.default_rng(1).uniform(0.97, 1.0, (count, len(model.parameters)))
    values = preset.tensor()[0].numpy() * noise
    return model.params(**dict(zip(model.parameters, values.T.copy(), strict=True)))  # type: ignore[no-any-return]


def right(b: Bench) -> None:
    """Against the kernels of the CPU: march, stop test, adjoint, tangents; not-a-number, batches, shapes, dtypes."""
    shapes = [(12, 50)] if b.dry else [(128, 128), (64, 64), (50, 50), (96, 64), (37, 41)]
    for name, (_, dt) in MODELS.items():
        first = name == "gray_scott"
        for grid in shapes if first else shapes[:1]:
            for dtype in (torch.float32, torch.float64) if first or not b.dry else (torch.float32,):
                found = one_right(b, name, grid, dtype, dt)
                b.keep(f"right {name} {grid[0]}x{grid[1]} {str(dtype)[6:]}", found)
                require_right(found, single=dtype == torch.float32)


def one_right(b: Bench, name: str, grid: tuple[int, int], dtype: torch.dtype, dt: float) -> dict[str, Any]:
    """Differences of one shape and dtype, relative to the largest entry."""
    params, n = some(name, 5), b.size(300, 21)
    x = fields_of(name, params, grid).to(dtype)
    there = x.to(b.device)
    march, steps = b.gpu.march(params, there, 0.0, n, 7, dt), torch.tensor([n, n - 1, 0, 64, 1]).clamp(max=n)
    exact = KERNELS.march(params, x.double(), 0.0, n, 7, dt)
    alone = b.gpu.march(params[3:4], there[3:4], 0.0, n, 7, dt)
    bad = there.clone()
    bad[2, 0, 5, 5] = torch.nan
    hurt = b.gpu.march(params, bad, 0.0, n, 7, dt)
    others = [0, 1, 3, 4]
    settled = b.gpu.march(params, there, 1e-3, n, 5, dt)
    by_torch = KERNELS.march(params, x, 1e-3, n, 5, dt)
    c = torch.randn((2, *x.shape), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    gradient, initial = b.gpu.pull_back(params, there, steps, c.to(b.device, dtype), dt)
    again, _ = b.gpu.pull_back(params, there, steps, c.to(b.device, dtype), dt)
    true_gradient, true_initial = KERNELS.pull_back(params, x.double(), steps, c, dt)
    yardstick, _ = KERNELS.pull_back(params, x, steps, c.to(dtype), dt)
    ends, tangents = b.gpu.push_forward(params, there, steps, dt)
    true_ends, true_tangents = KERNELS.push_forward(params, x.double(), steps, dt)
    return {
        "layout": str(in_registers(x.shape[1], *grid, x.element_size())),
        "march": apart(march.fields, exact.fields),
        "alone same bits": bool(torch.equal(alone.fields[0], march.fields[3])),
        "not a number": [str(hurt.change[2].item()), hurt.steps[2].item()],
        "others same bits": bool(torch.equal(hurt.fields[others], march.fields[others])),
        "steps": [settled.steps.tolist(), by_torch.steps.tolist()],
        "change": apart(settled.change, by_torch.change),
        "adjoint": [apart(gradient, true_gradient), apart(initial, true_initial)],
        "adjoint of the CPU in this dtype": apart(yardstick, true_gradient),
        "tangents": [apart(ends, true_ends), apart(tangents, true_tangents)],
        "again same bits": bool(torch.equal(again, gradient)),
    }


def require_right(found: dict[str, Any], *, single: bool) -> None:
    """Raise where a number is not as near as the CPU's own in float32, or as rounding in float64."""
    far = max(3 * found["adjoint of the CPU in this dtype"], 1e-4) if single else 1e-10
    flags = ("alone same bits", "others same bits", "again same bits")
    wrong = [name for name in ("march", "adjoint", "tangents") if not np.max(found[name]) <= far]
    wrong += [name for name in flags if not found[name]]
    wrong += ["steps"] if found["steps"][0] != found["steps"][1] else []
    wrong += ["not a number"] if found["not a number"] != ["nan", 7] else []
    if wrong:
        raise ValueError(f"wrong: {', '.join(wrong)}")


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest difference over the largest entry."""
    b = b.double()
    return float((a.cpu().double() - b).abs().max() / b.abs().max())


def forward(b: Bench) -> None:
    """Nanoseconds an instance and step, with all multiprocessors at work."""
    single, double = torch.float32, torch.float64
    for name, side, dtype in [
        ("gray_scott", 128, single), ("gray_scott", 64, single), ("gray_scott", 50, single),
        ("gray_scott", 128, double), ("gray_scott", 64, double), ("gray_scott", 127, single),
        ("gray_scott", 256, single), ("schnakenberg", 128, single), ("gierer_meinhardt", 128, single),
    ]:  # fmt: skip
        one_forward(b, name, 16 if b.dry else side, dtype)


def one_forward(b: Bench, name: str, side: int, dtype: torch.dtype) -> None:
    """One wave of instances, and four."""
    dt, layout = MODELS[name][1], in_registers(2, side, side, 4 if dtype == torch.float32 else 8)
    count, n = b.processors * (layout.blocks if layout else 1), b.size(10_240 if layout else 512, 8)
    params = some(name, count)
    x = fields_of(name, params, (side, side)).to(b.device, dtype)
    for many in (1, 4) if layout and not b.dry else (1,):
        given, start = (params, x) if many == 1 else (repeated(params, many), x.repeat(many, 1, 1, 1))
        best = b.seconds(partial(b.gpu.march, given, start, 0.0, n, 64, dt))
        key = f"forward {name} {side}x{side} {str(dtype)[6:]} of {len(given)}"
        b.keep(key, {"ns": best / n / len(given) * 1e9, "us a step of one": best / n / many * 1e6})


def repeated(params: ModelParams, many: int) -> ModelParams:
    """All instances several times."""
    return params[[i for _ in range(many) for i in range(len(params))]]


def gradients(b: Bench) -> None:
    """The adjoint of fixed steps against the march alone, and tangents; the last is the paper's training step."""
    for side, count, n in [(128, b.processors, 1000), (64, 2 * b.processors, 1000), (128, 8, 20_000)]:
        if b.dry:
            side, count, n = 16, 2, 8
        one_gradient(b, side, count, n)


def one_gradient(b: Bench, side: int, count: int, n: int) -> None:
    """Nanoseconds an instance and step."""
    params = some("gray_scott", count)
    x = fields_of("gray_scott", params, (side, side)).to(b.device, torch.float32)
    c, steps = torch.randn((1, *x.shape), device=b.device), torch.full((count,), n)
    march = b.seconds(partial(b.gpu.march, params, x, 0.0, n, 64, 1.0))
    adjoint = b.seconds(partial(b.gpu.pull_back, params, x, steps, c, 1.0))
    value = {
        "march": march / n / count * 1e9,
        "adjoint": adjoint / n / count * 1e9,
        "of one march": adjoint / march,
        "seconds": adjoint,
    }
    if n <= 1000:
        value["tangents"] = b.seconds(partial(b.gpu.push_forward, params, x, steps, 1.0), 1) / n / count * 1e9
    b.keep(f"gradient {side}x{side} of {count}, {n} steps, ns an instance and step", value)


def plane(b: Bench) -> None:
    """Points of the F-k plane times samples, marched until they settle: the kernel alone, and through `scan`."""
    samples, side, points = b.size(16, 1), b.size(128, 16), b.size(50, 2)
    axes = {"F": np.linspace(0.02, 0.07, points), "k": np.linspace(0.053, 0.068, points)}
    most, initial = b.size(50_000, 16), gs.initial_state(count=samples, grid=(side, side), box=gs.Box(half=side // 8))
    F, k = np.meshgrid(*axes.values(), indexing="ij")
    many = np.repeat(np.stack([F.ravel(), k.ravel()]), samples, axis=1)
    params = gs.Params(Du=[0.16] * many.shape[1], Dv=0.08, F=many[0].copy(), k=many[1].copy())
    x = initial.float().repeat(points**2, 1, 1, 1).to(b.device)
    begin = time.perf_counter()
    found = b.gpu.march(params, x, 1e-4, most, 64, 1.0)
    b.wait()
    seconds, steps = time.perf_counter() - begin, int(found.steps.sum())
    settled = float((found.status(1e-4) == gs.Status.SETTLED).double().mean())
    kernel = {"seconds": seconds, "instance steps": steps, "ns": seconds / steps * 1e9, "settled": settled}
    b.keep(f"plane of {points} x {points} points and {samples} samples", kernel)
    del x, found
    few = {name: at[:2] for name, at in axes.items()}  # what the first call of a process takes is told apart
    begin = time.perf_counter()
    gs.scan(few, initial=initial, tol=1e-4, max_steps=64, device=b.device, progress=False)
    b.keep("first scan of four points and 64 steps, seconds", time.perf_counter() - begin)
    begin = time.perf_counter()
    data = gs.scan(axes, initial=initial, tol=1e-4, max_steps=most, device=b.device, progress=False)
    seconds = time.perf_counter() - begin
    b.keep("the same through scan, with the spectrum loss", {
        "seconds": seconds, "of the kernel": seconds / kernel["seconds"],
        "same steps": int(data.steps.sum()) == steps, "finite losses": float(np.isfinite(data.loss).mean()),
    })  # fmt: skip


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


def doors(b: Bench) -> None:
    """The package's own doors with fields on the device: states, gradients by every route, a batch of gradients."""
    if b.dry:
        return
    params, x = gs.Params.preset("paper"), gs.initial_state(grid=(64, 64))
    for route in ("implicit", "unrolled", "truncated", "tangent", "finite_difference"):
        begin = time.perf_counter()
        there = gs.grad(params, route=route, loss=mean_square, initial=x.cuda(), tol=1e-4, max_steps=20_000)
        seconds = time.perf_counter() - begin
        here = gs.grad(params, route=route, loss=mean_square, initial=x, tol=1e-4, max_steps=20_000)
        pairs = [(getattr(there.grad, name).cpu(), getattr(here.grad, name)) for name in ("Du", "Dv", "F", "k")]
        difference = max(abs(a - b).item() / abs(b).item() for a, b in pairs)
        b.keep(f"door grad {route}", {"difference": difference, "seconds": seconds,
                                      "lies on": str(there.state.fields.device)})  # fmt: skip


def mean_square(v: torch.Tensor) -> torch.Tensor:
    """Mean of v^2."""
    return (v**2).mean(dim=(-2, -1))


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


def long_plane(b: Bench) -> None:
    """With `--long`: 50 x 50 points and 512 samples through `scan`, some three minutes."""
    if not b.long:
        return
    samples, side, points = b.size(512, 2), b.size(128, 16), b.size(50, 2)
    axes = {"F": np.linspace(0.02, 0.07, points), "k": np.linspace(0.053, 0.068, points)}
    initial = gs.initial_state(count=samples, grid=(side, side), box=gs.Box(half=side // 8))
    begin = time.perf_counter()
    data = gs.scan(axes, initial=initial, tol=1e-4, max_steps=b.size(50_000, 16), device=b.device, progress=False)
    value = {"seconds": time.perf_counter() - begin, "instance steps": int(data.steps.sum())}
    b.keep(f"plane of {points} x {points} points and {samples} samples, through scan", value)


ITEMS = (right, forward, gradients, plane, doors, roots, peers, by_jax, long_plane)


def main() -> None:
    """Run all items; one that fails is kept with its words."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry", action="store_true", help="toy size, on the CPU")
    parser.add_argument("--long", action="store_true", help="also the plane of 50 x 50 points and 512 samples")
    parser.add_argument("--output", type=Path, default=RESULTS / "gpu.json")
    parser.add_argument("--only", nargs="*", default=[one.__name__ for one in ITEMS])
    given = parser.parse_args()
    if not given.dry and not torch.cuda.is_available():
        sys.exit("there is no CUDA device here; --dry runs every item at toy size on the CPU")
    b = Bench(given.output, dry=given.dry, long=given.long)
    b.keep("machine", {
        "device": "threads" if given.dry else torch.cuda.get_device_name(),
        "processors": b.processors,
        "python": platform.python_version(),
        **{name: _version(name) for name in ("torch", "cuda-bindings", "numpy")},
    })  # fmt: skip
    failed = False
    for item in ITEMS:
        if item.__name__ in given.only:
            try:
                item(b)
            except Exception:
                failed = True
                b.keep(f"{item.__name__} failed", traceback.format_exc()[-1500:])
    sys.exit(failed)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
