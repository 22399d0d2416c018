"""How a remedy descends: Adam, least squares, the residual loss, one-shot, and roots followed along their branch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import xarray as xr

import gsimplicit as gs
from gsimplicit.inverse.methods import Followed, Method, OneShot
from studies import _levenberg
from studies._constants import TRUTH
from studies._remedy_losses import LOSSES
from studies._remedy_world import HELD, World

GRADIENTS = 60
"""What every descent has: derivatives of its loss. A loss over several times counts once, a march without a derivative
does not count."""
TRIAL = GRADIENTS // 6
"""Of them, for each rate of Adam that is tried."""
RATES = (0.02, 0.06, 0.2)
"""Rates of Adam in raw parameters; which goes on is decided run by run, by the lowest loss."""
BETAS = (0.8, 0.95)
ENDS = ("answered", "no pattern at the start", "branch lost", "no minimum", "misfit", "otherwise")
"""How `gs.invert` ended, by number."""
_REASONS = ("", "no root near", "the branch was lost", " steps along the branch", "the nearest steady state found")
"""Parts of its reasons that tell which; the end of a branch's steps is no minimum."""

Terms = list[tuple[int, torch.Tensor]]
"""Steps to march, and v to compare the state with."""


@dataclass(frozen=True)
class Found:
    """What a run came to.

    Attributes:
        F: F at the end.
        k: k at the end.
        loss: Lowest loss seen.
        gradients: Derivatives of the loss that were taken.
        marches: Marches, whatever their length.
        unseen: Whether the first derivative was exactly 0.
        rate: Rate of Adam that went on.
        ended: A number of `ENDS`, for those that are no descent by march.
    """

    F: float
    k: float
    loss: float = np.nan
    gradients: float = np.nan
    marches: float = 0
    unseen: bool = False
    rate: float = np.nan
    ended: float = np.nan


def by_adam(world: World, number: int, term: tuple[int, torch.Tensor], loss: str, known: str) -> Found:
    """Descent of one loss at one time."""
    steps, goal = term
    by = LOSSES[loss]
    features = by.features(goal)
    settings = {
        "loss": lambda v: by.distance(by.features(v), features),
        "initial": world.fields(number, known),
        "tol": 0.0,
        "max_steps": steps,
    }
    return _adam(world.start(number), settings)


def by_residual(world: World, number: int) -> Found:
    """Descent of the residual loss at u and v where the truth's march stops."""
    stop = gs.steady_state(gs.Params(*TRUTH), world.fields(number, "known"), dtype=torch.float64, progress=False)
    return _adam(world.start(number), {"loss": "residual", "target": stop.fields})


def _adam(start: tuple[float, float], settings: dict[str, Any]) -> Found:
    """Trials of each rate, and on by the best of them: half of the gradients, the latter ones at a quarter of it."""
    best, plan = Found(*start, loss=np.inf, gradients=0), [(rate, TRIAL) for rate in RATES]
    chosen = np.nan
    for rate, count in plan:
        before = best.loss
        best = _lower(best, start, rate, count, settings)
        chosen = rate if best.loss < before else chosen
        if best.unseen:
            return best
    if np.isfinite(best.loss):
        for share in (1.0, 0.25):
            best = _lower(best, (best.F, best.k), share * chosen, (GRADIENTS - TRIAL * len(RATES)) // 2, settings)
    return Found(best.F, best.k, best.loss, best.gradients, best.marches, best.unseen, chosen)


def _lower(best: Found, at: tuple[float, float], rate: float, count: int, settings: dict[str, Any]) -> Found:
    """The best so far, or the lowest of some more steps from a place; with what both have cost."""
    record: xr.Dataset = gs.descend(
        gs.Params(**HELD, F=at[0], k=at[1]), steps=count, free=["F", "k"], progress=False,
        optimizer=partial(torch.optim.Adam, lr=rate, betas=BETAS), **settings,
    ).isel(row=0)  # fmt: skip
    loss, slopes = record["loss"].values, record["raw_gradient"].values
    taken = best.gradients + int(np.isfinite(slopes).all(-1).sum())
    marches = best.marches + (int(record["tries"].sum()) + 1 if "tol" in settings else 0)
    unseen = best.unseen or (not best.gradients and not slopes[0].any())
    F, k, low = best.F, best.k, best.loss
    if np.isfinite(loss).any() and (n := int(np.nanargmin(loss))) >= 0 and loss[n] < low:
        (F, k), low = record["params"].values[n, 2:].tolist(), float(loss[n])
    return Found(F, k, low, taken, marches, unseen)


def by_least_squares(world: World, number: int, phases: Sequence[Terms], loss: str, known: str) -> Found:
    """Levenberg and Marquardt's method, one set of times after the other."""
    fields, most = world.fields(number, known), GRADIENTS // len(phases)
    fit = _levenberg.fitted(world.start(number), phases, LOSSES[loss], fields, most, HELD)
    return Found(*fit.values, fit.loss, fit.gradients, fit.marches, fit.unseen)


def by_one_shot(world: World, number: int, *, elsewhere: bool) -> Found:
    """`gs.invert` as it is, or kept at its start."""
    return _inverted(world, number, OneShot(elsewhere=elsewhere))


def by_following(world: World, number: int, loss: str) -> Found:
    """A loss of the steady state by the implicit route, along the branch of the root that the picture leads to."""
    return _inverted(world, number, Followed(loss=loss, iterations=GRADIENTS, elsewhere=False))


def _inverted(world: World, number: int, method: Method) -> Found:
    """`gs.invert` on v of the certified state that the truth's march leads to; NaN where there is none."""
    root = gs.steady_state(gs.Params(*TRUTH), world.fields(number, "known"), refine=True, progress=False)
    if not bool(root.has_root[0]):
        return Found(np.nan, np.nan)
    F, k = world.start(number)
    start = gs.Params(**HELD, F=F, k=k)
    result = gs.invert(root.v, start=start, free=["F", "k"], method=method, progress=False)
    F, k = result.params.tensor()[0, 2:].tolist()
    return Found(F, k, ended=end_of(int(result.verdict[0]), result.reason[0]))


def end_of(verdict: int, reason: str) -> int:
    """Number of `ENDS` of an answer.

    Examples:
        >>> ENDS[end_of(0, "no root near the picture was found at the start, F = 0.04")]
        'no pattern at the start'
    """
    if verdict == gs.Recovery.FOUND:
        return 0
    return next((n for n, part in enumerate(_REASONS) if n and part in reason), len(ENDS) - 1)
