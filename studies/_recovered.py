"""Drawn truths with a certified pattern, and what `gs.invert` makes of pictures of them."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
import xarray as xr

import gsimplicit as gs
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values

Array = np.ndarray[Any, Any]

LOW, HIGH = np.array([0.12, 0.06, 0.03, 0.053]), np.array([0.20, 0.10, 0.07, 0.068])
"""Ranges of Du, Dv, F and k."""
SHARES = {"half of v": 0.5, "a sixteenth of v": 1 / 16}
"""Share of the pixels that is seen."""
WINDOWS = {"an open window of 3/4 the side": 0.75, "an open window of half the side": 0.5}
"""Part of each side that is seen of v, with nothing known outside."""


def roots(count: int, side: int) -> Job:
    """Certified patterns at drawn parameters, over `truth`."""
    frame = xr.Dataset(
        {
            "value": (("truth", "parameter"), np.full((count, 4), np.nan), _words("parameter of the truth")),
            "fields": (("truth", "species", "y", "x"), np.full((count, 2, side, side), np.nan), _words("steady state")),
        },
        {"truth": ("truth", np.arange(count), _words("index of the truth")), "parameter": ["Du", "Dv", "F", "k"]},
    )
    return Job(frame, ("truth",), [(n, side) for n in range(count)], _root)


def _root(item: tuple[int, int]) -> Values:
    """The first draw of a truth's own stream that ends as a certified pattern."""
    n, side = item
    draws, seed = np.random.default_rng([11, n]), 100 * n
    while True:
        seed += 1
        params = gs.Params.stack(torch.from_numpy(LOW + (HIGH - LOW) * draws.random((1, 4))))
        start = gs.initial_state(grid=(side, side), seed=seed)
        marched = gs.steady_state(params, start, max_steps=20_000)
        if int(marched.kind[0]) != gs.Kind.PATTERN:
            continue
        state = gs.steady_state(params, marched.fields, refine=gs.Refine(tol=1e-13, max_evaluations=300_000))
        if bool(state.has_root[0]) and int(state.kind[0]) == gs.Kind.PATTERN:
            return {"value": params.tensor()[0].numpy(), "fields": state.fields[0].numpy()}


def fits(truths: xr.Dataset, cases: list[tuple[str, float]], draws: int, repeated: tuple[str, ...]) -> Job:
    """One inversion a case, truth and draw of the noise; cases are what is seen and the noise in per cent.

    Other draws than the first are left out, as verdict -1, without noise and for what is seen that is not `repeated`.
    """
    shape = (len(cases), truths.sizes["truth"], draws)
    over = ("case", "truth", "draw")
    frame = xr.Dataset(
        {
            "error": (over, np.full(shape, np.nan), _words("largest relative error of the four parameters", "percent")),
            "held": (over, np.full(shape, np.nan), _words("share of the four 95 % intervals that hold the truth")),
            "verdict": (over, np.full(shape, -1, np.int8), _words("verdict, of gsimplicit.Recovery")),
            "seconds": (over, np.full(shape, np.nan), _words("processor time of the fit", "s")),
        },
        {
            "seen": ("case", [seen for seen, _ in cases], {"long_name": "what is seen"}),
            "noise": ("case", [level for _, level in cases], _words("noise, of the picture's own spread", "percent")),
            "truth": truths["truth"],
            "draw": ("draw", np.arange(draws), _words("index of the draw of the noise")),
        },
    )
    pairs = list(zip(truths["value"].values, truths["fields"].values, strict=True))
    items = [
        (seen, level, n, d if level and (not d or seen in repeated) else -d, *pair)
        for seen, level in cases
        for n, pair in enumerate(pairs)
        for d in range(draws)
    ]
    return Job(frame, over, items, _fit)


def _fit(item: tuple[str, float, int, int, Array, Array]) -> Values:
    seen, level, n, d, truth, fields = item
    if d < 0:
        return {**dict.fromkeys(("error", "held", "seconds"), np.float64(np.nan)), "verdict": np.int8(-1)}
    draws = np.random.default_rng([n, round(10 * level), d])
    u, v = (x + level / 100 * fields[1].std() * draws.standard_normal(x.shape) for x in fields)
    share = SHARES.get(seen)
    mask = None if share is None else draws.random(v.shape) < share
    if seen in WINDOWS:
        side = round(WINDOWS[seen] * len(v))
        i, j = draws.integers(0, len(v) - side + 1, 2)
        v = v[i : i + side, j : j + side]
    begin = time.process_time()
    found = gs.invert(v, u if seen == "u and v" else None, mask, periodic=seen not in WINDOWS, progress=False)
    seconds = time.process_time() - begin
    low, high = found.interval[0].numpy().T
    error = 100 * np.abs(found.params.tensor()[0].numpy() / truth - 1).max()
    held = np.mean((low <= truth) & (truth <= high))
    return {
        "error": np.float64(error),
        "held": np.float64(held),
        "verdict": np.int8(found.verdict[0]),
        "seconds": np.float64(seconds),
    }


def _words(text: str, units: str = "1") -> dict[str, str]:
    return {"long_name": text, "units": units}
