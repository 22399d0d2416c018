"""The seven parameter sets of figure 1, and what is measured of their patterns."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr

import gsimplicit as gs
from studies._apart import SIDES, distance, spread
from studies._constants import PIVOT, PIVOT_2, START, TRUTH

Array = np.ndarray[Any, Any]

SEVEN = {
    "#1": START,
    "#2": PIVOT,
    "#3": PIVOT_2,
    "#4": TRUTH,
    "#5": (0.160000, 0.080000, 0.050000, 0.060000),
    "#6": (0.198659, 0.062132, 0.046910, 0.070579),
    "#7": (0.179840, 0.067273, 0.049305, 0.060484),
}
"""Du, Dv, F, k. #1: the paper's first guess; #2, #3: where its run was turned (appendix D); #4: the truth. The paper
gives no numbers for #5 to #7. Ours were visited by a training of our own (`studies.long_training inside`, steps 0, 3
and 2): #7 is that of its patterns whose loss is nearest to that of #3."""
WHENCE = (
    "The paper gives no numbers for #5 to #7: ours are the start of a training of our own and two points it visited"
)
"""What is said of #5 to #7."""
WRONG = ("#1", "#2", "#5", "#6", "#7")
"""Those that neither are the truth nor were found to match it."""
LOSSES = {"spectrum": gs.spectrum_loss, "windowed": gs.windowed_loss}


def losses(v: Array, targets: Array) -> xr.DataArray:
    """Both losses of every pattern against every target.

    Args:
        v: Shape (P, S, H, W).
        targets: Shape (T, H, W).

    Returns:
        Over objective, pattern, sample and target, shape (2, P, S, T).
    """
    P, S = v.shape[:2]
    flat = torch.from_numpy(v.reshape(P * S, *v.shape[2:]))
    each = [[of(flat, torch.from_numpy(t[None])).numpy().reshape(P, S) for t in targets] for of in LOSSES.values()]
    dims = ("objective", "target", "pattern", "sample")
    out = xr.DataArray(np.array(each), {"objective": list(LOSSES)}, dims)
    return out.transpose("objective", "pattern", "sample", "target")


def uniform_level(targets: Array) -> xr.DataArray:
    """Both losses of an exactly uniform v, mean over the targets, shape (2,)."""
    flat = np.full((1, 1, *targets.shape[1:]), 0.25)
    return losses(flat, targets).mean(["pattern", "sample", "target"])


def apart(v: Array, targets: Array) -> Array:
    """How far every pattern is from the targets, in the three respects of `distance`.

    Args:
        v: Shape (P, S, H, W).
        targets: Shape (T, H, W), T >= 2.

    Returns:
        Shape (P, S, 3): mean over the targets, in units of the mean distance of two targets; NaN where there is no
        pattern.
    """
    each = np.mean([distance(v, target) for target in targets], axis=0)
    unit = spread(targets)
    return np.asarray(each / np.where(unit > 0, unit, np.nan))


def apart_of(data: xr.Dataset) -> xr.DataArray:
    """The same of a dataset of `studies.fig1`, labelled."""
    v, targets = seven_and_targets(data)
    coords = {"pattern": list(SEVEN), "side": list(SIDES)}
    return xr.DataArray(apart(v, targets), coords, ("pattern", "sample", "side"))


def losses_of(data: xr.Dataset) -> xr.DataArray:
    """Both losses of a dataset of `studies.fig1`, labelled."""
    return losses(*seven_and_targets(data)).assign_coords(pattern=list(SEVEN))


def seven_and_targets(data: xr.Dataset) -> tuple[Array, Array]:
    """V of the seven, shape (7, S, H, W), and of the targets, (S, H, W)."""
    v = data["v"].transpose("pattern", "sample", "y", "x")
    return v.sel(pattern=list(SEVEN)).values, v.sel(pattern="target").values
