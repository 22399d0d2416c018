"""The implicit gradient at certified roots: against differences of re-certified roots, and its price in factorisations.

Run by `python -m benchmarks.implicit`: the points of `studies/oracle.csv` on 64 x 64 that settle, one thread.
"""

from __future__ import annotations

import csv
import time

import numpy as np
import torch

import gsimplicit as gs
from gsimplicit.refine.linear import SparseLU, jacobian
from gsimplicit.routes import FiniteDifference, Implicit
from gsimplicit.routes.contract import Problem
from gsimplicit.steady import March
from studies.oracle import TABLE


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


def main() -> None:
    """Print the agreement and the price at each point, and their worst."""
    torch.set_num_threads(1)
    with TABLE.open() as stream:
        rows = [r for r in csv.DictReader(stream) if r["side"] == "64" and int(r["steps_1e-06"])]
    apart, price = [], []
    for row in rows:
        params = gs.Params(0.16, 0.08, float(row["F"]), float(row["k"]))
        root = gs.steady_state(params, gs.initial_state(grid=(64, 64)), refine=True)
        if not root.has_root[0]:
            print(f"F {row['F'][:7]} k {row['k'][:7]}: {root}")
            continue
        problem = Problem(root.params, root.fields, March(0.0, 1, 1))
        implicit = Implicit().differentiate(problem, root, [mean_square]).gradient[0, 0]
        differences = FiniteDifference(refine=True).differentiate(problem, root, [mean_square]).gradient[0, 0]
        apart.append(float((implicit - differences).norm() / implicit.norm()))
        matrix = jacobian(root.fields[0].numpy(), root.params.tensor()[0].numpy())
        lu = seconds(lambda: SparseLU(matrix))  # noqa: B023
        price.append(seconds(lambda: Implicit().differentiate(problem, root, [mean_square])) / lu)  # noqa: B023
        print(f"F {row['F'][:7]} k {row['k'][:7]}: apart {apart[-1]:.1e}, price {price[-1]:.2f} factorisations")
    print(
        f"{len(apart)} points: apart at most {max(apart):.1e}, median {np.median(apart):.1e}; "
        f"price at most {max(price):.2f}, median {np.median(price):.2f} factorisations"
    )


if __name__ == "__main__":
    main()
