"""How the price of each route grows: `python -m benchmarks.growth`, some minutes on one core.

The gradient of mean v^2 alone, the state being given: seconds and growth of the resident memory, by number of steps, by
side of the grid and by size of the batch. Each number is that of a process of its own, after a call that compiles.
"""

from __future__ import annotations

import json
import subprocess
import sys

import torch

import gsimplicit as gs
from gsimplicit.arguments import March
from gsimplicit.routes import Deq, FiniteDifference, Implicit, Route, Tangent, Truncated, Unrolled
from gsimplicit.routes.arguments import as_objective
from gsimplicit.routes.compare import measured
from gsimplicit.routes.route import Problem

ROUTES: dict[str, Route] = {
    "implicit": Implicit(),
    "deq": Deq(),
    "tangent at a root": Tangent(refine=True),
    "differences of roots": FiniteDifference(refine=True),
    "unrolled": Unrolled(),
    "tangent": Tangent(),
    "truncated 1000": Truncated(1000),
    "finite differences": FiniteDifference(),
}
CASES = (
    [(steps, 64, 1) for steps in (2_000, 8_000, 32_000)] + [(2_000, side, 1) for side in (32, 128)] + [(2_000, 64, 4)]
)


def mean_square(v: torch.Tensor) -> torch.Tensor:
    """Mean of v^2."""
    return (v**2).mean(dim=(-2, -1))


def one(name: str, steps: int, side: int, batch: int) -> tuple[float, float]:
    """Seconds and MiB of one route; steps count for routes at finite time alone."""
    torch.set_num_threads(1)
    route = ROUTES[name]
    params = gs.Params.preset("paper").expand(batch)
    start = gs.initial_state(grid=(side, side), box=gs.Box(half=side // 4)).expand(batch, -1, -1, -1)
    if route.needs_root:
        start = gs.steady_state(params[0], start[:1], refine=True).fields.expand(batch, -1, -1, -1).contiguous()
    objective = as_objective(mean_square, None, batch, (side, side), params.model)
    for count in (10, steps):
        problem = Problem(params, start, March(0.0, count, 64))
        row = measured(route, problem, objective)
    return row.seconds, row.memory


def main() -> None:
    """Print one line a route and case."""
    if len(sys.argv) > 1:
        print(json.dumps(one(sys.argv[1], *map(int, sys.argv[2:]))))
        return
    for name, route in ROUTES.items():
        for steps, side, batch in CASES:
            if route.needs_root and steps > 2_000:
                continue
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.growth", name, str(steps), str(side), str(batch)],
                capture_output=True,
                text=True,
                check=True,
            )
            seconds, memory = json.loads(done.stdout.strip().splitlines()[-1])
            what = "root" if route.needs_root else f"{steps} steps"
            print(f"{name}: {what}, {side} x {side}, batch {batch}: {seconds:.3f} s, {memory:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
