"""Checks of arguments that several rooms share; each error names the argument, the value and the bound."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def integer(name: str, value: Any, least: int) -> int:
    """An integer of at least `least`.

    Raises:
        TypeError: Not an integer; True and 2.0 are none.
        ValueError: Below `least`.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be >= {least}, got {value}")
    return int(value)


def real(
    name: str,
    value: Any,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
) -> float:
    """A finite real number with `least <= value <= most` and `above < value < below`.

    Raises:
        TypeError: Not a real number; True is none.
        ValueError: Not finite, or out of bounds.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name} must be a real number, got {value!r}")
    if not (math.isfinite(value) and least <= value <= most and above < value < below):
        bounds = [
            *([f">= {least:g}"] if least > -math.inf else []),
            *([f"> {above:g}"] if above > -math.inf else []),
            *([f"<= {most:g}"] if most < math.inf else []),
            *([f"< {below:g}"] if below < math.inf else []),
        ]
        raise ValueError(f"{name} must be {' and '.join(['finite', *bounds])}, got {value!r}")
    return float(value)


def flag(name: str, value: Any) -> bool:
    """True or False.

    Raises:
        TypeError: Anything else.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)
