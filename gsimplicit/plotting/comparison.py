"""The table of routes as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from gsimplicit.plotting.figures import MARKERS, SERIES, Drawn, as_it_stands

if TYPE_CHECKING:
    import xarray as xr


def comparison(table: xr.Dataset, figure: Figure | None = None) -> Figure:
    """The table of `gsimplicit.compare`: difference to the first route, time, and the gradient by route.

    Args:
        table: What `compare` gave.
        figure: Figure to draw into; None makes one.

    Returns:
        The figure.

    Examples:
        >>> import gsimplicit as gs
        >>> from gsimplicit import plotting
        >>> start = gs.initial_state(grid=(32, 32))
        >>> table = gs.compare(gs.Params.preset("paper"), ["unrolled", "tangent"], initial=start, tol=0.0, max_steps=50)
        >>> len(plotting.comparison(table).axes)
        3
    """
    if figure is None:
        figure = Drawn(figsize=(10, 1.4 + 0.4 * table.sizes["route"]), layout="constrained")
    far, cost, value = figure.subplots(1, 3, sharey=True)
    names, places = [as_it_stands(str(n)) for n in table["route"].values], np.arange(table.sizes["route"])
    least = 1e-16  # rounding: a difference of zero has no place on a logarithm
    for b in range(table.sizes["instance"]):
        one = table.isel(instance=b)
        far.plot(np.maximum(one["difference"], least), places, "o", color=SERIES[0], ms=4, alpha=0.7)
        scale = float(np.abs(one["gradient"].isel(route=0)).max()) or 1.0
        for p in range(table.sizes["parameter"]):
            shown = str(table["parameter"].values[p]) if b == 0 else None
            marker, colour = MARKERS[p % len(MARKERS)], SERIES[p % len(SERIES)]
            value.plot(one["gradient"].isel(parameter=p) / scale, places, marker, ms=4, color=colour, label=shown)
    cost.plot(table["seconds"], places, "s", color=SERIES[2], ms=5)
    far.set(xscale="log", xlabel=f"relative difference to {names[0]}", yticks=places, yticklabels=names)
    cost.set(xscale="log", xlabel="seconds")
    cost.xaxis.set_minor_formatter(NullFormatter())
    lowest, highest = float(table["seconds"].min()), float(table["seconds"].max())
    cost.set_xlim(10 ** np.floor(np.log10(lowest)), 10 ** np.ceil(np.log10(highest) + 1e-9))
    value.set(xlabel="derivative, over the largest of the first route")
    value.margins(x=0.1)
    value.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    far.invert_yaxis()
    far.set_title(as_it_stands(f"{table.attrs.get('loss')} loss"), loc="left")
    return figure
