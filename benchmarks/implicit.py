"""The implicit gradient at certified roots: against differences of re-certified roots, and its price in factorisations.

Run by `python -m benchmarks.implicit`: the points of `studies/oracle.csv` on 64 x 64 that settle, and the first twelve
of those on 32 x 32, one thread. Of two steps of differences the one with the smaller error estimate counts.
"""

from __future__ import annotations

import csv
import time

import numpy as np
import torch

import gsimplicit as gs
from gsimplicit.arguments import March
from gsimplicit.equations import instances
from gsimplicit.refine.linear import SparseLU, jacobian
from gsimplicit.routes import FiniteDifference, Implicit
from gsimplicit.routes.route import Problem
from studies.oracle import GRIDS, TABLE


def mean_square(v: torch.Tensor) -> torch.Tensor:
    """Mean of v^2."""
    return (v**2).mean(dim=(-2, -1))


def seconds(work: object) -> float:
    """Best of three."""
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        work()  # type: ignore[operator]
        times.append(time.perf_counter() - begin)
    return min(times)


def start(side: int) -> torch.Tensor:
    """The initial fields of the oracle."""
    return gs.initial_state(grid=(side, side), box=gs.Box(half=GRIDS[side]))


def main() -> None:
    """Print the agreement and the price at each point, and their worst."""
    torch.set_num_threads(1)
    with TABLE.open() as stream:
        settled = [r for r in csv.DictReader(stream) if int(r["steps_1e-06"])]
    rows = [r for r in settled if r["side"] == "64"] + [r for r in settled if r["side"] == "32"][:12]
    apart, price, done = [], [], []
    for row in rows:
        params = gs.Params(0.16, 0.08, float(row["F"]), float(row["k"]))
        root = gs.steady_state(params, start(int(row["side"])), refine=True)
        if not root.has_root[0]:
            print(f"F {row['F'][:7]} k {row['k'][:7]}: {root}")
            continue
        problem = Problem(root.params, root.fields, March(0.0, 1, 1))
        implicit = Implicit().differentiate(problem, root, [mean_square]).gradient[0, 0]
        tried = [
            FiniteDifference(step=2.0**-n, refine=True).differentiate(problem, root, [mean_square]) for n in (20, 22)
        ]
        differences = min(tried, key=lambda f: float(f.certificates[0].error)).gradient[0, 0]
        apart.append(float((implicit - differences).norm() / implicit.norm()))
        matrix = jacobian(*instances(root.params), root.fields[0].numpy())
        lu = seconds(lambda: SparseLU(matrix))  # noqa: B023
        price.append(seconds(lambda: Implicit().differentiate(problem, root, [mean_square])) / lu)  # noqa: B023
        done.append(row)
        where = f"{row['side']} F {row['F'][:7]} k {row['k'][:7]}"
        print(f"{where}: apart {apart[-1]:.1e}, price {price[-1]:.2f} factorisations")
    print(f"{len(apart)} points: apart at most {max(apart):.1e}, median {np.median(apart):.1e}")
    for side in ("64", "32"):
        some = [p for p, r in zip(price, done, strict=True) if r["side"] == side]
        print(f"{side} x {side}: price at most {max(some):.2f}, median {np.median(some):.2f} factorisations")


if __name__ == "__main__":
    main()
