"""The curves of the F-k plane and how they are drawn, one look in every figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from gsimplicit.bifurcation.uniform import hopf, hopf_of_steps, saddle_node, turing
from studies._constants import K_RANGE

Array = np.ndarray[Any, Any]

CELL = (K_RANGE[1] - K_RANGE[0]) / 49
"""One cell in k of the paper's plane, the unit of all distances."""
STYLES = {
    "saddle-node": ("#222222", "-"), "Hopf": ("#c0392b", "-"), "Hopf of the steps": ("#c0392b", ":"),
    "Turing": ("#7b3fa0", "-"), "spot fold": ("#1f5a8a", "-"), "spot Hopf": ("#1f5a8a", "--"),
    "stripe fold": ("#7b3fa0", "--"), "hexagon fold": ("#d9742b", "-"), "hexagon patch": ("#d9742b", ":"),
    "planar edge": ("#14532d", "-."),
}  # fmt: skip
"""Colour and line of each curve."""


def uniform(F: Array) -> dict[str, Array]:
    """Kill rates k of the curves of the uniform state at the rows F, in closed form; NaN where there is none."""
    return {
        "saddle-node": saddle_node(F),
        "Hopf": hopf(F),
        "Hopf of the steps": hopf_of_steps(F),
        "Turing": turing(F)[0],
    }


def draw(curves: Mapping[str, Array], F: Array, ax: Axes) -> None:
    """Lines of k against F, labelled."""
    for label, k in curves.items():
        colour, style = STYLES[label]
        ax.plot(k, F, color=colour, ls=style, lw=1.2, label=label)
