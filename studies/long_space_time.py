"""The space-time setting of study `pinn` with more steps: `python -m studies.long_space_time STEPS [TIME] [SEED]`.

It trains both fits of the study's default setting for so many steps each, looks at no curvature, and prints a line.
"""

from __future__ import annotations

import sys

import torch

from studies._space_time import FITS, Film


def main(steps: int, T: int = 80, seed: int = 0) -> str:
    """Two trainings, the error of v in their last frames in words."""
    torch.set_num_threads(1)
    film = Film(T, seed)
    ends = [film.trained(fit, steps)["trained"] for fit in FITS]
    forward, supervised = map(film.wrong, ends)
    low, high = map(film.left, ends)
    return (
        f"{steps} steps, T = {T}, seed {seed}: error of v forward {forward:.3g}, supervised {supervised:.3g}, "
        f"{forward / supervised:.3g} times; forward loss {low:.2g} and {high:.2g}; v of the first frame off by "
        f"{film.wrong(ends[0], 0):.2g}"
    )


if __name__ == "__main__":
    print(main(*map(int, sys.argv[1:4])))
