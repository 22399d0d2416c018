"""The remedies of section 5.2 that march: what is descended, from which starts, and one run of each."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import torch
import xarray as xr

import gsimplicit as gs
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from studies import _levenberg
from studies._constants import F_RANGE, K_RANGE, TRUTH
from studies._remedy_losses import LOSSES

HELD = {"Du": TRUTH[0], "Dv": TRUTH[1]}
"""Known to every method, which seeks F and k."""
CLOSE = 0.02
"""Largest relative error of F and k that counts as a success."""
RATES = ((0.06, 30), (0.015, 20))
"""Rates of Adam in raw parameters, and steps at each: 50 for every case."""
BETAS = (0.8, 0.95)
LEAST_SQUARES_STEPS = 20
"""Steps accepted at most a phase by Levenberg and Marquardt."""
OTHER = 10_000
"""First number of the fields of those who do not know the target's."""


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
        """Initial fields from which the method marches for the target of this number."""
        grid, half = (self.side, self.side), self.half
        if known == "box":
            half += 1 if number % 2 else -1
        first = number if known == "known" else OTHER + number
        return gs.initial_state(start=first, grid=grid, box=gs.Box(half=half))


@dataclass(frozen=True)
class Case:
    """One remedy.

    Attributes:
        name: In words.
        method: "adam", "least squares", "one-shot" or "residual".
        loss: Name of the loss.
        phases: One after the other: pairs of steps marched and steps of the target they are compared with.
        known: "known", the target's own start; "noise", its box in fresh noise; "box", fresh noise and a box one
            pixel wider or narrower on each side.
    """

    name: str
    method: str
    loss: str
    phases: tuple[tuple[tuple[int, int], ...], ...]
    known: str


def ladder(last: int) -> list[int]:
    """Times of the curriculum."""
    return [t for t in (100, 300, 500, 1000, 2000, 4000, 8000) if t < 0.9 * last] + [last]


def cases(last: int, times: tuple[int, ...]) -> list[Case]:
    """All that march."""
    up = ladder(last)
    rising = tuple(tuple((t, t) for t in up[max(0, n - 1) : n + 1]) for n in range(len(up)))
    late = (tuple((t, t) for t in up if t >= 500),)
    to_end = tuple(((t, last),) for t in up)

    def at(t: int) -> tuple[tuple[tuple[int, int], ...], ...]:
        return (((t, t),),)

    out = [Case("end", "adam", loss, at(last), "known") for loss in LOSSES]
    out += [Case("end", "adam", "radial", at(last), "noise")]
    out += [Case(f"{t}", "adam", "pixels", at(t), "known") for t in times if t < last]
    out += [Case("100", "adam", loss, at(100), "known") for loss in ("spectrum", "windowed", "radial")]
    out += [Case("100", "adam", "pixels", at(100), "noise")]
    for known in ("known", "noise"):
        for loss, where in (("pixels", times), ("radial", [t for t in times if t in (50, 100, 500, last)])):
            out += [Case(f"{t}" if t < last else "end", "least squares", loss, at(t), known) for t in where]
            out += [Case("one after the other", "least squares", loss, rising, known)]
    out += [Case("late, together", "least squares", "pixels", late, "known")]
    out += [Case("up, against the end", "least squares", "radial", to_end, "known")]
    for loss in ("pixels", "radial"):
        out += [Case(f"{t}", "least squares", loss, at(t), "box") for t in times if t <= 200]
    out += [Case("one after the other", "least squares", "pixels", rising, "box")]
    return [*out, Case("root", "one-shot", "", (), "not asked"), Case("stop", "residual", "", (), "not asked")]


def job(world: World, asked: list[Case]) -> Job:
    """A run a case and start."""
    shape, over = (len(asked), world.starts), ("case", "start")

    def empty(words: str, value: Any = np.nan) -> tuple[tuple[str, ...], np.ndarray, dict[str, str]]:
        return over, np.full(shape, value), {"long_name": words, "units": "1"}

    starts = np.array([world.start(n) for n in range(world.starts)]).reshape(-1, 2)
    frame = xr.Dataset(
        {
            "F": empty("F at the end"),
            "k": empty("k at the end"),
            "loss": empty("loss at the end"),
            "marches": empty("marches, whatever their length", 0),
            "unseen": empty("1 where the first derivative is exactly 0", 0),
            "seconds": empty("seconds of processor time"),
        },
        {
            **{n: ("case", [getattr(c, n) for c in asked]) for n in ("name", "method", "known")},
            "objective": ("case", [c.loss for c in asked]),
            "F_start": ("start", starts[:, 0]),
            "k_start": ("start", starts[:, 1]),
            "last": ((), world.last),
        },
    )
    items = [(world, case, n) for case in asked for n in range(world.starts)]
    return Job(frame, over, items, run)


@cache
def target(world: World, number: int, steps: int) -> torch.Tensor:
    """V of the truth after so many steps, shape (1, H, W)."""
    fields = world.fields(number, "known")
    return gs.steady_state(gs.Params(*TRUTH), fields, tol=0.0, max_steps=steps, progress=False).v


def run(item: tuple[World, Case, int]) -> Values:
    """One run."""
    world, case, number = item
    phases = [[(t, target(world, number, goal)) for t, goal in phase] for phase in case.phases]
    begin = time.process_time()
    if case.method == "adam":
        found = _adam(world, case, number, phases)
    elif case.method == "least squares":
        fit = _levenberg.fitted(
            world.start(number), phases, LOSSES[case.loss], world.fields(number, case.known), LEAST_SQUARES_STEPS, HELD
        )
        found = {"F": fit.values[0], "k": fit.values[1], "loss": fit.loss, "marches": fit.marches,
                 "unseen": fit.unseen}  # fmt: skip
    else:
        found = (_one_shot if case.method == "one-shot" else _residual)(world, number)
    found["seconds"] = time.process_time() - begin
    return {name: np.float64(value) for name, value in found.items()}


def _adam(world: World, case: Case, number: int, phases: list[list[tuple[int, torch.Tensor]]]) -> dict[str, float]:
    """Descent of one loss at one time; it ends where it saw the lowest loss."""
    ((steps, goal),) = phases[0]
    at, marches, unseen, best = world.start(number), 0, False, np.inf
    for rate, count in RATES:
        record = gs.descend(
            gs.Params(*TRUTH[:2], *at), goal, loss=LOSSES[case.loss], initial=world.fields(number, case.known),
            steps=count, free=["F", "k"], tol=0.0, max_steps=steps, progress=False,
            optimizer=partial(torch.optim.Adam, lr=rate, betas=BETAS),
        ).isel(row=0)  # fmt: skip
        loss, slopes = record["loss"].values, record["raw_gradient"].values
        marches += int(record["tries"].sum()) + 1
        if not marches > count + 1:
            unseen = not slopes[0].any()
        if not np.isfinite(loss).any():
            break
        n = int(np.nanargmin(loss))
        if loss[n] < best:
            best, at = float(loss[n]), tuple(record["params"].values[n, 2:].tolist())
        if unseen:
            break
    return {"F": at[0], "k": at[1], "loss": best, "marches": marches, "unseen": unseen}


def _one_shot(world: World, number: int) -> dict[str, float]:
    """`gs.invert` on v of the certified state that the truth's march leads to; NaN where there is none."""
    root = gs.steady_state(gs.Params(*TRUTH), world.fields(number, "known"), refine=True, progress=False)
    F, k = world.start(number)
    if not bool(root.has_root[0]):
        return {"F": np.nan, "k": np.nan, "loss": np.nan, "marches": 0, "unseen": 0}
    result = gs.invert(root.v, start=gs.Params(**HELD, F=F, k=k), free=["F", "k"], progress=False)
    F, k = result.params.tensor()[0, 2:].tolist()
    return {
        "F": F,
        "k": k,
        "loss": float(result.verdict[0] != gs.Recovery.FOUND),
        "marches": 0,
        "unseen": 0,
    }


def _residual(world: World, number: int) -> dict[str, float]:
    """Descent of the residual loss at u and v where the truth's march stops, at the rates of all."""
    stop = gs.steady_state(gs.Params(*TRUTH), world.fields(number, "known"), dtype=torch.float64, progress=False)
    at = world.start(number)
    for rate, count in RATES:
        record = gs.descend(
            gs.Params(*TRUTH[:2], *at), stop.fields, loss="residual", steps=count, free=["F", "k"], progress=False,
            optimizer=partial(torch.optim.Adam, lr=rate, betas=BETAS),
        ).isel(row=0)  # fmt: skip
        best = int(np.nanargmin(record["loss"].values))
        at = tuple(record["params"].values[best, 2:].tolist())
    return {"F": at[0], "k": at[1], "loss": float(record["loss"][best]), "marches": 0, "unseen": 0}


def errors(data: xr.Dataset) -> xr.DataArray:
    """Largest relative error of F and k, over case and start; infinite where there is no answer."""
    off = [abs(data[name] - true) / true for name, true in (("F", TRUTH[2]), ("k", TRUTH[3]))]
    worst: xr.DataArray = xr.concat(off, "parameter").max("parameter", skipna=False)
    return worst.fillna(np.inf)


def successes(data: xr.Dataset) -> xr.DataArray:
    """How many starts of each case end within `CLOSE`."""
    return (errors(data) < CLOSE).sum("start")
