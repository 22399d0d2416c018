"""When a route inherits the cliffs: one rule for every study, route and loss."""

from __future__ import annotations

from scipy.stats import beta

from studies._bars import Bar, at_least

ASKED = 0.95
"""Share of the cliffs that must be missed."""

SURE = 0.8
"""What the lower bound of that share must reach: 14 of 14 do, 13 do not."""


def bounds(share: float, count: int) -> tuple[float, float]:
    """Bounds of a share found in `count` cases, each one-sided 95 % (Clopper and Pearson).

    Examples:
        >>> [round(bound, 2) for bound in bounds(1.0, 14)]
        [0.81, 1.0]
    """
    if not count:
        return 0.0, 1.0
    hits = round(share * count)
    low = float(beta.ppf(0.05, hits, count - hits + 1)) if hits else 0.0
    return low, float(beta.ppf(0.95, hits + 1, count - hits)) if hits < count else 1.0


def share_bars(of: str, share: float, low: float, high: float) -> tuple[Bar, ...]:
    """What `inherits` asks of a share, and of its lower bound."""
    return at_least(f"share of {of}", share, ASKED, (low, high)), at_least("its lower bound", low, SURE)


def inherits(share: float, low: float, high: float) -> bool | None:
    """Whether the cliffs are inherited; None where there are too few to tell.

    Args:
        share: Share of the cliffs that the gradient misses.
        low: Its lower bound.
        high: Its upper bound.

    Examples:
        >>> inherits(0.92, 0.83, 0.951) is None, inherits(0.86, 0.80, 0.93), inherits(1.0, 0.98, 1.0)
        (True, False, True)
    """
    if share >= ASKED and low >= SURE:
        return True
    return False if high < ASKED else None
