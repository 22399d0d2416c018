"""How many patterns settle, by plain marching alone: two million float64 Euler steps at random points.

Run once, by `python -m studies.oracle`; its table is kept in `studies/oracle.csv` and read by `studies.certify`.
Points are drawn uniformly from F 0.03..0.07, k 0.053..0.068 and kept where 50,000 steps from field 0 of seed 0 end in a
pattern. On 2 cores it takes about ten minutes.
"""

from __future__ import annotations

import csv
from pathlib import Path

import loky
import numpy as np
import torch

import gsimplicit as gs

TABLE = Path(__file__).with_name("oracle.csv")
GRIDS = {32: 5, 64: 10, 128: 10}
"""Side of the grid and half side of the starting box."""
POINTS = 40
STEPS = 2_000_000
BLOCK = 10_000
THRESHOLDS = (1e-5, 1e-6, 1e-7)


def settle(side: int, F: float, k: float) -> dict[str, float] | None:
    """March one point; None where it forms no pattern. Steps are the first block that ends below a threshold, or 0."""
    torch.set_num_threads(1)
    params = gs.Params(0.16, 0.08, F, k)
    fields = gs.initial_state(grid=(side, side), box=gs.Box(half=GRIDS[side]))
    state = gs.steady_state(params, fields, tol=0.0, max_steps=50_000)
    if state.kind[0] != gs.Kind.PATTERN:
        return None
    below = dict.fromkeys(THRESHOLDS, 0)
    steps = 50_000
    while steps < STEPS and not below[1e-7]:
        state = gs.steady_state(params, state.fields, tol=0.0, max_steps=BLOCK)
        steps += BLOCK
        for threshold in THRESHOLDS:
            if not below[threshold] and float(state.change[0]) < threshold:
                below[threshold] = steps
    row = {"side": side, "F": F, "k": k, "steps": steps, "change": float(state.change[0]), "kind": int(state.kind[0])}
    return row | {f"steps_{threshold:.0e}": at for threshold, at in below.items()}


def main() -> None:
    """Draw points until each grid has its forty patterns, and write the table."""
    rows: list[dict[str, float]] = []
    pool = loky.get_reusable_executor()
    for side in GRIDS:
        draw, found = np.random.default_rng(side), 0
        while found < POINTS:
            F, k = draw.uniform(0.03, 0.07, 16), draw.uniform(0.053, 0.068, 16)
            kept = [row for row in pool.map(settle, [side] * 16, F, k) if row is not None][: POINTS - found]
            rows, found = rows + kept, found + len(kept)
            print(f"{side} x {side}: {found} of {POINTS} points", flush=True)
    with TABLE.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
