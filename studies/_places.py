"""Where cliffs are, to a twentieth of a cell, and how far patterns live when each cell starts from its neighbour's."""

from __future__ import annotations

from itertools import product

import numpy as np
import xarray as xr

import gsimplicit as gs
from gsimplicit import labels
from gsimplicit.landscape.boundaries import boundaries
from gsimplicit.landscape.cells import CellClass, classes
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from studies._constants import F_RANGE, K_RANGE
from studies._curves import CELL

LOW = 0.0415
"""Below this F the Hopf line lies left of the stripes' fold and of the Turing line (hypothesis H2)."""
FOLLOWED_TO = 0.078
"""Largest k patterns are followed to."""
RAMP_STEPS = 20_000
"""Steps a cell may take when it is followed."""
SIDES = {"left": gs.Kind.UNIFORM, "right": gs.Kind.TRIVIAL}
"""The kind of state beyond each cliff."""


def cliffs(box: xr.Dataset, side: int, seeds: int, more: int) -> Job:
    """The rows of the plane, and more of them where the Hopf line is at stake."""
    one = boundaries(box.isel(sample=0))
    F = np.union1d(one["F"].values, np.linspace(F_RANGE[0], LOW, more))
    shape = (len(F), len(SIDES), seeds)
    words = {"long_name": "kill rate at which the kind of state changes", "units": "1"}
    frame = xr.Dataset(
        {"k": (("F", "side", "seed"), np.full(shape, np.nan), words)},
        {
            "F": ("F", F, labels.attributes("F")),
            "side": ("side", np.array(list(SIDES)), {"long_name": "cliff"}),
            "seed": ("seed", np.arange(seeds), {"long_name": "seed of the noise", "units": "1"}),
        },
    )
    spacing = float(box["k"].diff("k").mean())
    near = {name: one[name].dropna("F") for name in SIDES}
    items = [
        (float(f), name, float(np.interp(f, near[name]["F"], near[name], left=np.nan)), spacing, seed, side)
        for f, name, seed in product(F, SIDES, range(seeds))
    ]
    return Job(frame, ("F", "side", "seed"), items, _cliff_at)


def _cliff_at(item: tuple[float, str, float, float, int, int]) -> Values:
    """One place, by bisection between the cells of the plane; NaN where the kinds there are not those of the plane."""
    F, name, near, spacing, seed, side = item
    start = gs.initial_state(seed=seed, grid=(side, side))

    def beyond(k: float) -> bool:
        return bool(gs.steady_state(gs.Params(0.16, 0.08, F, k), start).kind[0] == SIDES[name])

    nothing = {"k": np.float64(np.nan)}
    if np.isnan(near):
        return nothing
    outward = -1.0 if name == "left" else 1.0
    out, inside = near + 2 * outward * spacing, near - 2 * outward * spacing
    if not beyond(out) or beyond(inside):
        return nothing
    while abs(out - inside) > CELL / 20:
        middle = (out + inside) / 2
        out, inside = (middle, inside) if beyond(middle) else (out, middle)
    return {"k": np.float64((out + inside) / 2)}


def following(box: xr.Dataset, side: int) -> Job:
    """One item a row: where its patterns are in the middle."""
    one, spacing = box.isel(sample=0), float(box["k"].diff("k").mean())
    k = box["k"].values[0] + spacing * np.arange(round((FOLLOWED_TO - K_RANGE[0]) / spacing) + 1)
    items = []
    for F, row in zip(one["F"].values.tolist(), classes(one).values, strict=True):
        cells = np.flatnonzero(row == CellClass.PATTERN)
        items.append((F, tuple(k.tolist()), int(cells[len(cells) // 2]) if len(cells) else -1, side))
    shape = (len(one["F"]), len(k))
    frame = xr.Dataset(
        {
            "kind": (("F", "k"), np.zeros(shape, np.int8), labels.attributes("kind")),
            "status": (("F", "k"), np.zeros(shape, np.int8), labels.attributes("status")),
        },
        {n: (n, at, labels.attributes(n)) for n, at in (("F", one["F"].values), ("k", k))},
    )
    return Job(frame, ("F",), items, _follow_row)


def _follow_row(item: tuple[float, tuple[float, ...], int, int]) -> Values:
    """Kinds and statuses of a row, from its middle to either side."""
    F, k, middle, side = item
    kind, status = np.zeros(len(k), np.int8), np.zeros(len(k), np.int8)
    if middle < 0:
        return {"kind": kind, "status": status}
    start = gs.steady_state(gs.Params(0.16, 0.08, F, k[middle]), gs.initial_state(grid=(side, side))).fields
    for order in (range(middle, len(k)), range(middle, -1, -1)):
        fields = start
        for j in order:
            state = gs.steady_state(gs.Params(0.16, 0.08, F, k[j]), fields, max_steps=RAMP_STEPS)
            kind[j], status[j], fields = int(state.kind[0]), int(state.status[0]), state.fields
    return {"kind": kind, "status": status}
