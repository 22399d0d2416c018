"""Figure 1 of arXiv 2606.11258: seven parameter sets, their patterns, and two losses of each.

The paper concludes three things from single patterns by eye: a low loss is no good fit, the windowed loss is either
low or high, and it tells some patterns better apart. Here every set is marched from several starts and compared with
the truth marched from others. A distance that does not see positions says which patterns are alike (values, wavelength
and shape, `studies/_patterns.py`); it was written before any of these patterns was compared.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import xarray as xr

import gsimplicit as gs
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from studies import _paper, _seven
from studies._bars import above, at_least, at_most, below
from studies._claims import Claim, between, ours
from studies._common import Datasets, Study, filled
from studies._seven import SEVEN, WHENCE, WRONG, apart_of, losses_of, seven_and_targets, uniform_level
from studies._seven_figure import plot

SIZES = {"quick": (64, 10, 3), "default": (128, 10, 8), "paper": (128, 10, 32)}
"""Side of the grid, half of the square, and starts."""
ALIKE = 0.02
"""Two losses are about equal where they differ by this share of the uniform level."""
CLEARLY = 0.1
"""How much more one loss must say than the other."""
BETWEEN = (0.25, 0.75)
"""What lies between low and high: shares of the height from the truth's loss to the uniform level."""


def compute(scale: str, folder: Path) -> Datasets:
    """Every set marched from the same starts, and the truth from others as targets."""
    side, half, starts = SIZES[scale]
    settings = {"side": side, "half": half, "starts": starts}
    return {"fig1": filled(folder / "fig1.nc", (__file__, _seven.__file__), settings, lambda: _job(side, half, starts))}


def _job(side: int, half: int, starts: int) -> Job:
    """An item a set and start."""
    names = [*SEVEN, "target"]
    dims, shape = ("pattern", "sample"), (len(names), starts)
    frame = xr.Dataset(
        {
            "v": (
                (*dims, "y", "x"),
                np.full((*shape, side, side), np.nan),
                {"long_name": "v at the stop", "units": "1"},
            ),
            "status": (dims, np.zeros(shape, np.int8), {"long_name": "how the march ended", "units": "1"}),
            "kind": (dims, np.zeros(shape, np.int8), {"long_name": "kind of state", "units": "1"}),
            "steps": (dims, np.zeros(shape, np.int32), {"long_name": "steps marched", "units": "1"}),
        },
        {
            "pattern": ("pattern", names, {"long_name": "parameter set"}),
            "sample": ("sample", np.arange(starts), {"long_name": "index of the start", "units": "1"}),
        },
    )
    return Job(frame, dims, list(product(names, range(starts))), partial(_march, side, half))


def _march(side: int, half: int, item: tuple[str, int]) -> Values:
    """One set from one start; targets have starts of another seed."""
    name, index = item
    start = gs.initial_state(1, int(name == "target"), index, (side, side), box=gs.Box(half=half))
    state = gs.steady_state(gs.Params(*SEVEN["#4" if name == "target" else name]), start)
    return {
        "v": state.v[0].double().numpy(),
        "status": np.int8(state.status[0]),
        "kind": np.int8(state.kind[0]),
        "steps": np.int32(state.steps[0]),
    }


def judge(data: Datasets) -> list[Claim]:
    """Low loss and fit; low or high; what tells more apart."""
    one = data["fig1"]
    loss, far = losses_of(one), apart_of(one)
    level = uniform_level(seven_and_targets(one)[1])
    return [_low_loss(loss, level, far), _matches(far), _polarized(loss, level), *_separates(loss, level), _pair(loss)]


def _low_loss(loss: xr.DataArray, level: xr.DataArray, far: xr.DataArray) -> Claim:
    spectrum = loss.sel(objective="spectrum").mean("target")
    a, b, truth = (spectrum.sel(pattern=p) for p in ("#3", "#7", "#4"))
    differ = abs(float(b.mean() - a.mean()) / float(level.sel(objective="spectrum")))
    total = far.mean("side")
    d3, d7, d4 = (total.sel(pattern=p).values for p in ("#3", "#7", "#4"))
    patterns = bool(np.isfinite(d7).all())
    tells = not patterns or bool(d7.min() > max(d4.max(), np.nanmax(d3)))
    words = f"{between(d7.min(), d7.max(), '.1f')}" if patterns else "no pattern"
    return Claim(
        _paper.LOW_LOSS,
        "A low spectrum loss is no good fit: #3 and #7 have about the same, and different patterns. Asked here: their "
        f"mean losses differ by less than {ALIKE:.0%} of the uniform level, and from every start #7 is further from "
        "the target than #3 and the truth itself are from any. Distance: mean of values, wavelength and shape, in "
        "units of what two targets differ by.",
        f"loss {float(a.mean()):.1f} and {float(b.mean()):.1f}; {words} apart",
        f"spectrum loss #3 {_spread(a)}, #7 {_spread(b)}, truth from other starts {_spread(truth)}, uniform "
        f"{float(level.sel(objective='spectrum')):.0f}; distance #3 {between(d3.min(), d3.max(), '.1f')}, #7 {words}, "
        f"truth {between(d4.min(), d4.max(), '.1f')}. {WHENCE}",
        differ < ALIKE and tells,
        bars=(
            below("difference of the mean losses by the uniform level", differ, ALIKE),
            *([above("least distance of #7", d7.min(), max(d4.max(), np.nanmax(d3)))] if patterns else []),
        ),
    )


def _spread(values: xr.DataArray) -> str:
    return f"{float(values.mean()):.1f} ({between(float(values.min()), float(values.max()), '.1f')})"


def _matches(far: xr.DataArray) -> Claim:
    three, four = far.sel(pattern="#3"), far.sel(pattern="#4")
    within = {str(s): bool((three.sel(side=s) <= four.sel(side=s).max()).all()) for s in far["side"].values}
    each = ", ".join(
        f"{s} {float(three.sel(side=s).mean()):.1f} against {float(four.sel(side=s).mean()):.1f}" for s in within
    )
    return Claim(
        ours("Pattern 3 matches the target"),
        "The paper's own find (#3) matches the target. Asked here: from every start its values, wavelength and shape "
        "are no further from the targets than the truth's are from its furthest start.",
        f"matches in {', '.join(s for s, w in within.items() if w) or 'nothing'}",
        f"mean distance of #3 and of the truth from the targets, in units of what two targets differ by: {each}",
        all(within.values()),
        bars=tuple(
            at_most(
                f"furthest in {s} by the truth's",
                three.sel(side=s).max(skipna=False) / four.sel(side=s).max(),
                1.0,
            )
            for s in within
        ),
    )


def _share(loss: xr.DataArray, level: xr.DataArray, objective: str) -> xr.DataArray:
    """Where a loss lies between the truth's, 0, and the uniform level, 1."""
    one = loss.sel(objective=objective).mean("target")
    low = one.sel(pattern="#4").mean()
    return (one - low) / (level.sel(objective=objective) - low)


def _polarized(loss: xr.DataArray, level: xr.DataArray) -> Claim:
    share = _share(loss, level, "windowed")
    inside = (share > BETWEEN[0]) & (share < BETWEEN[1])
    names = [str(p) for p in share["pattern"].values if bool(inside.sel(pattern=p).any())]
    listed = ", ".join(
        f"{p} {between(float(share.sel(pattern=p).min()), float(share.sel(pattern=p).max()), '.1%')}"
        for p in share["pattern"].values
    )
    gap = np.diff(np.sort(share.values.ravel())).max()
    return Claim(
        _paper.POLARIZED,
        "Windowed losses of the seven are low or high. Asked here: none, from any start, lies in the middle half of "
        "the height from the truth's loss (0 %) to the uniform level (100 %).",
        f"{len(names)} of 7 in between",
        f"share of the height: {listed}; widest gap {gap:.0%}. {WHENCE}",
        not names,
        bars=(at_most("patterns in between", len(names), 0),),
    )


def _separates(loss: xr.DataArray, level: xr.DataArray) -> list[Claim]:
    ratio = loss.mean("target") / loss.sel(pattern="#4").mean(["sample", "target"])
    share = xr.concat([_share(loss, level, o) for o in loss["objective"].values], "objective")
    share = share.assign_coords(objective=loss["objective"].values)
    how = {
        "ratio to the truth's own loss": (ratio, ".1f"),
        "share of the height from the truth's loss to the uniform level": (share, ".1%"),
    }
    return [_separate(word, values, form) for word, (values, form) in how.items()]


def _separate(word: str, values: xr.DataArray, form: str) -> Claim:
    more, listed = [], []
    for name in WRONG:
        a, b = (values.sel(objective=o, pattern=name).values for o in ("spectrum", "windowed"))
        if b.min() > (1 + CLEARLY) * a.max():
            more.append(name)
        listed.append(f"{name} {a.mean():{form}} and {b.mean():{form}}")
    return Claim(
        _paper.SEPARATES,
        f"The windowed loss tells some wrong patterns better from the right one. Asked here, by the {word}: for one "
        f"wrong pattern or more that of the windowed loss is larger by {CLEARLY:.0%} or more, from every start.",
        f"{len(more)} of {len(WRONG)} better, by {word.split()[0]}",
        f"{word}, spectrum and windowed: {', '.join(listed)}",
        bool(more),
        bars=(at_least("wrong patterns told better", len(more), 1),),
    )


def _pair(loss: xr.DataArray) -> Claim:
    """Whether the windowed loss puts #3 below #7, and the spectrum loss does not."""
    ranges = {
        (o, p): loss.sel(objective=o, pattern=p).mean("target").values
        for o in ("spectrum", "windowed")
        for p in ("#3", "#7")
    }
    right = {o: bool(ranges[o, "#3"].max() < ranges[o, "#7"].min()) for o in ("spectrum", "windowed")}
    by = {o: float(ranges[o, "#3"].mean() / ranges[o, "#7"].mean()) for o in right}
    means = {o: ratio < 1 for o, ratio in by.items()}
    said = ", ".join(f"{o} {p} {between(v.min(), v.max(), '.2f')}" for (o, p), v in ranges.items())
    return Claim(
        _paper.SEPARATES,
        "The windowed loss tells some wrong patterns better from the right one. Asked here of the two of about the "
        "same spectrum loss: it puts #3 below #7, in the mean over starts, and the spectrum loss does not. Asked after "
        "we had seen the numbers.",
        "#3 below #7: " + ", ".join(f"{o} {'yes' if below else 'no'}" for o, below in means.items()),
        f"{said}; from every start: windowed {'yes' if right['windowed'] else 'no'}. {WHENCE}",
        means["windowed"] and not means["spectrum"],
        bars=(
            below("windowed loss of #3 by #7's", by["windowed"], 1.0),
            at_least("spectrum loss of #3 by #7's", by["spectrum"], 1.0),
        ),
    )


STUDY = Study(
    "fig1",
    "seven parameter sets and their losses (figure 1)",
    compute,
    plot,
    judge,
    caption="(a) v of the seven parameter sets where the march stopped, one start; #4 is the truth. Colours go from 0 "
    "to 0.4; the paper clips them at 0.1. (b) Their losses against the truth from other starts: mean and range over "
    "starts and targets. (c) The same losses as multiples of the truth's own, from the spectrum loss to the windowed "
    "one. (d) How far each pattern is from the targets in three respects, in units of what two targets differ by; "
    f"marks as in (c), but open. {WHENCE}.",
    alt="Seven patterns in a row; below them two series of losses, low for patterns and high for uniform states, a "
    "slope plot between the two losses, and the distances of the patterns from the target.",
)
