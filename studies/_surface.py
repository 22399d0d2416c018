"""A loss over a plane as a surface in three dimensions, coloured by its height."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.colors import Normalize
from mpl_toolkits.mplot3d.axes3d import Axes3D

CMAP = "cividis"


def surface(
    loss: xr.DataArray,
    ax: Any,
    label: str,
    *,
    top: float,
    view: tuple[float, float] = (28, -120),
    truth: tuple[float, float] = (0.035, 0.065),
) -> None:
    """Draw a plane of losses; what is higher than `top` is left out, as are points where v diverged.

    Args:
        loss: Over F and k.
        ax: Of `projection="3d"`.
        label: Of the upright axis.
        top: Height of the picture.
        view: Elevation and azimuth in degrees.
        truth: F and k of the target.
    """
    assert isinstance(ax, Axes3D)
    F, k = (loss[name].values for name in ("F", "k"))
    height = loss.transpose("F", "k").values
    height = np.where(height > top, np.nan, height)  # drawn at the top it would look like a plateau
    across, along = np.meshgrid(k, F)
    drawn = ax.plot_surface(
        across, along, height, rstride=1, cstride=1, cmap=CMAP, norm=Normalize(0, top), edgecolor="0.25", lw=0.15,
        antialiased=True,
    )  # fmt: skip
    drawn.set_clip_on(False)  # its corners reach beyond the flat frame
    ax.plot([truth[1]] * 2, [truth[0]] * 2, [0, 0.45 * top], color="k", lw=1.4, zorder=20)
    ax.plot([truth[1]], [truth[0]], [0.45 * top], marker="*", ms=8, mfc="w", mec="k", zorder=21)
    ax.view_init(*view)
    ax.set_box_aspect((1, 1, 0.62), zoom=1.08)
    ax.set(xlabel="k, kill rate", ylabel="F, feed rate", zlim=(0, top), xlim=(k[0], k[-1]), ylim=(F[0], F[-1]))
    ax.set_zlabel(label, labelpad=4)
    ax.locator_params(axis="x", nbins=4)
    ax.locator_params(axis="y", nbins=4)
    ax.tick_params(labelsize=7, pad=1)
