"""The figure of `remedies`: success against the time of supervision, why it ends, and all remedies side by side."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from studies import _remedy_planes
from studies._common import Datasets
from studies._constants import TRUTH
from studies._remedy_counts import Count, count, network_count, of_case
from studies._shares import bounds

CAPTION = (
    "How many starts in F and k come within 2 % of both, Du and Dv being known. (a) Supervision at one time: v against "
    "the target's v after as many steps; bars are 90 % intervals. (b) Minima of the loss along k, the other parameters "
    "at the truth, from the target's own start. (c) The loss of v along k at three times, each by its largest value; "
    "the star is the truth. (d) All remedies from the same starts: black bars are 90 % intervals."
)
ALT = (
    "All starts are recovered until 100 steps and hardly one at the end; minima of the loss along k rise from one to "
    "several; of the remedies those that see early times, the residual loss and the one-shot fit recover most starts, "
    "the others few or none."
)
WORDS = {"pixels": "loss of v", "radial": "radial spectrum and mean", "spectrum": "spectrum loss"}
LINES = (
    ("least squares", "pixels", "known", "least squares, start known", "#08306b", "o-"),
    ("least squares", "pixels", "noise", "the same, fresh noise", "#4292c6", "s--"),
    ("adam", "pixels", "known", "Adam, start known", "#d95f02", "^-"),
    ("least squares", "pixels", "box", "least squares, box 1 pixel off", "0.55", "v:"),
)


def drawn(data: Datasets) -> Figure:
    """Four panels."""
    figure = Figure(figsize=(10.5, 8), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=[1, 1.05])
    success, minima, losses = (figure.add_subplot(grid[at]) for at in ((0, 0), (1, 0), (0, 1)))
    bars = figure.add_subplot(grid[1, 1])
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


def of_times(runs: xr.Dataset, method: str, objective: str, known: str) -> list[tuple[int, Count]]:
    """Counts by the time of supervision, where that is one."""
    names = {str(n): int(n) for n in runs["name"].values if str(n).isdigit()} | {"end": int(runs["last"])}
    found = [(t, count(runs, name, method, objective, known)) for name, t in names.items()]
    return sorted((t, c) for t, c in found if c is not None)


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
    ax.set_title("(b) why it ends", loc="left")


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
    shown = [(words, c) for words, c in rows(data) if c is not None]
    for at, (_, c) in enumerate(reversed(shown)):
        low, high = bounds(c.share, c.of)
        ax.barh(at, c.share, color="#4292c6" if c.share >= 0.5 else "0.75", height=0.7)
        ax.plot([low, high], [at, at], color="k", lw=1)
        ax.text(1.02, at, f"{c.hits} of {c.of}", va="center", fontsize=7)
    ax.set_yticks(range(len(shown)), [words for words, _ in reversed(shown)], fontsize=7)
    ax.set(xlim=(0, 1), xlabel="share of starts within 2 %")
    ax.set_title("(d) the remedies", loc="left")


def rows(data: Datasets) -> list[tuple[str, Count | None]]:
    """Every remedy in words, and what it recovered."""
    runs, net = data["remedies_runs"], data["remedies_network"]
    paper = [(f"end, {n} loss (Adam)", of_case(runs, "end", "adam", n)) for n in ("spectrum", "windowed", "gram")]
    return [
        *paper,
        ("end, radial spectrum and mean (Adam)", of_case(runs, "end", "adam", "radial")),
        ("end, the same (least squares)", of_case(runs, "end", "least squares", "radial")),
        ("end, v (Adam)", of_case(runs, "end", "adam", "pixels")),
        ("network, t at the end", network_count(net, "end")),
        ("network, t moved up, end's target", network_count(net, "up, against the end")),
        ("network, t = 100", network_count(net, "100")),
        ("network, t = 500", network_count(net, "500")),
        ("v at 500 and later, together", of_case(runs, "late, together", "least squares", "pixels")),
        ("t moved up, end's target", of_case(runs, "up, against the end", "least squares", "radial")),
        ("v at 100", of_case(runs, "100", "least squares", "pixels")),
        ("v at 100, then later", of_case(runs, "one after the other", "least squares", "pixels")),
        ("the same, fresh noise", of_case(runs, "one after the other", "least squares", "pixels", "noise")),
        ("the same, box 1 pixel off", of_case(runs, "one after the other", "least squares", "pixels", "box")),
        ("residual loss, u and v at the stop", of_case(runs, "stop", "residual", "", "not asked")),
        ("one-shot, v at the steady state", of_case(runs, "root", "one-shot", "", "not asked")),
    ]
