"""A network trained longer than the ablation allows: does it arrive from where the paper's training fails?"""

from __future__ import annotations

import numpy as np
import xarray as xr

from gsimplicit.landscape.fill import Job
from studies._ablation import NAMES, Sizes, _fitted
from studies._pinn_data import Array

METHOD = "network, by gradient"
"""The paper's own."""
SEEDS = {"quick": 1, "default": 2, "paper": 5}
"""Two run at once on two cores; `python -m studies.long_networks` trains others."""


def longer(fields: Array, sizes: Sizes, seeds: int) -> Job:
    """Where it arrives with more seconds, v seen without noise, over first weights and wave vectors."""
    frame = xr.Dataset(
        {name: ("seed", np.full(seeds, np.nan), attrs) for name, attrs in NAMES.items()}, {"seed": np.arange(seeds)}
    )
    items = [(fields, "v", 0.0, METHOD, 1.0, seed, sizes.long) for seed in range(seeds)]
    return Job(frame, ("seed",), items, _fitted)
