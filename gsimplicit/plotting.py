"""Figures of states, branches, landscapes and comparisons.

Functions draw into given axes, return them, and never touch global state. Figures made here are not pyplot's: nothing
keeps them, they need no display and no backend, and may be drawn on any thread. Save them with `savefig`; notebooks
show them. To have one in a window, give `states`, `landscape` or `comparison` a figure of pyplot to draw into.

Colours differ in lightness, and lines and points in style or shape as well: figures can be read in grey, and without
colour vision.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullFormatter

from gsimplicit.checks import meant
from gsimplicit.landscape.cells import CellClass, axes_of, classes
from gsimplicit.landscape.cliffs import edges
from gsimplicit.results import Kind, Status

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

    from gsimplicit.bifurcation.branch import Branch
    from gsimplicit.results import SteadyState

__all__ = ["branch", "class_map", "cliff_lines", "comparison", "label", "landscape", "line", "plane", "states"]

_CLASS_COLOURS = {
    CellClass.FAILED: "#333333",
    CellClass.TRIVIAL: "#faf6ec",
    CellClass.UNIFORM: "#bcd6ee",
    CellClass.PATTERN: "#6aa893",
    CellClass.UNSTEADY: "#c2571a",
}
"""From light to dark: trivial, uniform, pattern, unsteady, failed."""

_SERIES = ("#0b4a8f", "#d9742b", "#3f8f5a", "#7b3fa0", "#222222", "#b8a000")
"""Colours of series, which differ in their markers too."""

_MARKERS = "osD^vP"

_FIELDS = "cividis"
"""Colour map of fields and losses: its lightness rises evenly, to any eye."""

_MOST = 12
"""States shown at once."""


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
    """Axis label from a coordinate's name and `long_name`, for example "F, feed rate".

    Examples:
        >>> import xarray as xr
        >>> from gsimplicit import plotting
        >>> plotting.label(xr.DataArray([0.03], dims="F", name="F", attrs={"long_name": "feed rate"}))
        'F, feed rate'
    """
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

    Examples:
        >>> import xarray as xr
        >>> from matplotlib.figure import Figure
        >>> from gsimplicit import plotting
        >>> values = xr.DataArray([[1.0, 2.0], [3.0, 4.0]], {"F": [0.03, 0.04], "k": [0.06, 0.062]}, ("F", "k"))
        >>> plotting.plane(values, Figure().subplots(), colorbar="loss").get_xlabel()
        'k'
    """
    down, across = (values[name] for name in values.dims)
    image = ax.pcolormesh(_bounds(across.values), _bounds(down.values), values.values, **{"shading": "flat", **mesh})
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

    Examples:
        >>> import gsimplicit as gs
        >>> from gsimplicit import plotting
        >>> start = gs.initial_state(grid=(32, 32))
        >>> table = gs.compare(gs.Params.preset("paper"), ["unrolled", "tangent"], initial=start, tol=0.0, max_steps=50)
        >>> len(plotting.comparison(table).axes)
        3
    """
    if figure is None:
        figure = _Drawn(figsize=(10, 1.4 + 0.4 * table.sizes["route"]), layout="constrained")
    far, cost, value = figure.subplots(1, 3, sharey=True)
    names, places = [_as_it_stands(str(n)) for n in table["route"].values], np.arange(table.sizes["route"])
    least = 1e-16  # rounding: a difference of zero has no place on a logarithm
    for b in range(table.sizes["instance"]):
        one = table.isel(instance=b)
        far.plot(np.maximum(one["difference"], least), places, "o", color=_SERIES[0], ms=4, alpha=0.7)
        scale = float(np.abs(one["gradient"].isel(route=0)).max()) or 1.0
        for p in range(table.sizes["parameter"]):
            shown = str(table["parameter"].values[p]) if b == 0 else None
            marker, colour = _MARKERS[p % len(_MARKERS)], _SERIES[p % len(_SERIES)]
            value.plot(one["gradient"].isel(parameter=p) / scale, places, marker, ms=4, color=colour, label=shown)
    cost.plot(table["seconds"], places, "s", color=_SERIES[2], ms=5)
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


def states(state: SteadyState, figure: Figure | None = None, *, species: str | None = None) -> Figure:
    """Fields of a batch of states, on one scale of colours, each with how it ended and what it is.

    Args:
        state: What `steady_state` or `solve` gave; the first twelve are shown.
        figure: Figure to draw into; None makes one.
        species: Name of the species; None is the one that losses see, v of Gray-Scott.

    Returns:
        The figure.

    Raises:
        ValueError: The model has no such species.

    Example:
        >>> import gsimplicit as gs
        >>> fields = gs.initial_state(grid=(32, 32), box=gs.Box(half=5))
        >>> state = gs.steady_state(gs.Params(0.16, 0.08, 0.035, [0.06, 0.075]), fields)
        >>> [ax.get_title() for ax in states(state).axes[:2]]
        ['k = 0.06: settled, pattern', 'k = 0.075: settled, trivial']
    """
    name = state.model.observed if species is None else species
    values = state.species(name).detach().to("cpu", torch.float64).numpy()
    count = min(len(state), _MOST)
    columns = min(count, 4)
    rows = -(-count // columns)
    if figure is None:
        figure = _Drawn(figsize=(2.6 * columns + 0.8, 2.7 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    finite = values[:count][np.isfinite(values[:count])]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    scale = Normalize(low, high)
    for i, ax in enumerate(panels):
        ax.set_axis_off()
        if i < count:
            ax.imshow(values[i], cmap=_FIELDS, norm=scale, interpolation="nearest", origin="lower")
            ax.set_title(_as_it_stands(_state_title(state, i)), fontsize=8)
    figure.colorbar(ScalarMappable(scale, _FIELDS), ax=list(panels), label=_as_it_stands(name), shrink=0.8)
    if len(state) > count:
        figure.supxlabel(f"the first {count} of {len(state)} states", fontsize=8)
    return figure


def _state_title(state: SteadyState, i: int) -> str:
    """How a state ended and what it is, after the parameters in which it differs from the others."""
    values = state.params.tensor().detach()
    differ = [j for j in range(values.shape[1]) if bool((values[:, j] != values[0, j]).any())]
    told = ", ".join(f"{state.model.parameters[j]} = {float(values[i, j]):.4g}" for j in differ) or f"{i}"
    return f"{told}: {Status(int(state.status[i])).name.lower()}, {Kind(int(state.kind[i])).name.lower()}"


def branch(branch: Branch, ax: Axes, *, color: str = _SERIES[0], label: str | None = None) -> Axes:
    """A branch of `gsimplicit.bifurcation.branch.follow`: the largest value of the observed species along it.

    Solid where it is stable, dotted where it is not, dashed where no eigenvalues were asked for. Folds are triangles,
    points where it loses or gains stability are diamonds, filled where the eigenvalue that crosses is real.

    Args:
        branch: What `follow` gave.
        ax: Axes to draw into.
        color: Of the branch.
        label: Of the branch in a legend; None is none.

    Example:
        >>> import gsimplicit as gs
        >>> from gsimplicit.bifurcation.branch import follow
        >>> from matplotlib.figure import Figure
        >>> start = gs.initial_state(grid=(16, 16), noise=0.0, box=gs.Box(half=3))
        >>> root = gs.steady_state(gs.Params(0.16, 0.08, 0.035, 0.062), start, refine=True)
        >>> ax = branch(follow(root, "k", max_points=5), Figure().subplots())
        >>> ax.get_xlabel(), ax.get_ylabel()
        ('k', 'largest v')
    """
    seen = branch.model.seen
    k, height = branch.values, branch.fields[:, seen].max(axis=(1, 2))
    if branch.eigenvalues.shape[1]:
        stable = branch.eigenvalues[:, 0].real <= 1e-6
        # the step over which stability changes is drawn as unstable
        changes = np.r_[stable[:-1] != stable[1:], False]
        parts = [("-", stable), (":", ~stable | changes | np.roll(changes, 1))]
    else:
        parts = [("--", np.ones(len(k), dtype=bool))]
    for n, (style, chosen) in enumerate(parts):
        x, y = (np.where(chosen, values, np.nan) for values in (k, height))
        ax.plot(x, y, color=color, ls=style, lw=1.6, label=label if n == 0 else None)
    for fold in branch.folds:
        ax.plot(fold.value, fold.fields[seen].max(), ">", color=color, mfc="w", ms=6, zorder=3)
    for one in branch.instabilities:
        fill = color if one.eigenvalue.imag == 0 else "w"
        ax.plot(one.value, one.fields[seen].max(), "D", color=color, mfc=fill, ms=5, zorder=3)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set(xlabel=_as_it_stands(branch.parameter), ylabel=_as_it_stands(f"largest {branch.model.observed}"))
    return ax
