"""Where the remedies are tried: the grid, the starts in F and k, the initial fields, and what is to be met."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

import gsimplicit as gs
from studies._constants import F_RANGE, K_RANGE, TRUTH

HELD = {"Du": TRUTH[0], "Dv": TRUTH[1]}
"""Known to every method, which seeks F and k."""
OTHER = 10_000
"""First number of the fields of those who do not know the target's."""
FIELDS = {"known": "known", "noise": "fresh noise", "box": "box 1 pixel off"}
"""What a method marches from, in words: the target's own initial field; its box in fresh noise; or fresh noise and a
box one pixel wider or narrower on each side."""


@dataclass(frozen=True)
class World:
    """Where it is tried.

    Attributes:
        side: Pixels a side.
        half: Half width of the box; smaller ones die at the truth on small grids.
        last: Steps of the end.
        starts: How many.
    """

    side: int
    half: int
    last: int
    starts: int

    def start(self, number: int) -> tuple[float, float]:
        """F and k of a start: uniform over the paper's plane."""
        draw = np.random.default_rng([22, number])
        return float(draw.uniform(*F_RANGE)), float(draw.uniform(*K_RANGE))

    def fields(self, number: int, known: str) -> torch.Tensor:
        """Initial fields from which the method marches for the target of this number; `known` is of `FIELDS`."""
        grid, half = (self.side, self.side), self.half
        if known == "box":
            half += 1 if number % 2 else -1
        first = number if known == "known" else OTHER + number
        return gs.initial_state(start=first, grid=grid, box=gs.Box(half=half))


@cache
def target(world: World, number: int, steps: int) -> torch.Tensor:
    """V of the truth after so many steps, shape (1, H, W)."""
    fields = world.fields(number, "known")
    return gs.steady_state(gs.Params(*TRUTH), fields, tol=0.0, max_steps=steps, progress=False).v
