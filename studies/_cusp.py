"""Where both cliffs meet: a cusp, as that of the curves, or a corner; and what diffusion has to do with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from scipy.optimize import curve_fit

from gsimplicit.bifurcation.uniform import turing
from studies import _paper
from studies._bars import at_most, below
from studies._claims import Claim
from studies._curves import CELL, uniform

Array = np.ndarray[Any, Any]

UPPER = 0.05
"""The rows above are fitted: nearer to the tip there are too few at default scale."""
CORNER = 1.0
"""Power of the width where two lines meet at an angle."""
TIP = (0.0625, 0.0625)
"""F and k of the cusp of the saddle-node's curve: `k = sqrt(F) / 2 - F` ends on that of the Hopf line there."""


def tip(F: Array, left: Array, right: Array) -> tuple[float, float, float, float]:
    """Where the width between the cliffs ends, `width = A (F0 - F)^p`: F0, k there, p and its standard error.

    NaN where fewer than five rows are there.
    """
    width = right - left
    at = (F >= UPPER) & np.isfinite(width) & (width > 0)
    if at.sum() < 5:
        return (float("nan"),) * 4

    def law(f: Array, size: float, end: float, power: float) -> Array:
        return np.asarray(size * np.maximum(end - f, 1e-9) ** power)

    bounds = ((0.0, float(F[at].max()) + 1e-5, 0.2), (1e4, 0.12, 4.0))
    found, covariance = curve_fit(law, F[at], width[at], p0=(0.3, 0.072, 1.0), bounds=bounds)
    middle = np.polyval(np.polyfit(F[at], (left + right)[at] / 2, 2), found[1])
    return float(found[1]), float(middle), float(found[2]), float(np.sqrt(covariance[2, 2]))


def power_of_curves() -> float:
    """The same power for the saddle-node and the Hopf line of the uniform state, close to where they end together."""
    F = TIP[0] - np.array([1e-4, 1e-5])
    known = uniform(F)
    width = known["saddle-node"] - known["Hopf"]
    return float(np.log(width[0] / width[1]) / np.log(10.0))


def claims(places: xr.DataArray) -> list[Claim]:
    """The paper's cusp, and what it says of diffusion.

    Args:
        places: Kill rates k of the cliffs over F, side and seed.
    """
    F = places["F"].values
    left, right = (places.sel(side=side).median("seed").values for side in ("left", "right"))
    end, at, power, error = tip(F, left, right)
    known, cusp = np.isfinite(power), power_of_curves()
    far = float(np.nanmedian(np.abs(right - uniform(F)["saddle-node"]))) / CELL
    moved = float(np.nanmax(np.abs(turing(F, 0.2, 0.08)[0] - turing(F)[0]))) / CELL
    return [
        Claim(
            _paper.CUSPS,
            "The cliffs meet in a cusp, as the curves do. Near their tip the distance between the saddle-node and the "
            f"Hopf line goes as the power {cusp:.1f} of that from the tip. Asked here, from the rows F >= {UPPER:g}: "
            "that of the cliffs is nearer to this than to 1, that of a corner. The law was chosen after a look at the "
            "figure.",
            f"power {power:.2f}, tip at F {end:.4f}, k {at:.4f}" if known else "too few rows",
            f"power {power:.3f} +- {error:.3f}, of the curves {cusp:.2f}; tip at F = {end:.4f}, k = {at:.4f}, that of "
            f"the curves at {TIP[0]:g}, {TIP[1]:g}: {(at - TIP[1]) / CELL:+.0f} cells in k"
            if known
            else "fewer than five rows have both cliffs",
            abs(power - cusp) < abs(power - CORNER) if known else None,
            bars=(below("power away from the cusp's", abs(power - cusp), abs(power - CORNER)),),
        ),
        Claim(
            _paper.DIFFUSION,
            "Small distances between the cliffs and the curves of the sources come from other diffusion coefficients. "
            "Asked here: the right cliff lies within two cells of the saddle-node, in the median, where the curves "
            "have the cliffs' own coefficients.",
            f"{far:.0f} cells off with the same ones",
            f"the right cliff is {far:.1f} cells from the saddle-node in the median; saddle-node and Hopf line are of "
            f"the reaction alone and do not move with diffusion, the Turing line moves by {moved:.1f} cells for "
            "Du / Dv = 2.5 in place of 2",
            far <= 2,
            bars=(at_most("median distance in cells", far, 2),),
        ),
    ]
