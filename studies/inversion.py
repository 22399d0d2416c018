"""How well do pictures tell the parameters? `gs.invert` against noise, what is seen, and where it starts.

Truths draw all four parameters (F 0.03 to 0.07, k 0.053 to 0.068, Du 0.12 to 0.20, Dv 0.06 to 0.10). They are kept
where a certified root with a pattern exists. Noise is in per cent of the standard deviation of v. No fit gets a start.
Beside them stand clean pictures from far starts, and two other models.
The last part is at the paper's point: what one-shot, a followed root and re-marched states make of wrong starts, and
what descent by each gradient route does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import gsimplicit as gs
from studies import _by_route, _clean, _from_starts, _other_models, _recovered
from studies._by_route_claims import claims as claims_of_routes
from studies._claims import Claim
from studies._common import Datasets, Study, filled
from studies._from_starts_claims import claims as claims_of_starts
from studies._from_starts_figure import draw
from studies._recovered_claims import claims as claims_of_truths

SIZES = {"quick": (2, 32, 1), "default": (6, 64, 1), "paper": (40, 64, 5)}
"""Truths, pixels along each side of the fields, and draws of the noise a truth for what is seen in `REPEATED`."""
CASES = {
    "v": (0.0, 0.1, 1.0, 5.0, 10.0, 30.0),
    "u and v": (1.0,),
    "half of v": (1.0,),
    "a sixteenth of v": (1.0,),
    "an open window of 3/4 the side": (1.0, 10.0),
    "an open window of half the side": (1.0, 10.0),
}
"""Noise levels in per cent for what is seen."""
REPEATED = ("v", "an open window of half the side")
"""What is seen with all draws of the noise, for its intervals; the others have one."""
SHORT = {
    "half of v": "1/2\nof v",
    "a sixteenth of v": "1/16\nof v",
    "an open window of 3/4 the side": "window\n3/4 side",
    "an open window of half the side": "window\n1/2 side",
}
"""What is seen, in a figure."""


def compute(scale: str, folder: Path) -> Datasets:
    """Roots at drawn parameters, one fit a case and truth; then fits from wrong starts, and descents by each route."""
    count, side, draws = SIZES[scale]
    settings = {"count": count, "side": side}
    script = (_recovered.__file__,)
    truths = filled(folder / "inversion_roots.nc", script, settings, lambda: _recovered.roots(count, side))
    cases = [(seen, level) for seen, levels in CASES.items() for level in levels]
    fits = filled(
        folder / "inversion_fits.nc",
        script,
        {**settings, "draws": draws, "cases": cases, "repeated": REPEATED},
        lambda: _recovered.fits(truths, cases, draws, REPEATED),
    )
    return {
        "inversion_roots": truths,
        "inversion_fits": fits,
        **_clean.computed(scale, folder, truths),
        "inversion_models": _other_models.computed(scale, folder),
        **_from_starts.computed(scale, folder),
        **_by_route.computed(scale, folder),
    }


def cases(data: Datasets) -> list[xr.Dataset]:
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
    alone = sorted((d for d in cases(data) if str(d["seen"].values) == "v"), key=lambda d: float(d["noise"]))
    _dots(left, [f"{float(d['noise']):g} %" for d in alone], alone)
    left.set(
        xlabel="noise on v, of its standard deviation; pictures answered", ylabel="largest error of four parameters (%)"
    )
    left.set_title("(a) v seen", loc="left")
    seen = [d for d in cases(data) if float(d["noise"]) == 1.0]
    _dots(right, [SHORT.get(str(d["seen"].values), str(d["seen"].values)) for d in seen], seen)
    right.set(xlabel="what is seen, 1 % noise; pictures answered")
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
    """What starts and routes say; clean pictures; errors, intervals and seconds of drawn truths; other models."""
    return [
        *claims_of_starts(data["inversion_starts"]),
        *claims_of_routes(data["inversion_routes"], data["inversion_alike"]),
        *_clean.claims(data),
        *claims_of_truths(cases(data), data["inversion_roots"].sizes["x"]),
        *_other_models.claims(data["inversion_models"]),
    ]


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
