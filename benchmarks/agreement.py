"""Do the routes agree at certified roots, and how far off are the biased ones? `python -m benchmarks.agreement`.

At the first ten points of `studies/oracle.csv` on 32 x 32 whose root is stable, pinned by the lattice, and whose
slowest mode settles within 400,000 steps: every route from that root, for mean v^2 and for the log spectrum. Taylor
tests are in `benchmarks.taylor`.
"""

from __future__ import annotations

import csv

import numpy as np
import torch

import gsimplicit as gs
from gsimplicit.losses import log_spectrum
from gsimplicit.routes import Deq, FiniteDifference, Implicit, Tangent, Truncated, Unrolled
from studies.oracle import GRIDS, TABLE

SIDE, ROOTS, STEPS = 32, 10, 400_000
PINNED = gs.Refine(lattice=True, eigenvalues=6)
EXACT = {
    "implicit": Implicit(PINNED),
    "tangent at the root": Tangent(refine=True),
    "differences of roots": FiniteDifference(refine=True),
    "deq": Deq(),
    "unrolled": Unrolled(),
}
BIASED = {
    "truncated 300": Truncated(300),
    "truncated 3000": Truncated(3000),
    "phantom 1": Deq(phantom=1),
    "phantom 5": Deq(phantom=5),
}


def mean_square(v: torch.Tensor) -> torch.Tensor:
    """Mean of v^2."""
    return (v**2).mean(dim=(-2, -1))


def spectrum(v: torch.Tensor) -> torch.Tensor:
    """Mean of the log power spectrum: the roughness of the spectrum loss without a target."""
    return log_spectrum(v).flatten(1).mean(dim=1)


def roots() -> list[gs.SteadyState]:
    """The ten pinned roots."""
    with TABLE.open() as stream:
        rows = [r for r in csv.DictReader(stream) if int(r["side"]) == SIDE and int(r["steps_1e-07"])]
    found: list[gs.SteadyState] = []
    for row in rows:
        params = gs.Params(0.16, 0.08, float(row["F"]), float(row["k"]))
        root = gs.steady_state(params, gs.initial_state(grid=(SIDE, SIDE), box=gs.Box(half=GRIDS[SIDE])), refine=PINNED)
        slowest = float(root.eigenvalues[0].real.max())
        if root.status[0] == gs.Status.STEADY and slowest * STEPS < -20:
            found.append(root)
        if len(found) == ROOTS:
            break
    return found


def main() -> None:
    """Print the largest differences to the implicit gradient, and the bias of the biased routes."""
    torch.set_num_threads(1)
    at = roots()
    print(f"{len(at)} roots on {SIDE} x {SIDE}, {STEPS} steps from each")
    for loss in (mean_square, spectrum):
        tables = [
            gs.compare(r.params, [*EXACT.values(), *BIASED.values()], loss=loss, initial=r.fields, max_steps=STEPS)
            for r in at
        ]
        for n, name in enumerate([*EXACT, *BIASED]):
            far = [float(t["difference"][n, 0]) for t in tables]
            angle = [float(t["cosine"][n, 0]) for t in tables]
            ratio = [float(np.linalg.norm(t["gradient"][n, 0]) / np.linalg.norm(t["gradient"][0, 0])) for t in tables]
            reasons = sorted({gs.Reason(int(t["reason"][n, 0])).name.lower() for t in tables})
            print(
                f"{loss.__name__} {name}: difference median {np.median(far):.1e}, largest {max(far):.1e}; cosine "
                f"{np.median(angle):.6f}, least {min(angle):.6f}; length {np.median(ratio):.3f}; {', '.join(reasons)}"
            )


if __name__ == "__main__":
    main()
