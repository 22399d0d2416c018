"""What `early` asks of its planes: cliffs and regular change at each time, distances, origins, oscillations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

import gsimplicit as gs
from studies import _loops, _paper, _patterns, _regular
from studies._apart import GROWING
from studies._bars import above, at_least, below
from studies._claims import Claim

EARLY = "500"
"""The early time of every test: the box has grown into a pattern, or is gone."""
MEASURES = ("v_mean", "fine")
"""What is asked to change regularly."""
SOONER = (EARLY, "100", "50")
"""Where most of a side is gone at the early time, it is asked about at the latest of these at which half of it lives.

A reader of the first version showed that 500 steps are too late on the right: there the box dies within 300.
"""
HIGH = 0.9
"""A rank correlation that counts as regular."""


def apart(data: xr.Dataset, what: str) -> xr.DataArray:
    """Mean distance over those that hold a pattern from 500 steps to the stop, over time and side.

    Args:
        data: The planes.
        what: "neighbours" or "seeds".

    Returns:
        NaN throughout where there are none.
    """
    kind = (data["kind"].sel(time=[EARLY, "2000", "5000", "stop"]) == gs.Kind.PATTERN).all("time")
    if what == "neighbours":
        both = kind.transpose("F", "k", "sample").values
        there = xr.DataArray(both[:, 1:] & both[:, :-1], dims=("F", "face", "sample"))
        return data[what].where(there).mean(("F", "face", "sample"))
    return data[what].where(kind.all("sample")).mean(("F", "k", "pair"))


def judge(data: Mapping[str, xr.Dataset]) -> list[Claim]:
    """Cliffs and regularity at each time, both sides, what uniform states come from, and limit loops."""
    planes = data["early"]
    return [
        *_earlier(planes),
        *(_beyond(planes, side) for side in ("left", "right")),
        *(_alike(planes, what) for what in ("neighbours", "seeds")),
        *_origins(planes),
        *_oscillations(data["early_loops"]),
    ]


def _living(planes: xr.Dataset, kind: int) -> str:
    """The latest early time at which half of the states that end as a kind still hold a pattern; the first if none."""
    ends = planes["kind"].sel(time="stop") == kind
    for time in SOONER:
        if float((planes["kind"].sel(time=time) == gs.Kind.PATTERN).where(ends).mean()) >= 0.5:
            return time
    return SOONER[-1]


def _earlier(planes: xr.Dataset) -> list[Claim]:
    """Cliffs are lower, and change inside more regular, at the early time."""
    claims = []
    for side in ("left", "right"):
        jump = _regular.cliff_jumps(planes, side)
        early, late = (float(jump.sel(time=t)) for t in (EARLY, "stop"))
        claims.append(
            Claim(
                _paper.EARLIER,
                f"The {side} cliff of the stop is lower at earlier times. Asked here: after {EARLY} steps the median "
                "jump of the loss over its faces is less than half of that at the stop, as shares of the loss's range "
                "at either time (fixed beforehand).",
                f"{side} cliff {early:.0%} at {EARLY} steps, {late:.0%} at the stop",
                "median jump over its faces as a share of the range: " + _course(jump, ".0%"),
                None if np.isnan(early) or np.isnan(late) else early < 0.5 * late,
                bars=(below(f"median jump at {EARLY} steps", early, 0.5 * late),),
            )
        )
    count = _regular.steep_faces(planes)
    early, late = (int(count.sel(time=t)) for t in (EARLY, "stop"))
    claims.append(
        Claim(
            _paper.EARLIER,
            f"Cliffs are fewer at earlier times. Asked here: after {EARLY} steps fewer than half as many faces of the "
            "plane as at the stop have a jump of a quarter of the loss's range at that time (fixed beforehand).",
            f"{early} cliff faces at {EARLY} steps, {late} at the stop",
            "faces: " + _course(count, ".0f"),
            None if not late else early < 0.5 * late,
            bars=(below(f"cliff faces at {EARLY} steps", early, 0.5 * late),),
        )
    )
    return [*claims, *(_regularly(planes, m) for m in MEASURES)]


def _regularly(planes: xr.Dataset, measure: str) -> Claim:
    """Change among the patterns against time."""
    rank = _regular.ranked(planes, "patterns", measure)
    early, late = (float(rank.sel(time=t)) for t in (EARLY, "stop"))
    why = {
        "v_mean": "where it is 0.99 or more at both times nothing is decided",
        "fine": "of the gradient of v, as v itself sees a growing patch as one long wave",
    }[measure]
    full = min(early, late) >= 0.99
    return Claim(
        _paper.EARLIER,
        f"Among the patterns regular changes are more prominent at earlier times: {_name(measure)}. Asked here: the "
        f"median rank correlation along lines of F and k is larger after {EARLY} steps than at the stop ({why}; fixed "
        "beforehand for both measures together, told apart when the mean of v was at its ceiling).",
        f"{_name(measure)}: rank correlation {early:.2f} at {EARLY} steps, {late:.2f} at the stop",
        f"{_course(rank, '.2f')}; {_regular.lines(planes, 'patterns')} lines",
        None if full or np.isnan(early) or np.isnan(late) else early > late,
        bars=(above(f"rank correlation at {EARLY} steps", early, late),),
    )


def _beyond(planes: xr.Dataset, side: str) -> Claim:
    """Regular change where states end without a pattern."""
    rank = {m: _regular.ranked(planes, side, m) for m in MEASURES}
    width = {name: _regular.spread(planes, name, "v_mean") for name in (side, "patterns")}
    share = width[side] / width["patterns"]
    at = _living(planes, _regular.REGIONS[side])
    early = {m: float(r.sel(time=at)) for m, r in rank.items()}
    end = "uniform" if side == "left" else "without v"
    return Claim(
        _paper.BOTH_SIDES,
        f"Beyond the {side} cliff, where states end {end}, patterns change regularly at earlier times. Asked here: "
        f"after {at} steps, the latest of {', '.join(SOONER)} at which half of them hold a pattern, the median rank "
        f"correlation along lines there is {HIGH:g} or more for the mean of v and "
        "for its fine wavelength, and the mean varies a tenth as much as among the patterns or more (fixed "
        "beforehand, but for the fine wavelength, that of the gradient of v).",
        f"{side}, {at} steps: mean v {early['v_mean']:.2f}, wavelength {early['fine']:.2f}",
        "; ".join(f"{_name(m)}: {_course(r, '.2f')}" for m, r in rank.items())
        + f"; spread of the mean against that among the patterns: {_course(share, '.2f')}; "
        f"{_regular.lines(planes, side)} lines",
        None
        if np.isnan(list(early.values())).any()
        else bool(min(early.values()) >= HIGH and float(share.sel(time=at)) >= 0.1),
        bars=(
            at_least("lower rank correlation", min(early.values()), HIGH),
            at_least("spread by that among the patterns", share.sel(time=at), 0.1),
        ),
    )


def _alike(planes: xr.Dataset, what: str) -> Claim:
    """Whether distances fall in time."""
    found = apart(planes, what)
    missing = bool(found.isnull().any())
    falls = int((found.sel(time="stop") < found.sel(time=EARLY)).sum())
    words = {"neighbours": "of neighbouring k", "seeds": "of two seeds at the same point"}[what]
    return Claim(
        _paper.ALIKE,
        f"Patterns {words} grow more alike in time. Asked here: their mean distance is smaller at the stop than after "
        f"{EARLY} steps on two of its three sides or more: optimal transport of values, ratio of fine wavelengths, "
        "spectrum loss (fixed beforehand, but for the last two measures, chosen after a look at the quick scale: those "
        "before saw a growing patch as one long wave).",
        f"{what}: nearer on {falls} of 3 sides at the stop",
        "; ".join(f"{s}: {_course(found.sel(side=s), '.3g')}" for s in GROWING),
        None if missing else falls >= 2,
        bars=(at_least("sides of three", falls, 2),),
    )


def _origins(planes: xr.Dataset) -> list[Claim]:
    """What uniform and dead states were before."""
    out = []
    for kind, words in ((gs.Kind.UNIFORM, "uniform with v > 0"), (gs.Kind.TRIVIAL, "with v gone")):
        ends = planes["kind"].sel(time="stop") == kind
        had = {
            t: int((ends & (planes["kind"].sel(time=str(t)) == gs.Kind.PATTERN)).sum())
            for t in planes["time"].values[:-1]
        }
        count, at = int(ends.sum()), _living(planes, kind)
        out.append(
            Claim(
                _paper.FROM_PATTERNS,
                f"States that end {words} evolve from patterns. Asked here: 90 % of them have a pattern after {at} "
                "steps, the latest early time at which half of them do: standard deviation of v 1e-3, largest v 0.01 "
                "or more (fixed beforehand, but for the times).",
                f"{words}: {had[at]} of {count} at {at} steps",
                f"of {count}, with a pattern: " + ", ".join(f"{n} at {int(t):,} steps" for t, n in had.items()),
                None if not count else had[at] >= 0.9 * count,
                bars=(at_least(f"with a pattern at {at} steps", had[at], 0.9 * count),),
            )
        )
    return out


def _oscillations(data: xr.Dataset) -> list[Claim]:
    """Whether stops cut off oscillations, and whether endless marches look uniform."""
    loops = _loops.found(data)
    quiet = int((loops.quiet >= 0.5).sum())
    return [
        Claim(
            _paper.LIMIT_CYCLES,
            "The stop cuts limit loops off as uniform. Asked here: followed for "
            f"{_loops.FOLLOWED:,} steps more, v moves again at one stop without a pattern or more (standard deviation "
            f"of v {_patterns.FLAT:g}, or its mean by {_loops.MOVED:g}; fixed beforehand).",
            f"{loops.again} of {loops.stops} stops",
            f"v moves again after {loops.again} of {loops.stops} stops without a pattern, on the left plateau and at "
            "F 0.005 to 0.03, k 0.03 to 0.06, where the uniform state has Hopf points",
            None if not loops.stops else loops.again > 0,
            bars=(at_least("stops after which v moves", loops.again, 1),),
        ),
        Claim(
            _paper.FLASHES,
            "Limit loops look uniform for long, with flashes of local patterns. Asked here, of marches at F 0.005 to "
            "0.03 and k 0.03 to 0.06 that reach the last step: half or more are uniform or local at half of the "
            f"looks, which means under {_loops.LOCAL:.0%} of the pixels {_loops.AWAY:g} or more from the median of v "
            "(fixed beforehand).",
            f"{quiet} of {loops.capped} marches",
            f"{quiet} of {loops.capped} are uniform or local at half of the looks or more, "
            f"{int((loops.quiet > 0).sum())} at any; share of such looks, median "
            f"{_median(loops.quiet):.0%}, of looks without any pattern {_median(loops.flat):.0%}",
            None if loops.capped < 3 else quiet >= 0.5 * loops.capped,
            bars=(at_least("quiet marches", quiet, 0.5 * loops.capped),),
        ),
    ]


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def _name(measure: str) -> str:
    return {"v_mean": "mean v", "fine": "fine wavelength"}[measure]


def _course(values: xr.DataArray, form: str) -> str:
    """A number at each time."""
    words = [t if t == "stop" else f"{int(t):,}" for t in map(str, values["time"].values)]
    return ", ".join(f"{t} {float(x):{form}}" for t, x in zip(words, values.values, strict=True))
