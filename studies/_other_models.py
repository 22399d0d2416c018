"""Pictures of two other models with 1 % of noise: how far off are the parameters that can be identified?"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import gsimplicit as gs
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from studies._bars import at_least, at_most
from studies._claims import Claim, ours
from studies._common import filled
from studies._shares import bounds

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Place:
    """Where a model is asked.

    Attributes:
        model: Name of the model.
        values: The truth.
        free: What is sought; the others are given, since no picture tells them.
        side: Pixels along a side.
    """

    model: str
    values: tuple[float, ...]
    free: tuple[str, ...]
    side: int


PLACES = {
    "Schnakenberg, far from onset": Place("schnakenberg", (0.5, 14.0, 0.09, 1.0), ("Du", "Dv", "a", "b"), 48),
    "Schnakenberg, stripes": Place("schnakenberg", (0.5, 10.0, 0.07, 1.61), ("Du", "Dv", "a", "b"), 48),
    "Gierer and Meinhardt, spots": Place("gierer_meinhardt", (0.5, 15.0, 0.4, 1.0, 1.0), ("Da", "Dh", "s", "b"), 40),
    "Gierer and Meinhardt, far from onset": Place(
        "gierer_meinhardt", (0.5, 20.0, 0.3, 1.0, 1.0), ("Da", "Dh", "s", "b"), 40
    ),
}
"""Each seen through one species: the substrate of Schnakenberg's model, the activator of the other."""
SIZES = {"quick": 1, "default": 2, "paper": 10}
"""Draws of the noise a place."""
SEEDS = 12
"""Initial fields tried: not every one ends as a certified pattern."""
NOISE, ASKED = 0.01, 1.0
"""Noise by the picture's standard deviation; largest error in per cent that counts as a yes."""


def computed(scale: str, folder: Path) -> xr.Dataset:
    """A fit a place and draw."""
    draws = SIZES[scale]
    settings = {"draws": draws, "places": [[k, p.model, list(p.values), p.side] for k, p in PLACES.items()]}
    return filled(folder / "inversion_models.nc", (__file__,), settings, lambda: _job(draws))


def _job(draws: int) -> Job:
    over, shape = ("place", "draw"), (len(PLACES), draws)
    frame = xr.Dataset(
        {
            "error": (over, np.full(shape, np.nan), _words("largest relative error of what was sought", "percent")),
            "worst": (over, np.full(shape, -1, np.int8), _words("which parameter has it, its place in the model's")),
            "held": (over, np.full(shape, np.nan), _words("share of the 95 % intervals that hold the truth")),
            "verdict": (over, np.full(shape, -1, np.int8), _words("verdict, of gsimplicit.Recovery")),
            "seconds": (over, np.full(shape, np.nan), _words("processor time of the fit", "s")),
        },
        {
            "place": ("place", list(PLACES), {"long_name": "model and pattern"}),
            "draw": ("draw", np.arange(draws), _words("index of the draw of the noise")),
        },
    )
    return Job(frame, over, [(name, d) for name in PLACES for d in range(draws)], _fit)


@cache
def _picture(name: str) -> Array:
    """The observed species of the first certified pattern, shape (side, side)."""
    place = PLACES[name]
    model = getattr(gs.models, place.model)
    params = model.params(**dict(zip(model.parameters, place.values, strict=True)))
    for seed in range(SEEDS):
        state = gs.steady_state(
            params,
            gs.initial_state(grid=(place.side, place.side), model=model, seed=seed),
            dt=0.2 / place.values[1],
            tol=1e-9,
            max_steps=80_000,
            refine=gs.Refine(max_evaluations=300_000),
            progress=False,
        )
        if bool(state.has_root[0]) and int(state.kind[0]) == gs.Kind.PATTERN:
            return np.asarray(state.observed[0].double().numpy())
    raise ValueError(f"{name}: no initial field of {place.side} x {place.side} pixels ends as a certified pattern")


def _fit(item: tuple[str, int]) -> Values:
    name, d = item
    place, v = PLACES[name], _picture(name)
    model = getattr(gs.models, place.model)
    start = None  # what is given is said by a start, whose other values are off
    if len(place.free) < len(model.parameters):
        values = {n: x * (1.2 if n in place.free else 1.0) for n, x in zip(model.parameters, place.values, strict=True)}
        start = model.params(**values)
    noisy = v + NOISE * v.std() * np.random.default_rng([d, len(name)]).standard_normal(v.shape)
    begin = time.process_time()
    found = gs.invert(noisy, model=model, free=list(place.free), start=start, progress=False)
    sought, truth = [model.parameters.index(n) for n in place.free], np.array(place.values)
    error = 100 * np.abs(found.params.tensor()[0].numpy() / truth - 1)[sought]
    low, high = found.interval[0].numpy()[sought].T
    return {
        "error": np.float64(error.max()),
        "worst": np.int8(sought[int(np.argmax(np.nan_to_num(error)))]),
        "held": np.float64(np.mean((low <= truth[sought]) & (truth[sought] <= high))),
        "verdict": np.int8(found.verdict[0]),
        "seconds": np.float64(time.process_time() - begin),
    }


def claims(fits: xr.Dataset) -> list[Claim]:
    """One a place."""
    out = []
    for name, place in PLACES.items():
        d = fits.sel(place=name)
        good, n = d["verdict"].values == int(gs.Recovery.FOUND), d.sizes["draw"]
        error = d["error"].values[good]
        low, high = bounds(float(good.mean()), n)
        size = f"median error {np.median(error):.2g} %, worst {error.max():.2g} %" if len(error) else "nothing found"
        names = getattr(gs.models, place.model).parameters
        worst = sorted({names[i] for i in d["worst"].values[good]})
        held = float(d["held"].values[good].mean()) if len(error) else float("nan")
        given = ", ".join(n for n in names if n not in place.free)
        out.append(
            Claim(
                ours(f"{name}: what can be identified"),
                f"gs.invert at 1 % noise on one species, {n} draws"
                + (f", {given} given: no picture tells it" if given else ", nothing given")
                + f". Asked here: each of {', '.join(place.free)} within {ASKED:g} %, in the median of the largest "
                "error, and at least half found.",
                f"{size}, found {int(good.sum())} of {n}",
                f"found {int(good.sum())} of {n} ({low:.0%} to {high:.0%}, one-sided 95 % each); largest error: {size}"
                + (f", of {', '.join(worst)}" if worst else "")
                + f"; {held:.0%} of the 95 % intervals hold the truth; {float(np.median(d['seconds'])):.1f} s a fit",
                bool(good.mean() >= 0.5 and np.median(error) <= ASKED) if len(error) else False,
                bars=(
                    at_least("share found", good.mean(), 0.5, (low, high)),
                    at_most("median of the largest error in %", np.median(error) if len(error) else np.inf, ASKED),
                ),
            )
        )
    return out


def _words(text: str, units: str = "1") -> dict[str, str]:
    return {"long_name": text, "units": units}
