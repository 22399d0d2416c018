"""Colour maps of the explorer: in all of them lightness rises evenly, so that more looks like more, in grey too."""

from __future__ import annotations

from functools import cache

import matplotlib as mpl
from matplotlib.colors import to_hex

from gsimplicit import checks

__all__ = ["MAPS", "palette"]

MAPS = ("cividis", "viridis", "inferno", "magma", "gray")


@cache
def palette(name: str) -> tuple[str, ...]:
    """256 colours of a map, "#rrggbb", from dark to light.

    Raises:
        ValueError: There is no such map here.

    Examples:
        >>> from gsimplicit.explorer.colours import palette
        >>> len(palette("gray")), palette("gray")[0], palette("gray")[-1]
        (256, '#000000', '#ffffff')
    """
    found = mpl.colormaps[checks.choice("colour map", name, MAPS)].resampled(256)
    return tuple(to_hex(found(n)) for n in range(256))
