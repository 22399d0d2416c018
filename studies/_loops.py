"""What uniform and dead stops do afterwards, and how much of their time marches that never stop look uniform."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import gsimplicit as gs
from gsimplicit import labels
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from studies import _times
from studies._common import filled
from studies._patterns import FLAT

PLANES = {"low F": ((0.005, 0.03), (0.03, 0.06)), "plateau": ((0.03, 0.07), (0.053, 0.061))}
"""F and k of each: where the uniform state has Hopf points and marches go on for ever, and the paper's left plateau."""
SIZES = {"quick": 4, "default": 8, "paper": 30}
FOLLOWED, EVERY = 20_000, 200
"""Steps a march is followed beyond its stop, and how often it is looked at."""
AWAY, LOCAL = 0.02, 0.05
"""A pixel is active where v is this far from its median; a look is uniform or local where fewer than 5 % are."""
MOVED = 0.01
"""Change of the mean of v that counts as moving again."""


def computed(scale: str, folder: Path) -> xr.Dataset:
    """Both planes."""
    points = SIZES[scale]
    scripts = (__file__, _times.__file__)
    return filled(folder / "early_loops.nc", scripts, {"points": points}, partial(_job, points))


def _job(points: int) -> Job:
    places = [
        (name, float(F), float(k))
        for name, (feeds, kills) in PLANES.items()
        for F in np.linspace(*feeds, points)
        for k in np.linspace(*kills, points)
    ]
    looks, count = EVERY * np.arange(1, FOLLOWED // EVERY + 1), len(places)

    def empty(long_name: str) -> tuple[tuple[str, ...], np.ndarray, dict[str, Any]]:
        return ("point", "look"), np.full((count, len(looks)), np.nan), _words(long_name)

    frame = xr.Dataset(
        {
            "kind": ("point", np.zeros(count, np.int8), _words("kind of state at the stop")),
            "status": ("point", np.zeros(count, np.int8), _words("how the march ended")),
            "steps": ("point", np.zeros(count, np.int64), _words("steps until the stop")),
            "mean": empty("mean of v"),
            "std": empty("standard deviation of v"),
            "active": empty(f"share of pixels where v is {AWAY} or more from its median"),
        },
        {
            "plane": ("point", [name for name, _, _ in places], {"long_name": "plane of the point"}),
            "F": ("point", [F for _, F, _ in places], labels.attributes("F")),
            "k": ("point", [k for _, _, k in places], labels.attributes("k")),
            "point": ("point", np.arange(count), _words("index of the point")),
            "look": ("look", looks, _words("steps beyond the stop")),
        },
    )
    return Job(frame, ("point",), [(F, k) for _, F, k in places], _at)


def _at(item: tuple[float, float]) -> Values:
    params, start = gs.Params(0.16, 0.08, *item), gs.initial_state()
    stop = gs.steady_state(params, start)
    looks = range(EVERY, FOLLOWED + 1, EVERY)
    v = np.stack([s[0, 1].numpy().astype(float) for s in _times.states_at(params, stop.fields, looks)])
    middle = np.median(v, axis=(1, 2), keepdims=True)
    return {
        "kind": np.int8(int(stop.kind[0])),
        "status": np.int8(int(stop.status[0])),
        "steps": np.int64(int(stop.steps[0])),
        "mean": v.mean(axis=(1, 2)),
        "std": v.std(axis=(1, 2)),
        "active": (abs(v - middle) >= AWAY).mean(axis=(1, 2)),
    }


def _words(long_name: str) -> dict[str, Any]:
    return {"long_name": long_name, "units": "1"}


@dataclass(frozen=True)
class Loops:
    """What was found.

    Attributes:
        stops: Stops without a pattern.
        again: Of them those where v moves again within the steps followed.
        capped: Marches that did not stop by themselves and hold v.
        quiet: For each of these the share of looks that are uniform or local.
        flat: For each of these the share of looks without any pattern.
    """

    stops: int
    again: int
    capped: int
    quiet: np.ndarray
    flat: np.ndarray


def found(data: xr.Dataset) -> Loops:
    """Counts of both planes together."""
    stopped = data.isel(point=np.flatnonzero((data["status"] == gs.Status.SETTLED) & (data["kind"] != gs.Kind.PATTERN)))
    again = (stopped["std"].max("look") >= FLAT) | (stopped["mean"].max("look") - stopped["mean"].min("look") >= MOVED)
    capped = data.isel(point=np.flatnonzero((data["status"] == gs.Status.UNSTEADY) & (data["plane"] == "low F")))
    return Loops(
        stopped.sizes["point"],
        int(again.sum()),
        capped.sizes["point"],
        (capped["active"] < LOCAL).mean("look").values,
        (capped["std"] < FLAT).mean("look").values,
    )
