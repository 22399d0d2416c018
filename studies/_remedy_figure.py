"""The figure of `remedies`."""

from __future__ import annotations

from matplotlib.figure import Figure
from studies._common import Datasets

CAPTION = ALT = "x"


def drawn(data: Datasets) -> Figure:
    return Figure()
