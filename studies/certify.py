"""Refinement judged against the oracle: how many of 120 random patterns are certified, how fast, and how stable.

Run once, by `python -m studies.certify`; its table is kept in `studies/certified.csv`. Points are those of
`studies/oracle.csv`. Seconds are CPU seconds of one process, marching included, eigenvalues not. On 2 cores it takes
about a quarter of an hour.
"""

from __future__ import annotations

import csv
import time
from pathlib import Path

import loky
import torch

import gsimplicit as gs
from studies.oracle import GRIDS, TABLE

CERTIFIED = Path(__file__).with_name("certified.csv")


def judge(side: int, F: float, k: float, tail: str) -> dict[str, float | str]:
    """Certify one point and time it."""
    torch.set_num_threads(1)
    params = gs.Params(0.16, 0.08, F, k)
    fields = gs.initial_state(grid=(side, side), box=gs.Box(half=GRIDS[side]))
    begin = time.process_time()
    root = gs.steady_state(params, fields, refine=gs.Refine(tail=tail))
    seconds = time.process_time() - begin
    state = gs.steady_state(params, root.fields, refine=gs.Refine(eigenvalues=6)) if root.has_root[0] else root
    leading = complex(state.eigenvalues[0, 0]) if root.has_root[0] else complex("nan")
    return {
        "side": side,
        "F": F,
        "k": k,
        "tail": tail,
        "status": gs.Status(int(root.status[0])).name.lower(),
        "stable": gs.Stable(int(state.stable[0])).name.lower(),
        "leading_real": leading.real,
        "leading_imag": leading.imag,
        "residual": float(root.residual[0]),
        "bordered": float(root.bordered_residual[0]),
        "drift": float(root.drift[0].norm()),
        "moved": float(root.moved[0]),
        "evaluations": int(root.evaluations[0]),
        "seconds": round(seconds, 2),
    }


def main() -> None:
    """Judge every point with both tails, and write the table."""
    with TABLE.open() as stream:
        points = [(int(r["side"]), float(r["F"]), float(r["k"])) for r in csv.DictReader(stream)]
    rows = []
    pool = loky.get_reusable_executor(env=dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))
    for tail in ("euler", "chebyshev"):
        rows += list(pool.map(judge, *zip(*points, strict=True), [tail] * len(points)))
        print(f"{tail} tail: {len(points)} points", flush=True)
    with CERTIFIED.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
