"""A short space-time setting: a network of pixels and time from the first frame and the equations alone.

Parameters are the true ones. The network is trained forward with the loss of the first frame and the equations'
residual at times drawn anew each step, and beside it, with as many steps, on the true frames at those times. Both have
one network, one draw, one rate. The verdict is the final frame's error against the supervised fit's. Beside it stand
lines and curvatures of the forward losses at three stages, as `studies/_network_weights.py` looks at the steady ones.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise

import numpy as np
import torch
import xarray as xr

import gsimplicit as gs
from gsimplicit.equations import model_residual
from gsimplicit.inverse.network.representation import Perceptron, Size
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from studies._network_weights import LOOKS, PARTS, Look, looked_at, looks_frame
from studies._pinn_data import TRUTH, words

SIDE = 16
TIMES = {"quick": (20,), "default": (20, 80), "paper": (20, 50, 200)}
"""Time units that are to be foretold."""
TRAINED = {"quick": 30, "default": 800, "paper": 5000}
"""Steps of Adam, in both fits."""
SEEDS = {"quick": 1, "default": 2, "paper": 5}
BATCH = 6
"""Times drawn a step."""
SHOWN = 8
"""Times at which the losses are looked at."""
RATE = 5e-3
FITS = ("forward", "supervised")
STAGES = {"begun": 0.0, "half-way": 0.5, "trained": 1.0}
"""Shares of the steps before a look; the first is after one step."""
SPREAD = (0.25, 0.12)
"""Of u and v."""


def runs(scale: str) -> Job:
    """Final errors of both fits, and looks at the forward one, over time and seed."""
    times, seeds, look = TIMES[scale], SEEDS[scale], LOOKS[scale]
    shape, over = (len(times), seeds), ("time", "seed")
    per, each = (*over, "fit"), (*shape, len(FITS))
    frame = xr.Dataset(
        {
            "error": (per, np.full(each, np.nan), words("error of v in the last frame by its standard deviation")),
            "first": (per, np.full(each, np.nan), words("the same in the first frame")),
            "early": (per, np.full(each, np.nan), words("share of the residual in the first tenth of the film")),
            "loss": (per, np.full(each, np.nan), words("forward loss, first frame and residual, at the end of a fit")),
        },
        {
            "time": ("time", list(times), words("time units foretold")), "seed": np.arange(seeds), "fit": list(FITS),
        },
    )  # fmt: skip
    frame = frame.merge(looks_frame(dict(zip(over, shape, strict=True)), list(STAGES), look))
    return Job(frame, over, [(T, seed, TRAINED[scale], look) for T in times for seed in range(seeds)], _run)


class InTime:
    """The package's network with time as further inputs: itself, and three slow waves of it."""

    def __init__(self, T: int, seed: int) -> None:
        size = Size((SIDE, SIDE), torch.tensor([0.75, 0.12]).double(), torch.tensor(SPREAD).double())
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


class Film:
    """A true film, and what a network loses on it.

    Args:
        T: Time units.
        seed: Of the start, the network and its training.
    """

    def __init__(self, T: int, seed: int) -> None:
        self.T, self.seed, self.network = T, seed, InTime(T, seed)
        self.frames = _true(T, seed)
        self._values, self._spread = torch.from_numpy(TRUTH)[None], torch.tensor(SPREAD).double()[:, None, None]
        self._terms = ((self.frames[1:] - self.frames[:-1]) ** 2).mean(dim=(0, 2, 3))[:, None, None]

    def supervised(self, z: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """The loss of the true frames at some times."""
        return (((self.network.frames(z, times) - self.frames[times]) / self._spread) ** 2).mean()

    def forward(self, z: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """The losses of the first frame, of the residual at some times, and of both together."""
        both = self.network.frames(z, torch.cat([torch.zeros(1), times, times + 1]))
        first, now, later = both[:1], both[1 : 1 + len(times)], both[1 + len(times) :]
        data = (((first - self.frames[:1]) / self._spread) ** 2).mean()
        residual = (self._rest(now, later) ** 2 / self._terms).mean()
        return torch.stack([data, residual, data + residual])

    def loss(self, fit: str, z: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """What a fit descends."""
        return self.supervised(z, times) if fit == FITS[1] else self.forward(z, times)[-1]

    def trained(self, fit: str, steps: int) -> dict[str, torch.Tensor]:
        """Weights at every stage of a training."""
        draws = torch.Generator().manual_seed(self.seed)
        z = self.network.inner.start(draws).requires_grad_()
        optimiser, kept = torch.optim.Adam([z], lr=RATE), {}
        stages = {max(1, round(share * steps)): name for name, share in STAGES.items()}
        with torch.enable_grad():
            for n in range(steps):
                optimiser.param_groups[0]["lr"] = RATE * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * n / steps)))
                optimiser.zero_grad(set_to_none=True)
                times = torch.randint(self.T, (BATCH,), generator=draws)
                self.loss(fit, z, times).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                if n + 1 in stages:
                    kept[stages[n + 1]] = z.detach().clone()
        return kept

    @property
    def shown(self) -> torch.Tensor:
        """Times at which losses are looked at, the same for all."""
        return torch.linspace(0, self.T - 1, SHOWN).long()

    def left(self, z: torch.Tensor) -> float:
        """The forward loss."""
        with torch.no_grad():
            return float(self.forward(z, self.shown)[-1])

    def early(self, z: torch.Tensor) -> float:
        """Share of the residual that falls on the first tenth of the film."""
        with torch.no_grad():
            all_times = self.network.frames(z, torch.arange(self.T + 1))
            by = (self._rest(all_times[:-1], all_times[1:]) ** 2 / self._terms).mean(dim=(1, 2, 3))
        return float(by[: self.T // 10].sum() / by.sum())

    def wrong(self, z: torch.Tensor, frame: int = -1) -> float:
        """Error of v in a frame, the last one, by its standard deviation."""
        at = frame % (self.T + 1)
        with torch.no_grad():
            found = self.network.frames(z, torch.tensor([at]))[0, 1]
        true = self.frames[at, 1]
        return float((found - true).pow(2).mean().sqrt() / true.std())

    def _rest(self, now: torch.Tensor, later: torch.Tensor) -> torch.Tensor:
        """The equations' residual of a step."""
        return later - now - model_residual(gs.models.gray_scott, now, self._values)


def _run(item: tuple[int, int, int, Look]) -> Values:
    T, seed, steps, look = item
    film = Film(T, seed)
    weights = {fit: film.trained(fit, steps) for fit in FITS}
    ends = [weights[fit]["trained"] for fit in FITS]
    looks = [_looked(film, weights["forward"][stage], look) for stage in STAGES]
    return {
        "error": np.array([film.wrong(z) for z in ends]),
        "first": np.array([film.wrong(z, 0) for z in ends]),
        "early": np.array([film.early(z) for z in ends]),
        "loss": np.array([film.left(z) for z in ends]),
        **{name: np.stack([one[name] for one in looks]) for name in looks[0]},
    }


def _looked(film: Film, w: torch.Tensor, look: Look) -> Values:
    """Lines and curvatures of the forward losses at some weights."""

    def part(n: int, z: torch.Tensor) -> torch.Tensor:
        return film.forward(z, film.shown[: SHOWN if n else 1])[n]  # the first frame needs no times

    return looked_at([partial(part, n) for n in range(len(PARTS))], film.network.inner, w, look, film.seed)


def _true(T: int, seed: int) -> torch.Tensor:
    """The frames 0 to T, shape (T + 1, 2, H, W)."""
    x = gs.initial_state(grid=(SIDE, SIDE), seed=seed, box=gs.Box(half=4)).double()
    values, frames = torch.from_numpy(TRUTH)[None], [x]
    for _ in range(T):
        frames.append(frames[-1] + model_residual(gs.models.gray_scott, frames[-1], values))
    return torch.cat(frames)
