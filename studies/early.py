"""Are earlier states more regular, on both sides of the cliffs (section 5.1 of arXiv 2606.11258)?

Planes over F and k of the loss, the wavelength and the mean of v after 50, 100, 500, 2,000 and 5,000 steps and at the
paper's stop. The loss at a time is against the truth's state at the same time from the same start. Then: how high the
final cliffs stand at each time, how regularly wavelength and mean change along lines on either side of them, how far
neighbouring patterns and patterns of other seeds are apart, and what uniform states were before. Last, whether stops
without a pattern cut off an oscillation, and whether marches that never stop look uniform.
"""

from __future__ import annotations

from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import gsimplicit as gs
from gsimplicit import labels
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from studies import _apart, _early_claims, _early_figure, _fine, _loops, _patterns, _regular, _times
from studies._apart import GROWING, distance
from studies._common import Datasets, Study, filled
from studies._constants import F_RANGE, K_RANGE, TRUTH

TIMES = (50, 100, 500, 2000, 5000)
SIZES = {"quick": (7, 2), "default": (13, 2), "paper": (50, 4)}
"""Points along each axis, and samples."""


def compute(scale: str, folder: Path) -> Datasets:
    """The planes, row by row, and the marches beyond their stops."""
    points, samples = SIZES[scale]
    settings = {"points": points, "samples": samples}
    scripts = (__file__, _times.__file__, _patterns.__file__, _fine.__file__, _apart.__file__)
    return {
        "early": filled(folder / "early.nc", scripts, settings, partial(_job, points, samples)),
        "early_loops": _loops.computed(scale, folder),
    }


def _job(points: int, samples: int) -> Job:
    """A row of the plane at a time: it compares neighbours."""
    feeds, kills = np.linspace(*F_RANGE, points), np.linspace(*K_RANGE, points)
    pairs = list(combinations(range(samples), 2))
    names = [*map(str, TIMES), "stop"]

    def empty(dims: tuple[str, ...], long_name: str) -> tuple[tuple[str, ...], np.ndarray, dict[str, Any]]:
        sizes = {"k": points, "face": points - 1, "sample": samples, "pair": len(pairs), "time": len(names), "side": 3}
        return ("F", *dims), np.full((points, *(sizes[d] for d in dims)), np.nan), _words(long_name)

    each = ("k", "sample", "time")
    frame = xr.Dataset(
        {
            "loss": empty(each, "spectrum loss against the truth's state at the same time from the same start"),
            "wavelength": empty(each, "dominant wavelength of v in pixels"),
            "fine": empty(each, "dominant wavelength of the gradient of v in pixels"),
            "v_mean": empty(each, "mean of v"),
            "kind": (("F", *each), np.zeros((points, points, samples, len(names)), np.int8), _words("kind of state")),
            "neighbours": empty(("face", "sample", "time", "side"), "distance of neighbouring patterns along k"),
            "seeds": empty(("k", "pair", "time", "side"), "distance of patterns of two seeds"),
        },
        {
            "F": ("F", feeds, labels.attributes("F")),
            "k": ("k", kills, labels.attributes("k")),
            "face": ("face", (kills[1:] + kills[:-1]) / 2, _words("k between two points")),
            "sample": ("sample", np.arange(samples), _words("index of the start")),
            "pair": ("pair", np.arange(len(pairs)), _words("index of the pair of starts")),
            "time": ("time", names, {"long_name": "steps, or the paper's stop"}),
            "side": ("side", list(GROWING), {"long_name": "what is compared"}),
        },
    )
    return Job(frame, ("F",), [(float(F), tuple(kills.tolist()), samples) for F in feeds], _row)


def _states(F: float, k: float, number: int) -> tuple[np.ndarray, list[gs.Kind]]:
    """Fields v of a point at each time, and their kinds."""
    params, start = gs.Params(0.16, 0.08, F, k), gs.initial_state(start=number)
    stop = gs.steady_state(params, start)
    v = [*(fields[0, 1] for fields in _times.states_at(params, start, TIMES)), stop.v[0]]
    return np.stack([one.numpy().astype(float) for one in v]), [_times.kind_of(one) for one in v]


def _row(item: tuple[float, tuple[float, ...], int]) -> Values:
    """All of a row; fields are held of two points at a time."""
    F, kills, samples = item
    target = np.stack([_states(*TRUTH[2:], n)[0] for n in range(samples)])
    first, second = np.array(list(combinations(range(samples), 2))).T
    out: dict[str, list[np.ndarray]] = {}
    before: np.ndarray | None = None
    for k in kills:
        found = [_states(F, k, n) for n in range(samples)]
        v = np.stack([states for states, _ in found])
        values = {
            "loss": _fine.loss(v, target),
            "wavelength": _patterns.wavelength(v),
            "fine": _fine.fine_wavelength(v),
            "v_mean": v.mean(axis=(-2, -1)),
            "kind": np.array([kinds for _, kinds in found], np.int8),
            "seeds": distance(v[first], v[second], GROWING),
        }
        if before is not None:
            values["neighbours"] = distance(before, v, GROWING)
        for name, value in values.items():
            out.setdefault(name, []).append(value)
        before = v
    return {name: np.stack(every) for name, every in out.items()}


def _words(long_name: str) -> dict[str, Any]:
    return {"long_name": long_name, "units": "1"}


def plot(data: Datasets) -> Figure:
    """Planes at each time, and what they say against time."""
    planes = data["early"]
    measures = {
        (side, m): _regular.ranked(planes, side, m) for side in _regular.REGIONS for m in _early_claims.MEASURES
    }
    jumps = {side: _regular.cliff_jumps(planes, side) for side in ("left", "right")}
    distances = {what: _early_claims.apart(planes, what) for what in ("neighbours", "seeds")}
    return _early_figure.drawn(planes, jumps, measures, distances)


STUDY = Study(
    "early",
    "loss and patterns at earlier times, on both sides of the cliffs (section 5.1)",
    compute,
    plot,
    _early_claims.judge,
    caption="(a): the spectrum loss over F and k after 50 to 5,000 steps and at the stop, against the truth's state "
    "at the same time. (b): the dominant wavelength of the gradient of v; grey where there is no pattern. "
    "Lines: where the kind of state at the stop changes. Star: the truth. (c): the jump of the loss over the faces of "
    "the final cliffs, as a share of the loss's range at each time. (d): how regularly the mean of v and that "
    "wavelength change along lines of F and k, in each part of the plane. (e): how far patterns are apart, 500 steps "
    "being 1.",
    alt="Twelve maps of loss and wavelength over time and three line plots. The right cliff is there after 500 steps; "
    "left of the left cliff patterns stand at 500 steps and are gone at 5,000.",
)
