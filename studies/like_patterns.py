"""Do different parameters with like patterns compromise a network from patterns to parameters (section 6.1)?

`python -m studies.like_patterns [FOLDER]`, after study `pinn` has filled the folder (output/default). For each held-out
pattern it takes the ten nearest of those that the networks of fresh starts were trained on, by the power of rings of
wave numbers and the mean of v. Where their parameters differ much, like patterns have different parameters. Asked, and
fixed before the first run: do the networks err more there? Yes where the 90 % interval of Spearman's rank correlation
between the neighbours' spread and the error lies above 0, no where it holds 0 and ends below 0.3, else it is not
decided. (At first a no was all that ends below 0.3, which a narrow interval above 0 may do as well.)

`python -m studies.more_truths` asks the same of more truths, and with other numbers of neighbours.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from scipy.stats import spearmanr

from studies import _backward
from studies._remedy_losses import LOSSES

NEAREST = 10
BESIDE = (5, NEAREST, 20, 40)
"""Numbers of neighbours that are looked at with more truths."""
DRAWS = 2000


def spread(goal: torch.Tensor, patterns: torch.Tensor, held: torch.Tensor, nearest: int = NEAREST) -> np.ndarray:
    """Spread of ln of the parameters among like patterns by that among all, a truth and parameter, mean over starts.

    Args:
        goal: Ln of the parameters trained on, shape (N, 4).
        patterns: What was trained on, shape (N, 1, 1, H, W).
        held: What is asked, shape (truths, starts, 1, H, W).
        nearest: Number of like patterns.
    """
    loss, out = LOSSES["radial"], []
    known = loss.features(patterns[:, 0, 0])
    for s in range(held.shape[1]):
        away = torch.cdist(loss.features(held[:, s, 0]), known)
        near = goal[away.argsort(1)[:, :nearest]]
        out.append((near.std(1) / goal.std(0)).numpy())
    return np.asarray(np.mean(out, axis=0))


def missed(error: xr.DataArray, truth: torch.Tensor) -> np.ndarray:
    """Error of ln of the parameters by the truths' spread: over networks by squares, mean over starts."""
    size = np.sqrt((error**2).mean("seed").transpose("truth", "start", "parameter").values)
    return np.asarray(size.mean(1) / truth.std(0).numpy())


def correlated(a: np.ndarray, b: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Spearman's rank correlation, and 90 % of it by a bootstrap over truths."""
    draws = np.random.default_rng(0).integers(0, len(a), (DRAWS, len(a)))
    low, high = np.quantile([spearmanr(a[d], b[d]).statistic for d in draws], [0.05, 0.95])
    return float(spearmanr(a, b).statistic), (float(low), float(high))


def main(folder: Path) -> None:
    """Print the neighbours' spread by all patterns', and the rank correlation with the error."""
    sizes = _backward.SIZES["default"]
    error = xr.load_dataset(folder / "pinn_backward.nc")["error"].sel(trained="fresh starts")
    truth, held = _backward._drawn(sizes, sizes.truths, sizes.starts, True, 0)
    spreads = []
    for seed in range(sizes.seeds):
        goal, patterns = _backward._drawn(sizes, sizes.trained, 1, True, 1 + seed)
        spreads.append(spread(goal[:, 0], patterns, held))
    by = np.mean(spreads, axis=0)
    told = ", ".join(f"{x:.2f}" for x in np.median(by, axis=0))
    print(f"spread of ln Du, Dv, F, k among ten like patterns, by that of all: {told}")
    found, (low, high) = correlated(by.mean(1), missed(error, truth[:, 0]).mean(1))
    print(f"rank correlation of that spread and the error over {len(by)} truths: {found:.2f} ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    given = Path(sys.argv[1] if len(sys.argv) > 1 else "output/default")
    if not (given / "pinn_backward.nc").exists():
        sys.exit(f"no pinn_backward.nc in {given}: `python -m studies pinn` makes it; the folder is an argument")
    main(given)
