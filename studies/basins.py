"""What decides on which side of a cliff a start falls? The right cliff is moved by its start.

(a) The k at which the starting box dies, by bisection, against the half width of the box at three F. (b) The same for
other values inside the box, other noise, and developed patterns and single spots as starts. (c) How long the box
without noise lives just beyond the cliff: logarithmic in the distance, as beside an edge state with one unstable rate;
a fold would leave a ghost that delays it by the power -1/2. (d) The edge state between a faint and a full spot along k,
and the one the box itself is tracked to at its cliff: their unstable rate, beside the rate of (c).
"""

from __future__ import annotations

from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import gsimplicit as gs
from gsimplicit import labels
from gsimplicit.bifurcation.edge import basin_edge, edge_state
from gsimplicit.bifurcation.lifetime import lifetime
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from studies import _single
from studies._claims import Claim, between, ours
from studies._common import Datasets, Study, filled
from studies._curves import CELL
from studies._single import HORIZON, spot_edge

SIZES = {
    "quick": (64, (3, 5, 10), (0.035,), 2),
    "default": (128, (2, 3, 4, 5, 8, 10, 16, 32), (0.035, 0.045, 0.055), 5),
    "paper": (128, (2, 3, 4, 5, 6, 8, 10, 16, 32), (0.03, 0.035, 0.04, 0.045, 0.05, 0.055, 0.06), 10),
}
"""Pixels along each side, half widths, F, and seeds."""
DIES, SURVIVES = 0.08, 0.0605
NEAR = 10.0 ** np.arange(-3, -10.5, -0.5)
"""Distances in k of (c)."""
CLOSE = 2e-6
"""Up to this distance the rate is read off."""
F_EDGE = 0.035
EDGES = {
    "quick": (0.068, 0.07),
    "default": (0.0655, 0.067, 0.069, 0.071, 0.073),
    "paper": tuple(np.arange(0.065, 0.0755, 0.0005)),
}
STARTS = (
    "box",
    "box of (0.25, 0.5)",
    "box of (1, 0.25)",
    "noise 0",
    "noise 0.05",
    "single spot",
    "pattern of k = 0.062",
)


def compute(scale: str, folder: Path) -> Datasets:
    """Three small datasets, each value a bisection."""
    side, halves, feeds, seeds = SIZES[scale]
    settings = {"scale": scale, "side": side}
    jobs = {
        "width": lambda: _width(side, halves, feeds, seeds),
        "starts": lambda: _starts(side, feeds),
        "lifetimes": lambda: _lifetimes(side),
        "edges": lambda: _edges(EDGES[scale]),
    }
    scripts = (__file__, _single.__file__)
    return {f"basins_{n}": filled(folder / f"basins_{n}.nc", scripts, settings, job) for n, job in jobs.items()}


def _params(F: float, k: float = 0.065) -> gs.Params:
    return gs.Params(0.16, 0.08, F, k)


def _critical(F: float, start: torch.Tensor) -> float:
    """The k at which a start dies, to a twentieth of a cell; NaN where it dies or lives everywhere asked."""
    try:
        return basin_edge(_params(F), start, dies=DIES, survives=SURVIVES, tol=CELL / 20, horizon=HORIZON).value
    except ValueError:
        return float("nan")


# (a) width of the box, and seeds of the noise


def _width(side: int, halves: tuple[int, ...], feeds: tuple[float, ...], seeds: int) -> Job:
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


def _starts(side: int, feeds: tuple[float, ...]) -> Job:
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


def _lifetimes(side: int) -> Job:
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


def _edges(at: tuple[float, ...]) -> Job:
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


# figure and claims


def plot(data: Datasets) -> Figure:
    """Cliff against width, cliff by start, lifetimes, and the edge state's rate."""
    figure = Figure(figsize=(9.5, 7.6), layout="constrained")
    ((left, right), (below, last)) = figure.subplots(2, 2)
    _draw_width(data["basins_width"], left)
    _draw_starts(data["basins_starts"], right)
    lives, slope = data["basins_lifetimes"], _slope(data["basins_lifetimes"])
    x = lives["distance"].values
    below.semilogx(x, lives["steps"], "o", color="#1f5a8a", label="box without noise, F = 0.035")
    near = x < CLOSE
    line = np.polyfit(np.log(x[near]), lives["steps"].values[near], 1)
    below.semilogx(x, np.polyval(line, np.log(x)), color="#1f5a8a", lw=0.8, label=f"{slope:.1f} steps per factor e")
    ghost = lives["steps"].values[0] * (x / x[0]) ** -0.5
    below.semilogx(x, ghost, "k--", lw=0.8, label="ghost of a fold, power -1/2")
    below.set(
        xlabel="distance in k beyond the cliff",
        ylabel="steps until v is dead",
        ylim=(0, 2.5 * float(lives["steps"].max())),
    )
    below.set_title("(c) how long the box lives", loc="left")
    below.legend(fontsize=7, frameon=False)
    edges = data["basins_edges"]
    last.plot(edges["k"], edges["rate"], "o-", color="#c0392b", label="faint and full spot: unstable rate")
    last.plot(edges["k"], edges["second"], "s-", color="#7b3fa0", label="its next mode")
    last.plot(
        float(lives["critical"]),
        float(lives["rate"]),
        "*",
        ms=11,
        color="#1f5a8a",
        label="edge state of the box itself",
    )
    last.axhline(np.expm1(1 / slope), color="#1f5a8a", ls="--", lw=0.9, label="rate of (c), at the box's cliff")
    last.axvline(float(lives["critical"]), color="0.5", ls=":", lw=0.9, label="the box's cliff")
    last.axhline(0, color="k", lw=0.6)
    last.set(xlabel="k, kill rate", ylabel="growth per unit time")
    last.set_title("(d) edge states at F = 0.035", loc="left")
    last.legend(fontsize=7, frameon=False)
    return figure


COLOURS = ("#1f5a8a", "#7fb08a", "#c0392b", "#7b3fa0", "#d98c5f", "0.4", "k")
"""One for each F, in both panels."""


def _draw_width(width: xr.Dataset, ax: Axes) -> None:
    for F, colour in zip(width["F"].values, COLOURS, strict=False):
        one = width["k"].sel(F=F)
        middle, low, high = one.median("seed"), one.min("seed"), one.max("seed")
        ax.errorbar(
            one["half"], middle, [middle - low, high - middle], fmt="o-", ms=3, lw=0.9, color=colour, label=f"F = {F:g}"
        )
    ax.set(xscale="log", xlabel="half width of the box, pixels", ylabel="k at which the box dies")
    ax.set_xticks(width["half"].values, [str(h) for h in width["half"].values])
    ax.minorticks_off()
    ax.set_title("(a) the cliff against the box, bars over seeds", loc="left")
    ax.legend(fontsize=7, frameon=False)


def _draw_starts(starts: xr.Dataset, ax: Axes) -> None:
    names = [str(n) for n in starts["start"].values]
    for F, marker, colour in zip(starts["F"].values, "os^vDPX", COLOURS, strict=False):
        away = (starts["k"].sel(F=F) - starts["k"].sel(F=F, start="box")) / CELL
        ax.plot(away.values, np.arange(len(names)), marker, color=colour, label=f"F = {F:g}")
    ax.axvline(0, color="0.6", lw=0.7)
    ax.set_yticks(np.arange(len(names)), names)
    ax.set(xlabel="distance from the box's cliff, cells of the paper's plane")
    ax.set_title("(b) the cliff of other starts", loc="left")
    ax.legend(fontsize=7, frameon=False)


def _slope(lives: xr.Dataset) -> float:
    """Steps gained by a start a factor e nearer to the cliff."""
    good = (lives["steps"].notnull() & (lives["distance"] < CLOSE)).values
    return float(-np.polyfit(np.log(lives["distance"].values[good]), lives["steps"].values[good], 1)[0])


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
    slope, rate = _slope(lives), edges["rate"]
    single = bool((edges["unstable"].dropna("k") == 1).all()) and bool(edges["rate"].notnull().any())
    tracked, predicted = float(lives["rate"]), float(np.expm1(1 / slope))
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
            f"{gains[0]:.1f} and {gains[1]:.1f} steps a factor e; {slope:.1f} within {CLOSE:g}, a rate of "
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
    "other starts die. (c): how long the box lives just beyond the cliff; a fold would give the dashed curve. (d): how "
    "fast the edge states grow, beside the rate read off (c).",
    alt="Four panels: the cliff moves with the width of the box and the start; lifetimes grow as a logarithm; edge "
    "states at several k with one growing mode.",
)
