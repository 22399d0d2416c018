"""What the kernels, roots and routes gave when the net was recorded: bits where bits are promised, else numbers.

`python tests/golden.py` records anew into `tests/data/golden.json`. That is right only where a change of the numbers is
meant: say which and why in the commit. Kernels are kept as SHA-256 of their output. The four sums of the adjoint over a
grid are gathered in the lanes of a vector, so their bits belong to a vector length: all three are recorded on one
machine, by telling the package how long its vectors are.

Moved since: float32 `push_forward` in rows of any width, recorded as "loops". numba took `1 - u` for float64 there, so
that the forces were rounded later than the rest; both layouts have one writer now and give the same bits, those that
"lanes" had. And the gradients of torchdeq, which was linearised at the root moved by `M^-1 G` and not at the root
itself (1e-9 elsewhere, by itself at "other diffusion", where the lattice holds the pattern with 4e-12). And all
roots, by up to 2e-10: Newton's method steps otherwise, and takes one step more once the residual is below 1e-10.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

import gsimplicit as gs
from gsimplicit import models, routes
from gsimplicit.equations import Equations
from gsimplicit.marching import compiled, cpu, lanes, rows, writer
from gsimplicit.refine.tail import chebyshev

FILE = Path(__file__).parent / "data" / "golden.json"
HEIGHT, STEPS = 40, 203
"""Two bands of rows, and steps that are no multiple of a band's depth."""

WIDTHS, DTYPES, LAYOUTS = (32, 128, 130), ("float32", "float64"), ("lanes", "loops")
PAPER = Equations(models.gray_scott, np.array([0.16, 0.08, 0.035, 0.065]))
KERNELS = [
    (width, dtype, layout)
    for width in WIDTHS
    for dtype in DTYPES
    for layout in LAYOUTS
    if layout == "loops" or width % 32 == 0
]

ROOTS: dict[str, tuple[tuple[float, float, float, float], int, int, int]] = {
    "uniform": ((0.16, 0.08, 0.03, 0.05), 24, 5, 0),
    "trivial": ((0.16, 0.08, 0.035, 0.075), 24, 5, 0),
    "drifting": ((0.16, 0.08, 0.035, 0.065), 48, 10, 0),
    "seed 1": ((0.16, 0.08, 0.035, 0.065), 32, 7, 1),
    "seed 2": ((0.16, 0.08, 0.035, 0.065), 32, 7, 2),
    "spots": ((0.16, 0.08, 0.035, 0.0625), 32, 7, 3),
    "hexagons": ((0.16, 0.08, 0.045, 0.063), 32, 7, 0),
    "stripes": ((0.16, 0.08, 0.045, 0.0605), 32, 7, 0),
    "other diffusion": ((0.18, 0.07, 0.04, 0.062), 32, 7, 0),
    "odd grid": ((0.16, 0.08, 0.035, 0.064), 27, 6, 0),
}
"""Parameters, side of the grid, half side of the box and seed of ten roots."""


def random_fields(width: int, dtype: str, count: int = 1, seed: int = 0) -> np.ndarray[Any, Any]:
    """u in (0.2, 0.7) and v in (0.1, 0.5) from bits alone, no library's logarithm; shape (count, 2, HEIGHT, width)."""
    draws = np.random.default_rng([seed, width]).random((count, 2, HEIGHT, width))
    return (np.array([0.2, 0.1])[:, None, None] + np.array([0.5, 0.4])[:, None, None] * draws).astype(dtype)


def sha(*arrays: Any) -> str:
    """SHA-256 of the bytes of arrays, with their dtype and shape."""
    digest = hashlib.sha256()
    for array in map(np.asarray, arrays):
        digest.update(f"{array.dtype.str} {array.shape} ".encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def kernels(width: int, dtype: str, layout: str) -> dict[str, str]:
    """Digests of what each kernel gives in one layout."""
    packed = compiled._packed
    compiled._packed = lanes.pack if layout == "lanes" else rows.pack
    try:
        fields, cotangents = random_fields(width, dtype)[0], random_fields(width, dtype, 2, seed=1) - np.float32(0.25)
        end, steps, change = cpu.march(PAPER, fields, 0.0, STEPS, 64)
        settled = cpu.march(PAPER, fields, 2e-2, STEPS, 4)
        stage = cpu.stabilised(PAPER, fields.astype(np.float64), chebyshev(8, 1.6), 5)
        sums, adjoint = cpu.pull_back(PAPER, fields, STEPS, cotangents)
        pushed, tangents = cpu.push_forward(PAPER, fields, STEPS)
    finally:
        compiled._packed = packed
    return {
        "march": sha(end, steps, np.float64(change)),
        "march with stop test": sha(settled[0], settled[1], np.float64(settled[2])),
        "stabilised": sha(stage[0], np.float64(stage[1])),
        "pull_back fields": sha(adjoint),
        f"pull_back sums, {writer.BYTES if layout == 'lanes' else 'any'}": sha(sums),
        "push_forward": sha(pushed, tangents),
    }


def mean_square(v: torch.Tensor) -> torch.Tensor:
    """Mean of v^2."""
    return (v**2).mean(dim=(-2, -1))


def root_of(name: str) -> gs.SteadyState:
    """A certified root."""
    parameters, side, half, seed = ROOTS[name]
    start = gs.initial_state(seed=seed, grid=(side, side), box=gs.Box(half=half))
    return gs.steady_state(gs.Params(*parameters), start, tol=1e-6, max_steps=100_000, refine=True)


def described(state: gs.SteadyState) -> dict[str, Any]:
    """What is kept of a root."""
    fields = state.fields[0]
    return {
        "status": int(state.status[0]),
        "kind": int(state.kind[0]),
        "moments": [fields[0].mean().item(), fields[1].mean().item(), fields.square().mean().item()],
        "largest": fields[1].max().item(),
    }


def gradients(state: gs.SteadyState) -> dict[str, list[float]]:
    """Gradients of mean v^2 by every route: at the root, and over 300 steps from half a per cent beside it."""
    parameters = state.params
    at_root: list[Any] = ["implicit", "deq", routes.Tangent(refine=True), routes.FiniteDifference(refine=True)]
    finite: list[Any] = ["unrolled", routes.Truncated(steps=100), "tangent", "finite_difference"]
    out = {}
    for route in at_root:
        found = gs.grad(parameters, route, mean_square, initial=state.fields)
        out[f"{found.route} at the root"] = found.grad.tensor()[0].tolist()
    beside = state.fields * torch.tensor([1.005, 0.995], dtype=torch.float64)[:, None, None]
    for route in finite:
        found = gs.grad(parameters, route, mean_square, initial=beside, tol=0.0, max_steps=300)
        out[f"{found.route} over 300 steps"] = found.grad.tensor()[0].tolist()
    return out


def recorded() -> dict[str, Any]:
    """The net as it was recorded."""
    return dict(json.loads(FILE.read_text()))


_SHORTER = """
import json
from gsimplicit.marching import writer
writer.BYTES = {bytes}
import golden
print(json.dumps({{" ".join(map(str, k)): golden.kernels(*k) for k in golden.KERNELS}}))
"""


def main() -> None:
    """Record everything, kernels with vectors of 64, 32 and 16 bytes."""
    found: dict[str, dict[str, str]] = {" ".join(map(str, k)): {} for k in KERNELS}
    for size in (64, 32, 16):
        code = _SHORTER.format(bytes=size)
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
        text = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=env).stdout
        for name, digests in json.loads(text).items():
            for kernel, digest in digests.items():
                before = found[name].setdefault(kernel, digest)
                if before != digest:
                    raise RuntimeError(f"{kernel} at {name} depends on the length of vectors")
    roots = {}
    for name in ROOTS:
        state = root_of(name)
        state.require_steady()
        roots[name] = {**described(state), "gradients": gradients(state)}
    FILE.write_text(json.dumps({"kernels": found, "roots": roots}, indent=1) + "\n")


if __name__ == "__main__":
    main()
