"""Descents as the paper trains: fresh fields and a random target at each step, from its start and from others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import xarray as xr

import gsimplicit as gs

DECAY = 5e-4
"""Weight decay of the paper's training, in the raw parameters."""
TOL, MAX_STEPS = 5e-5, 40_000
"""How its training marches."""
TARGETS_SEED = 1
"""Seed of the pool of targets; fields of the training have others."""


@dataclass(frozen=True)
class Run:
    """A training.

    Attributes:
        name: Of its file.
        start: Du, Dv, F, k.
        rate: Learning rate.
        loss: Name of the loss.
        route: Name of the route.
        seed: Of its fields and targets.
    """

    name: str
    start: tuple[float, float, float, float]
    rate: float
    loss: str = "spectrum"
    route: str = "unrolled"
    seed: int = 100


def targets(count: int, grid: int) -> torch.Tensor:
    """The pool of targets: v of the truth from fields of its own, stopped at 1e-4."""
    fields = gs.initial_state(count, TARGETS_SEED, grid=(grid, grid))
    return gs.steady_state(gs.Params.preset("paper"), fields, progress=False).v


def trained(store: Path, run: Run, steps: int, samples: int, pool: torch.Tensor, keep: str | None = None) -> xr.Dataset:
    """The record of a training, kept in `store`: found again, resumed, or made anew where something has changed."""
    by = partial(torch.optim.SGD, lr=run.rate, weight_decay=DECAY)
    return gs.descend(
        gs.Params(*run.start), route=run.route, loss=run.loss, steps=steps, samples=samples, targets=pool,
        seed=run.seed, optimizer=by, tol=TOL, max_steps=MAX_STEPS, store=store, overwrite=True, keep=keep,
    )  # fmt: skip
