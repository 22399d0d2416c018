"""A physics-informed network taken apart (section 6 of arXiv 2606.11258): what does the network do?

The residual loss and the parameters stay, the network is taken out; the network stays, and the residual is replaced;
the losses are looked at over the network's own weights, in a steady and in a short space-time setting.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from studies import _ablation, _backward, _ill_posed, _lanczos, _network_weights, _pinn_bowl, _pinn_data, _space_time
from studies._claims import Claim
from studies._common import Datasets, Study, filled
from studies._pinn_claims import judge as of_trainings

SEEDS = {"quick": 1, "default": 2, "paper": 5}
"""Networks that are looked at."""
STARTS = {"quick": 1, "default": 10, "paper": 50}
"""Starts of descents on the spectrum loss."""
MARKS = {
    "network, by gradient": ("^", "#31688e"),
    "network": ("o", "#440154"),
    "free pixels": ("s", "#35b779"),
    "smooth pixels": ("D", "#b5a300"),
    "one-shot": ("*", "k"),
}


def compute(scale: str, folder: Path) -> Datasets:
    """The state, the ablation, and what is looked at on the way of trainings."""
    sizes, seeds, starts = _ablation.SIZES[scale], SEEDS[scale], STARTS[scale]

    def kept(name: str, job: Any, *modules: Any, **settings: Any) -> xr.Dataset:
        scripts = tuple(str(m.__file__) for m in (_pinn_data, *modules))
        return filled(folder / f"{name}.nc", scripts, {"scale": scale, **settings}, job)

    def fields_of(side: int) -> np.ndarray[Any, Any]:
        name = f"pinn_root_{side}"
        return kept(name, lambda: _pinn_data.root(side), side=side)["fields"].values

    X, small = fields_of(sizes.side), fields_of(32)
    weights = (_network_weights, _pinn_bowl, _lanczos)
    trials = kept("pinn_trials", lambda: _ablation.trials(X, sizes), _ablation)
    by = _ablation.chosen(trials)
    return {
        "pinn_trials": trials,
        "pinn_fits": kept("pinn_fits", lambda: _ablation.fits(X, sizes, by), _ablation, weights=by.values.tolist()),
        "pinn_long": kept("pinn_long", lambda: _ablation.longer(X, sizes), _ablation),
        "pinn_stages": kept("pinn_stages", lambda: _pinn_bowl.stages(small, seeds), _pinn_bowl),
        "pinn_weights": kept("pinn_weights", lambda: _network_weights.looks(small, seeds), *weights),
        "pinn_steady": kept("pinn_steady", lambda: _network_weights.fits(small, seeds), *weights),
        "pinn_space_time": kept("pinn_space_time", lambda: _space_time.runs(scale), _space_time, _network_weights),
        "pinn_lines": kept("pinn_lines", lambda: _ill_posed.lines(small), _ill_posed),
        "pinn_backward": kept("pinn_backward", lambda: _backward.networks(_backward.SIZES[scale]), _backward),
        "pinn_descents": kept("pinn_descents", lambda: _ill_posed.descents(small, starts), _ill_posed),
    }


def judge(data: Datasets) -> list[Claim]:
    """All claims, in the order of the paper."""
    return [*_backward.judge(data["pinn_backward"]), *of_trainings(data)]


def plot(data: Datasets) -> Figure:
    """The ablation, the bowl over weights and k, the cliff that stays, and forward fits against supervised ones."""
    figure = Figure(figsize=(8, 6.6), layout="constrained")
    (a, b), (c, d) = figure.subplots(2, 2)
    _ablated(a, data["pinn_fits"])
    _valley(figure, b, data["pinn_stages"])
    _cliff(c, data["pinn_lines"])
    _forward(d, data["pinn_space_time"], data["pinn_steady"])
    return figure


def _ablated(ax: Any, fits: xr.Dataset) -> None:
    """A mark a method and seed, over cases."""
    methods = fits["way"].values.tolist()
    for m, method in enumerate(methods):
        mark, color = MARKS[method]
        y = fits["error"].sel(way=method).values.clip(min=1e-7)
        x = np.arange(len(y))[:, None] + 0.14 * (m - 2) + 0 * y
        ax.plot(x.ravel(), y.ravel(), mark, color=color, ms=6, mfc="none" if mark == "^" else color, label=method)
    noise = fits["noise"].values
    names = [f"{s},\n{n:g} % noise" for s, n in zip(fits["seen"].values, noise, strict=True)]
    ax.set_xticks(range(len(names)), names, fontsize=8 if len(names) < 5 else 6)
    ax.set(yscale="log", ylabel="largest error of four\nparameters (%)", xlim=(-0.5, len(names) - 0.5))
    ax.margins(y=0.1)
    ax.legend(fontsize=7, ncols=2, loc="upper left", bbox_to_anchor=(0, -0.22), frameon=False)
    ax.set_title("(a) what stands for the fields", loc="left")


def _valley(figure: Figure, ax: Any, stages: xr.Dataset) -> None:
    """The total loss over a direction of the weights and k."""
    plane = stages["plane"].isel(seed=0, stage=-1)
    image = ax.contourf(plane["relative_k"], plane["along"], np.log10(plane.clip(min=1e-12)), levels=16, cmap="cividis")
    figure.colorbar(image, ax=ax, label="log10 of the total loss")
    ax.set(xlabel="k, by the true one", ylabel="along a direction of the weights")
    ax.set_title("(b) weights and k, trained", loc="left")


def _cliff(ax: Any, lines: xr.Dataset) -> None:
    """The spectrum loss along k at stages of the training."""
    shades = ("0.75", "0.55", "0.3", "k")
    styles = (":", "-.", "--", "-")
    for stage, color, style in zip(lines["stage"].values, shades, styles, strict=True):
        ax.plot(lines["k"], lines["loss"].sel(stage=stage), style, color=color, label=str(stage))
    ax.axvline(_pinn_data.TRUTH[3], color="#b5a300", lw=1)
    ax.set(xlabel="k; the line marks the true one", ylabel="spectrum loss of the\nre-marched state")
    ax.legend(fontsize=7, title="network", title_fontsize=7)
    ax.set_title("(c) an ill-posed loss beside a network", loc="left")


def _forward(ax: Any, runs: xr.Dataset, steady: xr.Dataset) -> None:
    """Errors of forward and of supervised fits."""
    names = ["steady,\nu hidden", *(f"T = {int(T)}" for T in runs["time"].values)]
    for fit, mark, color in (("forward", "o", "#440154"), ("supervised", "s", "#b5a300")):
        rows = [steady["error"].sel(fit=fit).values, *runs["error"].sel(fit=fit).values]
        for x, row in enumerate(rows):
            shift = -0.1 if fit == "forward" else 0.1
            ax.plot(x + shift + 0 * row, row, mark, color=color, label=fit if x == 0 else None)
    ax.set_xticks(range(len(names)), names)
    ax.set(yscale="log", ylabel="error of u (steady) or v,\nby its standard deviation", xlim=(-0.5, len(names) - 0.5))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.legend(fontsize=7)
    ax.set_title("(d) does descent arrive?", loc="left")


STUDY = Study(
    "pinn",
    "a physics-informed network taken apart (section 6)",
    compute,
    plot,
    judge,
    caption="(a) Largest error of the four parameters with a network, free pixels or smooth pixels in the fields' "
    "place, "
    "as many CPU seconds each, and by one-shot; a mark a seed. (b) The total loss of a trained network over a random "
    "direction of its weights and k. (c) The spectrum loss of the re-marched state against the network's v, along k, "
    "at "
    "four stages of its training. (d) Errors of networks trained on the equations, and of the same networks taught the "
    "true fields in as many steps.",
    alt="Four panels: errors of five methods for several cases on a logarithmic scale; a valley of the loss; four "
    "curves "
    "along k with a jump at one place; marks of forward and supervised fits, apart in space-time.",
)
