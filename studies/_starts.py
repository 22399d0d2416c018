"""Patterns from four kinds of start at points on both sides of the cliffs: what figures 9 and 10 are made of."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

import gsimplicit as gs
from gsimplicit import labels
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from studies import _times
from studies._common import filled

LINES = {
    0.035: (0.0545, 0.0565, 0.058, 0.060, 0.062, 0.064, 0.0655, 0.067),
    0.05: (0.058, 0.0605, 0.0615, 0.0625, 0.0635, 0.0645, 0.0655, 0.067),
}
"""k of each F: the first is left of the patterns of the paper's start, the last right of them."""
TIMES = (500, 2000)
"""Steps of the rows above the stop."""
SAMPLES = {"quick": 2, "default": 4, "paper": 16}
SIDE = 128
HALVES = (4, 20)
"""Half widths of the random boxes, both ends included."""


def paper(number: int) -> torch.Tensor:
    """The paper's start."""
    return gs.initial_state(start=number)


def noisy(number: int) -> torch.Tensor:
    """Six times the noise, within the same bounds."""
    return gs.initial_state(seed=1, start=number, noise=0.12)


def boxed(number: int) -> torch.Tensor:
    """A box of random size at a random place, which may wrap around the edges."""
    random = np.random.default_rng([2, number])
    half = int(random.integers(HALVES[0], HALVES[1] + 1))
    row, column = (int(x) for x in random.integers(0, SIDE, 2))
    return gs.initial_state(seed=2, start=number, box=gs.Box(centre=(row, column), half=half))


def bare(number: int) -> torch.Tensor:
    """Six times the noise all over, within its bounds, and no box."""
    return gs.initial_state(seed=3, start=number, noise=0.12, box=None)


STARTS = {"paper": paper, "noise": noisy, "boxes": boxed, "bare": bare}
WORDS = {"paper": "the paper's start", "noise": "6 x noise", "boxes": "random boxes", "bare": "noise and no box"}


def computed(name: str, scale: str, folder: Path) -> xr.Dataset:
    """V from one kind of start, at all points and times."""
    samples = SAMPLES[scale]
    scripts = (__file__, _times.__file__)
    settings = {"start": name, "samples": samples}
    return filled(folder / f"starts_{name}.nc", scripts, settings, partial(_job, name, samples))


def _job(name: str, samples: int) -> Job:
    points = [(F, k) for F, line in LINES.items() for k in line]
    names = [*map(str, TIMES), "stop"]
    shape = (len(points), samples)
    over = ("point", "sample")
    frame = xr.Dataset(
        {
            "v": (
                (*over, "time", "y", "x"),
                np.full((*shape, len(names), SIDE, SIDE), np.nan, np.float32),
                _words("v"),
            ),
            "kind": ((*over, "time"), np.zeros((*shape, len(names)), np.int8), _words("kind of state")),
            "steps": (over, np.zeros(shape, np.int64), _words("steps until the march stopped")),
        },
        {
            "F": ("point", [F for F, _ in points], labels.attributes("F")),
            "k": ("point", [k for _, k in points], labels.attributes("k")),
            "point": ("point", np.arange(len(points)), _words("index of the point")),
            "sample": ("sample", np.arange(samples), _words("index of the start")),
            "time": ("time", names, {"long_name": "steps, or the paper's stop"}),
        },
    )
    items = [(F, k, name, n) for F, k in points for n in range(samples)]
    return Job(frame, over, items, _at)


def _at(item: tuple[float, float, str, int]) -> Values:
    F, k, name, number = item
    params, start = gs.Params(0.16, 0.08, F, k), STARTS[name](number)
    stop = gs.steady_state(params, start)
    v = [*(fields[0, 1] for fields in _times.states_at(params, start, TIMES)), stop.v[0]]
    return {
        "v": np.stack([one.numpy().astype(np.float32) for one in v]),
        "kind": np.array([_times.kind_of(one) for one in v], np.int8),
        "steps": np.int64(int(stop.steps[0])),
    }


def _words(long_name: str) -> dict[str, Any]:
    return {"long_name": long_name, "units": "1"}
