"""Forward fits against supervised ones with more seeds: `python -m studies.more_seeds [SEEDS] [STEPS]`.

Study `pinn` has two seeds, since it looks at lines and curvatures as well. This command trains the same fits, of the
steady picture and over 5, 20 and 80 time units, and prints a line each: the error by the supervised fit's, and how many
seeds keep the bar of 2.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from studies import _network_weights, _pinn_data
from studies._common import OUTPUT, filled
from studies._network_weights import FITS, TRAINED
from studies._shares import bounds
from studies._space_time import Film
from studies._weights_claims import TWICE

TIMES = (5, 20, 80)


def told(name: str, errors: list[list[float]]) -> str:
    """One line of forward and supervised errors, a pair a seed.

    Examples:
        >>> told("T = 5", [[0.05, 0.08], [0.06, 0.06]]).partition(", ")[2]
        '0.812 times in the median (0.625 to 1); 2 of 2 at most 2 (22% to 100%)'
    """
    forward, supervised = np.array(errors).T
    by = forward / supervised
    kept = int((by <= TWICE).sum())
    low, high = bounds(kept / len(by), len(by))
    return (
        f"{name}: {forward.min():.2g} to {forward.max():.2g} against {supervised.min():.2g} to {supervised.max():.2g}, "
        f"{np.median(by):.3g} times in the median ({by.min():.3g} to {by.max():.3g}); {kept} of {len(by)} at most "
        f"{TWICE:g} ({low:.0%} to {high:.0%})"
    )


def main(seeds: int = 10, steps: int = TRAINED, folder: Path = OUTPUT) -> list[str]:
    """A line for the steady picture and one a time."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    store, script = folder / "long_networks_root.nc", (str(_pinn_data.__file__),)
    fields = filled(store, script, {"side": 32}, lambda: _pinn_data.root(32))["fields"].values
    steady = [
        [float(_network_weights.fitted((fields, seed, fit, steps))["error"]) for fit in FITS] for seed in range(seeds)
    ]
    out = [told("steady picture", steady)]
    for T in TIMES:
        films = [Film(T, seed) for seed in range(seeds)]
        out.append(told(f"T = {T}", [[f.wrong(f.trained(fit, steps)["trained"]) for fit in FITS] for f in films]))
    return out


if __name__ == "__main__":
    print("\n".join(main(*map(int, sys.argv[1:3]))))
