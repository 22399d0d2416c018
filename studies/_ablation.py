"""One training with a network, free pixels or smooth pixels in the fields' place, and one-shot beside it.

Data, seconds and seeds are the same for all. All begin at the paper's failed start but one-shot, which looks for its
own and needs no seconds told. The weight of the residual loss is chosen for each method and case by what is not the
truth: each weight is tried for some seconds on the first seed, and the one that leaves the least of deviations and
residual together is taken for all seeds. A tenth of the seen pixels is held out of the trials, for the other rules that
`studies.weight_rules` compares.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import xarray as xr

import gsimplicit as gs
from gsimplicit.inverse.answers.prepared import prepared
from gsimplicit.inverse.answers.recover import Answer
from gsimplicit.inverse.methods import Network
from gsimplicit.inverse.network.judged import NEAR
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from studies._pinn_data import SHAPES, Array, pictured, question, trained_on, words, worst

TRAINED = {
    "network, by gradient": ("network", "gradient"),
    "network": ("network", "closed form"),
    "free pixels": ("pixels", "closed form"),
    "smooth pixels": ("smooth", "closed form"),
}
"""What stands for the fields, and how parameters are learned."""
METHODS = (*TRAINED, "one-shot")
HELD = 0.1
"""Share of the seen pixels that is held out where weights are tried."""


NAMES = {
    "error": words("largest relative error of the four parameters", "percent"),
    "filled": words("error of v over all pixels, by its standard deviation", "percent"),
    "hidden": words("error of u over all pixels, by its standard deviation", "percent"),
    "misfit": words("deviation from the picture, by its standard deviation", "percent"),
    "seconds": words("CPU time", "s"),
    "within": words("CPU time after which all four parameters stay within 1 %", "s"),
    "used": words("weight of the residual loss"),
}
"""What is kept of a fit."""
TRIED = {
    "held_out": words("mean squared error of held-out pixels by their variance"),
    "deviation": words("deviation from the pixels trained on, by their standard deviation", "percent"),
    "residual": words("residual by the size of its terms", "percent"),
    "noise_like": words("deviation that passes for noise with the package's judge", "percent"),
    "error": words("largest relative error of the four parameters, which no rule sees", "percent"),
}
"""What is kept of a trial of a weight."""


@dataclass(frozen=True)
class Sizes:
    """How much is done.

    Attributes:
        side: Pixels along each side.
        cases: What is seen, and noise in per cent.
        weights: Weights tried.
        seeds: Draws of noise, pixels and first weights.
        tried: CPU seconds a trial of a weight.
        seconds: CPU seconds a training.
        long: CPU seconds of one longer training of the network by gradient, v seen without noise.
    """

    side: int
    cases: tuple[tuple[str, float], ...]
    weights: tuple[float, ...]
    seeds: int
    tried: float
    seconds: float
    long: float


SIZES = {
    "quick": Sizes(32, (("v", 0.0),), (1.0,), 1, 0.3, 0.6, 1.0),
    "default": Sizes(
        32, (("v", 0.0), ("v", 1.0), ("half of v", 1.0)), (0.1, 1.0, 10.0, 100.0), 2, 2.0, 5.0, 30.0
    ),
    "paper": Sizes(
        64,
        tuple((seen, noise) for seen in ("u and v", "v", "half of v", "1/16 of v") for noise in (0.0, 1.0, 5.0)),
        (1.0, 10.0, 100.0), 5, 15.0, 45.0, 300.0,
    ),
}  # fmt: skip

Item = tuple[Array, str, float, str, float, int, float]
"""Fields, what is seen, noise, method, weight, seed, seconds."""


def trials(fields: Array, sizes: Sizes) -> Job:
    """The held-out error of every weight, over case, method and weight."""
    shape = (len(sizes.cases), len(TRAINED), len(sizes.weights))
    over = ("case", "way", "weight")
    frame = xr.Dataset(
        {name: (over, np.full(shape, np.nan), attrs) for name, attrs in TRIED.items()},
        {**_cases(sizes), "way": list(TRAINED), "weight": list(sizes.weights)},
    )
    items: list[Item] = [
        (fields, seen, noise, method, weight, 0, sizes.tried)
        for seen, noise in sizes.cases for method in TRAINED for weight in sizes.weights
    ]  # fmt: skip
    return Job(frame, over, items, _tried)


def fits(fields: Array, sizes: Sizes, weights: xr.DataArray) -> Job:
    """Errors of all methods with the weights chosen, over case, method and seed."""
    shape = (len(sizes.cases), len(METHODS), sizes.seeds)
    over = ("case", "way", "seed")
    frame = xr.Dataset(
        {name: (over, np.full(shape, np.nan), attrs) for name, attrs in NAMES.items()},
        {**_cases(sizes), "way": list(METHODS), "seed": np.arange(sizes.seeds)},
    )
    items: list[Item] = []
    for n, (seen, noise) in enumerate(sizes.cases):
        for method in METHODS:
            weight = float(weights[n].sel(way=method)) if method in TRAINED else np.nan
            items += [(fields, seen, noise, method, weight, seed, sizes.seconds) for seed in range(sizes.seeds)]
    return Job(frame, over, items, _fitted)


def chosen(trials: xr.Dataset) -> xr.DataArray:
    """The weight whose trial has the least sum of squares of deviation and residual, over case and method.

    Both are relative, and neither sees the truth. A trial at weight 1 makes this sum small itself, so the rule leans to
    1; it leaves it where another weight gets further in the seconds of a trial.
    """
    left = trials["deviation"] ** 2 + trials["residual"] ** 2
    return trials["weight"].isel(weight=left.fillna(np.inf).argmin("weight"))


def _cases(sizes: Sizes) -> dict[str, object]:
    seen, noise = zip(*sizes.cases, strict=True)
    return {
        "seen": ("case", list(seen), {"long_name": "what is seen"}),
        "noise": ("case", list(noise), words("noise, of each picture's standard deviation", "percent")),
    }


def settings(method: str, side: int, weight: float, seed: int, seconds: float) -> Network:
    """A method's training, ended by its seconds."""
    fields, parameters = TRAINED[method]
    return Network(
        fields=fields, parameters=parameters, weight=weight, seed=seed, seconds=seconds, adam=10**6, lbfgs=10**6,
        **SHAPES[side],
    )  # fmt: skip


def _tried(item: Item) -> Values:
    fields, seen, noise, method, weight, seed, seconds = item
    picture, there = pictured(fields, seen, noise, seed)
    away = there & (np.random.default_rng([seed, 18]).random(there.shape) < HELD)
    both = seen == "u and v"
    trained = trained_on(settings(method, fields.shape[-1], weight, seed, seconds), picture, there & ~away, both=both)
    apart = (trained.fields[0, 1].numpy() - picture[1])[away]
    return {
        "held_out": np.float64(np.mean(apart**2) / picture[1][there].var()),
        "deviation": np.float64(100 * np.sqrt(trained.data_loss / (1 + both))),
        "residual": np.float64(100 * np.sqrt(trained.residual_loss)),
        "noise_like": np.float64(100 * noise_like(picture, there, both=both)),
        "error": np.float64(worst(trained.params.tensor()[0].numpy())),
    }


def noise_like(picture: Array, there: Array, *, both: bool) -> float:
    """Deviations from v, by its standard deviation, that the package's judge of trainings lets pass for noise."""
    ready = prepared(question(picture, there, both=both))
    if isinstance(ready, Answer):
        raise RuntimeError(f"the picture was refused: {ready.reason}")
    return max(NEAR, ready.data.noise * math.sqrt(ready.accept) / ready.spread)


def _fitted(item: Item) -> Values:
    fields, seen, noise, method, weight, seed, seconds = item
    picture, there = pictured(fields, seen, noise, seed)
    both = seen == "u and v"
    if method == "one-shot":
        begin = time.thread_time()
        v, u = picture[None, 1], picture[None, 0] if both else None
        found = gs.invert(v, u, None if there.all() else there[None], progress=False)  # it looks for its own start
        values, X = found.params.tensor()[0].numpy(), found.fields[0].numpy()
        took, within = time.thread_time() - begin, np.nan
    else:
        trained = trained_on(settings(method, fields.shape[-1], weight, seed, seconds), picture, there, both=both)
        values, X, took = trained.params.tensor()[0].numpy(), trained.fields[0].numpy(), trained.seconds
        off = np.array([worst(row) for row in trained.record["params"].values]) > 1
        late = np.flatnonzero(off).max(initial=-1) + 1
        within = float(trained.record["seconds"][late]) if late < len(off) else np.nan
    size = fields.std(axis=(1, 2))
    gap = np.sqrt(np.mean((X - fields) ** 2, axis=(1, 2))) / size
    left = (X[1] - picture[1])[there]
    return {
        "error": np.float64(worst(values)),
        "filled": np.float64(100 * gap[1]),
        "hidden": np.float64(100 * gap[0]),
        "misfit": np.float64(100 * np.sqrt(np.mean(left**2)) / size[1]),
        "seconds": np.float64(took),
        "within": np.float64(within),
        "used": np.float64(weight),
    }
