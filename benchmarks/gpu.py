"""Steps on a GPU: right first, then how fast, against plain torch and torch.compile on the same work.

`python -m benchmarks.gpu` takes some four minutes on one device; what is found is written after every item, so that a
run that is cut short still tells. `--long` asks besides what has never run on a device, and takes twelve in all by
estimate. Items come in the order of what they decide. Those that `--seconds` leaves no time for are left out, and said.
`--dry` runs every item at toy size on a device that is pretended on the CPU, the kernels on threads.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import platform
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import gsimplicit as gs
from benchmarks.gpu_doors import crossings, doors, mended, scans, study
from benchmarks.gpu_peers import by_jax, peers
from benchmarks.gpu_right import right
from benchmarks.gpu_work import MODELS, fields_of, repeated, some
from benchmarks.roots import roots
from gsimplicit.marching.gpu import GPU
from gsimplicit.marching.layouts import in_registers

RESULTS = Path(__file__).parent / "results"
LATE = 60
"""Seconds beyond the time given after which whatever hangs is ended, with its traceback."""


class Bench:
    """What is measured where, and what was found so far."""

    def __init__(self, file: Path, *, dry: bool) -> None:
        self.file, self.dry, self.found = file, dry, dict[str, Any]()
        self.start = time.perf_counter()
        self.gpu, self.device = GPU, torch.device("cuda", 0)
        self.processors = self.gpu.machine_for(self.device).processors

    @property
    def passed(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self.start

    def size(self, real: int, toy: int) -> int:
        """One number for a device and another for a dry run."""
        return toy if self.dry else real

    def keep(self, name: str, value: Any) -> None:
        """Write what was found."""
        self.found[name] = value
        print(f"{time.perf_counter() - self.start:6.1f} s  {name}: {json.dumps(value, default=str)}", flush=True)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.found, indent=1, default=str)
        whole = self.file.with_suffix(".part")
        whole.write_text(text + "\n")
        whole.replace(self.file)  # whoever ends the process leaves a whole file

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


def long_plane(b: Bench) -> None:
    """50 x 50 points and 512 samples through `scan`, some three minutes."""
    samples, side, points = b.size(512, 2), b.size(128, 16), b.size(50, 2)
    axes = {"F": np.linspace(0.02, 0.07, points), "k": np.linspace(0.053, 0.068, points)}
    initial = gs.initial_state(count=samples, grid=(side, side), box=gs.Box(half=side // 8))
    if not b.dry:
        torch.cuda.reset_peak_memory_stats()
    begin = time.perf_counter()
    data = gs.scan(axes, initial=initial, tol=1e-4, max_steps=b.size(50_000, 16), device=b.device, progress=False)
    value = {"seconds": time.perf_counter() - begin, "instance steps": int(data.steps.sum())}
    if not b.dry:
        value["GB held at most"] = torch.cuda.max_memory_allocated() / 1e9
    b.keep(f"plane of {points} x {points} points and {samples} samples, through scan", value)


ITEMS: dict[Callable[[Bench], None], float] = {
    right: 90,
    mended: 20,
    crossings: 150,
    scans: 60,
    doors: 15,
    plane: 20,
    long_plane: 180,
    study: 50,
    by_jax: 20,
    gradients: 10,
    roots: 35,
    peers: 35,
    forward: 20,
}
"""In the order of what they decide, with the seconds that they may take on an H100, to know what there is time for."""
LONG = (mended, crossings, scans, long_plane, study)
"""Those of `--long`."""


def main() -> None:
    """Run all items there is time for; one that fails is kept with its words."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry", action="store_true", help="toy size, on a pretended device")
    parser.add_argument("--long", action="store_true", help="also what has never run on a device")
    parser.add_argument("--output", type=Path, default=RESULTS / "gpu.json")
    parser.add_argument("--only", nargs="+", choices=[one.__name__ for one in ITEMS])
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin nothing that would end later")
    given = parser.parse_args()
    if not given.dry and not torch.cuda.is_available():
        sys.exit("there is no CUDA device here; --dry runs every item at toy size on the CPU")
    if given.seconds < float("inf"):
        faulthandler.dump_traceback_later(given.seconds + LATE, exit=True)
    with _pretended() if given.dry else nullcontext():
        b = Bench(given.output, dry=given.dry)
        b.keep("machine", {
            "device": torch.cuda.get_device_name(),
            "processors": b.processors,
            "python": platform.python_version(),
            **{name: _version(name) for name in ("torch", "cuda-bindings", "numpy")},
        })  # fmt: skip
        names = given.only or [one.__name__ for one in ITEMS if given.long or one not in LONG]
        chosen = [(one, cost) for one, cost in ITEMS.items() if one.__name__ in names]
        fine = [_done(b, item, cost, given.seconds) for item, cost in chosen]
        b.keep("seconds in all", b.passed)
    sys.exit(not all(fine))


def _done(b: Bench, item: Callable[[Bench], None], cost: float, seconds: float) -> bool:
    """Whether an item went well, or there was no time for it."""
    name, begin = item.__name__, b.passed
    if begin + cost > seconds:  # what it costs on a device
        b.keep(f"{name} left out", f"{cost:.0f} s wanted, {seconds - begin:.0f} s left")
        return True
    try:
        item(b)
    except Exception:
        b.keep(f"{name} failed", traceback.format_exc()[-1500:])
        return False
    finally:
        b.keep(f"{name}, seconds", b.passed - begin)
    return True


def _pretended() -> Any:
    from benchmarks.pretended import pretended

    return pretended()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
