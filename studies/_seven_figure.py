"""How the seven patterns of `studies.fig1` and their losses are drawn."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from studies._common import Datasets
from studies._seven import SEVEN, apart_of, losses_of, seven_and_targets, uniform_level

TOP = 0.4
"""Upper end of the colours of v."""
COLOURS = {"spectrum": ("#0b4a8f", "o"), "windowed": ("#d9742b", "s")}
GREYS = ("#9a9a9a", "#7b3fa0", "#3f8f5a", "k", "#d9742b", "#b8a000", "#0b4a8f")
MARKS = "XPvo^Ds"
"""Of the patterns, in the order of `SEVEN`."""


def plot(data: Datasets) -> Figure:
    """Patterns, losses, the slopes between them, and distances."""
    one = data["fig1"]
    figure = Figure(figsize=(9, 7.6), layout="constrained")
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=(0.95, 1.1, 1.7))
    _patterns(one, top)
    loss = losses_of(one)
    _losses(loss, uniform_level(seven_and_targets(one)[1]), middle.subplots())
    slopes, far = bottom.subplots(1, 2)
    _slopes(loss, slopes)
    _apart(apart_of(one), far)
    return figure


def _patterns(data: xr.Dataset, figure: SubFigure) -> None:
    panels = figure.subplots(1, len(SEVEN))
    for name, ax in zip(SEVEN, panels, strict=True):
        image = ax.imshow(data["v"].sel(pattern=name).isel(sample=0), cmap="cividis", vmin=0, vmax=TOP)
        ax.set(xticks=[], yticks=[])
        ax.set_xlabel("Du {:.4g}, Dv {:.4g}\nF {:.4g}, k {:.4g}".format(*SEVEN[name]), fontsize=6)
        ax.set_title(f"{name}{', truth' if name == '#4' else ''}", fontsize=9)
        for spine in ax.spines.values():
            spine.set(visible=True, lw=2 if name == "#4" else 0.8)
    figure.colorbar(image, ax=panels, label="v", extend="max", shrink=0.6, aspect=10)
    figure.suptitle("(a) where the march stopped", fontsize=10, x=0.01, ha="left")


def _losses(loss: xr.DataArray, level: xr.DataArray, ax: Axes) -> None:
    for n, (objective, (colour, marker)) in enumerate(COLOURS.items()):
        one = loss.sel(objective=objective)
        middle, x = one.mean(["sample", "target"]), np.arange(len(SEVEN)) + 0.06 * (2 * n - 1)
        ends = [abs(middle - getattr(one, end)(["sample", "target"])) for end in ("min", "max")]
        ax.errorbar(x, middle, ends, fmt=marker + "-", ms=5, lw=1, capsize=3, color=colour, mfc="w", label=objective)
        ax.axhline(float(level.sel(objective=objective)), color=colour, lw=0.8, ls=":")
    ax.set_xticks(range(len(SEVEN)), list(SEVEN))
    ax.set_yscale("log")
    ax.set(ylabel="loss, log scale", xlim=(-0.5, len(SEVEN) - 0.5))
    ax.legend(fontsize=7, frameon=False, loc="center")
    ax.set_title("(b) losses against the truth from other starts; dotted: an exactly uniform v", loc="left")


def _slopes(loss: xr.DataArray, ax: Axes) -> None:
    """The losses as multiples of the truth's own, log scale."""
    ratio = loss.mean("target") / loss.sel(pattern="#4").mean(["sample", "target"])
    for n, name in enumerate(SEVEN):
        one = ratio.sel(pattern=name)
        middle = one.mean("sample")
        ends = [abs(middle - getattr(one, end)("sample")) for end in ("min", "max")]
        ax.errorbar([0, 1], middle, ends, fmt=MARKS[n] + "-", ms=5, lw=1.2, capsize=2, color=GREYS[n], label=name)
    ax.set_yscale("log")
    ax.set_xticks([0, 1], list(COLOURS))
    ax.set(xlim=(-0.25, 1.25), ylabel="loss, multiples of the truth's own")
    ax.legend(fontsize=7, frameon=False, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.08))
    ax.set_title("(c) from the one loss to the other", loc="left")


def _apart(far: xr.DataArray, ax: Axes) -> None:
    """Distances in three respects; what has no pattern has a distance of its values alone."""
    sides = [str(s) for s in far["side"].values]
    for n, name in enumerate(SEVEN):
        for m, side in enumerate(sides):
            y = far.sel(pattern=name, side=side).values
            x = np.full(len(y), m + 0.11 * (n - 3))
            ax.semilogy(x, y, MARKS[n], ms=3.5, color=GREYS[n], mfc="none", mew=0.8)
    ax.axhline(1, color="0.5", lw=0.8, ls=":")
    ax.set_xticks(range(len(sides)), sides)
    ax.set(ylabel="distance from the targets / their own")
    ax.set_title("(d) how far from the targets; #1, #2: no pattern", loc="left", fontsize=9)
