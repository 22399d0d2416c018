"""Do different parameters with like patterns compromise a network from patterns to parameters (section 6.1)?

`python -m studies.like_patterns [FOLDER]`, after study `pinn` has filled the folder (output/default). For each held-out
pattern it takes the ten nearest of those that the networks of fresh starts were trained on, by the power of rings of
wave numbers and the mean of v. Where their parameters differ much, like patterns have different parameters. Asked, and
fixed before the first run: do the networks err more there? Yes where the 90 % interval of Spearman's rank correlation
between the neighbours' spread and the error lies above 0, no where it lies below 0.3, else it is not decided.
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
DRAWS = 2000


def main(folder: Path) -> None:
    """Print the neighbours' spread by all patterns', and the rank correlation with the error."""
    sizes = _backward.SIZES["default"]
    error = xr.load_dataset(folder / "pinn_backward.nc")["error"].sel(trained="fresh starts")
    size = np.sqrt((error**2).mean("seed").transpose("truth", "start", "parameter").values)
    truth, held = _backward._drawn(sizes, sizes.truths, sizes.starts, True, 0)
    loss, spreads = LOSSES["radial"], []
    for seed in range(sizes.seeds):
        goal, patterns = _backward._drawn(sizes, sizes.trained, 1, True, 1 + seed)
        known, middle = loss.features(patterns[:, 0, 0]), goal[:, 0]
        for s in range(sizes.starts):
            away = torch.cdist(loss.features(held[:, s, 0]), known)
            near = middle[away.argsort(1)[:, :NEAREST]]
            spreads.append((near.std(1) / middle.std(0)).numpy())
    spread = np.mean(spreads, axis=0)
    print("spread of ln Du, Dv, F, k among ten like patterns, by that of all: " + _told(spread))
    missed = (size.mean(1) / truth[:, 0].std(0).numpy()).mean(1)
    alike = spread.mean(1)
    draws = np.random.default_rng(0).integers(0, len(alike), (DRAWS, len(alike)))
    low, high = np.quantile([spearmanr(alike[d], missed[d]).statistic for d in draws], [0.05, 0.95])
    found = spearmanr(alike, missed).statistic
    print(
        f"rank correlation of that spread and the error over {len(alike)} truths: {found:.2f} ({low:.2f} to {high:.2f})"
    )


def _told(spread: np.ndarray) -> str:
    return ", ".join(f"{x:.2f}" for x in np.median(spread, axis=0))


if __name__ == "__main__":
    given = Path(sys.argv[1] if len(sys.argv) > 1 else "output/default")
    if not (given / "pinn_backward.nc").exists():
        sys.exit(f"no pinn_backward.nc in {given}: `python -m studies pinn` makes it; the folder is an argument")
    main(given)
