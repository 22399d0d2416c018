"""Starts that led to the truth and starts that did not, over the landscape of the marched loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import SubFigure

from studies._from_starts import CLOSE, FACE, TRUTH, recovered

SHOWN = ("re-marched", "followed", "one-shot")
HEIGHTS = {"re-marched": 0, "followed": 1, "one-shot": 2}


def draw(figure: SubFigure, fits: xr.Dataset, plane: xr.Dataset, letters: str) -> None:
    """Three planes and the line below them."""
    above, below = figure.subfigures(
        2, 1, height_ratios=(2.6, 1)
    )  # a colour bar and a wide line need layouts of their own
    panels = above.subplots(1, len(SHOWN), sharey=True)
    for n, (way, ax) in enumerate(zip(SHOWN, panels, strict=True)):
        loss = plane["loss"].squeeze(drop=True).transpose("F", "k")
        image = ax.pcolormesh(plane["k"], plane["F"], loss, cmap="cividis", shading="nearest", rasterized=True)
        some = fits.isel(start=fits["kind"].values == "plane").sel(way=way)
        _marks(ax, some["k"].values, some["F"].values, some)
        ax.plot(TRUTH[3], TRUTH[2], "*", ms=11, mfc="w", mec="k", zorder=4)
        good, n_tried = recovered(fits, way, ("plane",))
        ax.set_title(f"({letters[n]}) {way}: {good} of {n_tried}", loc="left", fontsize=9)
        ax.set_xlabel("k of the start")
        ax.margins(0.04)
    panels[0].set_ylabel("F of the start")
    above.colorbar(image, ax=panels, label="spectrum loss, marched")
    ax = below.subplots()
    line = fits.isel(start=fits["kind"].values == "line")
    for way, height in HEIGHTS.items():
        some = line.sel(way=way)
        _marks(ax, (some["k"].values - TRUTH[3]) / FACE, np.full(some.sizes["start"], height), some)
    ax.axvline(0, color="0.6", lw=0.8, zorder=0)
    counts = {way: recovered(fits, way, ("line",)) for way in HEIGHTS}
    ax.set_yticks(list(HEIGHTS.values()), [f"{way}: {good} of {n}" for way, (good, n) in counts.items()])
    ax.set_ylim(-0.6, 2.6)
    ax.set_xlabel("k of the start less the truth's, in widths of a face of figure 2")
    ax.set_title(f"({letters[3]}) along k", loc="left", fontsize=9)


def _marks(ax: Any, x: Any, y: Any, some: xr.Dataset) -> None:
    good = some["error"].values < CLOSE
    for at, looks in (
        (good, {"marker": "o", "ms": 6, "mfc": "w", "mec": "k"}),
        (~good, {"marker": "x", "ms": 6, "color": "k", "mew": 3.2}),
        (~good, {"marker": "x", "ms": 5, "color": "w", "mew": 1.2}),
    ):
        if at.any():  # what is empty and not clipped has no extent, and the layout fails
            ax.plot(x[at], y[at], ls="", zorder=3, clip_on=False, **looks)
