"""Do the time-augmented networks of study `remedies` stay at the truth? `python -m studies.from_the_truth [FOLDER]`.

After the study has filled the folder (output/default) it trains the same networks and begins their descents at the true
F and k. Where they end is the best that a network can do: beyond 2 % no start could be recovered with it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from studies import _remedy_surrogate as surrogate
from studies._constants import TRUTH
from studies._remedy_world import World
from studies.remedies import POINTS, WORLDS


@dataclass(frozen=True)
class AtTruth(World):
    """A world whose starts are the truth."""

    def start(self, number: int) -> tuple[float, float]:
        """F and k."""
        return TRUTH[2], TRUTH[3]


def main(folder: Path) -> list[str]:
    """A line a network."""
    torch.set_num_threads(1)
    world = AtTruth(**{**vars(WORLDS["default"]), "starts": 1})
    rows = xr.load_dataset(folder / "remedies_trajectories.nc")
    features, times = rows["features"].sel(drawn="known").values, tuple(rows["time"].values.tolist())
    out = []
    for seed in range(surrogate.NETWORKS):
        item = (world, rows["params"].values, features, times, POINTS["default"][3], "known", seed)
        found = surrogate._network(item)
        off = np.maximum(abs(found["F"][:, 0] / TRUTH[2] - 1), abs(found["k"][:, 0] / TRUTH[3] - 1))
        told = ", ".join(f"{name} {100 * x:.1f} %" for name, x in zip(surrogate.SCHEDULES, off, strict=True))
        out.append(f"network {seed}, off by: {told}")
    return out


if __name__ == "__main__":
    given = Path(sys.argv[1] if len(sys.argv) > 1 else "output/default")
    if not (given / "remedies_trajectories.nc").exists():
        sys.exit(f"no remedies_trajectories.nc in {given}: `python -m studies remedies` makes it")
    print("\n".join(main(given)))
