"""Patterns from four kinds of start at points on both sides of the cliffs: what figures 9 and 10 are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from matplotlib.figure import Figure

import gsimplicit as gs
from gsimplicit import labels
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from studies import _fine, _patterns, _times
from studies._common import filled
from studies._likeness import Likeness, likeness

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
        "kind": np.array([kind_of(one) for one in v], np.int8),
        "steps": np.int64(int(stop.steps[0])),
    }


def kind_of(v: torch.Tensor) -> gs.Kind:
    """Trivial, uniform or pattern, by the package's bounds."""
    if float(v.max()) < 0.01:
        return gs.Kind.TRIVIAL
    return gs.Kind.PATTERN if float(v.double().std()) >= _patterns.FLAT else gs.Kind.UNIFORM


def _words(long_name: str) -> dict[str, Any]:
    return {"long_name": long_name, "units": "1"}


# what is asked of them


@dataclass(frozen=True)
class Compared:
    """Another kind of start against the paper's.

    Attributes:
        points: Points where all samples of both end as patterns.
        alike: At how many of them they are alike.
        typical: The median over these points of the ratio of each side.
        same: Share of points and samples that end as the same kind of state as the paper's start mostly does.
        beyond: How many of them are patterns where the paper's start dies.
        of: How many points and samples there are.
    """

    points: int
    alike: int
    typical: tuple[float, ...]
    same: float
    beyond: int
    of: int


def compared(reference: xr.Dataset, other: xr.Dataset) -> Compared:
    """At the stop."""
    ends, others = (d["kind"].sel(time="stop").values for d in (reference, other))
    usual = np.array([np.bincount(row).argmax() for row in ends])
    full = np.flatnonzero((ends == gs.Kind.PATTERN).all(axis=1) & (others == gs.Kind.PATTERN).all(axis=1))
    found: list[Likeness] = [
        likeness(*(d["v"].sel(time="stop").isel(point=n).values.astype(float) for d in (reference, other)))
        for n in full
    ]
    ratios = np.array([one.ratios for one in found]).reshape(-1, 3)
    return Compared(
        len(found),
        sum(one.alike for one in found),
        tuple(np.median(ratios, axis=0)) if len(found) else (np.nan,) * 3,
        float((others == usual[:, None]).mean()),
        int(((others == gs.Kind.PATTERN) & (usual == gs.Kind.TRIVIAL)[:, None]).sum()),
        others.size,
    )


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
    """Mean distance in the respects of `_fine.SIDES`, over time, of what holds a pattern at each time.

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
    found = [_fine.apart(v[a].astype(float), v[b].astype(float)) for a, b in pairs if there[a] and there[b]]
    mean = np.mean(found, axis=0) if found else np.full((data.sizes["time"], 3), np.nan)
    return xr.DataArray(mean, dims=("time", "side"), coords={"time": data["time"], "side": list(_fine.SIDES)})


# drawing


def drawn(blocks: dict[str, xr.Dataset], F: float) -> Figure:
    """For each kind of start the paper's three rows: two times and the stop; a column a point."""
    figure = Figure(figsize=(9.5, 0.4 + 3.6 * len(blocks)), layout="constrained")
    parts = figure.subfigures(len(blocks), 1)
    for part, letter, (title, data) in zip(np.atleast_1d(parts), "abc", blocks.items(), strict=False):
        part.suptitle(f"({letter}) {title}, F = {F:g}", x=0.01, ha="left", fontsize=10)
        one = data.isel(sample=0, point=np.flatnonzero(data["F"].values == F))
        panels = part.subplots(one.sizes["time"], one.sizes["point"])
        for row, time in zip(panels, one["time"].values, strict=True):
            words = "stop" if time == "stop" else f"{int(time):,} steps"
            row[0].set_ylabel(words, rotation=0, ha="right", va="center", fontsize=8)
            for ax, n in zip(row, range(one.sizes["point"]), strict=True):
                shown = ax.imshow(
                    one["v"].sel(time=time)[n], cmap="cividis", vmin=0, vmax=_times.V_TOP, interpolation="nearest"
                )
                ax.set(xticks=[], yticks=[])
                ax.spines[:].set_visible(False)
                if time == one["time"].values[0]:
                    ax.set_title(f"k = {float(one['k'][n]):.4f}", fontsize=8)
                if time == "stop":
                    capped = int(one["steps"][n]) >= _times.LAST
                    ax.set_xlabel("at its last step" if capped else f"at {int(one['steps'][n]):,}", fontsize=7)
        part.colorbar(shown, ax=panels, shrink=0.6, label="v", extend="max", aspect=30)
    return figure
