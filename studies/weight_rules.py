"""Rules for the residual's weight: `python -m studies.weight_rules [SEEN NOISE ...]`, seven CPU seconds a training.

Each weight is tried as in study `pinn`, and trained with as well for its full seconds. Printed is, by rule, in how many
cells the weight it takes ends ten times as far from the truth as the best weight, and the geometric mean of that ratio.
A cell is a case and a method, 32 x 32 pixels, first draw. Errors below 0.01 % count as that. The rules were written
down before a weight was tried; none sees the truth.
"""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from studies import _ablation, _pinn_data
from studies._common import OUTPUT, filled
from studies._pinn_data import words

WEIGHTS = (0.1, 1.0, 10.0, 100.0)
"""Weights that are offered."""
CASES = (("v", 0.0), ("v", 1.0), ("half of v", 1.0))
"""What is seen, and noise in per cent, where nothing is said."""
ENOUGH = 0.01
"""Error in per cent below which a weight is as good as any."""


def cells(fields: _pinn_data.Array, cases: tuple[tuple[str, float], ...]) -> Job:
    """Trials and full trainings of every weight, over case, method and weight."""
    sizes, over = _ablation.SIZES["default"], ("case", "way", "weight")
    shape = (len(cases), len(_ablation.TRAINED), len(WEIGHTS))
    names = {
        **_ablation.TRIED,
        "final": words("largest relative error after full seconds, which no rule sees", "percent"),
    }
    frame = xr.Dataset(
        {name: (over, np.full(shape, np.nan), attrs) for name, attrs in names.items()},
        {"way": list(_ablation.TRAINED), "weight": list(WEIGHTS)},
    )
    items = [
        (fields, seen, noise, way, weight, 0, (sizes.tried, sizes.seconds))
        for (seen, noise), way, weight in product(cases, _ablation.TRAINED, WEIGHTS)
    ]
    return Job(frame, over, items, _both)


def _both(item: tuple[_pinn_data.Array, str, float, str, float, int, tuple[float, float]]) -> Values:
    *what, (tried, seconds) = item
    return {**_ablation._tried((*what, tried)), "final": _ablation._fitted((*what, seconds))["error"]}


def rules(tried: xr.Dataset) -> dict[str, xr.DataArray]:
    """Places of the weights that each rule takes, over case and way."""
    held, deviation, residual = (tried[n].fillna(np.inf) for n in ("held_out", "deviation", "residual"))
    short = np.maximum(deviation / tried["noise_like"], residual)  # by what the judge lets pass: 1 % of the residual
    bounded = (residual <= 10) & (deviation <= np.maximum(10, 3 * tried["noise_like"]))
    return {
        "deviation and residual together": (deviation**2 + residual**2).argmin("weight"),
        "nearest to the judge": short.argmin("weight"),
        "held out, of those the judge lets pass": _first(held, short <= 1, short),
        "held out, of those within 10 %": _first(held, bounded, held),
        "held out": held.argmin("weight"),
    }


def _first(value: xr.DataArray, allowed: xr.DataArray, other: xr.DataArray) -> xr.DataArray:
    """The place of the least value that is allowed; where none is, of the least of another one."""
    return xr.where(allowed.any("weight"), value.where(allowed, np.inf).argmin("weight"), other.argmin("weight"))


def main(cases: tuple[tuple[str, float], ...], folder: Path = OUTPUT) -> list[str]:
    """A line a rule."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    scripts = tuple(str(module.__file__) for module in (_pinn_data, _ablation))
    root = filled(folder / "long_networks_root.nc", scripts[:1], {"side": 32}, lambda: _pinn_data.root(32))
    told = {"cases": cases, "weights": WEIGHTS}
    tried = filled(folder / "weight_rules.nc", (*scripts, __file__), told, lambda: cells(root["fields"].values, cases))
    final = tried["final"].clip(min=ENOUGH)
    out = []
    for name, place in rules(tried).items():
        ratio = final.isel(weight=place) / final.min("weight")
        mean = float(np.exp(np.log(ratio).mean()))
        out.append(
            f"{name}: {int((ratio >= 10).sum())} of {ratio.size} cells ten times the best, mean {mean:.3g} times"
        )
    return out


if __name__ == "__main__":
    given = tuple((seen, float(noise)) for seen, noise in zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    print("\n".join(main(given or CASES)))
