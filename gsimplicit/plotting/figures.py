"""What all figures share: colours, text that means itself, axis labels, and a figure that pyplot does not know."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    import xarray as xr

SERIES = ("#0b4a8f", "#d9742b", "#3f8f5a", "#7b3fa0", "#222222", "#b8a000")
"""Colours of series, which differ in their markers too."""

MARKERS = "osD^vP"

FIELDS = "cividis"
"""Colour map of fields and losses: its lightness rises evenly, to any eye."""

_TEX = {c: f"\\{c}" for c in "_$%&#{}"} | {"\\": r"\textbackslash{}", "^": r"\^{}", "~": r"\~{}"}


class Drawn(Figure):
    """A figure that pyplot does not know; notebooks show it all the same."""

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.savefig(stream, format="png")
        return stream.getvalue()


def as_it_stands(text: str) -> str:
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
    return as_it_stands(f"{coordinate.name}, {name}" if name else str(coordinate.name))
