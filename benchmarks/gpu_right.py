"""Steps on a GPU against the kernels of the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.gpu_work import MODELS, apart, fields_of, some
from gsimplicit.marching import KERNELS
from gsimplicit.marching.layouts import in_registers

if TYPE_CHECKING:
    from benchmarks.gpu import Bench


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
