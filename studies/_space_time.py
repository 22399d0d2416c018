"""A short space-time setting: a network of pixels and time from the first frame and the equations alone.

Parameters are the true ones. The network is trained forward with the loss of the first frame and the equations'
residual at times drawn anew each step, and beside it, with as many steps, on the true frames at those times. Both have
one network, one draw, one rate. The verdict is the final frame's error against the supervised fit's.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
import xarray as xr

import gsimplicit as gs
from gsimplicit.equations import model_residual
from gsimplicit.inverse.network.representation import Perceptron, Size
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from studies._network_weights import STEPS, minima
from studies._pinn_data import TRUTH, words

SIDE = 16
TIMES = {"quick": (20,), "default": (20, 80), "paper": (20, 50, 200)}
"""Time units that are to be foretold."""
TRAINED = {"quick": 30, "default": 800, "paper": 5000}
"""Steps of Adam, in both fits."""
SEEDS = {"quick": 1, "default": 2, "paper": 5}
BATCH = 6
"""Times drawn a step."""
RATE = 5e-3
FITS = ("forward", "supervised")


def runs(scale: str) -> Job:
    """Final errors over time, seed and fit."""
    times, seeds = TIMES[scale], SEEDS[scale]
    shape, over = (len(times), seeds, len(FITS)), ("time", "seed", "fit")
    frame = xr.Dataset(
        {
            "error": (over, np.full(shape, np.nan), words("error of v in the last frame by its standard deviation")),
            "minima": ((*over, "line"), np.full((*shape, 2), np.nan), words("minima of the loss along a line")),
            "loss": (over, np.full(shape, np.nan), words("final loss")),
        },
        {
            "time": ("time", list(times), words("time units foretold")), "seed": np.arange(seeds),
            "fit": list(FITS), "line": ["random 1", "random 2"],
        },
    )  # fmt: skip
    items = [(T, seed, fit, TRAINED[scale]) for T in times for seed in range(seeds) for fit in FITS]
    return Job(frame, over, items, _run)


class _InTime:
    """The package's network with time as further inputs: itself, and three slow waves of it."""

    def __init__(self, size: Size, T: int, seed: int) -> None:
        self.inner = Perceptron(size, 32, 2, 40, 0.8, torch.Generator().manual_seed(seed))
        self.T, self.space = T, self.inner._inputs[torch.float64]
        self.inner.layers[0] += 4

    def frames(self, weights: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """Fields (times, 2, H, W)."""
        share = times.double() / self.T
        clock = torch.stack([share, *(f(math.pi * share) for f in (torch.sin, torch.cos))], dim=1)
        clock = torch.cat([clock, torch.sin(2 * math.pi * share)[:, None]], dim=1)
        x = torch.cat([torch.cat([self.space, c.expand(len(self.space), -1)], dim=1) for c in clock])
        layers, at = self.inner.layers, 0
        for n, (a, b) in enumerate(pairwise(layers)):
            x = torch.addmm(weights[at + a * b : at + a * b + b], x, weights[at : at + a * b].view(a, b))
            at += a * b + b
            x = torch.tanh(x) if n < len(layers) - 2 else x
        size = self.inner.size
        out = x.view(len(times), SIDE, SIDE, 2).permute(0, 3, 1, 2)
        return size.offset[:, None, None] + size.spread[:, None, None] * out


def _run(item: tuple[int, int, str, int]) -> Values:
    T, seed, fit, steps = item
    frames = _true(T, seed)
    size = Size((SIDE, SIDE), torch.tensor([0.75, 0.12]).double(), torch.tensor([0.25, 0.12]).double())
    network = _InTime(size, T, seed)
    values = torch.from_numpy(TRUTH)[None]
    spread = torch.tensor([0.25, 0.12]).double()[:, None, None]
    rates = frames[1:] - frames[:-1]
    terms = (rates**2).mean(dim=(0, 2, 3))[:, None, None]

    def loss(z: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        if fit == "supervised":
            return (((network.frames(z, times) - frames[times]) / spread) ** 2).mean()
        both = network.frames(z, torch.cat([torch.zeros(1), times, times + 1]))
        first, now, later = both[:1], both[1 : 1 + len(times)], both[1 + len(times) :]
        rest = later - now - model_residual(gs.models.gray_scott, now, values)
        return (((first - frames[:1]) / spread) ** 2).mean() + (rest**2 / terms).mean()

    draws = torch.Generator().manual_seed(seed)
    z = network.inner.start(draws).requires_grad_()
    optimiser = torch.optim.Adam([z], lr=RATE)
    with torch.enable_grad():
        for n in range(steps):
            optimiser.param_groups[0]["lr"] = RATE * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * n / steps)))
            optimiser.zero_grad(set_to_none=True)
            loss(z, torch.randint(T, (BATCH,), generator=draws)).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    with torch.no_grad():
        last = network.frames(z, torch.tensor([T]))[0, 1]
        looked = torch.linspace(0, T - 1, 8).long()
        ways = [torch.randn(len(z), generator=draws, dtype=torch.float64) for _ in range(2)]
        lines = [[float(loss(z + a * d * z.norm() / d.norm(), looked)) for a in STEPS] for d in ways]
        final = float(loss(z, looked))
    wrong = float((last - frames[T, 1]).pow(2).mean().sqrt() / frames[T, 1].std())
    return {
        "error": np.float64(wrong),
        "minima": np.array([minima(np.array(line)) for line in lines], dtype=float),
        "loss": np.float64(final),
    }


def _true(T: int, seed: int) -> torch.Tensor:
    """The frames 0 to T, shape (T + 1, 2, H, W)."""
    x = gs.initial_state(grid=(SIDE, SIDE), seed=seed, box=gs.Box(half=4)).double()
    values, frames = torch.from_numpy(TRUTH)[None], [x]
    for _ in range(T):
        frames.append(frames[-1] + model_residual(gs.models.gray_scott, frames[-1], values))
    return torch.cat(frames)
