"""The figure of `studies.basins`."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from studies._basin_jobs import CLOSE
from studies._common import Datasets
from studies._curves import CELL

COLOURS = ("#1f5a8a", "#7fb08a", "#c0392b", "#7b3fa0", "#d98c5f", "0.4", "k")
"""One for each F, in both panels."""


def plot(data: Datasets) -> Figure:
    """Cliff against width, cliff by start, lifetimes, and the edge state's rate."""
    figure = Figure(figsize=(9.5, 7.6), layout="constrained")
    ((left, right), (below, last)) = figure.subplots(2, 2)
    _draw_width(data["basins_width"], left)
    _draw_starts(data["basins_starts"], right)
    lives, steps = data["basins_lifetimes"], slope(data["basins_lifetimes"])
    x = lives["distance"].values
    below.semilogx(x, lives["steps"], "o", color="#1f5a8a", label="box without noise, F = 0.035")
    near = x < CLOSE
    line = np.polyfit(np.log(x[near]), lives["steps"].values[near], 1)
    below.semilogx(x, np.polyval(line, np.log(x)), color="#1f5a8a", lw=0.8, label=f"{steps:.1f} steps per factor e")
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
    last.axhline(np.expm1(1 / steps), color="#1f5a8a", ls="--", lw=0.9, label="rate of (c), at the box's cliff")
    last.axvline(float(lives["critical"]), color="0.5", ls=":", lw=0.9, label="the box's cliff")
    last.axhline(0, color="k", lw=0.6)
    last.set(xlabel="k, kill rate", ylabel="growth per unit time")
    last.set_title("(d) edge states at F = 0.035", loc="left")
    last.legend(fontsize=7, frameon=False)
    return figure


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
    ax.set(xlabel="distance from the box's cliff (cells)")
    ax.set_title("(b) the cliff of other starts", loc="left")
    ax.legend(fontsize=7, frameon=False)


def slope(lives: xr.Dataset) -> float:
    """Steps gained by a start a factor e nearer to the cliff."""
    good = (lives["steps"].notnull() & (lives["distance"] < CLOSE)).values
    return float(-np.polyfit(np.log(lives["distance"].values[good]), lives["steps"].values[good], 1)[0])
