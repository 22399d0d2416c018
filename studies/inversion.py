"""How well do pictures tell the parameters? `gs.invert` against noise, what is seen, and where it starts.

Truths draw all four parameters (F 0.03 to 0.07, k 0.053 to 0.068, Du 0.12 to 0.20, Dv 0.06 to 0.10). They are kept
where a certified root with a pattern exists. Noise is in per cent of the standard deviation of v. No fit gets a start.
The last part is at the paper's point: what one-shot, a followed root and re-marched states make of wrong starts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import gsimplicit as gs
from studies import _from_starts, _recovered
from studies._claims import Claim, ours
from studies._common import Datasets, Study, filled
from studies._from_starts_claims import claims as claims_of_starts
from studies._from_starts_figure import draw
from studies._shares import bounds

SIZES = {"quick": (2, 32, 1), "default": (10, 64, 1), "paper": (40, 64, 5)}
"""Truths, pixels along each side of the fields, and draws of the noise a truth."""
CASES = {
    "v": (0.0, 0.1, 1.0, 5.0, 10.0, 30.0),
    "u and v": (1.0,),
    "half of v": (1.0,),
    "a sixteenth of v": (1.0,),
    "an open window of 3/4 the side": (1.0, 10.0),
    "an open window of half the side": (1.0, 10.0),
}
"""Noise levels in per cent for what is seen."""
ALLOWED = {0.0: 1e-6, 1.0: 0.15, 10.0: 1.5, 30.0: 4.0}
"""Largest median error in per cent that counts as a yes, with v seen; stated in advance."""
LEFT = {"half of v": 0.3, "a sixteenth of v": 3.0, "an open window of half the side": 0.5}
"""The same where pixels are missing."""
SHORT = {
    "half of v": "1/2\nof v",
    "a sixteenth of v": "1/16\nof v",
    "an open window of 3/4 the side": "window\n3/4 side",
    "an open window of half the side": "window\n1/2 side",
}
"""What is seen, in a figure."""
HOLD = (0.9, 0.99)
"""Share of 95 % intervals that must hold the truth."""
ENOUGH = 100
"""Answered fits from which that is confirmed."""


def compute(scale: str, folder: Path) -> Datasets:
    """Roots at drawn parameters, one fit a case and truth; then fits from wrong starts."""
    count, side, draws = SIZES[scale]
    settings = {"count": count, "side": side}
    script = (_recovered.__file__,)
    truths = filled(folder / "inversion_roots.nc", script, settings, lambda: _recovered.roots(count, side))
    cases = [(seen, level) for seen, levels in CASES.items() for level in levels]
    fits = filled(
        folder / "inversion_fits.nc",
        script,
        {**settings, "draws": draws, "cases": cases},
        lambda: _recovered.fits(truths, cases, draws),
    )
    return {"inversion_roots": truths, "inversion_fits": fits, **_from_starts.computed(scale, folder)}


def _cases(data: Datasets) -> list[xr.Dataset]:
    """One dataset over fits a case, with `found`."""
    fits = data["inversion_fits"].stack(fit=("truth", "draw"), create_index=False)
    fits = fits.assign(found=fits["verdict"] == int(gs.Recovery.FOUND))
    each = [fits.isel(case=n) for n in range(fits.sizes["case"])]
    return [one.isel(fit=one["verdict"].values >= 0) for one in each]


def plot(data: Datasets) -> Figure:
    """Errors against noise, and against what is seen; below, what wrong starts led to."""
    figure = Figure(figsize=(9.5, 9), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(3.8, 5.2))
    left, right = above.subplots(1, 2)
    alone = sorted((d for d in _cases(data) if str(d["seen"].values) == "v"), key=lambda d: float(d["noise"]))
    _dots(left, [f"{float(d['noise']):g} %" for d in alone], alone)
    left.set(
        xlabel="noise on v, of its standard deviation; truths found", ylabel="largest error of four parameters (%)"
    )
    left.set_title("(a) v seen", loc="left")
    seen = [d for d in _cases(data) if float(d["noise"]) == 1.0]
    _dots(right, [SHORT.get(str(d["seen"].values), str(d["seen"].values)) for d in seen], seen)
    right.set(xlabel="what is seen, 1 % noise; truths found")
    right.set_title("(b) more or less seen", loc="left")
    for ax in (left, right):
        ax.set_yscale("log")
    draw(below, data["inversion_starts"], data["inversion_landscape"], "cdef")
    return figure


def _dots(ax: Any, names: list[str], rows: list[xr.Dataset]) -> None:
    """A dot a truth, a bar at the median."""
    for i, d in enumerate(rows):
        error = d["error"].where(d["found"]).dropna("fit").clip(min=1e-10).values
        if not len(error):
            continue
        ax.plot(i + np.linspace(-0.15, 0.15, len(error)), np.sort(error), "o", ms=3, color="#1f5a8a", alpha=0.7)
        ax.hlines(np.median(error), i - 0.3, i + 0.3, color="k")
        ax.annotate(
            f"{np.median(error):.2g}", (i, error.max()), (0, 4), textcoords="offset points", ha="center", fontsize=7
        )
    counts = [f"{n}\n{int(d['found'].sum())} of {d.sizes['fit']}" for n, d in zip(names, rows, strict=True)]
    ax.set_xticks(range(len(names)), counts, fontsize=7.5)
    ax.set_xlim(-0.5, len(names) - 0.5)
    ax.margins(y=0.1)


def judge(data: Datasets) -> list[Claim]:
    """What starts say; median errors against what was asked, refusals, and intervals."""
    side = data["inversion_roots"].sizes["x"]
    claims = claims_of_starts(data["inversion_starts"])
    claims += [_held(d) for d in _cases(data) if float(d["noise"])]
    for d in _cases(data):
        case, level = str(d["seen"].values), float(d["noise"])
        good, n = d["found"].values.astype(bool), d.sizes["fit"]
        error = d["error"].values[good]
        limit = LEFT.get(case) if level == 1.0 else None
        limit = ALLOWED.get(level) if case == "v" else limit
        if side < 64 and level:  # the limits are for 64 x 64 pixels
            limit = None
        median = float(np.median(error)) if len(error) else float("nan")
        low, high = bounds(float(good.mean()), n)
        held = float(d["held"].values[good].mean()) if len(error) else float("nan")
        worst = float(error.max()) if len(error) else float("nan")
        claims.append(
            Claim(
                ours(f"{case[0].upper()}{case[1:]} with {level:g} % noise gives all four parameters"),
                f"gs.invert without a start, {n} pictures of drawn truths. Asked here: the median of the largest error "
                f"is at most {limit:g} %, and at least half are found." if limit is not None else
                f"gs.invert without a start, {n} pictures of drawn truths. No number was asked for.",
                f"median error {median:.2g} %, found {int(good.sum())} of {n}",
                f"found {int(good.sum())} of {n} ({low:.0%} to {high:.0%}, one-sided 95 % each); largest error: median "
                f"{median:.2g} %, worst {worst:.2g} %; "
                f"{held:.0%} of the 95 % intervals hold "
                f"the truth; {float(np.median(d['seconds'])):.1f} s a picture",
                None if limit is None or not len(error) else bool(median <= limit and good.mean() >= 0.5),
            )
        )  # fmt: skip
    return claims


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
    )


STUDY = Study(
    "inversion",
    "how well pictures tell the parameters",
    compute,
    plot,
    judge,
    caption="Largest relative error of the four parameters that gs.invert finds without a start. Each dot is a drawn "
    "truth, bars are medians. (a) Against noise, with v seen. (b) At 1 % noise, against what is seen. (c to e) From 36 "
    "wrong starts in F and k, over the spectrum loss of states marched from one initial field: dots were recovered to "
    "0.1 %, crosses were not, the star is the truth. Re-marched and followed take the same implicit gradients; they "
    "differ in where the state of new parameters comes from. (f) The same from starts along k.",
    alt="Two panels of dots on a logarithmic scale: the error grows in proportion to the noise, and is larger where "
    "fewer pixels are seen. Below, three maps of a loss with cliffs: hardly any start is recovered by re-marching, "
    "some by following a root, nearly all by one-shot; and the same along a line.",
)
