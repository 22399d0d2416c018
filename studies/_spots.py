"""What is drawn and said of the single spot's branch in `studies.bifurcations`."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from gsimplicit.landscape.cells import CellClass, classes
from studies._common import Datasets


def branches(data: Datasets, ax: Axes) -> None:
    """Largest v along the spot's branch, its fold and Hopf point, edge states, and where the paper's box lives."""
    spots, curves, box = data["bifurcations_spots"], data["bifurcations_curves"], data["bifurcations_box"]
    where = {"spot_fold": ">", "spot_hopf": "D"}
    cells = classes(box.isel(sample=0))
    for F, colour in zip(spots["F"].values, ("#1f5a8a", "#c0392b"), strict=True):
        one = spots.sel(F=F).dropna("point", subset=["k"])
        stays = (one["growth"] <= 1e-6).values
        # the step over which stability changes is drawn as unstable
        changes = np.r_[stays[:-1] != stays[1:], False]
        for stable, style, chosen in ((True, "-", stays), (False, ":", ~stays | changes | np.roll(changes, 1))):
            ax.plot(
                np.where(chosen, one["k"], np.nan),
                np.where(chosen, one["v_max"], np.nan),
                color=colour,
                ls=style,
                lw=1.6,
                label=f"F = {F:g}, {'stable' if stable else 'unstable'}",
            )
        ax.plot(one["edge_k"], one["edge_v_max"], "x", color=colour, ms=5)
        upper = one.isel(point=slice(int(one["k"].argmax("point")) + 1))
        for name, marker in where.items():
            at = float(curves[name].interp(F=F))
            if np.isfinite(at):
                height = np.interp(at, upper["k"], upper["v_max"])  # both lie on the half before the fold
                ax.plot(at, height, marker, color=colour, ms=5, mfc="w", zorder=3)
        row = cells.sel(F=F, method="nearest")
        lives = row.isin([CellClass.PATTERN, CellClass.UNSTEADY]).values & (row["k"] > 0.062).values
        dead = (row == CellClass.TRIVIAL).values & (row["k"] > 0.062).values
        low = 0.215 if spots["F"].values[0] == F else 0.205
        for chosen, fill in ((lives, colour), (dead, "none")):
            at = row["k"].values[chosen]
            ax.plot(at, np.full(len(at), low), "o", ms=2.5, color=colour, mfc=fill, mew=0.6)
    marks = [(">", "w", "fold"), ("D", "w", "Hopf point"), ("x", "k", "edge state"), ("o", "k", "box lives")]
    marks.append(("o", "w", "box dies"))
    handles = ax.get_legend_handles_labels()[0]
    handles += [ax.plot([], [], m, color="k", mfc=fill, ms=4, label=word)[0] for m, fill, word in marks]
    ax.set(xlabel="k, kill rate", ylabel="largest v of the spot", ylim=(0.195, None))
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_title("(e) the single spot, 32 x 32 pixels", loc="left")
    ax.legend(handles=handles, fontsize=6.5, frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.16))


def law(spots: xr.Dataset, ax: Axes) -> None:
    """How v changes with k near the fold, against the square-root law."""
    for F, colour in zip(spots["F"].values, ("#1f5a8a", "#c0392b"), strict=True):
        one = spots.sel(F=F)
        good = (one["distance"] > 3e-6).values  # the last point has a neighbour on one side only
        x, y = one["distance"].values[good], np.abs(one["slope"].values[good])
        ax.loglog(x, y, "o", ms=3, color=colour, label=f"F = {F:g}, power {power(one):.3f}")
        near = x < 1e-4
        ax.loglog(x, np.exp(np.mean(np.log(y[near] * np.sqrt(x[near])))) / np.sqrt(x), color=colour, lw=0.7)
    ax.set(xlabel="distance in k from the fold", ylabel="|d mean(v) / dk|")
    ax.set_title("(f) at the spot's fold; lines: power -1/2", loc="left")
    ax.legend(fontsize=7, frameon=False)


def power(one: xr.Dataset) -> float:
    """Exponent of |d mean v / dk| against the distance from the fold, over its last decades."""
    x, y = one["distance"].values, np.abs(one["slope"].values)
    good = (x > 3e-6) & (x < 1e-4)
    return float(np.polyfit(np.log(x[good]), np.log(y[good]), 1)[0]) if good.sum() > 3 else float("nan")


def apart(one: xr.Dataset) -> np.ndarray[Any, Any]:
    """Distance of the edge states from the branch beyond its fold, in largest v and in rate; shape (2, edges)."""
    branch = one.dropna("point", subset=["k"])
    beyond = branch.isel(point=slice(int(branch["k"].argmax("point")), None)).sortby("k")
    pairs = (("v_max", "edge_v_max"), ("growth", "edge_rate"))
    return np.abs([one[edge] - np.interp(one["edge_k"], beyond["k"], beyond[name]) for name, edge in pairs])


def lies_on(one: xr.Dataset) -> bool:
    """Whether there are edge states at half the k or more, all of them on the branch."""
    found = np.isfinite(one["edge_v_max"].values)
    return bool(found.mean() >= 0.5 and (apart(one)[:, found] < 1e-3).all())


def off_branch(one: xr.Dataset) -> str:
    v, rate = apart(one)
    found = np.isfinite(v)
    if not found.any():
        return f"F = {float(one['F']):g}: none found"
    return (
        f"F = {float(one['F']):g}: {found.sum()} of {len(v)} k have one, off by {v[found].max():.0e} in v and "
        f"{rate[found].max():.0e} in the rate"
    )
