"""Figures of landscapes. Functions draw into given axes, return them, and never touch global state.

Figures made here are not pyplot's: nothing keeps them, they need no display and no backend, and may be drawn on any
thread. Save them with `savefig`; notebooks show them. To have one in a window, give `landscape` or `comparison` a
figure of pyplot to draw into.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullFormatter

from gsimplicit.checks import meant
from gsimplicit.landscape.cliffs import CellClass, axes_of, classes, edges

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

__all__ = ["class_map", "cliff_lines", "comparison", "label", "landscape", "line", "plane"]

_CLASS_COLOURS = {
    CellClass.FAILED: "#4d4d4d",
    CellClass.TRIVIAL: "#f6efdf",
    CellClass.UNIFORM: "#8fb3d9",
    CellClass.PATTERN: "#7fb08a",
    CellClass.UNSTEADY: "#d98c5f",
}


_CLASS_WORDS = {m: m.name.lower() for m in CellClass} | {CellClass.FAILED: "diverged or failed"}


_TEX = {c: f"\\{c}" for c in "_$%&#{}"} | {"\\": r"\textbackslash{}", "^": r"\^{}", "~": r"\~{}"}


class _Drawn(Figure):
    """A figure that pyplot does not know; notebooks show it all the same."""

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.savefig(stream, format="png")
        return stream.getvalue()


def _as_it_stands(text: str) -> str:
    """Text whose signs mean themselves: names of losses and routes hold underscores, which TeX takes for commands."""
    if mpl.rcParams["text.usetex"]:
        return "".join(_TEX.get(c, c) for c in text)
    return text.replace("$", r"\$") if mpl.rcParams["text.parse_math"] else text


def label(coordinate: xr.DataArray) -> str:
    """Axis label from a coordinate's name and `long_name`, for example "F, feed rate"."""
    name = coordinate.attrs.get("long_name")
    return _as_it_stands(f"{coordinate.name}, {name}" if name else str(coordinate.name))


def _bounds(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
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
    """
    down, across = (values[name] for name in values.dims)
    image = ax.pcolormesh(_bounds(across.values), _bounds(down.values), values.values, **{"shading": "flat", **mesh})
    if colorbar is not None:
        ax.figure.colorbar(image, ax=ax, label=colorbar)
    ax.set(xlabel=label(across), ylabel=label(down))
    ax.xaxis.set_major_locator(MaxNLocator(5))  # values like 0.0625 are wide
    return ax


def class_map(data: xr.Dataset, ax: Axes) -> Axes:
    """Classes of the cells of one sample over two parameters, with a legend of those that occur."""
    cells = classes(data)
    if "done" in data:  # of an unfinished scan: what is not there stays white
        cells = cells.where(data["done"] == 1)
    members = list(CellClass)
    colours = ListedColormap([_CLASS_COLOURS[m] for m in members])
    plane(cells, ax, cmap=colours, norm=BoundaryNorm(np.arange(len(members) + 1) - 0.5, len(members)))
    found = [m for m in members if bool((cells == int(m)).any())]
    patches = [Patch(facecolor=_CLASS_COLOURS[m], edgecolor="0.4", label=_CLASS_WORDS[m]) for m in found]
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
    """The cliff edges between cells of one sample over two parameters, as lines.

    Of the marched loss: solid where both cells settled, dotted where it jumps as much at a cell that did not. With a
    route, of that route's own loss, where both cells have a gradient.
    """
    down, across = axes_of(data)
    x, y = _bounds(data[across].values), _bounds(data[down].values)
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
    """The loss along one parameter: samples as thin lines, their mean, and where the march did not settle."""
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
                x[found], height, marker, color=_CLASS_COLOURS[member], ms=4, ls="none", label=_CLASS_WORDS.get(member)
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
    """
    axes = axes_of(data)
    if len(axes) > 2:
        raise ValueError(f"a figure shows one or two parameters, this scan varies {axes}: select a slice first")
    there = data["objective"].values.tolist()
    if objective is not None and objective not in there:
        raise ValueError(f"objective must be one of {there}, got {objective!r}{meant(objective, there)}")
    names = there if objective is None else [objective]
    figure = _Drawn(figsize=(4.6 * len(names), 3.6), layout="constrained") if figure is None else figure
    panels = figure.subplots(1, len(names), squeeze=False)
    for name, ax in zip(names, panels[0], strict=True):
        if len(axes) == 1:
            line(data, name, ax).set(ylabel="loss")
        else:
            plane(data["loss"].sel(objective=name).isel(sample=0), ax, colorbar="loss", cmap="viridis")
        ax.set_title(_as_it_stands(f"{name} loss"), fontsize=10)
    return figure


def comparison(table: xr.Dataset, figure: Figure | None = None) -> Figure:
    """The table of `gsimplicit.compare`: difference to the first route, time, and the gradient by route.

    Args:
        table: What `compare` gave.
        figure: Figure to draw into; None makes one.

    Returns:
        The figure.
    """
    if figure is None:
        figure = _Drawn(figsize=(10, 1.4 + 0.4 * table.sizes["route"]), layout="constrained")
    far, cost, value = figure.subplots(1, 3, sharey=True)
    names, places = [_as_it_stands(str(n)) for n in table["route"].values], np.arange(table.sizes["route"])
    least = 1e-16  # rounding: a difference of zero has no place on a logarithm
    for b in range(table.sizes["instance"]):
        one = table.isel(instance=b)
        far.plot(np.maximum(one["difference"], least), places, "o", color="#1f5a8a", ms=4, alpha=0.7)
        scale = float(np.abs(one["gradient"].isel(route=0)).max()) or 1.0
        for p, marker in zip(range(table.sizes["parameter"]), "osD^", strict=True):
            shown = str(table["parameter"].values[p]) if b == 0 else None
            value.plot(one["gradient"].isel(parameter=p) / scale, places, marker, ms=4, color=f"C{p}", label=shown)
    cost.plot(table["seconds"], places, "s", color="#7fb08a", ms=5)
    far.set(xscale="log", xlabel=f"relative difference to {names[0]}", yticks=places, yticklabels=names)
    cost.set(xscale="log", xlabel="seconds")
    cost.xaxis.set_minor_formatter(NullFormatter())
    lowest, highest = float(table["seconds"].min()), float(table["seconds"].max())
    cost.set_xlim(10 ** np.floor(np.log10(lowest)), 10 ** np.ceil(np.log10(highest) + 1e-9))
    value.set(xlabel="derivative, over the largest of the first route")
    value.margins(x=0.1)
    value.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    far.invert_yaxis()
    far.set_title(_as_it_stands(f"{table.attrs.get('loss')} loss"), loc="left")
    return figure
