"""The figure of `early`: planes at each time, and courses against time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

import gsimplicit as gs
from gsimplicit.plotting import plane

COLOURS = {"left": "#1f5a8a", "patterns": "0.15", "right": "#c0392b"}
MARKERS = {"left": "<", "patterns": "o", "right": ">"}
NAMES = {"v_mean": "mean v", "fine": "wavelength"}


def drawn(
    planes: xr.Dataset,
    jumps: Mapping[str, xr.DataArray],
    ranks: Mapping[tuple[str, str], xr.DataArray],
    distances: Mapping[str, xr.DataArray],
) -> Figure:
    """Planes of loss and wavelength, then jumps, rank correlations and distances against time."""
    figure = Figure(figsize=(11.5, 7.8), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[1.5, 1])
    _planes(planes.isel(sample=0), above.subplots(2, planes.sizes["time"], sharex=True, sharey=True))
    left, middle, right = below.subplots(1, 3)
    names = [t if t == "stop" else f"{int(t):,}" for t in map(str, planes["time"].values)]
    for side, jump in jumps.items():
        left.plot(names, jump, marker=MARKERS[side], color=COLOURS[side], label=f"{side} cliff")
    left.set(ylabel="jump of the loss over its range", ylim=(0, 1.05))
    left.set_title("(c) height of the final cliffs", loc="left")
    for (side, measure), rank in ranks.items():
        line = "-" if measure == "v_mean" else "--"
        words = f"{side}: {NAMES[measure]}" if side == "patterns" else f"{side} of these: {NAMES[measure]}"
        middle.plot(names, rank, line, marker=MARKERS[side], color=COLOURS[side], label=words)
    middle.set(ylabel="median |rank correlation|", ylim=(-0.03, 1.05))
    middle.set_title("(d) regular change along lines", loc="left")
    for what, found in distances.items():
        line = "-" if what == "neighbours" else "--"
        for side, marker in zip(found["side"].values, "osD", strict=True):
            one = found.sel(side=side)
            base = float(one.sel(time="500"))
            if base > 0:
                right.plot(names[2:], one[2:] / base, line, marker=marker, ms=4, color="0.15", label=f"{what}: {side}")
    right.set(ylabel="mean distance, 1 at 500 steps", yscale="log")
    right.set_title("(e) how far patterns are apart", loc="left")
    for ax in (left, middle, right):
        ax.set_xlabel("steps")
        if ax.get_legend_handles_labels()[0]:
            ax.legend(
                fontsize=6.5, frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.22), handlelength=3.2
            )
    return figure


def _planes(one: xr.Dataset, panels: np.ndarray) -> None:
    """Loss above, wavelength below."""
    final = one["kind"].sel(time="stop")
    norms = (Normalize(0, 270), LogNorm(8, 64))
    measures = ("loss", "fine"), "ab", ("spectrum loss", "wavelength, pixels"), norms
    for row, name, letter, words, norm in zip(panels, *measures, strict=True):
        for ax, time in zip(row, one["time"].values, strict=True):
            last = time == one["time"].values[-1]
            ax.set_facecolor("0.8")
            plane(one[name].sel(time=time), ax, colorbar=words if last else None, cmap="cividis", norm=norm)
            ax.set_xticks([0.055, 0.06, 0.065])
            ax.set_xlabel("" if name == "loss" else "k, kill rate")
            ax.set_ylabel("F, feed rate" if ax is row[0] else "")
            _borders(final, ax)
            ax.plot(0.065, 0.035, marker="*", ms=7, mfc="w", mec="k", ls="none")
            if name == "loss":
                words_of = "stop" if time == "stop" else f"{int(time):,} steps"
                ax.set_title(f"({letter}) {words_of}" if ax is row[0] else words_of, loc="left", fontsize=9)
                continue
            _plain(ax.collections[0].colorbar)
            if ax is row[0]:
                ax.set_title(f"({letter}) dominant wavelength", loc="left", fontsize=9)


def _plain(bar: Colorbar | None) -> None:
    """Numbers a reader knows at a logarithmic colour bar."""
    if bar is not None:
        bar.set_ticks([10, 20, 40], labels=["10", "20", "40"])
        bar.ax.minorticks_off()


def _borders(kind: xr.DataArray, ax: Axes) -> None:
    """Lines between points of the plane whose final states are of different kinds, one of them a pattern."""
    kind = kind.transpose("F", "k")
    F, k, inside = kind["F"].values, kind["k"].values, (kind == gs.Kind.PATTERN).values
    step_F, step_k = np.diff(F).mean() / 2, np.diff(k).mean() / 2
    for i, j in np.argwhere(inside[:, 1:] != inside[:, :-1]):
        ax.plot([k[j] + step_k] * 2, [F[i] - step_F, F[i] + step_F], color="w", lw=1.4)
    for i, j in np.argwhere(inside[1:] != inside[:-1]):
        ax.plot([k[j] - step_k, k[j] + step_k], [F[i] + step_F] * 2, color="w", lw=1.4)
