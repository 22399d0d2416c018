"""A physics-informed network taken apart (section 6 of arXiv 2606.11258): what does the network do?

The residual loss and the parameters stay, the network is taken out; the network stays, and the residual is replaced;
the losses are looked at over the network's own weights, in a steady and in a short space-time setting.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from studies import (
    _ablation,
    _backward,
    _ill_posed,
    _lanczos,
    _levenberg,
    _network_weights,
    _pinn_bowl,
    _pinn_data,
    _pinn_figure,
    _pinn_long,
    _remedy_losses,
    _repairs,
    _space_time,
)
from studies._claims import Claim
from studies._common import Datasets, Study, filled
from studies._pinn_claims import judge as of_trainings

SEEDS = {"quick": 1, "default": 2, "paper": 5}
"""Networks that are looked at."""
STARTS = {"quick": 1, "default": 10, "paper": 50}
"""Starts of descents on the spectrum loss."""
STEPS = {"quick": 5, "default": 50, "paper": 50}
"""Steps of the parameters on other losses."""
WAYS = {"quick": 1, "default": 3, "paper": 3}
"""Directions of the weights, a plane with k each."""


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
    end, early = (_ill_posed,), (_repairs, _ill_posed, _levenberg, _remedy_losses)
    long, look = _pinn_long.SEEDS[scale], _network_weights.LOOKS[scale]
    trials = kept("pinn_trials", lambda: _ablation.trials(X, sizes), _ablation)
    by = _ablation.chosen(trials)
    return {
        "pinn_trials": trials,
        "pinn_fits": kept("pinn_fits", lambda: _ablation.fits(X, sizes, by), _ablation, weights=by.values.tolist()),
        "pinn_long": kept("pinn_long", lambda: _pinn_long.longer(X, sizes, long), _pinn_long, _ablation),
        "pinn_stages": kept("pinn_stages", lambda: _pinn_bowl.stages(small, seeds, WAYS[scale]), _pinn_bowl),
        "pinn_weights": kept("pinn_weights", lambda: _network_weights.looks(small, seeds, look), *weights),
        "pinn_steady": kept("pinn_steady", lambda: _network_weights.fits(small, seeds), *weights),
        "pinn_space_time": kept("pinn_space_time", lambda: _space_time.runs(scale), _space_time, *weights),
        "pinn_lines": kept("pinn_lines", lambda: _ill_posed.lines(small), *end),
        "pinn_backward": kept("pinn_backward", lambda: _backward.networks(_backward.SIZES[scale]), _backward),
        "pinn_descents": kept("pinn_descents", lambda: _ill_posed.descents(small, starts), *end),
        "pinn_repairs": kept("pinn_repairs", lambda: _repairs.repairs(small, starts, STEPS[scale]), *early),
    }


def judge(data: Datasets) -> list[Claim]:
    """All claims, in the order of the paper."""
    return [*_backward.judge(data["pinn_backward"]), *of_trainings(data)]


STUDY = Study(
    "pinn",
    "a physics-informed network taken apart (section 6)",
    compute,
    _pinn_figure.drawn,
    judge,
    caption=_pinn_figure.CAPTION,
    alt=_pinn_figure.ALT,
)
