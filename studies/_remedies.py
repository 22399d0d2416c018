"""The remedies of section 5.2 that march, and what needs no march: what is descended from which starts, and one run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from studies import _remedy_methods as methods
from studies._constants import TRUTH
from studies._remedy_losses import LOSSES
from studies._remedy_world import FIELDS, World, target

CLOSE = 0.02
"""Largest relative error of F and k that counts as a success."""
TEXTURES = ("spectrum", "windowed", "gram", "radial")
"""Losses that may be asked where the target's initial field is not known: they compare textures."""
NONE = "not asked"
"""Initial field of what does not march."""


@dataclass(frozen=True)
class Case:
    """One remedy.

    Attributes:
        name: In words.
        method: "adam", "least squares", "residual", "one-shot", "kept" (one-shot at its start) or "followed".
        loss: Name of the loss.
        phases: One after the other: pairs of steps marched and steps of the target they are compared with.
        known: One of `FIELDS`, or `NONE`.
    """

    name: str
    method: str
    loss: str = ""
    phases: tuple[tuple[tuple[int, int], ...], ...] = ()
    known: str = NONE


def ladder(last: int) -> list[int]:
    """Times of the curriculum."""
    return [t for t in (100, 300, 500, 1000, 2000, 4000, 8000) if t < 0.9 * last] + [last]


def at(time: int, last: int, method: str, loss: str, known: str = "known") -> Case:
    """Supervision at one time."""
    return Case("end" if time == last else f"{time}", method, loss, (((time, time),),), known)


def one_after_the_other(last: int, loss: str, known: str) -> Case:
    """Supervision at early times, then at later ones, each beside the one before."""
    up = ladder(last)
    rising = tuple(tuple((t, t) for t in up[max(0, n - 1) : n + 1]) for n in range(len(up)))
    return Case("one after the other", "least squares", loss, rising, known)


def cases(last: int, times: Sequence[int], mapped: Sequence[int]) -> list[Case]:
    """All that march, at `times`; every loss at those times whose planes are mapped; then those that do not march."""
    up = ladder(last)
    out = [at(t, last, "adam", loss) for t in mapped for loss in LOSSES]
    out += [at(t, last, "adam", "pixels") for t in times if t not in mapped]
    out += [at(last, last, "adam", loss, known) for known in ("noise", "box") for loss in TEXTURES]
    out += [at(100, last, "adam", "pixels", "noise")]
    for known in ("known", "noise"):
        out += [at(t, last, "least squares", "pixels", known) for t in times]
        out += [at(t, last, "least squares", "radial", known) for t in times if t in (50, 100, 500, last)]
    out += [at(t, last, "least squares", loss, "box") for loss in ("pixels", "radial") for t in times if t <= 200]
    out += [one_after_the_other(last, "pixels", known) for known in FIELDS]
    out += [one_after_the_other(last, "radial", known) for known in ("known", "noise")]
    out += [Case("late, together", "least squares", "pixels", (tuple((t, t) for t in up if t >= 500),), "known")]
    out += [Case("up, against the end", "least squares", "radial", tuple(((t, last),) for t in up), "known")]
    return [*out, *still()]


def still() -> list[Case]:
    """What does not march: the residual loss at the stop, and the roots that `gs.invert` makes of a steady state."""
    followed = [Case("root", "followed", loss) for loss in ("pixels", "spectrum")]
    return [Case("stop", "residual"), Case("root", "one-shot"), Case("root", "kept"), *followed]


VARIABLES = {
    "F": "F at the end",
    "k": "k at the end",
    "loss": "loss at the end",
    "gradients": "derivatives of the loss that were taken",
    "marches": "marches, whatever their length",
    "unseen": "1 where the first derivative is exactly 0",
    "rate": "rate of Adam that went on",
    "ended": "how it ended, where nothing is marched: " + ", ".join(f"{n} {w}" for n, w in enumerate(methods.ENDS)),
    "seconds": "seconds of processor time",
}


def job(world: World, asked: Sequence[Case]) -> Job:
    """A run a case and start."""
    shape, over = (len(asked), world.starts), ("case", "start")
    starts = np.array([world.start(n) for n in range(world.starts)]).reshape(-1, 2)
    frame = xr.Dataset(
        {name: (over, np.full(shape, np.nan), {"long_name": words, "units": "1"}) for name, words in VARIABLES.items()},
        {
            **{n: ("case", [getattr(c, n) for c in asked]) for n in ("name", "method", "known")},
            "objective": ("case", [c.loss for c in asked]),
            "F_start": ("start", starts[:, 0]),
            "k_start": ("start", starts[:, 1]),
            "last": ((), world.last),
        },
    )
    return Job(frame, over, [(world, case, n) for case in asked for n in range(world.starts)], run)


def run(item: tuple[World, Case, int]) -> Values:
    """One run."""
    world, case, number = item
    phases = [[(t, target(world, number, goal)) for t, goal in phase] for phase in case.phases]
    begin = time.process_time()
    found: Any
    match case.method:
        case "adam":
            found = methods.by_adam(world, number, phases[0][0], case.loss, case.known)
        case "least squares":
            found = methods.by_least_squares(world, number, phases, case.loss, case.known)
        case "residual":
            found = methods.by_residual(world, number)
        case "followed":
            found = methods.by_following(world, number, case.loss)
        case _:
            found = methods.by_one_shot(world, number, elsewhere=case.method == "one-shot")
    seconds = time.process_time() - begin
    return {name: np.float64(seconds if name == "seconds" else getattr(found, name)) for name in VARIABLES}


def errors(data: xr.Dataset) -> xr.DataArray:
    """Largest relative error of F and k, over case and start; infinite where there is no answer."""
    off = [abs(data[name] - true) / true for name, true in (("F", TRUTH[2]), ("k", TRUTH[3]))]
    worst: xr.DataArray = xr.concat(off, "parameter").max("parameter", skipna=False)
    return worst.fillna(np.inf)
