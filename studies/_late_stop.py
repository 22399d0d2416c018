"""The lower end of the patterns along k with a later stop: whether the usual one comes before a slow growth is seen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import xarray as xr
from scipy.optimize import brentq

import gsimplicit as gs
from gsimplicit import labels
from gsimplicit.bifurcation.uniform import eigenvalues, hopf
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from studies._crossings import MIDDLES, Found, Steps, about, cell, crossing, lost, marched
from studies.fig2 import RANGES, TRUTH

LATE = 1e-7
"""Rate of change at which a march stops, in place of 1e-4; the cap is the same time."""


FAR = 2.0
"""Cells on both sides of where the usual stop has it, in which it is looked for first."""


@dataclass(frozen=True)
class Late(Steps):
    """Steps with the later stop."""

    @property
    def tol(self) -> float:
        """Of the change over one step."""
        return LATE * self.dt


def lower_ends(kinds: tuple[Steps, ...], seeds: int, pixels: int, parts: int, early: xr.DataArray) -> Job:
    """The lower end along k by kind of steps and seed, to a part of a cell.

    Args:
        kinds: Steps.
        seeds: Of the noise, from 0 on.
        pixels: Of the paper along the side of the grid.
        parts: Of a cell, to which ends are found.
        early: Over (steps, seed), where this end stands with the usual stop; it is looked for there first.
    """
    over, shape = ("steps", "seed"), (len(kinds), seeds)
    words = "kill rate at which patterns end, with the later stop"
    flags = labels.flag_attributes(f.name.lower() for f in Found)
    frame = xr.Dataset(
        {
            "place": (over, np.full(shape, np.nan), {"long_name": words, "units": "1"}),
            "found": (over, np.zeros(shape, np.int8), {"long_name": "what was found", "units": "1", **flags}),
        },
        {
            "steps": ("steps", np.array([s.name for s in kinds]), {"long_name": "time step and pixel"}),
            "seed": ("seed", np.arange(seeds), {"long_name": "seed of the noise", "units": "1"}),
        },
    )
    items = [
        (Late(s.name, s.dt, s.finer), seed, float(early.sel(steps=s.name, seed=seed)))
        for s, seed in product(kinds, range(seeds))
    ]
    return Job(frame, over, items, partial(_lower_end_at, pixels, parts))


def _lower_end_at(pixels: int, parts: int, item: tuple[Late, int, float]) -> Values:
    steps, seed, early = item
    start = gs.initial_state(seed=seed, grid=(pixels, pixels))

    def beyond(k: float) -> bool:
        return lost(int(marched("k", k, start, steps).kind[0]))

    guess = about("k", "lower", early, FAR)
    outer, inner, found = crossing(beyond, RANGES["k"][0], MIDDLES["k"], cell("k") / parts, guess)
    return {"place": np.float64((outer + inner) / 2), "found": np.int8(found)}


def hopf_of(dt: float) -> float:
    """The k at which the uniform state begins to oscillate under steps of this length, on the line of figure 2.

    An eigenvalue of the step, 1 + dt lambda, leaves the unit circle; dt = 1 is `hopf_of_steps`, dt -> 0 `hopf`.

    Examples:
        >>> from gsimplicit.bifurcation.uniform import hopf, hopf_of_steps
        >>> bool(abs(hopf_of(1.0) - hopf_of_steps(0.035)) < 1e-9), bool(abs(hopf_of(1e-6) - hopf(0.035)) < 1e-9)
        (True, True)
    """
    F = TRUTH["F"]
    line = float(hopf(F))
    return float(brentq(lambda k: abs(1 + dt * eigenvalues(F, k)).max() - 1, line - 1e-3, line + 5e-4))
