"""The figure of `studies.routes`: one plane with its classes, cliffs, curves and gradients."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from gsimplicit.landscape.cells import axes_of
from gsimplicit.landscape.cliffs import edges, flat_plateau, loss_range
from gsimplicit.plotting import class_map, cliff_lines, plane
from studies._common import Datasets
from studies._constants import F_RANGE
from studies._curves import draw, uniform

DRAWN = ("implicit", "unrolled")
"""Routes of the figure."""


def plot(data: Datasets) -> Figure:
    """Classes and loss, the size of each route's gradient, and what each left unexplained of the jumps."""
    one = data["routes"].isel(sample=0)
    R = loss_range(one, "spectrum")
    figure = Figure(figsize=(11.5, 7), layout="constrained")
    panels = figure.subplots(2, 3)
    _plane(one, panels[0, 0])
    plane(one["loss"].sel(objective="spectrum"), panels[1, 0], colorbar="spectrum loss", cmap="viridis")
    cliff_lines(one, "spectrum", panels[1, 0], color="w")
    panels[1, 0].set_title("(d) loss of the marched state", loc="left")
    for n, route in enumerate(DRAWN):
        _slope_map(one, route, R, panels[0, n + 1])
        panels[0, n + 1].set_title(f"({'bc'[n]}) {route}: foreseen change", loc="left")
        _unexplained(one, route, panels[1, n + 1])
        panels[1, n + 1].set_title(f"({'ef'[n]}) {route}: jump against forecast", loc="left")
    return figure


def _plane(one: xr.Dataset, ax: Axes) -> None:
    """Classes, cliffs and the curves of the uniform state."""
    classes = class_map(one, ax).get_legend()
    cliff_lines(one, "spectrum", ax)
    F = np.linspace(*F_RANGE, 161)
    draw(uniform(F), F, ax)
    ax.legend(*ax.get_legend_handles_labels(), loc="upper left", fontsize=6, frameon=False, borderpad=0)
    ax.add_artist(classes)
    ax.set_title("(a) kinds; cliffs (dotted: unsteady)", loc="left")


def _slope_map(one: xr.Dataset, route: str, R: float, ax: Axes) -> None:
    """Foreseen change of the loss over one cell, as a share of R.

    Flat points of plateaus are dotted, points without a gradient grey.
    """
    foreseen = sum(
        abs(one["gradient"].sel(route=route, objective="spectrum", parameter=a, drop=True))
        * float(np.diff(one[a]).mean())
        for a in axes_of(one)
    )
    ax.set_facecolor("0.85")
    plane(
        foreseen.clip(min=1e-6 * R) / R,
        ax,
        colorbar="foreseen change / height (floor 1e-6)",
        cmap="magma",
        norm=LogNorm(1e-6, 1e2),
    )
    cliff_lines(one, "spectrum", ax, route=route, color="#2bb3c0")
    flat = flat_plateau(one, "spectrum", route)
    _arrows(one.where(~flat), route, ax)
    F, k = np.meshgrid(one["F"], one["k"], indexing="ij")
    ax.plot(k[flat.values], F[flat.values], ".", color="w", ms=4.5, ls="none")
    handles = [
        Patch(facecolor="0.85", edgecolor="0.4", label="no gradient"),
        Line2D([], [], color="#2bb3c0", label="cliff of its loss"),
        Line2D([], [], marker=".", color="k", mfc="w", ls="none", label="flat plateau point"),
        Line2D([], [], marker=r"$\rightarrow$", color="#8fd0ff", ls="none", label="descent"),
    ]
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, fontsize=7, frameon=False)


def _arrows(one: xr.Dataset, route: str, ax: Axes) -> None:
    """Direction of steepest descent at each cell with a gradient, axes measured in cells, all of one length."""
    down, across = axes_of(one)
    step = {a: float(one[a].diff(a).mean()) for a in (down, across)}
    slopes = one["gradient"].sel(route=route, objective="spectrum", drop=True)
    g = {a: -slopes.sel(parameter=a, drop=True).transpose(down, across).values * step[a] for a in (down, across)}
    length = np.hypot(g[down], g[across])
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y = (np.where(length > 1e-12, g[a] / length, np.nan) * 0.7 * step[a] for a in (across, down))
    where = np.meshgrid(one[across], one[down])
    ax.quiver(*where, x, y, angles="xy", scale_units="xy", scale=1, pivot="mid", width=0.004, color="#8fd0ff")


def _unexplained(one: xr.Dataset, route: str, ax: Axes) -> None:
    """Actual against foreseen jump of the route's own loss over every face, cliffs apart."""
    R, limit = loss_range(one, "spectrum"), 1.3
    for axis, marker in (("F", "s"), ("k", "o")):
        edge = edges(one, axis, "spectrum", [route]).isel(route=0)
        for cliff, colour in ((False, "0.55"), (True, "#c0392b")):
            chosen = (edge["route_cliff"] == cliff) & ~edge["route_unknown"]
            x, y = (edge[name].where(chosen).values.ravel() / R for name in ("foreseen", "route_jump"))
            label = f"{'cliff' if cliff else 'other'} face along {axis}"
            ax.plot(np.clip(x, -limit, limit), y, marker, color=colour, ms=3, ls="none", alpha=0.7, label=label)
    ax.axline((0, 0), slope=1, color="k", lw=0.6)
    ax.set(xlabel=f"foreseen jump / height (clipped at {limit})", ylabel="jump of the route's loss / height")
    ax.set(xlim=(-1.4, 1.4), ylim=(-1.4, 1.4))
    ax.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
