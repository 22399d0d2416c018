"""Fields and targets of each step, keyed by (seed, step): a descent that is resumed draws the same bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from gsimplicit.equations import DEFAULT, ModelParams
from gsimplicit.initial import Box, initial_state

__all__ = ["Draws"]

_TARGETS = 0x7461_7267
"""Part of the key of targets, so that they are drawn from other random streams than fields."""


@dataclass(frozen=True, eq=False)
class Draws:
    """What a row is given at a step.

    Attributes:
        samples: Fields a row and step, >= 1.
        fixed: Fields that every step has, (samples, S, H, W); None where each step has fresh ones.
        target: What every step has, (1 or samples, ...); None where there is no target, or a pool.
        pool: Targets from which each step draws one a sample; None where there is none.
        seeds: One a row.
        grid: Rows and columns.
        noise: Of fresh fields.
        box: Of fresh fields.
        rest: Parameters at whose rates another model than Gray-Scott rests.
    """

    samples: int
    fixed: torch.Tensor | None
    target: torch.Tensor | None
    pool: torch.Tensor | None
    seeds: Sequence[int]
    grid: tuple[int, int]
    noise: float
    box: Box | None
    rest: ModelParams

    def fields(self, rows: Sequence[int], step: int) -> torch.Tensor:
        """Initial fields of some rows, one row after the other, (rows * samples, S, H, W)."""
        if self.fixed is not None:
            return self.fixed.repeat(len(rows), 1, 1, 1)
        drawn = {seed: self._fresh(seed, step) for seed in {self.seeds[row] for row in rows}}
        return torch.cat([drawn[self.seeds[row]] for row in rows])

    def _fresh(self, seed: int, step: int) -> torch.Tensor:
        model = self.rest.model
        return initial_state(
            self.samples, seed, step * self.samples, self.grid, self.noise,
            self.box if model is DEFAULT else None, model if model is DEFAULT else self.rest,
        )  # fmt: skip

    def indices(self, rows: Sequence[int], step: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        """Places in the pool, (rows, samples)."""
        assert self.pool is not None
        count = len(self.pool)
        return np.stack(
            [np.random.default_rng([self.seeds[row], step, _TARGETS]).integers(0, count, self.samples) for row in rows]
        )

    def targets(self, rows: Sequence[int], step: int) -> torch.Tensor | None:
        """Targets of some rows, one row after the other, (rows * samples, ...)."""
        if self.pool is not None:
            return self.pool[torch.from_numpy(self.indices(rows, step).reshape(-1))]
        if self.target is None:
            return None
        one = self.target.expand(self.samples, *self.target.shape[1:])
        return one.repeat(len(rows), *(1,) * (one.ndim - 1))
