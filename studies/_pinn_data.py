"""A steady state at the paper's point, and pictures of it: what the studied networks are trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

import gsimplicit as gs
from gsimplicit.inverse.method import Question
from gsimplicit.inverse.methods import Network, Trained
from gsimplicit.inverse.pictures.question import as_pictures, as_wanted
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values

Array = np.ndarray[Any, Any]

TRUTH = np.array([0.16, 0.08, 0.035, 0.065])
"""Du, Dv, F and k of the paper's point."""
FAILED_START = (0.127, 0.1269, 0.05, 0.0501)
"""Where the paper's training began (appendix D): every method begins there."""
SHARES = {"u and v": 1.0, "v": 1.0, "half of v": 0.5, "1/16 of v": 1 / 16}
"""Share of the pixels that is seen, by what is seen."""
SHAPES = {32: {"width": 32, "depth": 2, "waves": 24}, 64: {"width": 64, "depth": 3, "waves": 96}}
"""The network by the side of the grid: on 32 x 32 the one of three tried that ended with the least training loss, on
64 x 64 that of earlier trials of ours, which knew the truth."""


def start_of(side: int) -> Any:
    """The start; on 32 x 32 a box of half width 5 or 6 dies out at the paper's point, one of 7 lives."""
    return gs.initial_state(grid=(side, side), box=gs.Box(half=7 if side == 32 else 10))


def root(side: int) -> Job:
    """The certified steady state of the paper's point."""
    frame = xr.Dataset(
        {"fields": (("species", "y", "x"), np.full((2, side, side), np.nan), words("steady state"))},
        {"species": ["u", "v"]},
    )
    return Job(frame, (), [side], _root)


def _root(side: int) -> Values:
    refine = gs.Refine(tol=1e-12, max_evaluations=1_000_000)
    state = gs.steady_state(gs.Params(*TRUTH), start_of(side), max_steps=100_000, refine=refine, progress=False)
    if not bool(state.has_root[0]):
        raise RuntimeError(f"no root at the paper's point on {side} x {side} pixels")
    return {"fields": state.fields[0].numpy()}


def pictured(fields: Array, seen: str, noise: float, seed: int) -> tuple[Array, Array]:
    """A noisy picture (2, H, W) of both species, and the pixels seen (H, W); noise in % of each one's deviation."""
    draws = np.random.default_rng([seed, 17])
    size = noise / 100 * fields.std(axis=(1, 2), keepdims=True)
    picture = fields + size * draws.standard_normal(fields.shape)
    count = round(SHARES[seen] * fields[0].size)
    there = np.zeros(fields[0].size, dtype=bool)
    there[draws.permutation(there.size)[:count]] = True
    return picture, there.reshape(fields[0].shape)


def question(picture: Array, there: Array, *, both: bool) -> Question:
    """What is asked of a method: all four parameters, from the failed start."""
    model = gs.models.gray_scott
    pictures = as_pictures(model, picture[None] if both else picture[None, 1], None, there[None])
    wanted = as_wanted(model, gs.Params(*FAILED_START), None, None)
    return Question(model, pictures, wanted, [None] * len(pictures.seen))


def trained_on(settings: Network, picture: Array, there: Array, *, both: bool) -> Trained:
    """The same asked of a training alone."""
    return settings.train(
        picture[1], picture[0] if both else None, there, gs.Params(*FAILED_START), progress=False
    )  # fmt: skip


def worst(values: Array) -> float:
    """Largest relative error of the four parameters in per cent."""
    return float(100 * np.abs(values / TRUTH - 1).max())


def words(text: str, units: str = "1") -> dict[str, str]:
    """Attributes of a variable."""
    return {"long_name": text, "units": units}
