"""A network from the parameters and time to v on a coarse grid, and descents on it (remedy b of section 5.2)."""

from __future__ import annotations

import math
import time as clock
from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr

import gsimplicit as gs
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from gsimplicit.routes.surrogate import initial_weights, network
from studies._constants import TRUTH
from studies._remedy_world import OTHER, World, target

LOW, HIGH = torch.tensor([0.12, 0.05, 0.02, 0.05]), torch.tensor([0.2, 0.1, 0.08, 0.07])
"""Du, Dv, F, k of the trajectories: uniform between these."""
LAYERS = (128, 128, 128)
RATE, BATCH = 3e-3, 1024
"""Of the training by Adam, with a cosine schedule."""
DESCENT = 600
"""Steps of Adam on the network, whatever the schedule."""
HELD_OUT = 0.2
FIXED = {"100": 100, "200": 200, "500": 500, "1000": 1000}
"""Times at which descents stay, by name; those beyond the end are the end."""
SCHEDULES = (*FIXED, "end", "up, own targets", "up, against the end")
COARSE = 16
"""Values a side of what the network gives: v averaged over patches. Radial spectra were tried first, and did worse."""
DRAWN = ("known", "noise")
"""All trajectories from the target's own initial field, or each from noise of its own, and targets as well."""
NETWORKS = 3
"""Networks trained on the same trajectories, from other first weights and draws: where they lead differs by much."""


def times_of(last: int) -> list[int]:
    """At which trajectories are looked at."""
    return [t for t in (50, 75, 100, 150, 200, 300, 400, 500, 700, 1000, 1500, 2000, 4000, 8000) if t < 0.9 * last] + [
        last
    ]


def trajectories_job(world: World, count: int) -> Job:
    """Features along marches at drawn parameters."""
    times = times_of(world.last)
    shape = (len(DRAWN), count, len(times), COARSE**2)
    draw = np.random.default_rng(23)
    params = draw.uniform(LOW.numpy(), HIGH.numpy(), (count, 4))
    frame = xr.Dataset(
        {
            "features": (
                ("drawn", "row", "time", "feature"),
                np.full(shape, np.nan),
                {"long_name": "v on a coarse grid"},
            )
        },
        {
            "drawn": ("drawn", list(DRAWN)),
            "time": ("time", times, {"long_name": "steps"}),
            "params": (("row", "parameter"), params, {"long_name": "Du, Dv, F, k"}),
        },
    )
    items = [(world, drawn, n, tuple(params[n])) for drawn in DRAWN for n in range(count)]
    return Job(frame, ("drawn", "row"), items, _trajectory)


def _trajectory(item: tuple[World, str, int, tuple[float, ...]]) -> Values:
    world, drawn, number, values = item
    fields = world.fields(0, "known") if drawn == "known" else world.fields(OTHER + number, "noise")
    fields, done, out = fields.float(), 0, []
    for time in times_of(world.last):
        if bool(torch.isfinite(fields).all()):
            fields = gs.steady_state(
                gs.Params(*values), fields, tol=0.0, max_steps=time - done, dtype=torch.float32, progress=False
            ).fields
        done = time
        out.append(_coarse(fields[:, 1])[0].numpy())
    return {"features": np.stack(out)}


def _coarse(v: torch.Tensor) -> torch.Tensor:
    """V averaged over patches, float64, shape (B, COARSE^2)."""
    return torch.nn.functional.adaptive_avg_pool2d(v.to(torch.float64)[:, None], COARSE).flatten(1)


def networks_job(world: World, rows: xr.Dataset, steps: int) -> Job:
    """A network on either kind of trajectories, its error, and where descents on it end."""
    times = rows["time"].values
    over, each = ("drawn", "network"), (len(DRAWN), NETWORKS)
    ends, shape = (*over, "schedule", "start"), (*each, len(SCHEDULES), world.starts)
    frame = xr.Dataset(
        {
            "F": (ends, np.full(shape, np.nan), {"long_name": "F at the end"}),
            "k": (ends, np.full(shape, np.nan), {"long_name": "k at the end"}),
            "held_out": ((*over, "time"), np.full((*each, len(times)), np.nan),
                         {"long_name": "error of the features at held-out parameters, by their spread"}),
            "seconds": ((*over, "part"), np.full((*each, 2), np.nan), {"long_name": "processor seconds"}),
        },
        {"network": np.arange(NETWORKS), "drawn": list(DRAWN), "schedule": list(SCHEDULES), "time": ("time", times),
         "part": ("part", ["training", "all descents"])},
    )  # fmt: skip
    params, features, at = rows["params"].values, rows["features"], tuple(times.tolist())
    items = [(world, params, features.sel(drawn=d).values, at, steps, d, n) for d in DRAWN for n in range(NETWORKS)]
    return Job(frame, over, items, _network)


class _Fitted:
    """A network with what it takes and gives in units of one."""

    def __init__(self, inputs: torch.Tensor, features: torch.Tensor, steps: int, seed: int) -> None:
        self._mean, self.spread = features.mean(0), features.std(0).clamp_min(1e-3)
        self._layers = [inputs.shape[1], *LAYERS, features.shape[1]]
        self._weights = initial_weights(self._layers, seed).float().requires_grad_()
        goal, x = ((features - self._mean) / self.spread).float(), inputs.float()
        by = torch.optim.Adam([self._weights], lr=RATE)
        plan = torch.optim.lr_scheduler.CosineAnnealingLR(by, steps)
        drawn = torch.Generator().manual_seed(seed)
        for _ in range(steps):
            some = torch.randint(len(x), (min(BATCH, len(x)),), generator=drawn)
            by.zero_grad()
            ((network(self._weights, self._layers, x[some]) - goal[some]) ** 2).mean().backward()
            by.step()
            plan.step()
        self._weights = self._weights.detach()

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        return network(self._weights, self._layers, inputs.float()) * self.spread + self._mean


def _inputs(params: torch.Tensor, steps: torch.Tensor, last: int) -> torch.Tensor:
    """Parameters (N, 4) and times (N,) as -1 to 1; of time the logarithm."""
    ends = [math.log(t + 25) for t in (25, last)]
    at = 2 * (torch.log(steps + 25.0) - ends[0]) / (ends[1] - ends[0]) - 1
    return torch.cat([2 * (params - LOW) / (HIGH - LOW) - 1, at[:, None]], 1)


def _network(item: tuple[World, np.ndarray, np.ndarray, tuple[int, ...], int, str, int]) -> Values:
    world, values, features, times, steps, drawn, seed = item
    begin = clock.process_time()
    params, found = torch.from_numpy(values), torch.from_numpy(features)
    whole = torch.isfinite(found).flatten(1).all(1)
    params, found = params[whole], found[whole]
    first = max(1, int(HELD_OUT * len(params)))
    fit = _Fitted(*_flat(params[first:], found[first:], times, world.last), steps, seed)
    with torch.no_grad():
        inputs, goal = _flat(params[:first], found[:first], times, world.last)
        off = (fit(inputs) - goal).reshape(found[:first].shape)
    held_out = (off**2).mean((0, 2)).sqrt() / (found - found.mean(0)).square().mean((0, 2)).sqrt()
    trained = clock.process_time()
    ends = np.stack([_descended(fit, world, schedule, drawn) for schedule in SCHEDULES])
    return {
        "F": ends[..., 0], "k": ends[..., 1], "held_out": held_out.numpy(),
        "seconds": np.array([trained - begin, clock.process_time() - trained]),
    }  # fmt: skip


def _flat(
    params: torch.Tensor, features: torch.Tensor, times: Sequence[int], last: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Every row at every time."""
    steps = torch.tensor(times, dtype=torch.float64)
    inputs = _inputs(params.repeat_interleave(len(steps), 0), steps.repeat(len(params)), last)
    return inputs, features.reshape(len(inputs), -1)


def _phases(world: World, schedule: str) -> list[tuple[int, int]]:
    """Time of the network and time of the target, one after the other."""
    up = [t for t in (100, 200, 300, 500, 1000, 2000, 4000, 8000) if t < 0.9 * world.last] + [world.last]
    if not schedule.startswith("up"):
        steps = min(FIXED.get(schedule, world.last), world.last)
        return [(steps, steps)]
    return [(t, t if schedule == "up, own targets" else world.last) for t in up]


def _descended(fit: _Fitted, world: World, schedule: str, drawn: str) -> np.ndarray:
    """F and k at the end of each start, the true Du and Dv being known; shape (starts, 2)."""
    starts = torch.tensor([world.start(n) for n in range(world.starts)], dtype=torch.float64)
    raw, phases = torch.logit(starts / 0.1), _phases(world, schedule)
    held = torch.tensor(TRUTH[:2], dtype=torch.float64).expand(len(starts), 2)
    targets = [0] * world.starts if drawn == "known" else range(world.starts)
    for steps, goal_steps in phases:
        goal = torch.cat([_coarse(target(world, n, goal_steps)) for n in targets])
        raw = raw.detach().requires_grad_()
        by, count = torch.optim.Adam([raw], lr=0.03), DESCENT // len(phases)
        plan = torch.optim.lr_scheduler.CosineAnnealingLR(by, count, eta_min=0.001)
        for _ in range(count):
            at = torch.cat([held, 0.1 * torch.sigmoid(raw)], 1)
            inputs = _inputs(at, torch.full((len(at),), float(steps), dtype=torch.float64), world.last)
            # beyond what it was trained on a network says nothing: a wall keeps descents inside
            wall = 10 * ((inputs[:, :4].abs() - 1).clamp_min(0) ** 2).sum()
            by.zero_grad()
            ((((fit(inputs) - goal) / fit.spread) ** 2).mean(1).sum() + wall).backward()
            by.step()
            plan.step()
    return (0.1 * torch.sigmoid(raw)).detach().numpy()
