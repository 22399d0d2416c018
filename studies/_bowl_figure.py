"""How the quadratics of `studies.fig6` are drawn."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from studies._bowl import BOX, TRUTH, fitted
from studies._common import Datasets


def plot(data: Datasets) -> Figure:
    """The bowl, cuts through it, where the minima lie, and how they miss against time."""
    figure = Figure(figsize=(8.5, 7.2), layout="constrained")
    bowl, cuts, where, times = figure.subplots(2, 2).flat
    _bowl_panel(data["fig6_plane"], bowl)
    _cuts_panel(data["fig6_plane"], cuts)
    _where_panel(data["fig6_minima"], where)
    _times_panel(data["fig6_minima"], times)
    return figure


def _bowl_panel(data: xr.Dataset, ax: Axes) -> None:
    loss = data["loss"].isel(sample=0, objective=0)
    levels = np.geomspace(1e-7, float(loss.max()), 13)
    filled_in = ax.contourf(loss["k"], loss["F"], 1e3 * np.sqrt(loss), 12, cmap="cividis")
    ax.contour(loss["k"], loss["F"], loss, levels, colors="w", linewidths=0.5)
    ax.figure.colorbar(filled_in, ax=ax, label="root of the residual loss, 1e-3 per step")
    place, H, _ = fitted(loss["F"].values, loss["k"].values, loss.values)
    values, vectors = np.linalg.eigh(H)
    for value, vector, style, word in zip(values, vectors.T, ("-", "--"), ("valley", "steepest"), strict=True):
        line = place[:, None] + vector[:, None] * np.linspace(-0.02, 0.02, 2)
        ax.plot(line[1], line[0], color="w", ls=style, lw=1.4, label=f"{word}: curvature {value:.2g}")
    ax.plot(TRUTH["k"], TRUTH["F"], "*", ms=10, mfc="w", mec="k", label="truth")
    ax.set(xlabel="k, kill rate", ylabel="F, feed rate", xlim=BOX["k"], ylim=BOX["F"])
    ax.legend(fontsize=7, loc="upper left", facecolor="0.35", labelcolor="w", framealpha=0.9)
    ax.set_title("(a) the residual loss at the stopped truth", loc="left")


def _cuts_panel(data: xr.Dataset, ax: Axes) -> None:
    for sample, (name, marker) in enumerate(zip(("stopped", "certified"), "o+", strict=True)):
        loss = data["loss"].isel(sample=sample, objective=0)
        for along, colour, other in (("F", "#0b4a8f", "k"), ("k", "#d9742b", "F")):
            row = loss.sel({other: TRUTH[other]}, method="nearest")
            label = f"along {along}, {name}"
            offset = (row[along] - TRUTH[along]) / (BOX[along][1] - BOX[along][0])
            ax.plot(100 * offset, 1e5 * row, marker, ms=4, mfc="none", color=colour, label=label)
            fine = np.linspace(*BOX[along], 200)
            curve = np.polyval(np.polyfit(row[along], row, 2), fine)
            ax.plot(100 * (fine - TRUTH[along]) / (BOX[along][1] - BOX[along][0]), 1e5 * curve, color=colour, lw=0.7)
    ax.set(
        xlabel="distance from the truth, % of the plotted range", ylabel="residual loss, 1e-5 per step²", ylim=(0, None)
    )
    ax.legend(fontsize=7, frameon=False, loc="upper center")
    ax.set_title("(b) cuts beside the truth; lines: parabolas", loc="left")


def _where_panel(data: xr.Dataset, ax: Axes) -> None:
    looks = {"500": ("D", "#d9742b"), "4000": ("s", "#3f8f5a"), "stopped": ("o", "#0b4a8f"), "certified": ("x", "k")}
    for state, (marker, colour) in looks.items():
        miss = 100 * np.abs(data["miss"].sel(state=state))
        for n, name in enumerate(TRUTH):
            y = miss.sel(parameter=name).values
            y = np.maximum(y[np.isfinite(y)], 1e-12)
            x = n + 0.16 * (list(looks).index(state) - 1.5) + np.linspace(-0.05, 0.05, len(y))
            label = f"{state} steps" if state.isdigit() else state
            ax.semilogy(x, y, marker, ms=3, color=colour, mfc="none", mew=0.8, label=label if n == 0 else None)
    ax.set_xticks(range(4), list(TRUTH))
    ax.set(ylabel="minimum's distance from the truth, %", xlim=(-0.5, 3.5))
    ax.legend(fontsize=7, ncols=2, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.08))
    ax.set_title(f"(c) where the minimum lies, {data.sizes['start']} starts", loc="left")


def _times_panel(data: xr.Dataset, ax: Axes) -> None:
    way = data.isel(state=slice(-2))
    steps = way["state"].values.astype(int)
    series = [("du/dt left out", way["miss"], "o", "#0b4a8f")]
    for n, later in enumerate(data["later"].values):
        word = f"du/dt from the frame {later} step{'s' if later > 1 else ''} later"
        series.append((word, way["miss_with_rate"].isel(later=n), "sD"[n], ("#3f8f5a", "#d9742b")[n]))
    for word, miss, marker, colour in series:
        worst = np.maximum(100 * np.abs(miss).max("parameter"), 1e-14)
        low, middle, high = worst.quantile([0.1, 0.5, 0.9], "start").values
        ax.fill_between(steps, low, high, color=colour, alpha=0.2, lw=0)
        ax.loglog(steps, middle, marker + "-", ms=4, color=colour, mfc="w", label=word)
    ax.set(xlabel="steps marched", ylabel="largest miss of the four parameters, %")
    ax.set_xticks(steps, [f"{n:,}" for n in steps])
    ax.minorticks_off()
    ax.legend(fontsize=7, frameon=False, loc="center left")
    ax.set_title("(d) states on their way", loc="left")
