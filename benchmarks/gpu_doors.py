"""The package's doors with fields on a device, a study there, and what was mended after a device was last at hand."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import gsimplicit as gs
from benchmarks.doors import DOORS, SCANS, mean_square, scanned
from benchmarks.gpu_work import apart, replaced, some
from gsimplicit.marching import gpu

if TYPE_CHECKING:
    from benchmarks.gpu import Bench


def crossings(b: Bench) -> None:
    """All that takes a device, at toy size."""
    _each(b, "door", DOORS)


def scans(b: Bench) -> None:
    """Scans of all kinds against those of the CPU, at toy size."""
    with TemporaryDirectory() as folder:
        _each(b, "scan", {name: partial(_scan, name, Path(folder)) for name in SCANS})


def _scan(name: str, folder: Path) -> float:
    there, here = scanned(name, folder)
    return float(np.nanmax(np.abs(there.loss - here.loss) / np.abs(here.loss).max()))


def _each(b: Bench, what: str, work: dict[str, Callable[[], Any]]) -> None:
    """Seconds of each, or how it failed; one that fails leaves the others."""
    failed = []
    for name, one in work.items():
        begin = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = one()
        except Exception as error:
            failed.append(name)
            b.keep(f"{what} {name}", f"{type(error).__name__}: {str(error)[:300]}")
            continue
        value = {"seconds": time.perf_counter() - begin, "apart": found}
        b.keep(f"{what} {name}", {key: one for key, one in value.items() if isinstance(one, float)})
    if failed:
        raise ValueError(f"wrong: {', '.join(failed)}")


def doors(b: Bench) -> None:
    """The package's own doors with fields on the device: states, gradients by every route, a batch of gradients."""
    side = b.size(64, 16)
    params, x = gs.Params.preset("paper"), gs.initial_state(grid=(side, side), box=gs.Box(half=side // 4))
    most = b.size(20_000, 64)
    for route in ("implicit", "unrolled", "truncated", "tangent", "finite_difference"):
        begin = time.perf_counter()
        there = gs.grad(params, route=route, loss=mean_square, initial=x.cuda(), tol=1e-4, max_steps=most)
        seconds = time.perf_counter() - begin
        here = gs.grad(params, route=route, loss=mean_square, initial=x, tol=1e-4, max_steps=most)
        pairs = [(getattr(there.grad, name).cpu(), getattr(here.grad, name)) for name in ("Du", "Dv", "F", "k")]
        difference = max(abs(a - b).item() / abs(b).item() for a, b in pairs)
        b.keep(f"door grad {route}", {"difference": difference, "seconds": seconds,
                                      "lies on": str(there.state.fields.device)})  # fmt: skip


def mended(b: Bench) -> None:
    """A history of more than 2^31 numbers, and how long a launch lets nobody in."""
    side, n = b.size(128, 16), b.size(140_000, 40)
    params = some("gray_scott", 1)
    x = gs.initial_state(grid=(side, side), box=gs.Box(half=side // 8)).to(b.device, torch.float32)
    c, steps = torch.ones((1, *x.shape), device=b.device), torch.tensor([n])
    parts = b.gpu.pull_back(params, x, steps, c, 1.0)
    with replaced(gpu, "LAUNCH", 10**14):
        whole = b.gpu.pull_back(params, x, steps, c, 1.0)
    b.keep(f"adjoint of {n} steps at once and by stretches, apart", {
        "gradient": apart(parts[0], whole[0].cpu()), "start": apart(parts[1], whole[1].cpu()),
        "finite": bool(torch.isfinite(whole[0]).all()),
    })  # fmt: skip
    many = some("gray_scott", 4 * b.processors)
    y = x.expand(len(many), -1, -1, -1)
    slow, all_ = b.size(20_000, 8), torch.full((len(many),), b.size(10_000, 8))
    one = y[: b.processors]
    b.keep("longest launch, seconds", {
        "march": longest(b, lambda: b.gpu.march(many, y, 0.0, b.size(200_000, 8), 64, 1.0)),
        "march in double": longest(b, lambda: b.gpu.march(many[: len(one)], one.double(), 0.0, slow, 64, 1.0)),
        "tangents": longest(b, lambda: b.gpu.push_forward(many[: len(one)], one, all_[: len(one)] // 2, 1.0)),
        "adjoint": longest(b, lambda: b.gpu.pull_back(many, y, all_, torch.ones((1, *y.shape), device=b.device), 1.0)),
    })  # fmt: skip


def longest(b: Bench, work: Callable[[], object]) -> float:
    """The longest time between two looks for an interrupt, and after the last one."""
    times, look = list[float](), gpu.look

    def looked() -> None:
        b.wait()
        times.append(time.perf_counter())
        look()

    work()  # compiles
    with replaced(gpu, "look", looked):
        work()
    b.wait()
    return float(np.diff([*times, time.perf_counter()]).max())


def study(b: Bench) -> None:
    """Figure 3 at quick scale, its planes marched on the device."""
    from studies import _common, _planes, fig3
    from studies._device import on_device

    with TemporaryDirectory() as folder:
        if not b.dry:
            try:
                report = _common.run(fig3.STUDY, "quick", Path(folder), str(b.device))
            finally:
                _common.dismiss()
            told = {f"{n}: {claim.text}"[:80]: claim.holds for n, claim in enumerate(report.claims)}
            b.keep("study fig3 at quick scale", {"seconds": report.seconds, "claims": told})
            return
        toy = partial(gs.initial_state, grid=(16, 16), box=gs.Box(half=3))
        here = partial(replaced, name="on_workers", by=lambda compute: compute(None))
        with (
            replaced(gs, "initial_state", toy),
            replaced(_planes, "SIZES", {"quick": (2, 1)}),
            here(_common),
            here(_planes),
            on_device(str(b.device)),
        ):
            found = _planes.losses_of_plane("fig3_F_k", ["spectrum", "windowed"], "quick", Path(folder))
        b.keep("plane of a study", {"finite losses": float(np.isfinite(found.loss).mean())})
