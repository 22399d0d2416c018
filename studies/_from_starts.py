"""What each way makes of a clean picture from wrong starts: one-shot, a followed root, and states re-marched each time.

Followed and re-marched differ in where the state of new parameters comes from: from the state before, or from the
initial field. Both take gradients of the implicit function theorem. Followed minimises squared deviations by Gauss and
Newton's method, as `gs.invert` does by itself. Re-marched minimises the paper's spectrum loss by BFGS, and starts from
the very field that the picture was made from, which is more than anybody would know.
"""

from __future__ import annotations

import time
import warnings
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import gsimplicit as gs
from gsimplicit.inverse.methods import Followed, OneShot, VariableProjection
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from studies import _remarched
from studies._common import Datasets, filled, scanned
from studies._remarched import NAMES, remarched

Array = np.ndarray[Any, Any]

TRUTH = np.array([0.16, 0.08, 0.035, 0.065])
FAILED = np.array([0.127, 0.1269, 0.05, 0.0501])
"""Where the paper's training began."""
FACE = (0.068 - 0.053) / 99
"""Width of a face of figure 2 in k."""
LOW, HIGH = np.array([0.08, 0.03, 0.02, 0.045]), np.array([0.25, 0.10, 0.07, 0.070])
"""Ranges of random starts."""
PLANE = ((0.03, 0.07), (0.053, 0.068))
"""F and k of the plane of starts."""
SIZES = {"quick": (32, 4, 2, 4, 8), "default": (32, 20, 6, 50, 30), "paper": (64, 20, 6, 50, 60)}
"""Pixels a side, starts on the line, a side of the plane, random ones, and points a side of the landscape."""
WAYS = ("one-shot", "followed", "re-marched", "variable projection")
CLOSE = 0.1
"""Largest error of four parameters, in per cent, that counts as recovered."""
STEPS = 40
"""Steps along a branch, at most."""


def starts(scale: str) -> tuple[list[str], Array]:
    """Kind of each start, and the starts (n, 4)."""
    _, along, side, random, _ = SIZES[scale]
    line = [TRUTH + np.array([0, 0, 0, s * FACE]) for s in np.linspace(-40, 40, along)]
    F, k = (np.linspace(*ends, side) for ends in PLANE)
    plane = [np.array([TRUTH[0], TRUTH[1], a, b]) for a in F for b in k]
    drawn = list(LOW + (HIGH - LOW) * np.random.default_rng(21).random((random, 4)))
    kinds = ["line"] * along + ["plane"] * len(plane) + ["random"] * random + ["the paper's"]
    return kinds, np.array([*line, *plane, *drawn, FAILED])


def computed(scale: str, folder: Path) -> Datasets:
    """Where each way led from each start, and the landscape of the spectrum loss over the plane."""
    side, *_, points = SIZES[scale]
    kinds, values = starts(scale)
    scripts = (__file__, _remarched.__file__)
    fits = filled(folder / "inversion_starts.nc", scripts, {"scale": scale}, partial(_job, kinds, values, side))
    (F, k) = (np.linspace(*ends, points) for ends in PLANE)
    plane = scanned(
        folder / "inversion_landscape.nc",
        axes={"F": F, "k": k},
        base=gs.Params(*TRUTH),
        losses=["spectrum"],
        initial=gs.initial_state(grid=(side, side)),
    )
    return {"inversion_starts": fits, "inversion_landscape": plane}


def _job(kinds: list[str], values: Array, side: int) -> Job:
    shape, over = (len(values), len(WAYS)), ("start", "way")
    frame = xr.Dataset(
        {
            "error": (over, np.full(shape, np.nan), _words("largest relative error of the four parameters", "percent")),
            "seconds": (over, np.full(shape, np.nan), _words("processor time", "s")),
            "calls": (over, np.zeros(shape, np.int32), _words("gradients taken; 0 where they were not counted")),
            "asked": (over, np.zeros(shape, np.int8), _words("whether this way was tried from this start")),
        },
        {
            "start": ("start", np.arange(len(values)), _words("index of the start")),
            "way": ("way", list(WAYS), {"long_name": "way"}),
            "kind": ("start", kinds, {"long_name": "kind of start"}),
            **{n: ("start", values[:, i], {"long_name": f"{n} of the start"}) for i, n in enumerate(NAMES)},
        },
    )
    items = [(kind, values[i], way, side) for i, kind in enumerate(kinds) for way in WAYS]
    return Job(frame, over, items, _at)


@cache
def root(side: int) -> gs.SteadyState:
    """The picture: a steady state at the truth, from the initial field of seed 0."""
    return gs.steady_state(
        gs.Params(*TRUTH), gs.initial_state(grid=(side, side)), refine=gs.Refine(tol=1e-12, lattice=True)
    )


def _at(item: tuple[str, Array, str, int]) -> Values:
    kind, start, way, side = item
    far = kind in ("random", "the paper's")
    none = {"error": np.float64(np.nan), "seconds": np.float64(np.nan), "calls": np.int32(0), "asked": np.int8(0)}
    if (way == "variable projection" and not far) or (way == "followed" and far) or (way == "re-marched" and far):
        return none
    picture, begin, calls = root(side), time.process_time(), 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gs.StabilityWarning)
        if way == "re-marched":
            descent = remarched(start, picture.v)
            values, calls = descent.values, descent.calls
        else:
            by = {
                "one-shot": OneShot(elsewhere=False),
                "followed": Followed(elsewhere=False, iterations=STEPS),
                "variable projection": VariableProjection(elsewhere=False),
            }[way]
            found = gs.invert(picture.v, start=gs.Params(*start), method=by, progress=False)
            values = found.params.tensor()[0].numpy()
    error = 100 * float(np.abs(values / TRUTH - 1).max())
    return {
        "error": np.float64(error),
        "seconds": np.float64(time.process_time() - begin),
        "calls": np.int32(calls),
        "asked": np.int8(1),
    }


def recovered(data: xr.Dataset, way: str, kinds: tuple[str, ...]) -> tuple[int, int]:
    """How many starts of some kinds led to the truth by a way, and how many were tried."""
    some = data.isel(start=np.isin(data["kind"].values, kinds)).sel(way=way)
    asked = some["asked"].values == 1
    return int((some["error"].values[asked] < CLOSE).sum()), int(asked.sum())


def _words(text: str, units: str = "1") -> dict[str, str]:
    return {"long_name": text, "units": units}
