"""Figure 10 and footnote 6 of arXiv 2606.11258: boxes of random size at random places, and noise without a box.

Half widths are uniform in 4..20 and centres on the whole grid: a box may wrap around its edges. The noise without a box
is that of figure 9, six times the paper's; its bounds are the paper's.
"""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

import gsimplicit as gs
from studies import _paper, _starts, _starts_asked, _starts_figure, fig9
from studies._bars import at_least
from studies._claims import Claim
from studies._common import Datasets, Study


def compute(scale: str, folder: Path) -> Datasets:
    """The paper's start, to compare with, random boxes, and noise alone."""
    return {f"starts_{name}": _starts.computed(name, scale, folder) for name in ("paper", "boxes", "bare")}


def plot(data: Datasets) -> Figure:
    """Both starts, each with the paper's three rows."""
    blocks = {"random boxes": data["starts_boxes"], "6 x noise, no box": data["starts_bare"]}
    return _starts_figure.drawn(blocks, 0.035)


def judge(data: Datasets) -> list[Claim]:
    """Likeness and ends of both starts; what uniform states come from."""
    counts = _starts_asked.from_patterns([data["starts_boxes"], data["starts_bare"]])
    uniform, early = counts[gs.Kind.UNIFORM]
    dead, before = counts[gs.Kind.TRIVIAL]
    first, second = _starts.TIMES
    return [
        *fig9.claims_of("boxes", data),
        *fig9.claims_of("bare", data),
        Claim(
            _paper.FROM_PATTERNS,
            "From other starts, too, uniform states evolve from patterns (footnote 6). Asked here: of the states that "
            f"end uniform with v > 0, 90 % have a pattern after {first} steps (standard deviation of v 1e-3 or more).",
            f"{early[0]} of {uniform} at {first} steps",
            f"uniform in the end: {uniform}, with a pattern at {first} steps {early[0]}, at {second} {early[1]}; "
            f"v gone in the end: {dead}, with a pattern at {first} steps {before[0]}, at {second} {before[1]}",
            None if not uniform else early[0] >= 0.9 * uniform,
            bars=(at_least("with a pattern early", early[0], 0.9 * uniform),),
        ),
    ]


STUDY = Study(
    "fig10",
    "patterns from random boxes and from noise alone (figure 10, footnote 6)",
    compute,
    plot,
    judge,
    caption="v after 500 and 2,000 steps and at the stop, at eight values of k, F = 0.035. (a): a box of random size "
    "at a random place. Every column has the same box. (b): noise all over, six times the paper's, and no box. Below: "
    "the step of the stop. The first column and the last two lie beyond the cliffs of the paper's start.",
    alt="Two blocks of three rows of patterns. They grow from the random box, or everywhere from noise; at the stop "
    "the columns show holes, labyrinths and spots. From noise the last two columns have spots too, where the paper's "
    "start dies.",
)
