"""What descents by each gradient route say about the paper's failure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from studies import _paper
from studies._bars import at_most
from studies._by_route import FAR, TWINS, apart
from studies._claims import Claim, ours
from studies._from_starts import CLOSE
from studies._remarched import End
from studies._shares import bounds

NEAR, SHARE = 2.0, 0.1
"""Per cent within which an end is near the truth; the share of recovered starts that the claim leaves."""
ALIKE = 1e-5
"""Relative difference up to which two gradients are one."""


@dataclass(frozen=True)
class Row:
    """How descents by one route ended.

    Attributes:
        tried: How many starts.
        recovered: Those within `CLOSE` per cent.
        near: Those within `NEAR` per cent.
        flat: Not recovered, and ended for want of a gradient.
        nowhere: Without a state at the start.
        calls: Median of the gradients taken.
    """

    tried: int
    recovered: int
    near: int
    flat: int
    nowhere: int
    calls: float


def rows(fits: xr.Dataset, kinds: tuple[str, ...] = FAR) -> dict[str, Row]:
    """One a route, over starts of some kinds."""
    out = {}
    for route in map(str, fits["route"].values):
        d = fits.sel(route=route).isel(start=np.isin(fits["kind"].values, kinds))
        d = d.isel(start=d["end"].values != End.NOT_RUN)
        error, end = d["error"].values, d["end"].values
        out[route] = Row(
            tried=len(error),
            recovered=int((error < CLOSE).sum()),
            near=int((error < NEAR).sum()),
            flat=int(((end == End.NO_GRADIENT) & (error >= CLOSE)).sum()),
            nowhere=int((end == End.NO_STATE).sum()),
            calls=float(np.median(d["calls"].values)) if len(error) else float("nan"),
        )
    return out


def claims(fits: xr.Dataset, alike: xr.Dataset) -> list[Claim]:
    """Whether any route recovers far starts, and which routes are one."""
    return [_recovered(fits, alike), _twins(alike)]


def _recovered(fits: xr.Dataset, alike: xr.Dataset) -> Claim:
    far = fits.isel(start=np.isin(fits["kind"].values, FAR))
    best = far["error"].min("route").values
    n, good = len(best), int((best < CLOSE).sum())
    low, high = bounds(good / n, n)
    by_route, beside = rows(fits), rows(fits, ("beside",))
    each = "; ".join(
        f"{route} {r.recovered} of {r.tried}, {r.near} within {NEAR:g} %, {r.flat} ended for want of a gradient, "
        f"{r.nowhere} had no state, {r.calls:g} gradients in the median"
        for route, r in by_route.items()
    )
    control = ", ".join(f"{route} {r.recovered} of {r.tried}" for route, r in beside.items())
    floor = ", ".join(
        f"{route} {float(alike['at_truth'].sel(route=route)):.2g}" for route in by_route if route in alike["route"]
    )
    return Claim(
        _paper.NO_CONVERGENCE,
        "Descent on the spectrum loss by each gradient route, states marched anew from the picture's own initial "
        "field, from random starts in all four parameters and from the one of the paper's training. Asked: at most one "
        "in ten of the starts is recovered by any route, with one-sided 95 % bounds.",
        f"{good} of {n} recovered by any of {len(by_route)} routes",
        f"recovered (largest error of four below {CLOSE:g} %) by any route: {good} of {n} ({low:.0%} to {high:.0%}, "
        f"one-sided 95 % each), nearest end {np.nanmin(best):.2g} % off; {each}. Begun 1 % beside the truth: "
        f"{control}. Loss at the truth against the clean root: {floor}{_of_surrogate(alike)}",
        True if high <= SHARE else (False if low > SHARE else None),
        bars=(at_most("share recovered", good / n, SHARE, (low, high)),),
    )


def _of_surrogate(alike: xr.Dataset) -> str:
    error = float(alike["held_out"])
    return f". The surrogate's features are off by {error:.0%} of their spread where untrained" if error >= 0 else ""


def _twins(alike: xr.Dataset) -> Claim:
    pairs = {name: of for name, of in TWINS.items() if name in alike["route"]}
    found = {f"{name} and {of}": apart(alike, name, of) for name, of in pairs.items()}
    others = [
        f"{name} and unrolled {apart(alike, name, 'unrolled'):.1g}"
        for name in map(str, alike["route"].values)
        if name not in (*pairs, "unrolled")
    ]
    said = ", ".join(f"{names} {x:.0e}" for names, x in found.items())
    return Claim(
        ours("Routes of one derivative agree"),
        "deq computes the implicit route's derivative, tangent the unrolled route's: at one far start with a pattern "
        f"their gradients in the logarithms differ by at most {ALIKE:g} of their norm. So one of each pair descends.",
        said,
        f"{said}; others: {', '.join(others)}",
        bool(max(found.values()) <= ALIKE),
        bars=(at_most("largest difference by the norm", max(found.values()), ALIKE),),
    )
