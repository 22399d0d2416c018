"""Where on a line of parameters a state becomes another: by bisection, with steps and pixels of any size."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from itertools import product

import numpy as np
import torch
import xarray as xr

import gsimplicit as gs
from gsimplicit import labels
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
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
    beyond: Callable[[float], bool], outside: float, inside: float, width: float
) -> tuple[float, float, Found]:
    """Where `beyond` turns from True at `outside` to False at `inside`.

    Args:
        beyond: Asked at the ends, and at the middle of what is left.
        outside: An end of the line.
        inside: A place in the middle of the patterns.
        width: Length of what is left at the end, > 0.

    Returns:
        Both ends of an interval of `width` at most, the outer one first, and `FOUND`; or twice NaN and `GONE`, where
        the end of the line is like its middle, or `NOTHING`, where the middle is like what is beyond.

    Examples:
        >>> low, high, found = crossing(lambda x: x < 0.3, 0.0, 1.0, 0.01)
        >>> low < 0.3 <= high, high - low <= 0.01, found.name
        (True, True, 'FOUND')
        >>> crossing(lambda x: False, 0.0, 1.0, 0.01)[2].name
        'GONE'
    """
    if not width > 0:
        raise ValueError(f"width must be > 0, got {width}")
    nan = float("nan")
    if not beyond(outside):
        return nan, nan, Found.GONE
    if beyond(inside):
        return nan, nan, Found.NOTHING
    while abs(outside - inside) > width:
        middle = (outside + inside) / 2
        if middle in (outside, inside):  # as near as numbers go
            break
        outside, inside = (middle, inside) if beyond(middle) else (outside, middle)
    return outside, inside, Found.FOUND


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


def lost(state: gs.SteadyState) -> bool:
    """Whether no pattern is left: nothing, a uniform state, or v diverged."""
    return gs.Kind(int(state.kind[0])) != gs.Kind.PATTERN


def cell(name: str) -> float:
    """Length of a cell of a line."""
    low, high = RANGES[name]
    return (high - low) / CELLS


def ends(kinds: tuple[Steps, ...], seeds: int, side: int, parts: int) -> Job:
    """Both ends of the patterns on each line, by kind of steps and seed."""
    over = ("line", "side", "steps", "seed")
    shape = (len(RANGES), len(SIDES), len(kinds), seeds)
    words = {
        "place": "parameter at which patterns end, the middle of what bisection left",
        "outer": "end of that interval beyond the patterns",
        "inner": "end of that interval among the patterns",
    }
    number = {n: (over, np.full(shape, np.nan), {"long_name": w, "units": "1"}) for n, w in words.items()}
    flags = labels.flag_attributes(f.name.lower() for f in Found)
    frame = xr.Dataset(
        {
            **number,
            "found": (over, np.zeros(shape, np.int8), {"long_name": "what was found", "units": "1", **flags}),
            "kind": (over, np.zeros(shape, np.int8), {**labels.attributes("kind"), "long_name": "kind at line's end"}),
            "status": (over, np.zeros(shape, np.int8), labels.attributes("status")),
        },
        {
            "line": ("line", np.array(list(RANGES)), {"long_name": "parameter that varies"}),
            "side": ("side", np.array(SIDES), {"long_name": "end of the patterns"}),
            "steps": ("steps", np.array([s.name for s in kinds]), {"long_name": "time step and pixel"}),
            "seed": ("seed", np.arange(seeds), {"long_name": "seed of the noise", "units": "1"}),
        },
    )
    items = list(product(RANGES, SIDES, kinds, range(seeds)))
    return Job(frame, over, items, partial(_end_at, side, parts))


def _end_at(pixels: int, parts: int, item: tuple[str, str, Steps, int]) -> Values:
    """One end, to a part of a cell; and what stands at the line's own end."""
    name, side, steps, seed = item
    start = gs.initial_state(seed=seed, grid=(pixels, pixels))
    at_end = RANGES[name][SIDES.index(side)]
    last = marched(name, at_end, start, steps)

    def beyond(value: float) -> bool:
        return lost(last if value == at_end else marched(name, value, start, steps))

    outer, inner, found = crossing(beyond, at_end, MIDDLES[name], cell(name) / parts)
    return {
        "place": np.float64((outer + inner) / 2), "outer": np.float64(outer), "inner": np.float64(inner),
        "found": np.int8(found), "kind": np.int8(last.kind[0]), "status": np.int8(last.status[0]),
    }  # fmt: skip
