"""What a test asked of a number: the bar, the bounds of the number, and how far from the bar it lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, SupportsFloat


@dataclass(frozen=True)
class Bar:
    """A number, and what was asked of it. `at_least` and `at_most` make it.

    Attributes:
        of: What the number is, in a few words.
        asked: What it was to reach, or not to pass.
        least: Whether it was to reach that, else not to pass it.
        found: The number; None where it is not finite.
        low: Lower bound of the number; None where its error was not estimated.
        high: Upper bound.
        strict: Whether it may not stand on it.
        distance: The number by what was asked, the difference where that is 0; None where the number is.
    """

    of: str
    asked: float
    least: bool
    found: float | None
    low: float | None = None
    high: float | None = None
    strict: bool = False
    distance: float | None = field(init=False)

    def __post_init__(self) -> None:
        by = None if self.found is None else self.found / self.asked if self.asked else self.found
        object.__setattr__(self, "distance", by)

    @property
    def met(self) -> bool:
        """Whether the number is on the side that was asked for; one that is not finite is not."""
        if self.found is None:
            return False
        if self.found == self.asked:
            return not self.strict
        return (self.found > self.asked) is self.least

    @property
    def words(self) -> str:
        """For example "median error 6.4 (5.9 to 8.6), at least 2 asked: 3.2 times that"."""
        told = "not finite" if self.found is None else f"{self.found:.3g}"
        sure = "" if self.low is None or self.high is None else f" ({self.low:.2g} to {self.high:.2g})"
        side = (
            ("more than" if self.least else "less than") if self.strict else ("at least" if self.least else "at most")
        )
        far = f": {self.distance:.2g} times that" if self.asked and self.distance is not None else ""
        return f"{self.of} {told}{sure}, {side} {self.asked:g} asked{far}"


def at_least(of: str, found: SupportsFloat, asked: float, within: tuple[float, float] | None = None) -> Bar:
    """A number that was to reach another; `within` are its bounds.

    Examples:
        >>> at_least("median error", 6.4, 2.0, (5.9, 8.6)).words
        'median error 6.4 (5.9 to 8.6), at least 2 asked: 3.2 times that'
    """
    return _bar(of, found, asked, within, least=True)


def at_most(of: str, found: SupportsFloat, asked: float, within: tuple[float, float] | None = None) -> Bar:
    """A number that was not to pass another.

    Examples:
        >>> bar = at_most("derivative", 0.0, 0.0)
        >>> bar.met, bar.distance, at_most("error", float("inf"), 1.0).met
        (True, 0.0, False)
    """
    return _bar(of, found, asked, within, least=False)


def above(of: str, found: SupportsFloat, asked: float, within: tuple[float, float] | None = None) -> Bar:
    """A number that was to be larger than another.

    Examples:
        >>> above("share", 0.5, 0.5).met, below("share", 0.4, 0.5).met
        (False, True)
    """
    return _bar(of, found, asked, within, least=True, strict=True)


def below(of: str, found: SupportsFloat, asked: float, within: tuple[float, float] | None = None) -> Bar:
    """A number that was to be smaller than another."""
    return _bar(of, found, asked, within, least=False, strict=True)


def _bar(
    of: str,
    found: SupportsFloat,
    asked: SupportsFloat,
    within: tuple[float, float] | None,
    *,
    least: bool,
    strict: bool = False,
) -> Bar:
    number = float(found)
    low, high = (float(x) for x in within) if within is not None else (None, None)
    return Bar(of, float(asked), least, number if isfinite(number) else None, low, high, strict)


def read(given: Mapping[str, Any]) -> Bar:
    """A bar as a study's JSON file holds it."""
    return Bar(**{name: value for name, value in given.items() if name != "distance"})


def told(bars: tuple[Bar, ...]) -> str:
    """All of a test's in a sentence."""
    return "; ".join(bar.words for bar in bars)
