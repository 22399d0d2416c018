"""Where on a line of parameters a state becomes another: by bisection, with steps and pixels of any size."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import cache

import torch

import gsimplicit as gs
from studies.fig2 import RANGES, TRUTH

TOL, MAX_STEPS, CHECK_EVERY = 1e-4, 50_000, 64
"""The paper's stop, and how often it is tested, with steps of 1."""


@dataclass(frozen=True)
class Steps:
    """How the equations are cut into steps and pixels.

    Attributes:
        name: Name in files and figures.
        dt: Length of a step in time units.
        finer: Pixels along the side of one of the paper's.
    """

    name: str
    dt: float = 1.0
    finer: int = 1

    @property
    def tol(self) -> float:
        """The stop, which is of the change over one step: that of a rate of 1e-4."""
        return TOL * self.dt

    @property
    def max_steps(self) -> int:
        """The cap: the same time."""
        return round(MAX_STEPS / self.dt)

    @property
    def check_every(self) -> int:
        """Steps between tests: the same times."""
        return round(CHECK_EVERY / self.dt)


WHOLE, HALF, QUARTER = Steps("dt = 1"), Steps("dt = 1/2", dt=0.5), Steps("dt = 1/4", dt=0.25)
SMALL = Steps("dx = 1/2, dt = 1/4", dt=0.25, finer=2)
"""As far from the limit of the step as pixels of 1 with steps of 1: dt D / dx^2 is the same."""
MIDDLES = {"k": 0.06, "F": 0.045, "Dv": 0.05, "Du": 0.2}
"""A place among the patterns of each line."""
SIDES = ("lower", "upper")
CELLS = 99
"""Of a line of 100 points; the unit of all distances."""


class Found(IntEnum):
    """What bisection found."""

    NOT_RUN = 0
    FOUND = 1
    GONE = 2
    NOTHING = 3


def crossing(
    beyond: Callable[[float], bool],
    outside: float,
    inside: float,
    width: float,
    guess: tuple[float, float] | None = None,
) -> tuple[float, float, Found]:
    """Where `beyond` turns from True at `outside` to False at `inside`.

    Args:
        beyond: Asked at both ends, and at the middle of what is left; nowhere twice.
        outside: An end of the line.
        inside: A place in the middle of the patterns.
        width: Length of what is left at the end, > 0.
        guess: An interval that may hold the place, the end on the side of `outside` first. It is asked before the
            middle, and where it does not hold the place its neighbours are, each twice as long as the one before.

    Returns:
        Both ends of an interval of `width` at most, the outer one first, and `FOUND`; or twice NaN and `GONE`, where
        the end of the line is like its middle, or `NOTHING`, where the middle is like what is beyond.

    Examples:
        >>> low, high, found = crossing(lambda x: x < 0.3, 0.0, 1.0, 0.01)
        >>> low < 0.3 <= high, high - low <= 0.01, found.name
        (True, True, 'FOUND')
        >>> low, high, found = crossing(lambda x: x < 0.3, 0.0, 1.0, 0.01, guess=(0.35, 0.36))
        >>> low < 0.3 <= high, high - low <= 0.01, found.name
        (True, True, 'FOUND')
        >>> crossing(lambda x: False, 0.0, 1.0, 0.01)[2].name
        'GONE'
    """
    if not width > 0:
        raise ValueError(f"width must be > 0, got {width}")
    nan, beyond = float("nan"), cache(beyond)
    if not beyond(outside):
        return nan, nan, Found.GONE
    around = _around(beyond, outside, inside, guess or (outside, inside))
    if around is None:
        return nan, nan, Found.NOTHING
    outer, inner = around
    while abs(outer - inner) > width:
        middle = (outer + inner) / 2
        if middle in (outer, inner):  # as near as numbers go
            break
        outer, inner = (middle, inner) if beyond(middle) else (outer, middle)
    return outer, inner, Found.FOUND


def _around(
    beyond: Callable[[float], bool], outside: float, inside: float, guess: tuple[float, float]
) -> tuple[float, float] | None:
    """An interval that holds the place, from a guess outwards or inwards; None where `inside` is still beyond."""
    low, high = sorted((outside, inside))
    outer, inner = (min(max(x, low), high) for x in guess)
    span = guess[0] - guess[1]
    while not beyond(outer):
        outer, inner, span = min(max(outer + span, low), high), outer, 2 * span
    while beyond(inner):
        if inner == inside:
            return None
        outer, inner, span = inner, min(max(inner - span, low), high), 2 * span
    return outer, inner


def finer(fields: torch.Tensor, times: int) -> torch.Tensor:
    """The same start on smaller pixels: each pixel becomes `times` x `times` of its values.

    Noise and square stay what they are as functions of the place. Nothing is interpolated, nothing drawn anew.

    Examples:
        >>> finer(torch.tensor([[1.0, 2.0]]), 2).tolist()
        [[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0]]
    """
    return fields.repeat_interleave(times, -2).repeat_interleave(times, -1)


def marched(name: str, value: float, start: torch.Tensor, steps: Steps) -> gs.SteadyState:
    """The state at one place of a line, the other parameters at the truth.

    Coefficients of diffusion belong to pixels of the paper; on smaller ones the grid's are `finer^2` times larger.
    """
    at = {**TRUTH, name: value}
    scale = steps.finer**2
    params = gs.Params(scale * at["Du"], scale * at["Dv"], at["F"], at["k"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gs.StabilityWarning)  # where it diverges is asked here
        return gs.steady_state(
            params,
            finer(start, steps.finer),
            tol=steps.tol,
            max_steps=steps.max_steps,
            check_every=steps.check_every,
            dt=steps.dt,
        )


def lost(kind: int) -> bool:
    """Whether no pattern is left in a state of this kind: nothing, a uniform state, or v diverged."""
    return gs.Kind(kind) != gs.Kind.PATTERN


def about(name: str, side: str, place: float, cells: float) -> tuple[float, float] | None:
    """An interval about a place, the end towards the line's own first; None about no place.

    Args:
        name: The parameter that varies.
        side: Of `SIDES`.
        place: On the line, or NaN.
        cells: On both sides of the place.
    """
    if not math.isfinite(place):
        return None
    reach = (cells if side == "upper" else -cells) * cell(name)
    return place + reach, place - reach


def cell(name: str) -> float:
    """Length of a cell of a line."""
    low, high = RANGES[name]
    return (high - low) / CELLS
