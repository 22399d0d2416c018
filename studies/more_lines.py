"""Lines of study `pinn` over a steady network's weights, of other trainings: `python -m studies.more_lines [SEEDS]`.

The study draws four lines at each of three stages of two trainings; lines of one training are not independent. Here
each training has one random direction at each stage. Printed is how many lines of each loss and stage have one minimum.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from gsimplicit.inverse.methods import Network
from gsimplicit.inverse.network.questioned import training
from studies import _pinn_data
from studies._common import OUTPUT, filled
from studies._network_weights import PARTS, STAGES
from studies._pinn_bowl import direction, minima
from studies._shares import bounds

FIRST, WAY = 10, 5000
"""First seed, and what it is raised by for its direction: none is the study's."""
ALONG = np.linspace(-1, 1, 41)
"""Shares of a direction as long as the weights, as in the study."""


def counted(fields: _pinn_data.Array, seed: int) -> list[tuple[str, str]]:
    """Stage and loss of each line of one training that has one minimum."""
    asked, out = _pinn_data.question(fields, np.ones(fields.shape[1:], dtype=bool), both=False), []
    for stage, (adam, lbfgs) in STAGES.items():
        one, begin = training(Network(adam=adam, lbfgs=lbfgs, seed=seed, **_pinn_data.SHAPES[32]), asked)
        end, o = one.run(begin), one.objective
        at, d = torch.from_numpy(end.values.copy()), direction(one.representation, end.weights, WAY + seed)
        with torch.no_grad():
            X = [one.representation.fields(end.weights + a * d) for a in ALONG]
            values = np.array([[float(f) for f in (o.data(x), o.residual(x, at), o.total(x, at))] for x in X])
        out += [(stage, part) for part, line in zip(PARTS, values.T, strict=True) if minima(line) == 1]
    return out


def main(seeds: int = 19, folder: Path = OUTPUT) -> list[str]:
    """A line a loss."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    store, script = folder / "long_networks_root.nc", (str(_pinn_data.__file__),)
    fields = filled(store, script, {"side": 32}, lambda: _pinn_data.root(32))["fields"].values
    one = Counter(line for seed in range(FIRST, FIRST + seeds) for line in counted(fields, seed))
    out = []
    for part in PARTS:
        hits = [one[stage, part] for stage in STAGES]
        low, high = bounds(min(hits) / seeds, seeds)
        told = ", ".join(f"{stage} {n}" for stage, n in zip(STAGES, hits, strict=True))
        out.append(f"{part}: {sum(hits)} of {3 * seeds}; of {seeds}: {told}; the least {low:.0%} to {high:.0%}")
    return out


if __name__ == "__main__":
    print("\n".join(main(*map(int, sys.argv[1:2]))))
