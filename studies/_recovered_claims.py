"""What drawn truths say: errors against what was asked, refusals, intervals and seconds."""

from __future__ import annotations

import numpy as np
import xarray as xr

from studies._bars import at_least, at_most
from studies._claims import Claim, ours
from studies._shares import bounds

ALLOWED = {1.0: 0.15, 10.0: 1.5, 30.0: 4.0}
"""Largest median error in per cent that counts as a yes, with v seen; stated in advance."""
LEFT = {"half of v": 0.3, "a sixteenth of v": 3.0, "an open window of half the side": 0.5}
"""The same where pixels are missing."""
HOLD = (0.9, 0.99)
"""Share of 95 % intervals that must hold the truth."""
ENOUGH = 100
"""Answered fits from which that is confirmed."""
EXACT = 1e-6
"""Largest error in per cent that counts as exact: 1e-8 relative."""
FEW = 0.05
"""Share of pictures of v with up to 10 % of noise that may end without an answer."""
SECONDS = 3.0
"""Median processor time of a fit of v."""


def claims(cases: list[xr.Dataset], side: int) -> list[Claim]:
    """Of all cases: each a dataset over `fit`, with `found`; fields have `side` pixels along a side."""
    alone = sorted((d for d in cases if str(d["seen"].values) == "v"), key=lambda d: float(d["noise"]))
    return [
        _answered([d for d in alone if float(d["noise"]) <= 10.0]),
        _quick(alone, side),
        *(_exact(d) for d in alone if not float(d["noise"])),
        *(_held(d) for d in cases if float(d["noise"])),
        *(_near(d, side) for d in cases if float(d["noise"])),
    ]


def _answered(alone: list[xr.Dataset]) -> Claim:
    """Whether few pictures of v end without an answer."""
    missed = sum(int((~d["found"]).sum()) for d in alone)
    n = sum(d.sizes["fit"] for d in alone)
    low, high = bounds(missed / n, n)
    each = ", ".join(f"{int((~d['found']).sum())} of {d.sizes['fit']} at {float(d['noise']):g} %" for d in alone)
    return Claim(
        ours("Few pictures of v end without an answer, up to 10 % noise"),
        f"Pictures that do not end as FOUND, at noise of up to 10 %. Asked: at most {FEW:.0%}; fewer than {ENOUGH} "
        "fits confirm nothing.",
        f"{missed} of {n}",
        f"{missed} of {n} ({low:.1%} to {high:.1%}, one-sided 95 % each): {each}",
        False if low > FEW else True if n >= ENOUGH and missed / n <= FEW else None,
        bars=(at_most("share without an answer", missed / n, FEW, (low, high)),),
    )


def _quick(alone: list[xr.Dataset], side: int) -> Claim:
    """Whether a fit takes seconds."""
    medians = {float(d["noise"]): float(np.median(d["seconds"])) for d in alone}
    each = ", ".join(f"{s:.1f} s at {level:g} %" for level, s in medians.items())
    longest = max(float(d["seconds"].max()) for d in alone)
    return Claim(
        ours("A fit of v takes seconds"),
        f"Median processor time of a fit on one core, {side} x {side} pixels, at each level of noise. Asked, for 64 x "
        f"64 pixels: at most {SECONDS:g} s at each.",
        f"at most {max(medians.values()):.1f} s",
        f"medians {each}; the longest fit {longest:.0f} s",
        bool(max(medians.values()) <= SECONDS) if side >= 64 else None,
        bars=(at_most("longest median in s", max(medians.values()), SECONDS),),
    )


def _exact(d: xr.Dataset) -> Claim:
    """Whether clean pictures give all four without a start."""
    good, n = d["found"].values.astype(bool), d.sizes["fit"]
    exact = int((d["error"].values[good] <= EXACT).sum())
    low, high = bounds(exact / n, n)
    worst = f"{np.max(d['error'].values[good]) / 100:.0e}" if good.any() else "none"
    return Claim(
        ours("Clean v gives all four to 1e-8, without a start"),
        f"gs.invert without a start at {n} drawn truths. Asked: all four to 1e-8 relative at each.",
        f"{exact} of {n}",
        f"{exact} of {n} to 1e-8 ({low:.0%} to {high:.0%}, one-sided 95 % each), worst {worst}; "
        f"{float(np.median(d['seconds'])):.1f} s a picture",
        exact == n,
        bars=(at_least("share to 1e-8", exact / n, 1.0, (low, high)),),
    )


def _near(d: xr.Dataset, side: int) -> Claim:
    """The median of the largest error against what was asked."""
    case, level = str(d["seen"].values), float(d["noise"])
    good, n = d["found"].values.astype(bool), d.sizes["fit"]
    error = d["error"].values[good]
    limit = ALLOWED.get(level) if case == "v" else LEFT.get(case) if level == 1.0 else None
    if side < 64:  # the limits are for 64 x 64 pixels
        limit = None
    asked = "No number was asked for."
    if limit is not None:
        asked = f"Asked here: the median of the largest error is at most {limit:g} %, and at least half are found."
    median = float(np.median(error)) if len(error) else float("nan")
    low, high = bounds(float(good.mean()), n)
    held = float(d["held"].values[good].mean()) if len(error) else float("nan")
    worst = float(error.max()) if len(error) else float("nan")
    return Claim(
        ours(f"{case[0].upper()}{case[1:]} with {level:g} % noise gives all four parameters"),
        f"gs.invert without a start, {n} pictures of drawn truths. {asked}",
        f"median error {median:.2g} %, found {int(good.sum())} of {n}",
        f"found {int(good.sum())} of {n} ({low:.0%} to {high:.0%}, one-sided 95 % each); largest error: median "
        f"{median:.2g} %, worst {worst:.2g} %; {held:.0%} of the 95 % intervals hold the truth; "
        f"{float(np.median(d['seconds'])):.1f} s a picture",
        None if limit is None or not len(error) else bool(median <= limit and good.mean() >= 0.5),
        bars=()
        if limit is None
        else (
            at_most("median of the largest error in %", median, limit),
            at_least("share found", good.mean(), 0.5, (low, high)),
        ),
    )


def _held(d: xr.Dataset) -> Claim:
    """Whether intervals hold what they say, over the fits that were answered."""
    case, level, good = str(d["seen"].values), float(d["noise"]), d["found"].values.astype(bool)
    n, share = int(good.sum()), float(d["held"].values[good].mean()) if good.any() else float("nan")
    low, high = bounds(share, n) if n else (0.0, 1.0)
    decided = high < HOLD[0] or low > HOLD[1] or (n >= ENOUGH and HOLD[0] <= share <= HOLD[1])
    return Claim(
        ours(f"Intervals hold: {case}, {level:g} % noise"),
        f"95 % intervals of the parameters, over the fits that were answered. Asked here: {HOLD[0]:.0%} to "
        f"{HOLD[1]:.0%} of them hold the truth; fewer than {ENOUGH} fits confirm nothing.",
        f"{share:.1%} of {n} fits' intervals" if n else "no fit was answered",
        f"{share:.1%} of the four intervals of {n} answered fits hold the truth ({low:.1%} to {high:.1%}, one-sided "
        "95 % each, were the four of a fit one)"
        if n
        else "no fit was answered",
        bool(HOLD[0] <= share <= HOLD[1]) if decided else None,
        bars=tuple(
            by("share that holds", share, bar, (low, high)) for by, bar in zip((at_least, at_most), HOLD, strict=True)
        ),
    )
