"""What is asked of other starts: whether patterns and ends are those of the paper's, and what they were before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import xarray as xr

import gsimplicit as gs
from studies._apart import GROWING, distance
from studies._likeness import likeness
from studies._starts import TIMES


@dataclass(frozen=True)
class Compared:
    """Another kind of start against the paper's.

    Attributes:
        points: Points where all samples of both end as patterns.
        alike: At how many of them they are alike.
        typical: The median over these points of the ratio of each side.
        step: The same with the distance to the paper's patterns one step of k away in place of their spread.
        same: Share of points and samples that end as the same kind of state as the paper's start mostly does.
        beyond: How many of them are patterns where the paper's start dies.
        of: How many points and samples there are.
    """

    points: int
    alike: int
    typical: tuple[float, ...]
    step: tuple[float, ...]
    same: float
    beyond: int
    of: int


def compared(reference: xr.Dataset, other: xr.Dataset) -> Compared:
    """At the stop."""
    ends, others = (d["kind"].sel(time="stop").values for d in (reference, other))
    usual = np.array([np.bincount(row).argmax() for row in ends])
    full = np.flatnonzero((ends == gs.Kind.PATTERN).all(axis=1) & (others == gs.Kind.PATTERN).all(axis=1))
    v, w = (d["v"].sel(time="stop").values.astype(float) for d in (reference, other))
    found = [likeness(v[n], w[n]) for n in full]
    ratios = [one.ratios for one in found]
    F, whole = reference["F"].values, (ends == gs.Kind.PATTERN).all(axis=1)
    steps = [
        np.divide(one.apart, likeness(v[n], v[m]).apart)
        for n, one in zip(full, found, strict=True)
        for m in (n - 1, n + 1)
        if 0 <= m < len(F) and F[m] == F[n] and whole[m]
    ]
    return Compared(
        len(found),
        sum(one.alike for one in found),
        _middle(ratios),
        _middle(steps),
        float((others == usual[:, None]).mean()),
        int(((others == gs.Kind.PATTERN) & (usual == gs.Kind.TRIVIAL)[:, None]).sum()),
        others.size,
    )


def _middle(ratios: Sequence[Sequence[float] | np.ndarray]) -> tuple[float, ...]:
    """The median of each side; NaN where there are none."""
    return tuple(map(float, np.median(np.reshape(ratios, (-1, 3)), axis=0))) if len(ratios) else (np.nan,) * 3


def from_patterns(data: Sequence[xr.Dataset]) -> dict[gs.Kind, tuple[int, tuple[int, ...]]]:
    """Of the states that end uniform, and trivial: how many, and how many had a pattern at each of `TIMES`."""
    out = {}
    for kind in (gs.Kind.UNIFORM, gs.Kind.TRIVIAL):
        ends = [(d["kind"].sel(time="stop") == kind).values for d in data]
        early = [
            sum(
                int((d["kind"].isel(time=n).values == gs.Kind.PATTERN)[e].sum())
                for d, e in zip(data, ends, strict=True)
            )
            for n in range(len(TIMES))
        ]
        out[kind] = (sum(int(e.sum()) for e in ends), tuple(early))
    return out


def apart(data: xr.Dataset, what: str) -> xr.DataArray:
    """Mean distance in the respects of `GROWING`, over time, of what holds a pattern at each time.

    Args:
        data: One kind of start.
        what: "neighbours", the same start at two neighbouring k of a line, or "seeds", two starts at one point.

    Returns:
        Shape (time, side); NaN where there are none.
    """
    there, F = (data["kind"] == gs.Kind.PATTERN).all("time").values, data["F"].values
    points, samples = there.shape
    if what == "seeds":
        pairs = [((n, a), (n, b)) for n in range(points) for a, b in combinations(range(samples), 2)]
    else:
        pairs = [((n, a), (n + 1, a)) for n in range(points - 1) if F[n] == F[n + 1] for a in range(samples)]
    v = data["v"].values
    found = [distance(v[a].astype(float), v[b].astype(float), GROWING) for a, b in pairs if there[a] and there[b]]
    mean = np.mean(found, axis=0) if found else np.full((data.sizes["time"], 3), np.nan)
    return xr.DataArray(mean, dims=("time", "side"), coords={"time": data["time"], "side": list(GROWING)})
