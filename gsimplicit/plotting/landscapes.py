"""Landscapes: lines and maps of the loss, the class of every point, and the cliffs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from gsimplicit.checks import meant
from gsimplicit.landscape.cells import CellClass, axes_of, classes
from gsimplicit.landscape.cliffs import edges
from gsimplicit.plotting.figures import Drawn, as_it_stands, label

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

CLASS_COLOURS = {
    CellClass.FAILED: "#333333",
    CellClass.TRIVIAL: "#faf6ec",
    CellClass.UNIFORM: "#bcd6ee",
    CellClass.PATTERN: "#6aa893",
    CellClass.UNSTEADY: "#c2571a",
}
"""From light to dark: trivial, uniform, pattern, unsteady, failed."""

_CLASS_WORDS = {m: m.name.lower() for m in CellClass} | {CellClass.FAILED: "diverged or failed"}


def edges_of(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Edges of the cells around the points of a grid, so that each point is in the middle of its colour."""
    if len(values) == 1:
        return np.array([values[0] * 0.99, values[0] * 1.01])
    middle = (values[1:] + values[:-1]) / 2
    return np.concatenate([[2 * values[0] - middle[0]], middle, [2 * values[-1] - middle[-1]]])


def plane(values: xr.DataArray, ax: Axes, *, colorbar: str | None = None, **mesh: Any) -> Axes:
    """A two-dimensional array as a map, its second dimension across.

    Args:
        values: Array over two parameters.
        ax: Axes to draw into.
        colorbar: Label of a colour bar; None draws none.
        **mesh: Passed to `pcolormesh` (colour map, limits).

    Examples:
        >>> import xarray as xr
        >>> from matplotlib.figure import Figure
        >>> from gsimplicit import plotting
        >>> values = xr.DataArray([[1.0, 2.0], [3.0, 4.0]], {"F": [0.03, 0.04], "k": [0.06, 0.062]}, ("F", "k"))
        >>> plotting.plane(values, Figure().subplots(), colorbar="loss").get_xlabel()
        'k'
    """
    down, across = (values[name] for name in values.dims)
    image = ax.pcolormesh(edges_of(across.values), edges_of(down.values), values.values, **{"shading": "flat", **mesh})
    if colorbar is not None:
        ax.figure.colorbar(image, ax=ax, label=colorbar)
    ax.set(xlabel=label(across), ylabel=label(down))
    ax.xaxis.set_major_locator(MaxNLocator(5))  # values like 0.0625 are wide
    return ax


def class_map(data: xr.Dataset, ax: Axes) -> Axes:
    """Classes of the cells of one sample over two parameters, with a legend of those that occur.

    Examples:
        >>> import gsimplicit as gs
        >>> from matplotlib.figure import Figure
        >>> from gsimplicit import plotting
        >>> start = gs.initial_state(grid=(16, 16), box=gs.Box(half=4))
        >>> data = gs.scan({"F": [0.03, 0.04], "k": [0.06, 0.07]}, initial=start, max_steps=100, progress=False)
        >>> plotting.class_map(data.isel(sample=0), Figure().subplots()).get_ylabel()
        'F, feed rate'
    """
    cells = classes(data)
    if "done" in data:  # of an unfinished scan: what is not there stays white
        cells = cells.where(data["done"] == 1)
    members = list(CellClass)
    colours = ListedColormap([CLASS_COLOURS[m] for m in members])
    plane(cells, ax, cmap=colours, norm=BoundaryNorm(np.arange(len(members) + 1) - 0.5, len(members)))
    found = [m for m in members if bool((cells == int(m)).any())]
    patches = [Patch(facecolor=CLASS_COLOURS[m], edgecolor="0.4", label=_CLASS_WORDS[m]) for m in found]
    ax.legend(
        handles=patches,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.2),
        ncols=len(found),
        columnspacing=1,
        fontsize=7,
        frameon=False,
    )
    return ax


def cliff_lines(
    data: xr.Dataset, objective: str, ax: Axes, *, route: str | None = None, color: str = "k", width: float = 1.6
) -> Axes:
    """The cliffs of one sample over two parameters, as lines on the faces.

    Of the marched loss: solid where both points settled, dotted where it jumps as much at a point that did not. With a
    route, of that route's own loss, where both points have a gradient.

    Examples:
        >>> import gsimplicit as gs
        >>> from matplotlib.figure import Figure
        >>> from gsimplicit import plotting
        >>> start = gs.initial_state(grid=(16, 16), box=gs.Box(half=4))
        >>> data = gs.scan({"F": [0.03, 0.04], "k": [0.06, 0.07]}, initial=start, progress=False)
        >>> len(plotting.cliff_lines(data.isel(sample=0), "spectrum", Figure().subplots()).lines) > 0
        True
    """
    down, across = axes_of(data)
    x, y = edges_of(data[across].values), edges_of(data[down].values)
    for axis in (across, down):
        edge = edges(data, axis, objective, [] if route is None else [route])
        if route is None:
            edge = edge.transpose(down, across)
            jumps = abs(edge["jump"]) >= edge.attrs["least_jump"]
            drawn = [("-", edge["cliff"]), (":", jumps & edge["unknown"])]
        else:
            drawn = [("-", edge["route_cliff"].isel(route=0).transpose(down, across))]
        for style, chosen in drawn:
            for i, j in np.argwhere(chosen.values):
                ends = ([x[j + 1]] * 2, y[i : i + 2]) if axis == across else (x[j : j + 2], [y[i + 1]] * 2)
                ax.plot(*ends, color=color, lw=width, ls=style, solid_capstyle="butt")
    return ax


def line(data: xr.Dataset, objective: str, ax: Axes) -> Axes:
    """The loss along one parameter: samples as thin lines, their mean, and where the march did not settle.

    Examples:
        >>> import gsimplicit as gs
        >>> from matplotlib.figure import Figure
        >>> from gsimplicit import plotting
        >>> start = gs.initial_state(grid=(16, 16), box=gs.Box(half=4))
        >>> data = gs.scan({"k": [0.06, 0.07]}, initial=start, max_steps=100, progress=False)
        >>> plotting.line(data, "spectrum", Figure().subplots()).get_xlabel()
        'k, kill rate'
    """
    (axis,) = axes_of(data)
    loss = data["loss"].sel(objective=objective)
    x = data[axis].values
    for s in range(data.sizes["sample"]):
        ax.plot(x, loss.isel(sample=s), color="#1f5a8a", lw=0.6, alpha=0.5)
    ax.plot(x, loss.mean("sample"), color="#1f5a8a", lw=1.4)
    cells = classes(data)
    for member, marker in ((CellClass.UNSTEADY, "v"), (CellClass.FAILED, "x")):
        found = (cells == int(member)).any("sample").values
        if found.any():
            # a point without a loss is marked at the top, where it cannot be taken for a small one
            height = loss.mean("sample").fillna(float(loss.max())).values[found]
            ax.plot(
                x[found], height, marker, color=CLASS_COLOURS[member], ms=4, ls="none", label=_CLASS_WORDS.get(member)
            )
    ax.set(xlabel=label(data[axis]))
    return ax


def landscape(data: xr.Dataset, objective: str | None = None, figure: Figure | None = None) -> Figure:
    """A quick figure of the losses of a scan: lines for one parameter, maps for two.

    Args:
        data: A dataset of `scan`, one or two parameters varied.
        objective: Loss to show; None shows all.
        figure: Figure to draw into; None makes one.

    Returns:
        The figure.

    Raises:
        ValueError: More than two parameters are varied, or there is no such loss.

    Examples:
        >>> import gsimplicit as gs
        >>> from gsimplicit import plotting
        >>> start = gs.initial_state(grid=(16, 16), box=gs.Box(half=4))
        >>> data = gs.scan({"k": [0.06, 0.07]}, initial=start, max_steps=100, progress=False)
        >>> len(plotting.landscape(data).axes)
        1
    """
    axes = axes_of(data)
    if len(axes) > 2:
        raise ValueError(f"a figure shows one or two parameters, this scan varies {axes}: select a slice first")
    there = data["objective"].values.tolist()
    if objective is not None and objective not in there:
        raise ValueError(f"objective must be one of {there}, got {objective!r}{meant(objective, there)}")
    names = there if objective is None else [objective]
    figure = Drawn(figsize=(4.6 * len(names), 3.6), layout="constrained") if figure is None else figure
    panels = figure.subplots(1, len(names), squeeze=False)
    for name, ax in zip(names, panels[0], strict=True):
        if len(axes) == 1:
            line(data, name, ax).set(ylabel="loss")
        else:
            plane(data["loss"].sel(objective=name).isel(sample=0), ax, colorbar="loss", cmap="viridis")
        ax.set_title(as_it_stands(f"{name} loss"), fontsize=10)
    return figure
