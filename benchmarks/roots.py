"""Roots of a batch on a device against those of the CPU with all its cores."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import gsimplicit as gs

if TYPE_CHECKING:
    from benchmarks.gpu import Bench

CPU_SECONDS = 12.0
"""What the CPU may take, about: then as many instances as fit, and their time is scaled."""


def roots(b: Bench) -> None:
    """64 roots over the patterned region, marched on the device first, then certified on either side."""
    side, points = b.size(64, 32), b.size(8, 2)
    F = np.repeat(np.linspace(0.028, 0.054, points), points)
    # k from the saddle-node of the uniform states into the region of patterns
    k = np.sqrt(F) / 2 - F + np.tile(np.linspace(0.0, 0.004, points), points)
    params = gs.Params(Du=[0.16] * len(F), Dv=0.08, F=F, k=k)
    start = gs.initial_state(count=len(F), grid=(side, side), box=gs.Box(half=side // 4)).to(b.device)
    begin = time.perf_counter()
    marched = gs.steady_state(params, start, tol=1e-5, max_steps=b.size(50_000, 5_000), progress=False).fields.double()
    b.wait()
    found: dict[str, Any] = {"marched first, seconds": time.perf_counter() - begin}
    refine = gs.Refine(linear=gs.Gmres(device=b.device, batch=len(F)), max_evaluations=b.size(200_000, 20_000))
    certified(params[:2], marched[:2], refine)  # compiles
    there, found["device, seconds"] = certified(params, marched, refine)
    here, found["cpu, seconds"], count = on_cpu(
        params, marched.cpu(), gs.Refine(max_evaluations=refine.max_evaluations)
    )
    found |= {
        "cpu, threads": cores(),
        "cpu, instances": f"{count} of {len(F)}" + ("" if count == len(F) else ", its seconds scaled"),
        "cpu over device": found["cpu, seconds"] / found["device, seconds"],
        **compared(there[list(range(count))], here),
        "certified on the device": int(there.has_root.sum()),
    }
    b.keep(f"roots, {len(F)} of {side}x{side}", found)


def certified(params: gs.Params, fields: torch.Tensor, refine: gs.Refine) -> tuple[gs.SteadyState, float]:
    """The roots, where the fields lie, and the seconds they took."""
    begin = time.perf_counter()
    state = gs.steady_state(
        params, fields, max_steps=1, check_every=1, dtype=torch.float64, refine=refine, progress=False
    )
    return state, time.perf_counter() - begin


def cores() -> int:
    """Cores of the CPU that are ours."""
    return len(os.sched_getaffinity(0))


def on_cpu(params: gs.Params, fields: torch.Tensor, refine: gs.Refine) -> tuple[gs.SteadyState, float, int]:
    """Roots by sparse LU on all cores, the seconds of all instances, and how many were computed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(cores())
    try:
        few = min(cores(), len(fields))
        state, seconds = certified(params[:few], fields[:few], refine)
        count = min(len(fields), max(int(CPU_SECONDS / seconds), 1) * few)
        if count > few:
            state, seconds = certified(params[:count], fields[:count], refine)
    finally:
        torch.set_num_threads(threads)
    return state, seconds * len(fields) / count, count


def compared(there: gs.SteadyState, here: gs.SteadyState) -> dict[str, Any]:
    """Verdicts and fields of the same instances by both."""
    both = there.has_root & here.has_root
    apart = (there.fields.cpu() - here.fields).flatten(1)
    bound = there.distance + here.distance
    near = both & torch.isfinite(bound)
    return {
        "same status": int((there.status == here.status).sum()),
        "certified by both": int(both.sum()),
        "largest difference": float(apart[both].abs().max()) if bool(both.any()) else None,
        "with a bound on the distance": int(near.sum()),
        "within it": int((apart.norm(dim=1) <= bound)[near].sum()),
    }
