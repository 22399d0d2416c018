"""The two-level schedule by which a long march is differentiated in little memory.

A first sweep keeps one state every `segment` steps; backwards, each segment is marched again with every state kept,
and the adjoint runs through it. With `segment = sqrt(steps)` the memory is `2 sqrt(steps)` states and the price one
more march: at this memory no schedule, revolve included, recomputes less (Griewank and Walther 2000).
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Segment:
    """Steps `first` to `first + length` of a march."""

    first: int
    length: int


def segments(steps: int) -> list[Segment]:
    """Cut a march into segments of about sqrt(steps), the last one shorter.

    Example:
        >>> [s.length for s in segments(10)]
        [4, 4, 2]
    """
    length = math.isqrt(max(steps - 1, 0)) + 1
    return [Segment(first, min(length, steps - first)) for first in range(0, steps, length)]
