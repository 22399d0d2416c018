"""Losses that the remedies are tried with: the paper's three, and two of ours, as features of v and their distance."""

from __future__ import annotations

from functools import cache
from typing import ClassVar

import torch

import gsimplicit as gs

MEAN_UNIT = 0.03
"""Difference of two means of v that counts as much as one of 1 in all log powers."""
V_UNIT = 0.1
"""Unit of v in the loss of pixels."""
EPSILON = 1e-8
"""Floor of the power, as in the paper's spectrum."""


@cache
def _rings(side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ring of each wave vector, flat, and how many wave vectors each ring has."""
    q = torch.fft.fftfreq(side, dtype=torch.float64) * side
    ring = torch.sqrt(q[:, None] ** 2 + q[None] ** 2).round().long().flatten()
    return ring, torch.bincount(ring).to(torch.float64)


class Radial:
    """Log power averaged over directions, and the mean of v: neither place nor direction, but how much there is."""

    name: ClassVar[str] = "radial"
    invariant: ClassVar[bool] = True

    def features(self, v: torch.Tensor) -> torch.Tensor:
        """Shape (B, H / 2): log of the mean power of rings 1 to H / 2 - 1, and the weighted mean of v."""
        v, side = v.to(torch.float64), v.shape[-1]
        ring, count = _rings(side)
        mean = v.mean((-2, -1), keepdim=True)
        hat = torch.fft.fft2(v - mean)
        power = (hat.real**2 + hat.imag**2).flatten(1)
        rings = torch.zeros(len(v), len(count), dtype=torch.float64).index_add(1, ring, power)
        last = side // 2
        logs = torch.log(rings[:, 1:last] / count[1:last] + EPSILON)
        return torch.cat([logs, mean[:, 0] * ((last - 1) ** 0.5 / MEAN_UNIT)], dim=1)

    def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Mean squared difference, shape (B,)."""
        return ((a - b) ** 2).mean(1)


class Pixels:
    """V itself, in units of 0.1."""

    name: ClassVar[str] = "pixels"
    invariant: ClassVar[bool] = False

    def features(self, v: torch.Tensor) -> torch.Tensor:
        """Shape (B, H, W)."""
        return v.to(torch.float64) / V_UNIT

    def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Mean squared difference, shape (B,)."""
        return ((a - b) ** 2).mean((-2, -1))


LOSSES = {
    "spectrum": gs.losses.LOSSES["spectrum"],
    "windowed": gs.losses.LOSSES["windowed"],
    "gram": gs.losses.Gram(dtype=torch.float32),
    "radial": Radial(),
    "pixels": Pixels(),
}
"""By name: the paper's three, then ours."""
