"""Both ends of the patterns of each line, for several kinds of steps and seeds; one found tells where to look next."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
import torch
import xarray as xr

import gsimplicit as gs
from gsimplicit import labels
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from studies._crossings import MIDDLES, SIDES, Found, Steps, about, cell, crossing, lost, marched
from studies.fig2 import RANGES

FAR, NEAR, SAME = 2.0, 0.5, 0.125
"""Cells on both sides of a guess: of another kind of pixels; of another seed; of a seed that moves as the first did."""
VALUES = {
    "place": "parameter at which patterns end, the middle of what bisection left",
    "outer": "end of that interval beyond the patterns",
    "inner": "end of that interval among the patterns",
}
Seen = dict[float, tuple[int, int]]
"""Kind and status of states that were marched already, by their place."""


@dataclass(frozen=True)
class End:
    """One end of a line, and what is known of it before it is looked for.

    Attributes:
        line: The parameter that varies.
        side: Of `SIDES`.
        seen: By kind of steps, states of the first seed that were marched already; or none.
        reference: By seed, where this end stands with other steps; or none.
    """

    line: str
    side: str
    seen: tuple[Seen, ...] = ()
    reference: tuple[float, ...] = ()

    @property
    def outside(self) -> float:
        """The line's own end."""
        return RANGES[self.line][SIDES.index(self.side)]


def states(one: xr.Dataset, name: str) -> Seen:
    """Kind and status along a scanned line, of its first sample."""
    at = zip(one[name].values, one["kind"].values[:, 0], one["status"].values[:, 0], strict=True)
    return {float(value): (int(kind), int(status)) for value, kind, status in at}


def ends(
    kinds: tuple[Steps, ...],
    seeds: int,
    side: int,
    parts: int,
    seen: dict[str, tuple[Seen, ...]] | None = None,
    reference: xr.DataArray | None = None,
) -> Job:
    """Both ends of the patterns on each line, by kind of steps and seed.

    Args:
        kinds: Steps and pixels.
        seeds: Of the noise, from 0 on.
        side: Pixels of the paper along the side of the grid.
        parts: Of a cell, to which ends are found.
        seen: By line, what `states` gives for each of `kinds`.
        reference: Places over (line, side, seed) with other steps.
    """
    over = ("line", "side", "steps", "seed")
    shape = (len(RANGES), len(SIDES), len(kinds), seeds)
    number = {n: (over, np.full(shape, np.nan), {"long_name": w, "units": "1"}) for n, w in VALUES.items()}
    flags = labels.flag_attributes(f.name.lower() for f in Found)
    frame = xr.Dataset(
        {
            **number,
            "found": (over, np.zeros(shape, np.int8), {"long_name": "what was found", "units": "1", **flags}),
            "kind": (over, np.zeros(shape, np.int8), {**labels.attributes("kind"), "long_name": "kind at line's end"}),
            "status": (over, np.zeros(shape, np.int8), labels.attributes("status")),
        },
        {
            "line": ("line", np.array(list(RANGES)), {"long_name": "parameter that varies"}),
            "side": ("side", np.array(SIDES), {"long_name": "end of the patterns"}),
            "steps": ("steps", np.array([s.name for s in kinds]), {"long_name": "time step and pixel"}),
            "seed": ("seed", np.arange(seeds), {"long_name": "seed of the noise", "units": "1"}),
        },
    )
    items = [
        End(
            name,
            at,
            () if seen is None else seen[name],
            () if reference is None else tuple(reference.sel(line=name, side=at).values[:seeds].tolist()),
        )
        for name, at in product(RANGES, SIDES)
    ]
    return Job(frame, over[:2], items, partial(_end_at, kinds, seeds, side, parts))


def _end_at(kinds: tuple[Steps, ...], seeds: int, pixels: int, parts: int, end: End) -> Values:
    """One end by kind of steps and seed, to a part of a cell; and what stands at the line's own end."""
    shape = (len(kinds), seeds)
    values: Values = {name: np.full(shape, np.nan) for name in VALUES}
    values |= {name: np.zeros(shape, np.int8) for name in ("found", "kind", "status")}
    for at in np.ndindex(*shape):
        seen = end.seen[at[0]] if end.seen and at[1] == 0 else {}
        start = gs.initial_state(seed=at[1], grid=(pixels, pixels))
        guess = _guess(end, seen, values["place"], *at)
        for name, value in _one(end, kinds[at[0]], start, cell(end.line) / parts, dict(seen), guess).items():
            values[name][at] = value
    return values


def _one(
    end: End, steps: Steps, start: torch.Tensor, width: float, seen: Seen, guess: tuple[float, float] | None
) -> dict[str, float]:
    """One end of one seed with one kind of steps."""

    def beyond(value: float) -> bool:
        if value not in seen:
            state = marched(end.line, value, start, steps)
            seen[value] = (int(state.kind[0]), int(state.status[0]))
        return lost(seen[value][0])

    outer, inner, found = crossing(beyond, end.outside, MIDDLES[end.line], width, guess)
    kind, status = seen[end.outside]
    place = (outer + inner) / 2
    return {"place": place, "outer": outer, "inner": inner, "found": found, "kind": kind, "status": status}


def _guess(end: End, seen: Seen, places: np.ndarray, kind: int, seed: int) -> tuple[float, float] | None:
    """An interval in which this end may be; None where nothing is known of it.

    Of the first seed: between two places that were marched, or about the reference. Of others: the reference, or the
    first kind of steps, moved as far as the first seed's was.
    """
    if seed == 0 and seen:
        return _between(end, seen)
    others = end.reference or (tuple(places[0]) if kind else ())
    if seed == 0:
        return about(end.line, end.side, others[0], FAR) if others else None
    first = float(places[kind, 0])
    moved = first + others[seed] - others[0] if others else math.nan
    if math.isfinite(moved):
        return about(end.line, end.side, moved, SAME)
    return about(end.line, end.side, first, NEAR)


def _between(end: End, seen: Seen) -> tuple[float, float] | None:
    """The first place without a pattern on the way from the middle to the line's end, and the one before it."""
    middle = MIDDLES[end.line]
    outwards = sorted((x for x in seen if (x - middle) * (end.outside - middle) > 0), key=lambda x: abs(x - middle))
    for before, value in zip([middle, *outwards], outwards, strict=False):
        if lost(seen[value][0]):
            return value, before
    return None
