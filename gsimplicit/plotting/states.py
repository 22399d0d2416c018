"""Fields of states as pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from gsimplicit.plotting.figures import FIELDS, Drawn, as_it_stands
from gsimplicit.results import Kind, Status

if TYPE_CHECKING:
    from gsimplicit.results import SteadyState

_MOST = 12
"""States shown at once."""


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
        figure = Drawn(figsize=(2.6 * columns + 0.8, 2.7 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    finite = values[:count][np.isfinite(values[:count])]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    scale = Normalize(low, high)
    for i, ax in enumerate(panels):
        ax.set_axis_off()
        if i < count:
            ax.imshow(values[i], cmap=FIELDS, norm=scale, interpolation="nearest", origin="lower")
            ax.set_title(as_it_stands(_state_title(state, i)), fontsize=8)
    figure.colorbar(ScalarMappable(scale, FIELDS), ax=list(panels), label=as_it_stands(name), shrink=0.8)
    if len(state) > count:
        figure.supxlabel(f"the first {count} of {len(state)} states", fontsize=8)
    return figure


def _state_title(state: SteadyState, i: int) -> str:
    """How a state ended and what it is, after the parameters in which it differs from the others."""
    values = state.params.tensor().detach()
    differ = [j for j in range(values.shape[1]) if bool((values[:, j] != values[0, j]).any())]
    told = ", ".join(f"{state.model.parameters[j]} = {float(values[i, j]):.4g}" for j in differ) or f"{i}"
    return f"{told}: {Status(int(state.status[i])).name.lower()}, {Kind(int(state.kind[i])).name.lower()}"
