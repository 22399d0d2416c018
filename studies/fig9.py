"""Figure 9 of arXiv 2606.11258: patterns on the way and at the stop from a start with six times the noise.

The paper's noise is 0.02 in its code, so here it is 0.12, within the same bounds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from studies import _paper, _starts, _starts_asked, _starts_figure
from studies._apart import GROWING, SIDES
from studies._bars import at_least, below
from studies._claims import Claim, ours
from studies._common import Datasets, Study
from studies._likeness import BAR
from studies._starts import TIMES, WORDS


def compute(scale: str, folder: Path) -> Datasets:
    """The paper's start, to compare with, and the noisy one."""
    return {f"starts_{name}": _starts.computed(name, scale, folder) for name in ("paper", "noise")}


def plot(data: Datasets) -> Figure:
    """The noisy start's patterns above those of the paper's."""
    return _starts_figure.drawn({"6 x noise": data["starts_noise"], "the paper's start": data["starts_paper"]}, 0.035)


def judge(data: Datasets) -> list[Claim]:
    """Whether patterns and ends are those of the paper's start."""
    return [*claims_of("noise", data), *(_alike(data["starts_noise"], w) for w in ("neighbours", "seeds"))]


def claims_of(name: str, data: Datasets) -> list[Claim]:
    """What is asked of every other start: likeness of its patterns, and kinds of its ends."""
    found = _starts_asked.compared(data["starts_paper"], data[f"starts_{name}"])
    words = WORDS[name].capitalize()
    typical, step = (
        ", ".join(f"{side} {x:.1f}" for side, x in zip(SIDES, values, strict=True))
        for values in (found.typical, found.step)
    )
    return [
        Claim(
            _paper.OTHER_STARTS,
            f"{words}: patterns similar to those of the paper's start. Asked here: at 90 % of the points where both "
            f"starts end in patterns, theirs are at most {BAR:g} times as far from the paper's as those of the paper's "
            f"start are from one another, in values, wavelength and shape (means over pairs; fixed beforehand).",
            f"alike at {found.alike} of {found.points} points",
            f"alike at {found.alike} of {found.points} points; distance over spread, median: {typical}; "
            f"{data['starts_paper'].sizes['sample']} samples of each",
            None if found.points < 3 else found.alike >= 0.9 * found.points,
            bars=(at_least("points alike", found.alike, 0.9 * found.points),),
        ),
        Claim(
            _paper.OTHER_STARTS,
            f"{words}: the same kind of state in the end. Asked here: 90 % of points and samples end uniform, "
            "trivial or in a pattern as the paper's start mostly does there.",
            f"same kind of end {found.same:.0%}",
            f"{found.same:.0%} of {found.of} end as the same kind; {found.beyond} end in a pattern where the paper's "
            "start dies",
            found.same >= 0.9,
            bars=(at_least("share of the same kind", found.same, 0.9),),
        ),
        Claim(
            ours("A start matters less than a step in k"),
            f"{words}: its patterns are nearer to the paper's at the same k than the paper's are to its own a step in "
            "k away (0.001 to 0.002), in values, wavelength and shape (medians over points; asked after the first "
            "claim had been seen).",
            f"{WORDS[name]}: {max(found.step):.2f} of a step at most",
            f"distance between starts over that of a step in k: {step}",
            None if np.isnan(found.step).any() else max(found.step) < 1,
            bars=(below("largest by a step's", max(found.step), 1),),
        ),
    ]


def _alike(noise: xr.Dataset, what: str) -> Claim:
    """Distances in time where patterns fill the grid from early on."""
    found, early = _starts_asked.apart(noise, what), TIMES[0]
    words = {"neighbours": "of neighbouring k", "seeds": "of two seeds at the same point"}[what]
    falls = int((found.sel(time="stop") < found.sel(time=str(early))).sum())
    courses = [f"{s}: " + ", ".join(f"{float(x):.3g}" for x in found.sel(side=s).values) for s in GROWING]
    return Claim(
        _paper.ALIKE,
        f"With 6 x noise, where patterns fill the grid from early on, those {words} grow more alike in time. Asked "
        f"here: their mean distance is smaller at the stop than after {early} steps on two of its three sides or more: "
        "optimal transport of values, ratio of fine wavelengths, spectrum loss.",
        f"6 x noise, {what}: smaller on {falls} of 3 sides",
        f"at {', '.join(f'{t:,}' for t in TIMES)} steps and the stop: " + "; ".join(courses),
        None if bool(found.isnull().any()) else falls >= 2,
        bars=(at_least("sides of three", falls, 2),),
    )


STUDY = Study(
    "fig9",
    "patterns from a start with six times the noise (figure 9)",
    compute,
    plot,
    judge,
    caption="v after 500 and 2,000 steps and at the stop, at eight values of k, F = 0.035. (a): six times the paper's "
    "noise. (b): the paper's start. Below: the step of the stop. The first column and the last two lie beyond the "
    "cliffs of the paper's start.",
    alt="Two blocks of three rows of patterns. Noise gives patterns all over at once where the paper's start grows "
    "them from the middle; at the stop both have holes, labyrinths and spots, and where the paper's "
    "start dies, in the last two columns, noise leaves spots.",
)
