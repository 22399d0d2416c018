"""The ablation of study `pinn` with more seconds.

`python -m studies.long_networks SECONDS METHOD SEEN NOISE [SEED] [SIDE]` trains on the data of the study and prints a
line. METHOD and SEEN are names of the study, as in `python -m studies.long_networks 40 network "half of v" 1`; SIDE is
32, or 64 as at paper scale.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from studies import _ablation, _pinn_data
from studies._common import OUTPUT, filled


def main(
    seconds: float, method: str, seen: str, noise: float, seed: int = 0, side: int = 32, folder: Path = OUTPUT
) -> str:
    """One training, its errors in words."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    store = folder / f"long_networks_root{'' if side == 32 else f'_{side}'}.nc"
    script = (str(_pinn_data.__file__),)
    root: xr.Dataset = filled(store, script, {"side": side}, lambda: _pinn_data.root(side))
    found = _ablation._fitted((root["fields"].values, seen, noise, method, 1.0, seed, seconds))
    told = ", ".join(f"{name} {float(np.asarray(value)):.3g}" for name, value in found.items())
    return f"{method}, {seen}, {noise:g} % noise, seed {seed}: {told}"


if __name__ == "__main__":
    given = sys.argv[1:]
    print(main(float(given[0]), given[1], given[2], float(given[3]), *map(int, given[4:6])))
