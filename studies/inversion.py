"""How well do pictures tell the parameters? `gs.invert` against noise, and against what is seen, at drawn truths.

Truths draw all four parameters (F 0.03 to 0.07, k 0.053 to 0.068, Du 0.12 to 0.20, Dv 0.06 to 0.10). They are kept
where a certified root with a pattern exists. Noise is in per cent of the standard deviation of v. No fit gets a start.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import gsimplicit as gs
from studies import _recovered
from studies._claims import Claim, ours
from studies._common import Datasets, Study, filled
from studies._shares import bounds

SIZES = {"quick": (2, 32), "default": (10, 64), "paper": (40, 64)}
"""Truths, and pixels along each side of the fields."""
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
HELD = (0.9, 0.99)
"""Share of the 95 % intervals that may hold the truth; stated in advance."""


def compute(scale: str, folder: Path) -> Datasets:
    """Roots at drawn parameters, then one fit a case and truth."""
    count, side = SIZES[scale]
    settings = {"count": count, "side": side}
    script = (_recovered.__file__,)
    truths = filled(folder / "inversion_roots.nc", script, settings, lambda: _recovered.roots(count, side))
    cases = [(seen, level) for seen, levels in CASES.items() for level in levels]
    fits = filled(
        folder / "inversion_fits.nc", script, {**settings, "cases": cases}, lambda: _recovered.fits(truths, cases)
    )
    return {"inversion_roots": truths, "inversion_fits": fits}


def _cases(data: Datasets) -> list[xr.Dataset]:
    """One dataset over truths a case, with `found`."""
    fits = data["inversion_fits"]
    fits = fits.assign(found=fits["verdict"] == int(gs.Recovery.FOUND))
    return [fits.isel(case=n) for n in range(fits.sizes["case"])]


def plot(data: Datasets) -> Figure:
    """Errors against noise, and against what is seen."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
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
    return figure


def _dots(ax: Any, names: list[str], rows: list[xr.Dataset]) -> None:
    """A dot a truth, a bar at the median."""
    for i, d in enumerate(rows):
        error = d["error"].where(d["found"]).dropna("truth").clip(min=1e-10).values
        if not len(error):
            continue
        ax.plot(i + np.linspace(-0.15, 0.15, len(error)), np.sort(error), "o", ms=3, color="#1f5a8a", alpha=0.7)
        ax.hlines(np.median(error), i - 0.3, i + 0.3, color="k")
        ax.annotate(
            f"{np.median(error):.2g}", (i, error.max()), (0, 4), textcoords="offset points", ha="center", fontsize=7
        )
    counts = [f"{n}\n{int(d['found'].sum())} of {d.sizes['truth']}" for n, d in zip(names, rows, strict=True)]
    ax.set_xticks(range(len(names)), counts)
    ax.set_xlim(-0.5, len(names) - 0.5)
    ax.margins(y=0.1)


def judge(data: Datasets) -> list[Claim]:
    """Median errors against what was asked, refusals, and intervals."""
    claims, side = [], data["inversion_roots"].sizes["x"]
    for d in _cases(data):
        case, level = str(d["seen"].values), float(d["noise"])
        good, n = d["found"].values.astype(bool), d.sizes["truth"]
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
                f"gs.invert without a start, {n} drawn truths. Asked here: the median of the largest error is at most "
                f"{limit:g} %, and at least half are found." if limit is not None else
                f"gs.invert without a start, {n} drawn truths. No number was asked for.",
                f"median error {median:.2g} %, found {int(good.sum())} of {n}",
                f"found {int(good.sum())} of {n} ({low:.0%} to {high:.0%}, one-sided 95 % each); largest error: median "
                f"{median:.2g} %, worst {worst:.2g} %; "
                f"{held:.0%} of the 95 % intervals hold "
                f"the truth; {float(np.median(d['seconds'])):.1f} s a picture",
                None if limit is None or not len(error) else bool(median <= limit and good.mean() >= 0.5),
            )
        )  # fmt: skip
    return [*claims, _windows_held(data)]


def _windows_held(data: Datasets) -> Claim:
    """Whether intervals of open windows are as wide as they say."""
    rows = [d for d in _cases(data) if str(d["seen"].values) in _recovered.WINDOWS]
    held = np.concatenate([d["held"].values[d["found"].values.astype(bool)] for d in rows])
    share = float(held.mean()) if len(held) else float("nan")
    low, high = bounds(share, len(held)) if len(held) else (0.0, 1.0)
    each = ", ".join(
        f"{float(d['held'].where(d['found']).mean()):.0%} ({str(d['seen'].values)[15:]}, {float(d['noise']):g} %)"
        for d in rows
    )
    outside = high < HELD[0] or low > HELD[1]
    return Claim(
        ours("Intervals of open windows are as wide as they say"),
        f"Share of the 95 % intervals of all windows found that hold the truth. Asked here: {HELD[0]:.0%} to "
        f"{HELD[1]:.0%}; no if its bounds (one-sided 95 % each, a window counting once) lie outside.",
        f"{share:.1%} hold",
        f"{share:.1%} ({low:.0%} to {high:.0%}) over {len(held)} windows; {each}",
        True if HELD[0] <= share <= HELD[1] else False if outside else None,
    )


STUDY = Study(
    "inversion",
    "how well pictures tell the parameters",
    compute,
    plot,
    judge,
    caption="Largest relative error of the four parameters that gs.invert finds without a start. Each dot is a drawn "
    "truth, bars are medians. (a) Against noise, with v seen. (b) At 1 % noise, against what is seen.",
    alt="Two panels of dots on a logarithmic scale: the error grows in proportion to the noise, and is larger where "
    "fewer pixels are seen.",
)
