"""Is a cliff the step's own doing? The lines of figure 2 with shorter steps and with smaller pixels.

The paper sets its time step and its pixels to 1 (sec. 2.1). (a) to (d): the loss along k, F, Dv and Du with steps of 1,
1/2 and 1/4, over equal times: the stop is the same rate, the cap the same time. (e) Where patterns end on each line, by
bisection between two of its points, against where they end with steps of 1. Pixels of 1/2 are marched with steps of
1/4 and compared with pixels of 1 and the same step. Their start is the paper's, each of its pixels cut into four: noise
and square are the same functions of the place. (f) The F-k plane with steps of 1/2, and the cliffs it has in common
with that of steps of 1.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import xarray as xr

import gsimplicit as gs
from gsimplicit.landscape.cells import classes
from gsimplicit.landscape.cliffs import edges, loss_range
from gsimplicit.landscape.edge_maps import Agreement, agreement, edge_map
from studies import _crossings, _ends, _late_stop, _paper, _steps_figure
from studies._bars import at_least, at_most, below
from studies._claims import Claim, between, ours
from studies._common import Datasets, Study, filled, scanned
from studies._constants import F_RANGE, K_RANGE
from studies._crossings import HALF, QUARTER, SIDES, SMALL, WHOLE, Found, Steps, cell
from studies._steps_figure import shifts
from studies.fig2 import RANGES, TRUTH

SIZES = {
    "quick": (64, 12, 1, 1, 1, 7, 1),
    "default": (128, 34, 3, 2, 1, 9, 1),
    "paper": (128, 100, 8, 4, 3, 50, 2),
}
"""Pixels a side, points a line, seeds for steps, for pixels and for the later stop, points and samples of the plane."""
TELLING = 25
"""Points a side with which a plane tells of shifts."""
FINENESS = {"quick": (4, 4), "default": (16, 8), "paper": (16, 16)}
"""Parts of a cell to which ends are known: with steps, and with pixels, at which a step costs four times as much."""


def compute(scale: str, folder: Path) -> Datasets:
    """Four lines with three steps each, where patterns end on them, and two planes."""
    side, points, seeds, fine, late, rows, samples = SIZES[scale]
    start = gs.initial_state(grid=(side, side))
    lines = {name: list(ends) for name, ends in RANGES.items()}  # as JSON has them, or a store is not known again
    kinds, (parts, parts_of_pixels) = (WHOLE, HALF, QUARTER), FINENESS[scale]
    data = {}
    for (name, ends), steps in product(RANGES.items(), kinds):
        file = f"steps_{name}_{round(1 / steps.dt)}"
        axis = np.union1d(np.linspace(*ends, points), [TRUTH[name]])
        data[file] = _scanned(folder / f"{file}.nc", {name: axis}, start, steps)
    # what decides where an end is found: lines with their points, because the search begins between two of these
    asked = {"side": side, "parts": parts, "lines": lines, "points": points}
    scripts = (_crossings.__file__, _ends.__file__)
    seen = {n: tuple(_ends.states(data[f"steps_{n}_{round(1 / s.dt)}"], n) for s in kinds) for n in RANGES}
    data["steps_dt"] = filled(
        folder / "steps_dt.nc",
        scripts,
        {**asked, "steps": [s.name for s in kinds], "seeds": seeds},
        partial(_ends.ends, kinds, seeds, side, parts, seen=seen),
    )
    places = data["steps_dt"]["place"]
    data["steps_dx"] = filled(
        folder / "steps_dx.nc",
        scripts,
        {**asked, "steps": [SMALL.name], "seeds": [fine, seeds], "parts": [parts_of_pixels, parts]},
        partial(_ends.ends, (SMALL,), fine, side, parts_of_pixels, reference=places.sel(steps=QUARTER.name, drop=True)),
    )
    data["steps_stop"] = filled(
        folder / "steps_stop.nc",
        (*scripts, _late_stop.__file__),
        {**asked, "steps": [s.name for s in kinds], "seeds": [late, seeds]},
        partial(_late_stop.lower_ends, kinds, late, side, parts, places.sel(line="k", side="lower", drop=True)),
    )
    plane = {"F": np.linspace(*F_RANGE, rows), "k": np.linspace(*K_RANGE, rows)}
    starts = gs.initial_state(samples, grid=(side, side))
    for steps in (WHOLE, HALF):
        file = f"steps_plane_{round(1 / steps.dt)}"
        data[file] = _scanned(folder / f"{file}.nc", plane, starts, steps)
    return data


def _scanned(store: Path, axes: dict[str, np.ndarray], start: object, steps: Steps) -> xr.Dataset:
    """A scan with steps of a length; its target is marched with the same ones."""
    return scanned(
        store,
        axes=axes,
        losses=["spectrum"],
        initial=start,
        dt=steps.dt,
        tol=steps.tol,
        max_steps=steps.max_steps,
        check_every=steps.check_every,
    )


# claims


def judge(data: Datasets) -> list[Claim]:
    """Whether cliffs are there with other steps, how far they move, and what else changes."""
    moved = shifts(data["steps_dt"], data["steps_dx"])
    return [
        _there(data),
        _missing_ends(data),
        *(_still(moved, name, pixels) for pixels in (False, True) for name in RANGES),
        *_stop(data),
        _planes(data),
    ]


def _there(data: Datasets) -> Claim:
    by_steps, by_pixels = data["steps_dt"], data["steps_dx"]
    first = by_steps.sel(steps=WHOLE.name)
    cliff = (first["found"] == Found.FOUND).all("seed") & ~(first["status"] == gs.Status.DIVERGED).any("seed")
    each = [
        (f"{s}", int((x.sel(steps=s)["found"] == Found.FOUND).all("seed").where(cliff, False).sum()))
        for x, kinds in ((by_steps, (HALF.name, QUARTER.name)), (by_pixels, (SMALL.name,)))
        for s in kinds
    ]
    jumps = {(n, s): _sharpest(data[f"steps_{n}_{s}"], n) for n, s in product(RANGES, (1, 2, 4))}
    count, least = int(cliff.sum()), min(jumps.values())
    return Claim(
        _paper.UNIT_STEPS,
        "The cliffs of the four lines are no product of steps of 1 and pixels of 1. Asked here: each end of the "
        "patterns that is there with both is there with steps of 1/2 and 1/4 and with pixels of 1/2, and on each line "
        "one face takes 25 % of the loss's range with each step.",
        f"{min(n for _, n in each)} of {count} stay with any",
        "; ".join(f"{s}: {n} of {count}" for s, n in each)
        + "; largest jump over a face with steps of 1, 1/2 and 1/4: "
        + ", ".join(f"{n} " + " ".join(f"{jumps[n, s]:.0%}" for s in (1, 2, 4)) for n in RANGES),
        count > 0 and all(n == count for _, n in each) and least >= 0.25,
        bars=(
            at_least("cliffs that stay with any", min(n for _, n in each), max(count, 1)),
            at_least("least of the largest jumps", least, 0.25),
        ),
    )


def _sharpest(one: xr.Dataset, name: str) -> float:
    """Largest known jump over a face, as a share of the range."""
    one = one.isel(sample=0)
    edge = edges(one, name, "spectrum")
    return float(abs(edge["jump"]).where(~edge["unknown"]).max()) / loss_range(one, "spectrum")


def _missing_ends(data: Datasets) -> Claim:
    ends = data["steps_dt"]
    blown = (ends["status"] == gs.Status.DIVERGED).any("seed")
    at = product(map(str, ends["line"].values), SIDES)
    missing = [(n, s) for n, s in at if blown.sel(line=n, side=s, steps=WHOLE.name)]
    names = [str(s) for s in ends["steps"].values]
    stay = {(n, s): [k for k in names if blown.sel(line=n, side=s, steps=k)] for n, s in missing}
    reach = ends["place"].mean("seed")

    def told(name: str, side: str) -> str:
        last = reach.sel(line=name, side=side, steps=WHOLE.name)
        still = [k for k in names[1:] if k in stay[name, side]]
        patterns = (ends["found"] == Found.GONE).all("seed").sel(line=name, side=side)
        alive = [k for k in names[1:] if patterns.sel(steps=k)]
        return (
            f"{name} {side} end: patterns up to {float(last):.4f} with {names[0]}, up to the line's end with "
            f"{', '.join(alive) or 'none'}; diverged at that end with {', '.join(still) or 'no shorter step'}"
        )

    gone = sum(len(kept) == 1 for kept in stay.values())
    return Claim(
        _paper.UNIT_STEPS,
        "The ends of the lines at which v diverges are no product of steps of 1. Asked here: v diverges there with "
        "steps of 1/2 and 1/4, too.",
        f"{gone} of {len(missing)} missing ends are gone",
        ("; ".join(told(*end) for end in missing) or "v diverged at no end") + _with_pixels(data["steps_dx"], missing),
        None if not missing else all(len(kept) == len(names) for kept in stay.values()),
        bars=(at_most("ends where v lives with a shorter step", sum(len(k) < len(names) for k in stay.values()), 0),),
    )


def _with_pixels(ends: xr.Dataset, missing: list[tuple[str, str]]) -> str:
    """Where v diverges with smaller pixels, whose dt D / dx^2 is that of steps of 1."""
    blown = (ends["status"] == gs.Status.DIVERGED).any("seed").isel(steps=0, drop=True)
    at = ends["place"].mean("seed").isel(steps=0, drop=True)
    seen = [f"{n} {s} end {float(at.sel(line=n, side=s)):.4f}" for n, s in missing if blown.sel(line=n, side=s)]
    return f"; with {SMALL.name} it diverges again beyond: {', '.join(seen)}" if seen else ""


def _still(moved: xr.Dataset, name: str, pixels: bool) -> Claim:
    """Whether the cliffs of one line stay within a cell."""
    kinds = [SMALL.name] if pixels else [HALF.name, QUARTER.name]
    one = moved.sel(line=name, steps=kinds)
    far, error = abs(one["shift"]), one["error"]
    seen = far.notnull()
    found = []
    for side in SIDES:
        if not seen.sel(side=side).any():
            continue
        each = [f"{float(one['shift'].sel(side=side, steps=k)):+.2f} ({k})" for k in kinds]
        limit = "" if pixels else f", {float(moved['limit'].sel(line=name, side=side)):+.2f} to steps of no length"
        found.append(f"{side} end " + ", ".join(each) + limit)
    worst, off = float(far.max()) if seen.any() else float("nan"), float(error.max())
    holds = None
    if seen.any():
        sure_in, sure_out = ((far + error < 1) | ~seen).all(), ((far - error >= 1) & seen).any()
        holds = True if sure_in else False if sure_out else None
    words = "pixels of 1/2, at steps of 1/4," if pixels else "steps of 1/2 and 1/4"
    return Claim(
        ours("Smaller pixels leave cliffs in place") if pixels else ours("Shorter steps leave cliffs in place"),
        f"{name} line: with {words} the patterns end within a cell (of 100 points a line, {cell(name):.2g}) of where "
        "they end without.",
        f"{name}: {worst:.1f} cells at most",
        "; ".join(found) + f"; each +-{off:.2f} at most (range over seeds, bisection)",
        holds,
        bars=(below("furthest in cells", worst, 1, (max(worst - off, 0.0), worst + off)),),
    )


def _stop(data: Datasets) -> list[Claim]:
    """Why the lower end along k moves with the step: an early stop, and the Hopf line of the steps."""
    early, late = data["steps_dt"]["place"].sel(line="k", side="lower").mean("seed"), data["steps_stop"]["place"]
    late, kinds = late.mean("seed"), (WHOLE, HALF, QUARTER)
    far = {
        stop: [(float(at.sel(steps=s.name)) - _late_stop.hopf_of(s.dt)) / cell("k") for s in kinds]
        for stop, at in ((_crossings.TOL, early), (_late_stop.LATE, late))
    }
    moves = {s: float(at.sel(steps=QUARTER.name) - at.sel(steps=WHOLE.name)) / cell("k") for s, at in
             ((_crossings.TOL, early), (_late_stop.LATE, late))}  # fmt: skip
    usual, later = _crossings.TOL, _late_stop.LATE
    apart = max(far[later]) - min(far[later])
    found = "; ".join(
        f"stopped at {stop:g}: moves by {moves[stop]:+.2f} cells, stands "
        + ", ".join(f"{x:+.2f} ({s.name})" for x, s in zip(each, kinds, strict=True))
        + " from the Hopf line of its steps"
        for stop, each in far.items()
    )
    return [
        Claim(
            ours("Left cliff moves because marches stop early"),
            "The lower end along k moves with the step because the march stops before a slow growth is seen. Asked "
            f"here: stopped at a rate of {later:g} instead of {usual:g} it moves by less than a cell from steps of 1 "
            "to steps of 1/4.",
            f"{moves[later]:+.1f} cells with the later stop",
            found,
            abs(moves[later]) < 1 if np.isfinite(moves[later]) else None,
            bars=(below("move in cells", abs(moves[later]), 1),),
        ),
        Claim(
            ours("Left cliff moves with the steps' Hopf line"),
            f"Stopped at a rate of {later:g}, the lower end along k keeps its distance from the Hopf line of its own "
            "steps to a cell. Asked after the numbers of the claim before had been seen.",
            f"{between(min(far[later]), max(far[later]), '+.1f')} cells from it",
            found,
            apart < 1 if np.isfinite(apart) else None,
            bars=(below("change of the distance in cells", apart, 1),),
        ),
    ]


def _planes(data: Datasets) -> Claim:
    whole, half = data["steps_plane_1"], data["steps_plane_2"]
    maps = [[edge_map(d.isel(sample=s), "spectrum") for s in range(d.sizes["sample"])] for d in (whole, half)]
    each = [agreement(a, b) for a, b in zip(*maps, strict=True)]
    other = float((classes(whole) != classes(half)).mean())
    within = float(np.mean([a.within_one for a in each]))
    beside = ""
    if len(maps[0]) > 1:
        seeds = agreement(maps[0][0], maps[0][1])
        beside = f"; between two seeds with steps of 1: {_told(seeds)}"
    return Claim(
        ours("The plane's cliffs stay with steps of 1/2"),
        f"F-k plane, {whole.sizes['F']} x {whole.sizes['k']} points: with steps of 1/2 the cliffs are where they are "
        "with steps of 1. Asked here: 90 % of both maps' faces lie within one face of the other's. Not decided with "
        "fewer than 25 points a side, where one face is more than any shift that the lines show.",
        f"{within:.0%} within one face",
        "; ".join(_told(a) for a in each) + f"; another kind at {other:.1%} of points" + beside,
        bool(within >= 0.9) if np.isfinite(within) and whole.sizes["k"] >= TELLING else None,
        bars=(at_least("share within one face", within, 0.9),),
    )


def _told(a: Agreement) -> str:
    """Two maps of cliffs: how many faces, how many of one alone, and how near they are."""
    either = round((a.first + a.second) / (1 + a.iou)) if a.first + a.second else 0
    alone = round(either * (1 - a.iou)) if either else 0
    return (
        f"{a.first} and {a.second} cliff faces, {alone} of {either} in one map alone, {a.within_one:.0%} within one "
        f"face, kappa {a.kappa:.2f}"
    )


STUDY = Study(
    "steps",
    "the cliffs with shorter steps and smaller pixels",
    compute,
    _steps_figure.plot,
    judge,
    caption="(a) to (d): the spectrum loss along each parameter with steps of 1, 1/2 and 1/4; the target is marched "
    "with the same steps. Gaps: v diverged. Dotted: the truth. Marks above: ends of the patterns. (e): these against "
    "those with steps of 1, in cells of a line of 100 points; bars: range over seeds and what bisection leaves open; "
    "grey: less than a cell. Smaller pixels are compared with the paper's at the same step. (f): kinds of states with "
    "steps of 1/2, and the cliffs with steps of 1 and of 1/2; dotted: one of the two points had not settled.",
    alt="Four line plots of the loss with three time steps, which differ at the cliffs; a chart of how far the cliffs "
    "move, up to some cells; and a map of states with the cliffs of two time steps.",
)
