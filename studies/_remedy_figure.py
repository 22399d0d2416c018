"""The figure of `remedies`: success against the time of supervision, why it ends, and all remedies side by side."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from studies import _remedy_planes, _remedy_rows
from studies._common import Datasets
from studies._constants import TRUTH
from studies._remedies import NONE
from studies._remedy_counts import of_times
from studies._remedy_world import FIELDS
from studies._shares import bounds

CAPTION = (
    "How many starts in F and k come within 2 % of both, Du and Dv being known. (a) Supervision at one time: v against "
    "the target's v after as many steps; bars are 90 % intervals. (b) Minima of the loss along k, the other parameters "
    "at the truth, from the target's own start. (c) The loss of v along k at three times, each by its largest value; "
    "the star is the truth. (d) All remedies from the same starts, by as many gradients; a bar is dark blue where the "
    "rule says that half of the starts are recovered, light blue where it is not decided, and grey where fewer are; "
    "black lines are 90 % intervals. Marks: the initial field not known, or networks trained on fresh noise; of three "
    "networks the middle one. The numbers stand in the order of the table: known, fresh noise, box off."
)
ALT = (
    "All starts are recovered until 100 steps and hardly one at the end; minima of the loss along k rise from one to "
    "several; of the remedies those that see early times, the residual loss and the one-shot fit recover most starts, "
    "the others, followed roots among them, few or none."
)
WORDS = {"pixels": "loss of v", "radial": "radial spectrum and mean", "spectrum": "spectrum loss"}
LINES = (
    ("least squares", "pixels", "known", "least squares, initial field known", "#08306b", "o-"),
    ("least squares", "pixels", "noise", "the same, fresh noise", "#4292c6", "s--"),
    ("adam", "pixels", "known", "Adam, initial field known", "#d95f02", "^-"),
    ("least squares", "pixels", "box", "least squares, box 1 pixel off", "0.55", "v:"),
)

SAID = {True: ("#2171b5", "half or more"), None: ("#9ecae1", "not decided"), False: ("0.75", "less than half")}
"""By what the rule says of a share: colour, and in words."""
MARKS = {"noise": (0.18, "o", "#d95f02"), "box": (-0.18, "v", "#54278f")}
"""By initial field: shift in a row, marker, colour."""


def drawn(data: Datasets) -> Figure:
    """Four panels."""
    figure = Figure(figsize=(10.5, 8), layout="constrained")
    left, right = figure.add_gridspec(1, 2, width_ratios=[1, 1.05])
    success, minima = (figure.add_subplot(cell) for cell in left.subgridspec(2, 1))
    losses, bars = (figure.add_subplot(cell) for cell in right.subgridspec(2, 1, height_ratios=[0.7, 1.3]))
    _success(data["remedies_runs"], success)
    _minima(data["remedies_line"], minima)
    _along(data["remedies_line"], losses)
    _bars(data, bars)
    return figure


def _success(runs: xr.Dataset, ax: Axes) -> None:
    for shift, (method, objective, known, words, colour, line) in enumerate(LINES):
        found = of_times(runs, method, objective, known)
        if not found:
            continue
        at = np.array([t for t, _ in found]) * (1 + 0.03 * (shift - 1.5))
        share = np.array([c.share for _, c in found])
        ends = np.array([bounds(c.share, c.of) for _, c in found]).T
        off = np.abs(ends - share)
        ax.errorbar(at, share, off, fmt=line, color=colour, label=words, ms=5, lw=1.2, elinewidth=0.8)
    ax.set(
        ylim=(-0.04, 1.04),
        xlabel="steps at which the target is seen",
        ylabel="share of starts within 2 %",
    )
    ax.set_title("(a) supervision at one time", loc="left")
    _steps(ax, np.array([t for t, _ in of_times(runs, "least squares", "pixels", "known")]))
    ax.legend(fontsize=7.5, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2, frameon=False)


def _steps(ax: Axes, times: np.ndarray) -> None:
    """A logarithmic axis of steps with numbers a reader knows."""
    ax.set_xscale("log")
    ticks = [t for t in (25, 50, 100, 200, 500, 1000, 2000, 5000, 15_000) if 0.9 * min(times) <= t <= 1.1 * max(times)]
    ax.set_xticks(ticks, [f"{t:,}" for t in ticks])
    ax.minorticks_off()


def _minima(line: xr.Dataset, ax: Axes) -> None:
    for objective, mark, colour in (
        ("pixels", "o-", "#08306b"),
        ("radial", "D--", "#41ab5d"),
        ("spectrum", "x:", "0.4"),
    ):
        ax.plot(line["time"], _remedy_planes.minima(line, objective), mark, color=colour, label=WORDS[objective], ms=5)
    ax.axhline(1, color="0.8", lw=0.8, zorder=0)
    ax.set(xlabel="steps", ylabel="minima of the loss along k", ylim=(0, None))
    ax.yaxis.get_major_locator().set_params(integer=True)
    _steps(ax, line["time"].values)
    ax.legend(fontsize=7.5, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3, frameon=False)
    ax.set_title("(b) minima along k", loc="left")


def _along(line: xr.Dataset, ax: Axes) -> None:
    times = line["time"].values
    chosen = dict.fromkeys([*(int(times[abs(times - t).argmin()]) for t in (100, 500)), int(times[-1])])
    for time, style, colour in zip(chosen, ("-", "--", "-."), ("#08306b", "#4292c6", "0.45"), strict=False):
        loss = line["loss"].sel(objective="pixels", time=time)
        ax.plot(line["k"], loss / loss.max(), style, color=colour, label=f"{time:,} steps")
    ax.plot(TRUTH[3], 0, marker="*", ms=11, mfc="w", mec="k", clip_on=False, ls="none")
    ax.set_xticks([0.055, 0.06, 0.065])
    ax.set(xlabel="k, kill rate", ylabel="loss of v by its largest value", ylim=(0, 1.04))
    ax.set_title("(c) the loss of v along k", loc="left")
    ax.legend(fontsize=7.5)


def _bars(data: Datasets, ax: Axes) -> None:
    shown = _remedy_rows.rows(data)[::-1]
    for at, row in enumerate(shown):
        first = row.counts.get("known") or row.counts[NONE]
        low, high = bounds(first.share, first.of)
        ax.barh(at, first.share, color=SAID[first.half][0], height=0.7)
        ax.plot([low, high], [at, at], color="k", lw=1)
        for known, (shift, mark, colour) in MARKS.items():
            if known in row.counts:
                ax.plot(row.counts[known].share, at + shift, mark, color=colour, ms=4, clip_on=False, zorder=3)
        told = [str(row.counts[known].hits) for known in ("known", NONE, *MARKS) if known in row.counts]
        ax.text(1.05, at, f"{', '.join(told)} of {first.of}", va="center", fontsize=7)
    ax.set_yticks(range(len(shown)), [row.words for row in shown], fontsize=7)
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.7, len(shown) - 0.3), xlabel="share of starts within 2 %")
    ax.set_title("(d) the remedies", loc="left")
    lines = [Line2D([], [], ls="none", marker=mark, color=c, ms=4) for _, mark, c in MARKS.values()]
    words = [FIELDS[known] for known in MARKS]
    patches = [Patch(color=colour) for colour, _ in SAID.values()]
    ax.legend([*patches, *lines], [*(said for _, said in SAID.values()), *words], fontsize=7.5, loc="upper center",
              bbox_to_anchor=(0.3, -0.1), ncols=3, frameon=False)  # fmt: skip
