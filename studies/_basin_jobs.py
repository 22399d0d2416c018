"""What marches in `studies.basins`: critical boxes and starts, lifetimes beyond the cliff, and edge states."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
import xarray as xr

import gsimplicit as gs
from gsimplicit import labels
from gsimplicit.bifurcation.edge import basin_edge, edge_state
from gsimplicit.bifurcation.lifetime import lifetime
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from studies._curves import CELL
from studies._single import HORIZON, spot_edge

DIES, SURVIVES = 0.08, 0.0605
NEAR = 10.0 ** np.arange(-3, -10.5, -0.5)
"""Distances in k of (c)."""
CLOSE = 2e-6
"""Up to this distance the rate is read off."""
F_EDGE = 0.035
STARTS = (
    "box",
    "box of (0.25, 0.5)",
    "box of (1, 0.25)",
    "noise 0",
    "noise 0.05",
    "single spot",
    "pattern of k = 0.062",
)


def _params(F: float, k: float = 0.065) -> gs.Params:
    return gs.Params(0.16, 0.08, F, k)


def _critical(F: float, start: torch.Tensor) -> float:
    """The k at which a start dies, to a twentieth of a cell; NaN where it dies or lives everywhere asked."""
    try:
        return basin_edge(_params(F), start, dies=DIES, survives=SURVIVES, tol=CELL / 20, horizon=HORIZON).value
    except ValueError:
        return float("nan")


# (a) width of the box, and seeds of the noise


def width(side: int, halves: tuple[int, ...], feeds: tuple[float, ...], seeds: int) -> Job:
    """Kill rates at which the box dies, over F, half width and seed."""
    shape = (len(feeds), len(halves), seeds)
    frame = xr.Dataset(
        {"k": (("F", "half", "seed"), np.full(shape, np.nan), _words("kill rate at which the box dies"))},
        {
            "F": ("F", np.array(feeds), labels.attributes("F")),
            "half": ("half", np.array(halves), _words("half width of the box in pixels")),
            "seed": ("seed", np.arange(seeds), _words("seed of the noise")),
        },
    )
    return Job(frame, ("F", "half", "seed"), list(product(feeds, halves, range(seeds))), partial(_width_at, side))


def _width_at(side: int, item: tuple[float, int, int]) -> Values:
    F, half, seed = item
    start = gs.initial_state(seed=seed, grid=(side, side), box=gs.Box(half=half))
    return {"k": np.float64(_critical(F, start))}


# (b) other starts


def starts(side: int, feeds: tuple[float, ...]) -> Job:
    """Kill rates at which other starts die, over F and start."""
    frame = xr.Dataset(
        {
            "k": (
                ("F", "start"),
                np.full((len(feeds), len(STARTS)), np.nan),
                _words("kill rate at which the start dies"),
            )
        },
        {
            "F": ("F", np.array(feeds), labels.attributes("F")),
            "start": ("start", np.array(STARTS), {"long_name": "start"}),
        },
    )
    return Job(frame, ("F", "start"), list(product(feeds, STARTS)), partial(_start_at, side))


def _start_at(side: int, item: tuple[float, str]) -> Values:
    F, name = item
    grid = (side, side)
    if name == "pattern of k = 0.062":
        start = gs.steady_state(_params(F, 0.062), gs.initial_state(grid=grid), dtype=torch.float64).fields
    elif name == "single spot":
        start = gs.initial_state(grid=grid, noise=0.0, box=gs.Box(half=3))
        for k in (0.066, 0.067):  # let it take its shape where it does not divide
            start = gs.steady_state(_params(F, k), start, tol=0.0, max_steps=1000).fields
    else:
        boxes = {"box of (0.25, 0.5)": gs.Box(u=0.25, v=0.5), "box of (1, 0.25)": gs.Box(u=1.0, v=0.25)}
        noise = {"noise 0": 0.0, "noise 0.05": 0.05}.get(name, 0.02)
        start = gs.initial_state(grid=grid, noise=noise, box=boxes.get(name, gs.Box()))
    return {"k": np.float64(_critical(F, start))}


# (c) lifetimes beyond the cliff


def lifetimes(side: int) -> Job:
    """Steps until the box dies, over the distance beyond the cliff, and the edge state it is tracked to."""
    start = gs.initial_state(grid=(side, side), noise=0.0)
    edge = basin_edge(_params(F_EDGE), start, dies=DIES, survives=SURVIVES, tol=1e-13, horizon=HORIZON)
    tracked = _box_edge(edge.dies)
    frame = xr.Dataset(
        {
            "steps": ("distance", np.full(len(NEAR), np.nan), _words("steps until v is dead")),
            "critical": ((), edge.value, _words("kill rate of the cliff, to 1e-13")),
            "rate": ((), tracked[0], _words("unstable rate of the edge state the box is tracked to")),
            "unstable": ((), tracked[1], _words("its unstable modes")),
            "spots": ((), tracked[2], _words("its spots")),
        },
        {"distance": ("distance", NEAR, _words("distance in k beyond the cliff"))},
    )
    return Job(frame, ("distance",), NEAR.tolist(), partial(_lifetime_at, start, edge.dies))


def _box_edge(critical: float) -> tuple[float, int, int]:
    """Unstable rate, unstable modes and spots of the edge state between two boxes of which one dies, on 64 x 64."""
    from scipy.ndimage import label

    dying, living = (gs.initial_state(grid=(64, 64), noise=0.0, box=b) for b in (gs.Box(), gs.Box(u=0.25, v=0.5)))
    edge = edge_state(_params(F_EDGE, critical + 3e-4), dying, living, rounds=800, horizon=HORIZON)
    return float(edge.eigenvalues[0].real), edge.unstable, int(label(edge.fields[1] > 0.1)[1])


def _lifetime_at(start: torch.Tensor, critical: float, distance: float) -> Values:
    steps = lifetime(_params(F_EDGE, critical + distance), start, HORIZON, every=1)
    return {"steps": np.float64(np.nan if steps is None else steps)}


# (d) the edge state


def edges(at: tuple[float, ...]) -> Job:
    """Rates of the edge state between a faint and a full spot, over k."""
    words = {
        "rate": "largest real part of an eigenvalue of the edge state, per unit time",
        "second": "the next one",
        "unstable": "number of unstable modes",
        "residual": "largest steady residual",
    }
    frame = xr.Dataset(
        {n: ("k", np.full(len(at), np.nan), _words(w)) for n, w in words.items()},
        {"k": ("k", np.array(at), labels.attributes("k"))},
    )
    return Job(frame, ("k",), list(map(float, at)), _edge_at)


def _edge_at(k: float) -> Values:
    # a spot grown where it does not divide, so that it lives at every k below its fold
    full = gs.initial_state(grid=(32, 32), noise=0.0, box=gs.Box(half=3))
    full = gs.steady_state(_params(F_EDGE, 0.07), full, tol=0.0, max_steps=1000).fields
    edge = spot_edge(_params(F_EDGE, k), full)
    if edge is None:
        return {n: np.float64(np.nan) for n in ("rate", "second", "unstable", "residual")}
    values = edge.eigenvalues.real
    return {
        "rate": np.float64(values[0]), "second": np.float64(values[1]),
        "unstable": np.float64(edge.unstable), "residual": np.float64(edge.residual),
    }  # fmt: skip


def _words(long_name: str) -> dict[str, Any]:
    return {"long_name": long_name, "units": "1"}
