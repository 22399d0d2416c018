"""`python -m studies.stopped_early [pixels] [seeds] [early]`: parameters from pictures that have not come to rest.

States at the paper's point, stopped on their way, with noise on v; no start is given. One line a time and noise level:
how many are found by the weak method with du/dt as an unknown, their largest error of the four parameters, how many of
the intervals hold the truth, and the size of du/dt beside what the fits say of it. With a third argument
of 1 pictures are earlier, from starts and at steps on which the width of the intervals was not set.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch

import gsimplicit as gs
from gsimplicit.inverse.methods import Weak

TRUTH = gs.Params.preset("paper")
CASES = ((3000, 1.0), (5000, 1.0), (8000, 1.0), (12_000, 1.0), (20_000, 1.0), (5000, 10.0), (20_000, 10.0))
"""Steps, and noise in per cent of the standard deviation of v."""
EARLY, UNSEEN = tuple((steps, noise) for steps in (1200, 1800, 2500, 3500) for noise in (0.1, 1.0)), 10
"""The same earlier, and the first seed there."""


def main(side: int = 64, seeds: int = 4, early: int = 0) -> None:
    """Print one line a case."""
    first = UNSEEN if early else 0
    print("steps  noise   found  error %: median, worst  intervals  du/dt, and as told      CPU s a fit")
    for steps, noise in EARLY if early else CASES:
        rows = [one(side, steps, noise, seed) for seed in range(first, first + seeds)]
        found = [row for row in rows if row[0]]
        errors = [row[1] for row in found]
        held, rate, told, took = (sum(row[i] for row in found) for i in (2, 3, 4, 5))
        many = max(len(found), 1)
        middle, worst = (np.median(errors), max(errors)) if errors else (np.nan, np.nan)
        print(
            f"{steps:6d} {noise:4g} %  {len(found)} of {seeds}  {middle:8.2f} {worst:6.2f}   {held:9.0f} of "
            f"{4 * len(found)}  {rate / many:.1e} {told / many:.1e}  {took / many:10.0f}",
            flush=True,
        )


def one(side: int, steps: int, noise: float, seed: int) -> tuple[bool, float, int, float, float, float]:
    """Whether a picture is found; error in per cent; intervals that hold; du/dt, as it is and as told; CPU seconds."""
    field = gs.initial_state(grid=(side, side), seed=seed)
    state = gs.steady_state(TRUTH, field, tol=0.0, max_steps=steps, dtype=torch.float64)
    after = gs.steady_state(TRUTH, state.fields, tol=0.0, max_steps=1, dtype=torch.float64)
    drawn = torch.randn(state.v.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    begin = time.process_time()
    result = gs.invert(state.v + noise / 100 * state.v.std() * drawn, method=Weak(moving=True), progress=False)
    seconds, exact = time.process_time() - begin, TRUTH.tensor()[0]
    found = int(result.verdict[0]) == gs.Recovery.FOUND
    low, high = result.interval[0].unbind(-1)
    told = float(result.reason[0].split("about ")[1].split(" per")[0]) if found else np.nan
    return (
        found,
        float((100 * (result.params.tensor()[0] / exact - 1)).abs().max()),
        int(((low < exact) & (exact < high)).sum()),
        float((after.fields - state.fields).square().mean().sqrt()),
        told,
        seconds,
    )


if __name__ == "__main__":
    if not all(word.isdigit() for word in sys.argv[1:]):
        words = "pixels a side (64), starts a row (4), 1 for early pictures"
        sys.exit(f"python -m studies.stopped_early [SIDE [SEEDS [EARLY]]]: {words}")
    main(*map(int, sys.argv[1:]))
