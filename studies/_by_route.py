"""Descent by each gradient route from far starts: random ones, and the one at which the paper's training began.

All descend on the spectrum loss, by BFGS, each state marched anew from the field that the picture was made from. The
picture is of a route's own kind of state, so that its loss at the truth is 0, or nearly: the clean root for those at a
root, the paper's stop for those at finite time. A few starts 1 % beside the truth show what the descent can do. Of
routes that are one derivative computed twice, one descends; `inversion_alike` says how far the two are apart.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
import xarray as xr

import gsimplicit as gs
from gsimplicit import labels
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from gsimplicit.routes import Route
from studies import _from_starts, _remarched
from studies._common import Datasets, filled, scanned
from studies._from_starts import TRUTH, Array, root
from studies._remarched import NAMES, WITHIN, End, remarched
from studies.routes import trained

ROUTES = ("implicit", "unrolled", "truncated", "finite_difference", "surrogate")
"""Those that descend."""
TWINS = {"deq": "implicit", "tangent": "unrolled"}
"""Those that compute the derivative of another."""
LEARNED = {"Du": (0.07, 0.24), "Dv": (0.025, 0.13), "F": (0.015, 0.08), "k": (0.04, 0.075)}
"""Where the surrogate is trained: all starts at which a step is stable, and somewhat more."""
FAR = ("random", "the paper's")
BESIDE, OFF = 3, 0.01
"""Starts beside the truth, and the largest part by which a parameter is off there."""


@dataclass(frozen=True)
class Size:
    """How much is asked.

    Attributes:
        starts: Far starts, the paper's among them.
        calls: Gradients of a descent at most.
        points: Along each axis of the scan on which the surrogate is trained.
        epochs: Of that training.
        few: Far starts for finite differences, which cost 16 marches a gradient.
        evaluations: What the search for one root may cost.
        routes: Those that descend.
    """

    starts: int
    calls: int
    points: int
    epochs: int
    few: int
    evaluations: int
    routes: tuple[str, ...] = ROUTES


SIZES = {
    "quick": Size(2, 4, 0, 0, 2, 100_000, ("implicit", "unrolled")),
    "default": Size(30, 30, 5, 600, 4, 100_000),
    "paper": Size(51, 40, 6, 1000, 10, 400_000),
}


def starts(scale: str) -> tuple[list[str], Array]:
    """Kind and values (n, 4): the last far starts, which end with the paper's, and those beside the truth."""
    kinds, values = _from_starts.starts(scale)
    some = [i for i, kind in enumerate(kinds) if kind in FAR][-SIZES[scale].starts :]
    ways = np.random.default_rng(23).standard_normal((BESIDE, 4))
    beside = TRUTH * (1 + OFF * ways / np.abs(ways).max(axis=1, keepdims=True))
    return [*(kinds[i] for i in some), *["beside"] * BESIDE], np.concatenate([values[some], beside])


def computed(scale: str, folder: Path) -> Datasets:
    """Where each route led from each start, and what each says at one start."""
    size, side = SIZES[scale], _from_starts.SIZES[scale][0]
    learned = [_surrogate(size, side, folder)] if "surrogate" in size.routes else []
    refine = gs.Refine(max_evaluations=size.evaluations)
    routes: dict[str, str | Route] = {name: name for name in size.routes}
    routes |= {one.name: one for one in (gs.routes.Implicit(refine), *learned)}
    kinds, values = starts(scale)
    scripts = (__file__, _from_starts.__file__, _remarched.__file__)
    settings = {"side": side, "size": repr(size), "model": [one.digest for one in learned]}
    fits = filled(folder / "inversion_routes.nc", scripts, settings, lambda: _job(kinds, values, routes, side, size))
    every = {**routes, **{name: name for name, of in TWINS.items() if of in routes}}
    alike = filled(folder / "inversion_alike.nc", scripts, settings, lambda: _alike_job(every, side))
    return {"inversion_routes": fits, "inversion_alike": alike}


def _surrogate(size: Size, side: int, folder: Path) -> gs.routes.Surrogate:
    """Trained on the states of a grid over all four parameters."""
    states = scanned(
        folder / "inversion_learned.nc",
        axes={name: np.linspace(*ends, size.points) for name, ends in LEARNED.items()},
        initial=gs.initial_state(grid=(side, side)),
        losses=["spectrum"],
        keep="v",
    )
    return gs.routes.Surrogate(trained(states, folder / "inversion_model.nc", ["spectrum"], size.epochs))


def _job(kinds: list[str], values: Array, routes: dict[str, str | Route], side: int, size: Size) -> Job:
    shape, over = (len(values), len(routes)), ("start", "route")
    ends = labels.flag_attributes([e.name.lower() for e in End])
    frame = xr.Dataset(
        {
            "error": (over, np.full(shape, np.nan), _words("largest relative error of the four parameters", "percent")),
            "seconds": (over, np.full(shape, np.nan), _words("processor time", "s")),
            "calls": (over, np.zeros(shape, np.int32), _words("gradients taken")),
            "end": (over, np.zeros(shape, np.int8), _words("how the descent ended") | ends),
            "first": (over, np.full(shape, np.nan), _words("loss at the start")),
            "last": (over, np.full(shape, np.nan), _words("loss at the end")),
        },
        {
            "start": ("start", np.arange(len(values)), _words("index of the start")),
            "route": ("route", list(routes), {"long_name": "gradient route"}),
            "kind": ("start", kinds, {"long_name": "kind of start"}),
            **{n: ("start", values[:, i], {"long_name": f"{n} of the start"}) for i, n in enumerate(NAMES)},
        },
    )
    left_out = [i for i, kind in enumerate(kinds) if kind in FAR][: -size.few]
    items = [
        (start, route, side, 0 if name == "finite_difference" and i in left_out else size.calls)
        for i, start in enumerate(values)
        for name, route in routes.items()
    ]
    return Job(frame, over, items, _at)


def _at(item: tuple[Array, str | Route, int, int]) -> Values:
    start, route, side, calls = item
    if not calls:
        return dict(NONE)
    low, high = np.array(list(LEARNED.values())).T
    within = (low, high) if isinstance(route, gs.routes.Surrogate) else WITHIN
    picture, begin = _picture(route, side), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gs.StabilityWarning)
        found = remarched(start, picture, route, calls, within)
    return {
        "error": np.float64(100 * np.abs(found.values / TRUTH - 1).max()),
        "seconds": np.float64(time.process_time() - begin),
        "calls": np.int32(found.calls),
        "end": np.int8(found.end),
        "first": np.float64(found.first),
        "last": np.float64(found.last),
    }


def _picture(route: str | Route, side: int) -> torch.Tensor:
    """What a route's own state at the truth looks like."""
    if isinstance(route, gs.routes.Implicit):
        return root(side).v
    return _stopped(side, torch.float32 if isinstance(route, gs.routes.Surrogate) else torch.float64)


NONE = {
    "error": np.float64(np.nan),
    "seconds": np.float64(np.nan),
    "calls": np.int32(0),
    "end": np.int8(End.NOT_RUN),
    "first": np.float64(np.nan),
    "last": np.float64(np.nan),
}
"""Of a descent that is not made."""


@cache
def _stopped(side: int, dtype: torch.dtype) -> torch.Tensor:
    """The paper's stop at the truth, marched as precisely as a route does."""
    return gs.steady_state(gs.Params(*TRUTH), gs.initial_state(grid=(side, side)), dtype=dtype).v


def _alike_job(routes: dict[str, str | Route], side: int) -> Job:
    """Of each route the gradient at one far start where a pattern settles, and its loss at the truth."""
    start = _with_pattern(side)
    frame = xr.Dataset(
        {
            "gradient": (
                ("route", "parameter"),
                np.full((len(routes), 4), np.nan),
                _words("gradient of the spectrum loss in the logarithm of a parameter"),
            ),
            "at_truth": ("route", np.full(len(routes), np.nan), _words("loss at the truth against the clean root")),
            "held_out": ((), _held_out(routes), _words("error of the surrogate's features at points it has not seen")),
        },
        {
            "route": ("route", list(routes), {"long_name": "gradient route"}),
            "parameter": ("parameter", list(NAMES), {"long_name": "parameter"}),
            "at": ("parameter", start, _words("the start")),
        },
    )
    return Job(frame, ("route",), [(route, start, side) for route in routes.values()], _said)


def _held_out(routes: dict[str, str | Route]) -> float:
    """Mean over the networks, as a share of the features' spread; NaN where none is trained."""
    learned = routes.get("surrogate")
    return float(learned.model["held_out_error"].mean()) if isinstance(learned, gs.routes.Surrogate) else float("nan")


def _with_pattern(side: int) -> Array:
    """The first random start that leads to a pattern with a steady or drifting root."""
    kinds, values = _from_starts.starts("default")
    for start in values[kinds.index("random") :]:
        if (start > WITHIN[1]).any():
            continue
        state = gs.steady_state(gs.Params(*start), gs.initial_state(grid=(side, side)), refine=True, progress=False)
        if bool(state.has_root[0]) and int(state.kind[0]) == gs.Kind.PATTERN:
            return np.asarray(start)
    raise ValueError("no far start leads to a pattern with a root")


def _said(item: tuple[str | Route, Array, int]) -> Values:
    route, start, side = item
    initial, v = gs.initial_state(grid=(side, side)), root(side).v
    here, truth = (
        gs.grad(gs.Params(*at), route, loss="spectrum", target=v, initial=initial, progress=False)
        for at in (start, TRUTH)
    )
    slope = start * np.array([float(getattr(here.grad, name)[0]) for name in NAMES])
    return {"gradient": slope, "at_truth": np.float64(truth.loss[0])}


def apart(alike: xr.Dataset, route: str, other: str) -> float:
    """Relative difference of two routes' gradients."""
    a, b = (alike["gradient"].sel(route=name).values for name in (route, other))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def _words(text: str, units: str = "1") -> dict[str, str]:
    return {"long_name": text, "units": units}
