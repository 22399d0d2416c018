"""What lines, curvatures and fits say about the losses over a network's weights, in a steady picture and in space-time.

Bars of lines and curvatures were fixed before any number was seen. The number of random lines was raised from two to
four at each place after 35 of 36 steady ones had decided nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from studies import _paper
from studies._bars import Bar, at_least, at_most
from studies._claims import Claim, between, ours
from studies._network_weights import CURVED, PARTS
from studies._shares import ASKED as EASY
from studies._shares import bounds, inherits, share_bars

LEAST = -0.01
"""Least curvature by the largest that is asked for."""
TWICE = 2.0
"""Error by that of the supervised fit that is asked for at most; set after one trial of each."""


def judge(data: Mapping[str, xr.Dataset]) -> list[Claim]:
    """The steady picture, then space-time."""
    return [*_steady(data["pinn_weights"], data["pinn_steady"]), *_space_time(data["pinn_space_time"])]


def ratio(looks: xr.Dataset) -> xr.DataArray:
    """Least curvature by the largest, over stage, loss and whatever else was looked at."""
    return looks["curvature"].isel(end=0) / looks["curvature"].isel(end=1)


def one_minimum(looks: xr.Dataset) -> dict[str, tuple[int, int]]:
    """Random lines with one minimum, and all of them, by loss."""
    found = looks["minima"].drop_sel(line=list(CURVED))
    return {p: (int((found.sel(part=p) == 1).sum()), int(found.sel(part=p).size)) for p in PARTS}


def _lines(looks: xr.Dataset) -> tuple[bool | None, tuple[Bar, ...], str, str]:
    """Whether 95 % of each loss's lines have one minimum, and by what; in few words, and in more."""
    found = one_minimum(looks)
    hits, count = min(found.values(), key=lambda pair: pair[0] / pair[1])
    low, high = bounds(hits / count, count)
    curved = looks["minima"].sel(line=list(CURVED))
    most = {p: int(curved.sel(part=p).max()) for p in PARTS}
    words = ", ".join(f"{p} {a} of {b}" for p, (a, b) in found.items())
    return (
        inherits(hits / count, low, high),
        share_bars("lines of the worst loss with one minimum", hits / count, low, high),
        words,
        f"random lines with one minimum: {words}; the worst loss {hits / count:.0%} ({low:.0%} to {high:.0%}, as if "
        "lines were independent); most minima along the least and the most curved direction: "
        + ", ".join(f"{p} {n}" for p, n in most.items()),
    )


def _curved(looks: xr.Dataset) -> tuple[bool, tuple[Bar, ...], str, str]:
    """Whether the least curvature is above the bar everywhere, and by what; in few words, and in more."""
    by = ratio(looks)
    worst = by.min([d for d in by.dims if d not in ("stage", "part")])
    told = "; ".join(
        f"{s}: " + ", ".join(f"{p} {float(worst.sel(stage=s, part=p)):.1g}" for p in PARTS)
        for s in map(str, looks["stage"].values)
    )
    least = float(by.min())
    bars = (at_least("least by largest curvature", least, LEAST),)
    return least >= LEAST, bars, f"least/largest down to {least:.2g}", f"least by largest curvature, worst case: {told}"


def _steady(looks: xr.Dataset, steady: xr.Dataset) -> list[Claim]:
    forward, supervised = (steady["error"].sel(fit=f).values for f in ("forward", "supervised"))
    times = float(np.median(forward / supervised))
    each = forward / supervised
    one, by_lines, few, more = _lines(looks)
    flat, by_curves, least, told = _curved(looks)
    return [
        Claim(
            _paper.EASY_WEIGHTS,
            "Lines along random directions of the weights, filter by filter, at three stages. Asked here: "
            f"each loss has one minimum on {EASY:.0%} of them, by the rule of `studies/_shares.py`: few lines decide "
            "nothing.",
            few,
            more,
            one,
            bars=by_lines,
        ),
        Claim(
            _paper.EASY_WEIGHTS,
            f"Curvature by Lanczos' method at three stages. Asked here: the least is above {LEAST:g} of the largest.",
            least,
            told,
            flat,
            bars=by_curves,
        ),
        Claim(
            _paper.EASY_WEIGHTS,
            "Does descent arrive? v seen, true parameters given: the error of u with the residual loss, by that of the "
            f"same network taught u itself in as many steps. Asked here: at most {TWICE:g} in the median, set after "
            f"one trial.",
            f"{times:.2g} times the supervised fit",
            f"u off by {_range(100 * forward)} % with the residual, {_range(100 * supervised)} % supervised: "
            f"{_range(each)} times, {len(forward)} seeds",
            times <= TWICE,
            bars=(at_most("median error by the supervised fit's", times, TWICE, (each.min(), each.max())),),
        ),
    ]


def _space_time(runs: xr.Dataset) -> list[Claim]:
    forward, supervised = (runs["error"].sel(fit=f) for f in ("forward", "supervised"))
    low, high = (runs["loss"].sel(fit=f).values for f in ("forward", "supervised"))
    start = {f: (runs["first"].sel(fit=f).values, 100 * runs["early"].sel(fit=f).values) for f in runs["fit"].values}
    begun = ", ".join(f"{f} {_range(v)} and {_range(share, '.0f')} %" for f, (v, share) in start.items())
    each = forward / supervised
    by = each.median("seed")
    told = "; ".join(
        f"T = {int(T)}: {_range(forward.sel(time=T).values)} against {_range(supervised.sel(time=T).values)}, "
        f"{_range(each.sel(time=T).values)} times"
        for T in runs["time"].values
    )
    one, by_lines, few, more = _lines(runs)
    flat, by_curves, least, curved = _curved(runs)
    lines = "; ".join(
        f"T = {int(T)}: " + ", ".join(f"{p} {a} of {b}" for p, (a, b) in one_minimum(runs.sel(time=T)).items())
        for T in runs["time"].values
    )
    return [
        Claim(
            _paper.SPACE_TIME,
            "Forward from the first frame with the true parameters, 16 x 16 pixels: error of v in the last frame by "
            "its standard deviation, by that of a supervised fit with as many steps. Asked here: at most "
            f"{TWICE:g} in the median at every time, set after one trial.",
            f"{_range(by.values)} times the supervised fit",
            f"{told} ({runs.sizes['seed']} seeds); forward loss at the end {_range(low)}, with the supervised fits' "
            f"weights {_range(high)}; v of the first frame off by, and share of the residual in the first tenth of the "
            f"film: {begun}",
            bool((by <= TWICE).all()),
            bars=tuple(
                at_most(
                    f"median error at {int(T)} by the supervised fit's", by.sel(time=T), TWICE, _ends(each.sel(time=T))
                )
                for T in runs["time"].values
            ),
        ),
        Claim(
            ours("In space-time lines have one minimum"),
            "Beside that verdict: the forward losses along random directions of the weights, filter by filter, at "
            f"three stages. Asked here, as of the steady picture: each has one minimum on {EASY:.0%}.",
            few,
            f"{more}; {lines}",
            one,
            bars=by_lines,
        ),
        Claim(
            ours("In space-time curvature is hardly negative"),
            f"The same by Lanczos' method. Asked here, as of the steady picture: the least curvature is above "
            f"{LEAST:g} of the largest.",
            least,
            curved,
            flat,
            bars=by_curves,
        ),
    ]


def _ends(values: xr.DataArray) -> tuple[float, float]:
    """The least and the largest."""
    return float(values.min()), float(values.max())


def _range(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]], form: str = ".2g") -> str:
    good = values[np.isfinite(values)]
    return between(float(good.min()), float(good.max()), form) if len(good) else "none"
