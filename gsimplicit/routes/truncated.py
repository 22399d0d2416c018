"""Reverse mode through the last marched steps only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from gsimplicit import checks
from gsimplicit.gray_scott import Params
from gsimplicit.marching import march
from gsimplicit.routes.unrolled import Unrolled


@dataclass(frozen=True)
class Truncated(Unrolled):
    """Backpropagation through the last K marched steps, the state before them held constant.

    The truncation of arXiv 2606.11258 (3,000 steps). It is biased: of each mode of rate lambda it keeps the share
    `1 - exp(lambda K)`, so that modes slower than 1 / K are lost. Where the march took no more than K steps it is the
    unrolled route.

    Attributes:
        steps: K, >= 1.

    Raises:
        ValueError: K is below 1.
        TypeError: K is no integer.
    """

    name: ClassVar[str] = "truncated"
    definition: ClassVar[str] = "last marched steps"
    steps: int = 3000

    def __post_init__(self) -> None:
        checks.integer("steps of Truncated", self.steps, 1)

    def _last(self, start: torch.Tensor, params: Params, steps: int) -> tuple[torch.Tensor, int]:
        before = steps - self.steps
        if before <= 0:
            return start, steps
        return march(start, params, tol=0.0, max_steps=before).fields, self.steps

    def _products(self, steps: torch.Tensor) -> torch.Tensor:
        return steps.clamp(max=self.steps)
