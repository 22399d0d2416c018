"""What decides on which side of a cliff a start falls? The right cliff is moved by its start.

(a) The k at which the starting box dies, by bisection, against the half width of the box at three F. (b) The same for
other values inside the box, other noise, and developed patterns and single spots as starts. (c) How long the box
without noise lives just beyond the cliff: logarithmic in the distance, as beside an edge state with one unstable rate;
a fold would leave a ghost that delays it by the power -1/2. (d) The edge state between a faint and a full spot along k,
and the one the box itself is tracked to at its cliff: their unstable rate, beside the rate of (c).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from studies import _basin_jobs, _single
from studies._basin_figure import plot, slope
from studies._basin_jobs import CLOSE, NEAR, STARTS
from studies._claims import Claim, between, ours
from studies._common import Datasets, Study, filled
from studies._curves import CELL

SIZES = {
    "quick": (64, (3, 5, 10), (0.035,), 2),
    "default": (128, (2, 3, 4, 5, 8, 10, 16, 32), (0.035, 0.045, 0.055), 5),
    "paper": (128, (2, 3, 4, 5, 6, 8, 10, 16, 32), (0.03, 0.035, 0.04, 0.045, 0.05, 0.055, 0.06), 10),
}
"""Pixels along each side, half widths, F, and seeds."""
EDGES = {
    "quick": (0.068, 0.07),
    "default": (0.0655, 0.067, 0.069, 0.071, 0.073),
    "paper": tuple(np.arange(0.065, 0.0755, 0.0005)),
}


def compute(scale: str, folder: Path) -> Datasets:
    """Three small datasets, each value a bisection."""
    side, halves, feeds, seeds = SIZES[scale]
    settings = {"scale": scale, "side": side}
    jobs = {
        "width": lambda: _basin_jobs.width(side, halves, feeds, seeds),
        "starts": lambda: _basin_jobs.starts(side, feeds),
        "lifetimes": lambda: _basin_jobs.lifetimes(side),
        "edges": lambda: _basin_jobs.edges(EDGES[scale]),
    }
    scripts = (_basin_jobs.__file__, _single.__file__)
    return {f"basins_{n}": filled(folder / f"basins_{n}.nc", scripts, settings, job) for n, job in jobs.items()}


def _cells(away: float) -> str:
    """A distance in cells; none where the start died, or lived, everywhere asked."""
    return f"{away:+.1f}" if np.isfinite(away) else "none"


def judge(data: Datasets) -> list[Claim]:
    """What moves the cliff, and what stands on it."""
    width, starts, lives, edges = (data[f"basins_{n}"] for n in ("width", "starts", "lifetimes", "edges"))
    median = width["k"].median("seed")
    span = (median.max("half") - median.min("half")) / CELL
    noise = (width["k"].max("seed") - width["k"].min("seed")) / CELL
    away = (starts["k"] - starts["k"].sel(start="box")) / CELL
    seeds = f"+-{0.025 + float(noise.max()) / 2:.2f} cell, by bisection and {width.sizes['seed']} seeds"
    wide = median.sel(half=[h for h in width["half"].values if h >= 8])
    settled = (wide.max("half") - wide.min("half")) / CELL
    gain, rate = slope(lives), edges["rate"]
    single = bool((edges["unstable"].dropna("k") == 1).all()) and bool(edges["rate"].notnull().any())
    tracked, predicted = float(lives["rate"]), float(np.expm1(1 / gain))
    per_spot = int(lives["unstable"]) == int(lives["spots"])
    near = lives["distance"].values < 1.1e-6  # four decades, in two halves
    T, x = lives["steps"].values[near], -np.log(lives["distance"].values[near])
    half = len(T) // 2
    gains = [float(np.polyfit(x[part], T[part], 1)[0]) for part in (slice(None, half + 1), slice(half, None))]
    spread = float(lives["steps"].max() / lives["steps"].min())
    return [
        Claim(
            ours("Right cliff moves with the box"),
            "The right cliff moves with the size of the starting box, by over a cell at each F.",
            f"by {between(float(span.min()), float(span.max()), '.1f')} cells",
            "; ".join(
                f"F = {f:g}: {float(span.sel(F=f)):.1f} cells over half widths "
                f"{int(median.sel(F=f).dropna('half')['half'].min())} to {int(width['half'].max())}, "
                f"{float(settled.sel(F=f)):.1f} of them from 8 on"
                for f in width["F"].values
            ),
            bool((span > 1).all()),
            "H1",
            seeds,
            "a shift below one cell",
        ),
        Claim(
            ours("The noise hardly moves it"),
            "It does not move with the seed of the noise: by less than a cell, for the paper's box of 20 x 20 pixels.",
            f"by {float(noise.sel(half=10).max()):.2f} cells at most",
            "; ".join(f"F = {f:g}: {float(noise.sel(F=f, half=10)):.2f} cells over {width.sizes['seed']} seeds"
                      for f in width["F"].values),
            bool((noise.sel(half=10) < 1).all()),
            "H1",
            "+-0.025 cell, by bisection",
            "a shift of a cell or more",
        ),
        Claim(
            ours("Other starts die elsewhere"),
            "Other starts die elsewhere: at each F one of six at least by more than a cell.",
            f"{float(np.abs(away).max('start').min()):.1f} cells or more at each F",
            "; ".join(f"{n}: {', '.join(map(_cells, away.sel(start=n).values))} cells" for n in STARTS[1:])
            + f" at F = {', '.join(f'{f:g}' for f in starts['F'].values)}",
            bool((np.abs(away).max("start") > 1).all()),
            "H1",
            seeds,
            "an F at which all six die within a cell of the box",
        ),
        Claim(
            ours("Lifetime: a logarithm, no fold"),
            "Beyond the cliff the box dies after a time that grows as the logarithm of the distance: each factor e "
            "nearer adds the same steps, within 10 %, over both halves of the four decades below 1e-6.",
            f"{gains[0]:.1f} and {gains[1]:.1f} steps per factor e",
            f"{gains[0]:.1f} and {gains[1]:.1f} steps a factor e; {gain:.1f} within {CLOSE:g}, a rate of "
            f"{predicted:.4f}; {float(lives['steps'].min()):.0f} to {float(lives['steps'].max()):.0f} steps over all "
            f"distances, a factor {spread:.1f} (a fold's ghost: {np.sqrt(NEAR[0] / NEAR[-1]):.0f})",
            bool(min(gains) > 0 and abs(gains[1] / gains[0] - 1) < 0.1),
            "H1",
            "not estimated; steps are whole, and it is one F",
            "gains that differ by 10 % or more, as beside a fold",
        ),
        Claim(
            ours("An edge state stands on the cliff"),
            "Without noise an edge state stands on the cliff. It has the box's symmetry and one unstable mode for each "
            "spot, which grows at the rate of the lifetimes, within 5 %.",
            f"rates {tracked:.4f} and {predicted:.4f}",
            f"the box is tracked to {int(lives['spots'])} spots with {int(lives['unstable'])} unstable modes of rate "
            f"{tracked:.4f}, one combination of which has the box's symmetry; the transient's is {predicted:.4f} "
            f"within {CLOSE:g} in k; between a faint and a full single spot {int(rate.notnull().sum())} of "
            f"{rate.size} k have an edge state, all with one unstable mode: {single}, rates "
            f"{float(rate.min()):.3f} to {float(rate.max()):.3f}",
            single and per_spot and abs(predicted / tracked - 1) < 0.05,
            "H1",
            "not estimated; tracked on 64 x 64, a cell beyond the cliff, at one F",
            "rates that differ by 5 %, or another count of modes",
        ),
        Claim(
            ours("Right cliff: edge of the start's basin"),
            "The right cliff is where the start leaves the basin of the patterns: it moves with the start by over a "
            "cell, and with the noise by less.",
            f"{float(span.min()):.1f} cells with the box, {float(noise.sel(half=10).max()):.2f} with the noise",
            f"by {float(span.min()):.1f} to {float(span.max()):.1f} cells with the width of the box, by "
            f"{float(noise.sel(half=10).max()):.2f} at most with the seed",
            bool((span > 1).all() and (noise.sel(half=10) < 1).all()),
            "right cliff",
            seeds,
            "a shift with the box below a cell, or one with the noise above",
        ),
    ]  # fmt: skip


STUDY = Study(
    "basins",
    "what decides on which side of the right cliff a start falls",
    compute,
    plot,
    judge,
    caption="(a): the k at which the box dies, against half its width; bars: seeds of the noise. (b): how far off "
    "other starts die, in cells of the paper's plane. (c): how long the box lives just beyond the cliff; a fold would "
    "give the dashed curve. (d): how fast the edge states grow, beside the rate read off (c).",
    alt="Four panels: the cliff moves with the width of the box and the start; lifetimes grow as a logarithm; edge "
    "states at several k with one growing mode.",
)
