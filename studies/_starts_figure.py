"""The figures of other starts: for each kind of start the paper's three rows, two times and the stop."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from studies import _times


def drawn(blocks: dict[str, xr.Dataset], F: float) -> Figure:
    """For each kind of start the paper's three rows: two times and the stop; a column a point."""
    figure = Figure(figsize=(9.5, 0.4 + 3.6 * len(blocks)), layout="constrained")
    parts = figure.subfigures(len(blocks), 1)
    for part, letter, (title, data) in zip(np.atleast_1d(parts), "abc", blocks.items(), strict=False):
        part.suptitle(f"({letter}) {title}, F = {F:g}", x=0.01, ha="left", fontsize=10)
        one = data.isel(sample=0, point=np.flatnonzero(data["F"].values == F))
        panels = part.subplots(one.sizes["time"], one.sizes["point"])
        for row, time in zip(panels, one["time"].values, strict=True):
            words = "stop" if time == "stop" else f"{int(time):,} steps"
            row[0].set_ylabel(words, rotation=0, ha="right", va="center", fontsize=8)
            for ax, n in zip(row, range(one.sizes["point"]), strict=True):
                shown = ax.imshow(
                    one["v"].sel(time=time)[n], cmap="cividis", vmin=0, vmax=_times.V_TOP, interpolation="nearest"
                )
                ax.set(xticks=[], yticks=[])
                ax.spines[:].set_visible(False)
                if time == one["time"].values[0]:
                    ax.set_title(f"k = {float(one['k'][n]):.4f}", fontsize=8)
                if time == "stop":
                    capped = int(one["steps"][n]) >= _times.LAST
                    ax.set_xlabel("at its last step" if capped else f"at {int(one['steps'][n]):,}", fontsize=7)
        part.colorbar(shown, ax=panels, shrink=0.6, label="v", extend="max", aspect=30)
    return figure
