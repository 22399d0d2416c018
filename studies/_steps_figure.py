"""The figure of `studies.steps`: the four lines with three steps, how far cliffs move, and the plane."""

from __future__ import annotations

from itertools import product

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

from gsimplicit.plotting import class_map, cliff_lines, label
from studies._common import Datasets
from studies._crossings import HALF, QUARTER, SIDES, SMALL, WHOLE, cell
from studies.fig2 import RANGES, TRUTH

LOOKS = {
    WHOLE.name: ("#111111", "-", "o"),
    HALF.name: ("#2f7fb8", "--", "s"),
    QUARTER.name: ("#e08a1e", ":", "^"),
    SMALL.name: ("#8a2f6b", "-", "D"),
}
"""Colour, line and marker of each kind of steps."""


def shifts(by_step: xr.Dataset, by_pixel: xr.Dataset) -> xr.Dataset:
    """By line, side and kind of steps: how far patterns' ends are from where they were, in cells.

    Against steps of 1; of smaller pixels against pixels of 1 with the same step. Each seed against itself.

    Returns:
        `shift` (mean over seeds), `error` (half the range over seeds, and what bisection leaves open),
        `limit` (steps of no length: the last two shifts prolonged, for the error of Euler's step is linear in it).
    """
    places, small = by_step["place"], by_pixel["place"]
    unit = xr.DataArray([cell(str(n)) for n in places["line"].values], dims="line")
    by_steps = (places - places.sel(steps=WHOLE.name)) / unit
    same = places.sel(steps=QUARTER.name, drop=True)
    by_pixels = (small - same) / unit
    open_ = [float((abs(d["outer"] - d["inner"]) / unit).max()) for d in (by_step, by_pixel)]
    left = xr.DataArray(  # half an interval at either place
        [open_[0]] * places.sizes["steps"] + [sum(open_) / 2] * small.sizes["steps"],
        coords={"steps": [*places["steps"].values, *small["steps"].values]},
    )
    shift = xr.concat([by_steps.mean("seed"), by_pixels.mean("seed")], "steps")
    spread = xr.concat([(x.max("seed") - x.min("seed")) / 2 for x in (by_steps, by_pixels)], "steps")
    mean = by_steps.mean("seed")
    limit = 2 * mean.sel(steps=QUARTER.name, drop=True) - mean.sel(steps=HALF.name, drop=True)
    return xr.Dataset({"shift": shift, "error": spread + left, "limit": limit})


def plot(data: Datasets) -> Figure:
    """Lines on the left; on the right how far their cliffs move, and the plane."""
    figure = Figure(figsize=(11, 8.5), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.1, 1))
    panels = left.subplots(4, 1, sharey=True)
    for name, letter, ax in zip(RANGES, "abcd", panels, strict=True):
        _line(data, name, ax)
        ax.set_title(f"({letter}) along {name}", loc="left")
    panels[0].legend(loc="center", fontsize=8, frameon=False)
    above, below = right.subplots(2, 1)
    _moved(data, above)
    _plane(data, below)
    return figure


def _line(data: Datasets, name: str, ax: Axes) -> None:
    """The loss along one parameter with each step; ticks where patterns end."""
    ends = data["steps_dt"]
    for steps, inverse in ((WHOLE, 1), (HALF, 2), (QUARTER, 4)):
        one = data[f"steps_{name}_{inverse}"].isel(sample=0)
        colour, style, _ = LOOKS[steps.name]
        width = 2.2 if inverse == 1 else 1.5
        ax.plot(one[name], one["loss"].sel(objective="spectrum"), style, color=colour, lw=width, label=steps.name)
    ax.axvline(TRUTH[name], color="0.5", lw=0.8, ls=":")
    for side, steps in product(SIDES, (WHOLE, HALF, QUARTER)):
        at = float(ends["place"].sel(line=name, side=side, steps=steps.name).mean("seed"))
        colour, _, marker = LOOKS[steps.name]
        ax.plot(at, 282, marker, color=colour, ms=4, clip_on=False)
    ax.set(xlabel=label(data[f"steps_{name}_1"][name]), ylabel="spectrum loss", ylim=(-8, 290), xlim=RANGES[name])


def _moved(data: Datasets, ax: Axes) -> None:
    """Shift of each cliff by kind of steps, in cells."""
    moved = shifts(data["steps_dt"], data["steps_dx"])
    rows = [
        (name, side)
        for name, side in product(RANGES, SIDES)
        if moved["shift"].sel(line=name, side=side, steps=[HALF.name, QUARTER.name, SMALL.name]).notnull().any()
    ]
    for n, (name, side) in enumerate(rows):
        for steps, up in ((HALF, 0.22), (QUARTER, 0.0), (SMALL, -0.22)):
            one = moved.sel(line=name, side=side, steps=steps.name)
            colour, _, marker = LOOKS[steps.name]
            ax.errorbar(
                float(one["shift"]), -n + up, xerr=float(one["error"]), fmt=marker, ms=5, color=colour, lw=1.1,
                label=steps.name.partition(",")[0] if n == 0 else None,
            )  # fmt: skip
    ax.axvspan(-1, 1, color="0.9", zorder=0)
    ax.axvline(0, color="0.4", lw=0.7)
    ax.set_yticks(-np.arange(len(rows)), [f"{name}, {side} end" for name, side in rows])
    ax.set(xlabel="shift of the end of the patterns, cells of a line of 100 points", ylim=(-len(rows) - 0.3, 0.6))
    ax.set_title("(e) how far cliffs move", loc="left")
    ax.legend(fontsize=8, frameon=False, loc="lower center", ncols=3, columnspacing=1, handletextpad=0.3)


def _plane(data: Datasets, ax: Axes) -> None:
    """Kinds with steps of 1/2, and the cliffs of both planes."""
    whole, half = (data[f"steps_plane_{n}"].isel(sample=0) for n in (1, 2))
    class_map(half, ax)
    for one, colour, width in ((whole, "k", 3.6), (half, "#ffd92f", 1.3)):
        cliff_lines(one, "spectrum", ax, color=colour, width=width)
    handles = [
        Line2D([], [], color="k", lw=3.6, label=f"cliffs, {WHOLE.name}"),
        Line2D([], [], color="#ffd92f", lw=1.3, label=f"cliffs, {HALF.name}"),
    ]
    words = [str(h.get_label()) for h in handles]
    # beside the legend of kinds, which stays the panel's own
    ax.add_artist(
        Legend(ax, handles, words, loc="upper right", fontsize=8, facecolor="0.75", framealpha=1, edgecolor="0.4")
    )
    ax.plot(TRUTH["k"], TRUTH["F"], marker="*", ms=10, mfc="w", mec="k", ls="none")
    ax.set_title(f"(f) kinds of states, {HALF.name}, and cliffs", loc="left")
