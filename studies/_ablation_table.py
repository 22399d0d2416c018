"""`python -m studies._ablation_table [folder]`: the tables of docs/networks.md from the datasets of a finished run.

The folder is that of a scale, `output/paper` say; what is printed is to be pasted.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import xarray as xr

from studies._ablation import METHODS, TRAINED, chosen


def rows(fits: xr.Dataset, name: str) -> list[str]:
    """Lines of a table: median over seeds of a quantity, with the least and the largest."""
    out = ["| seen | noise | " + " | ".join(METHODS) + " |", "| --- " * (2 + len(METHODS)) + "|"]
    for n in range(fits.sizes["case"]):
        one = fits.isel(case=n)
        cells = [spread(one[name].sel(way=method).values) for method in METHODS]
        out.append(f"| {one['seen'].item()} | {one['noise'].item():g} % | " + " | ".join(cells) + " |")
    return out


def spread(values: np.ndarray) -> str:
    """Median, and the range in brackets: "1.2 (1 to 3)".

    Examples:
        >>> import numpy as np
        >>> spread(np.array([1.0, 2.0, 4.0])), spread(np.array([np.nan]))
        ('2 (1 to 4)', 'none')
    """
    good = values[np.isfinite(values)]
    if not len(good):
        return "none"
    told = f"{np.median(good):.2g} ({good.min():.2g} to {good.max():.2g})"
    return told if len(good) == len(values) else f"{told}, {len(good)} of {len(values)}"


def weights(trials: xr.Dataset) -> list[str]:
    """The weight chosen for each case and trained method."""
    by = chosen(trials)
    out = ["| seen | noise | " + " | ".join(TRAINED) + " |", "| --- " * (2 + len(TRAINED)) + "|"]
    for n in range(by.sizes["case"]):
        cells = [f"{by[n].sel(way=method).item():g}" for method in TRAINED]
        out.append(f"| {by['seen'][n].item()} | {by['noise'][n].item():g} % | " + " | ".join(cells) + " |")
    return out


def main(folder: Path) -> None:
    """Print errors of the parameters, of v, seconds, and the weights."""
    fits = xr.load_dataset(folder / "pinn_fits.nc")
    for name in ("error", "filled", "seconds"):
        print(fits[name].attrs["long_name"], fits[name].attrs["units"], *rows(fits, name), "", sep="\n")
    print("weight of the residual loss", *weights(xr.load_dataset(folder / "pinn_trials.nc")), sep="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "output/default"))
