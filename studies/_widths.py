"""How wide a cliff is along a line of points: one definition, for rows of a plane and for steps of a training."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np


def widths(loss: np.ndarray[Any, Any], low: float, high: float) -> list[int]:
    """Faces that each cliff takes: from the last loss below a quarter of the height to the first above three quarters.

    Args:
        loss: Along a line, NaN where there is none.
        low: Loss at the foot of the height.
        high: Loss at its top, > `low`.

    Examples:
        >>> widths(np.array([0.0, 0.1, 0.9, 1.0, 0.5, 0.2]), 0.0, 1.0)
        [1, 2]
    """
    quarter = (high - low) / 4
    side = np.where(loss < low + quarter, -1, np.where(loss > high - quarter, 1, 0))
    at = np.flatnonzero(side)
    return [int(b - a) for a, b in pairwise(at) if side[a] != side[b]]
