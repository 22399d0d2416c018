"""The figure of study `pinn`: the ablation, two landscapes, what repairs, and forward fits against supervised ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter

from studies import _pinn_data
from studies._claims import between
from studies._common import Datasets
from studies._ill_posed import MODES, NEAR
from studies._pinn_bowl import valley
from studies._pinn_claims import HALF
from studies._remedy_figure import SAID
from studies._shares import bounds
from studies._weights_claims import LEAST, ratio

CAPTION = (
    "(a) Largest error of the four parameters with a network, free pixels or smooth pixels in the fields' place, as "
    "many CPU seconds each, and by one-shot; a mark a draw. (b) The total loss of a trained network over a random "
    "direction of its weights, at 1 as long as they, and k. The white line is the least of each row, the star the "
    "trained weights and the true k. (c) The spectrum loss of the re-marched state against the network's v, along k, "
    "at four stages of its training; the line marks the true k. (d) Starts in F and k that come within 2 %: dark "
    "blue where the rule says half or more, light blue where it is not decided, grey where fewer; black lines are 90 % "
    "intervals. (e) Errors of networks trained on the equations, and of the same networks taught the true "
    "fields in as many steps; a mark a seed. T is in time units. (f) The least curvature of the total loss over the "
    "weights where it is negative, by the largest, as training begins, half-way and at its end; what is not negative "
    "or below 1e-8 lies on the lower edge. The dashed line is the bar."
)
ALT = (
    "Six panels: errors of five methods for three cases on a logarithmic scale; a valley of the loss over weights and "
    "k; four curves along k with a jump at one place; bars of recovered starts, none with the spectrum loss of the end "
    "state and most with other losses; errors of forward and supervised fits, near each other for the steady picture "
    "and apart in space-time; negative curvatures by stage, which are below the bar from half-way on in all settings."
)
MARKS = {
    "network, by gradient": ("^", "#31688e"),
    "network": ("o", "#440154"),
    "free pixels": ("s", "#35b779"),
    "smooth pixels": ("D", "#b5a300"),
    "one-shot": ("*", "k"),
}
SETTINGS = (("#440154", "o"), ("#31688e", "s"), ("#b5a300", "D"), ("0.4", "^"))
"""Colours and marks of the steady picture and of each time."""
LEGEND = {"fontsize": 7.5, "frameon": False}


def drawn(data: Datasets) -> Figure:
    """Six panels."""
    figure = Figure(figsize=(10.5, 10.8), layout="constrained")
    (a, b), (c, d), (e, f) = figure.subplots(3, 2)
    _ablated(a, data["pinn_fits"])
    _valley(figure, b, data["pinn_stages"])
    _cliff(c, data["pinn_lines"])
    _home(d, data["pinn_descents"], data["pinn_repairs"])
    _forward(e, data["pinn_space_time"], data["pinn_steady"])
    _curved(f, data["pinn_space_time"], data["pinn_weights"])
    return figure


def _ablated(ax: Any, fits: xr.Dataset) -> None:
    """A mark a method and seed, over cases."""
    for m, method in enumerate(fits["way"].values.tolist()):
        mark, color = MARKS[method]
        y = fits["error"].sel(way=method).values.clip(min=1e-9)
        x = np.arange(len(y))[:, None] + 0.14 * (m - 2) + 0 * y
        label = "network, closed form" if method == "network" else method
        ax.plot(x.ravel(), y.ravel(), mark, color=color, ms=6, mfc="none" if mark == "^" else color, label=label)
    noise = fits["noise"].values
    names = [f"{s},\n{f'{n:g} %' if n else 'no'} noise" for s, n in zip(fits["seen"].values, noise, strict=True)]
    ax.set_xticks(range(len(names)), names, fontsize=8 if len(names) < 5 else 6)
    for x in range(1, len(names)):
        ax.axvline(x - 0.5, color="0.85", lw=0.8, zorder=0)
    ax.set(yscale="log", ylabel="largest error of four parameters (%)", xlim=(-0.5, len(names) - 0.5))
    ax.margins(y=0.1)
    ax.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.15), **LEGEND)
    ax.set_title("(a) what stands for the fields", loc="left")


def _valley(figure: Figure, ax: Any, stages: xr.Dataset) -> None:
    """The total loss over a direction of the weights and k."""
    plane = stages["plane"].isel(seed=0, stage=-1, way=0)
    image = ax.contourf(plane["relative_k"], plane["along"], np.log10(plane.clip(min=1e-12)), levels=16, cmap="cividis")
    figure.colorbar(image, ax=ax, label="log10 of the total loss", ticks=MaxNLocator(6))
    ax.plot(valley(plane.values)[1], plane["along"], color="w", lw=1.2)
    ax.plot(1, 0, marker="*", ms=11, mfc="w", mec="k")
    low, high = plane["relative_k"].values[[0, -1]]
    ax.set(xlim=(low, high), xlabel="k, by the true one", ylabel="along a direction of the weights")
    ax.set_title("(b) weights and k, trained", loc="left")


def _cliff(ax: Any, lines: xr.Dataset) -> None:
    """The spectrum loss along k at stages of the training."""
    shades = ("0.75", "0.55", "0.3", "k")
    styles = (":", "-.", "--", "-")
    for stage, color, style in zip(lines["stage"].values, shades, styles, strict=True):
        ax.plot(lines["k"], lines["loss"].sel(stage=stage), style, color=color, label=str(stage))
    ax.axvline(_pinn_data.TRUTH[3], color="#b5a300", lw=1)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set(xlabel="k, kill rate", ylabel="spectrum loss of the re-marched state", ylim=(0, None))
    ax.legend(title="network", title_fontsize=7.5, **LEGEND)
    ax.set_title("(c) an ill-posed loss beside a network", loc="left")


def _home(ax: Any, descents: xr.Dataset, repairs: xr.Dataset) -> None:
    """How many starts come home, loss by loss."""
    ends = dict(zip(MODES, ("spectrum loss of the end, Adam", "the same beside a network"), strict=True))
    rows = [(ends[m], descents["error"].sel(mode=m)) for m in MODES]
    rows += [(str(m), repairs["error"].sel(mode=m)) for m in repairs["mode"].values]
    for at, (_, error) in enumerate(reversed(rows)):
        hits, n = int((error <= NEAR).sum()), error.size
        low, high = bounds(hits / n, n)
        ax.barh(at, hits / n, color=SAID[True if low > HALF else False if high < HALF else None][0], height=0.7)
        ax.plot([low, high], [at, at], color="k", lw=1)
        ax.text(1.02, at, f"{hits} of {n}", va="center", fontsize=7.5)
    names = [name.replace(" loss", "").replace("with a network", "of a network") for name, _ in reversed(rows)]
    ax.set_yticks(range(len(rows)), names, fontsize=7)
    ax.set(xlim=(0, 1), xlabel="share of starts within 2 % of F and k")
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.set_title("(d) what brings starts home", loc="left")


def _names(runs: xr.Dataset) -> list[str]:
    return ["steady picture", *(f"space-time, T = {int(T)}" for T in runs["time"].values)]


def _forward(ax: Any, runs: xr.Dataset, steady: xr.Dataset) -> None:
    """Errors of forward and of supervised fits."""
    for fit, mark, color in (("forward", "o", "#440154"), ("supervised", "s", "#b5a300")):
        rows = [steady["error"].sel(fit=fit).values, *runs["error"].sel(fit=fit).values]
        words = "trained on the equations" if fit == "forward" else "taught the true fields"
        for x, row in enumerate(rows):
            shift = -0.1 if fit == "forward" else 0.1
            ax.plot(x + shift + 0 * row, row, mark, color=color, label=words if x == 0 else None)
    each = [steady["error"], *(runs["error"].sel(time=T) for T in runs["time"].values)]
    for x, error in enumerate(each):
        by = (error.sel(fit="forward") / error.sel(fit="supervised")).values
        top = float(error.max())
        ax.annotate(f"{between(by.min(), by.max(), '.2g')} times", (x, top), (0, 8), textcoords="offset points",
                    ha="center", fontsize=7.5)  # fmt: skip
    names = [n.replace(", ", "\n") for n in _names(runs)]
    names = [f"{n}\n(u)" if x == 0 else f"{n} (v)" for x, n in enumerate(names)]
    ax.set_xticks(range(len(names)), names)
    ax.set(yscale="log", ylabel="error by the field's standard deviation", xlim=(-0.5, len(names) - 0.5))
    ax.margins(y=0.15)
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.legend(ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.15), **LEGEND)
    ax.set_title("(e) does descent arrive?", loc="left")


def _curved(ax: Any, runs: xr.Dataset, looks: xr.Dataset) -> None:
    """Negative curvature of the total loss by stage."""
    least = 1e-8
    shown = [looks, *(runs.sel(time=T) for T in runs["time"].values)]
    stages = looks["stage"].values
    for n, (name, one) in enumerate(zip(_names(runs), shown, strict=True)):
        color, mark = SETTINGS[n]
        y = -ratio(one).sel(part="total").transpose("stage", "seed").values
        x = np.arange(len(stages))[:, None] + 0.12 * (n - 1) + 0 * y
        ax.plot(x.ravel(), y.clip(min=least).ravel(), mark, color=color, label=name, clip_on=False)
    ax.axhline(-LEAST, color="k", ls="--", lw=1)
    ax.text(len(stages) - 0.5, -1.2 * LEAST, f"the bar, {-LEAST:.0%}", ha="right", va="bottom", fontsize=7.5)
    ax.set_xticks(range(len(stages)), stages)
    ax.set(yscale="log", ylim=(least, 1), xlim=(-0.5, len(stages) - 0.5))
    ax.set(ylabel="negative curvature by the largest one")
    ax.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.15), **LEGEND)
    ax.set_title("(f) curvature of the total loss over weights", loc="left")
