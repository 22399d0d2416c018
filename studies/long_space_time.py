"""Study `pinn` in space-time with more steps: `python -m studies.long_space_time STEPS [TIME] [SEED] [WEIGHT]`.

It trains both fits of the study's default setting for so many steps each, looks at no curvature, and prints a line.
WEIGHT is that of the first frame beside the residual, 1 in the study.
"""

from __future__ import annotations

import sys

import torch

from studies._space_time import FITS, Film


class Weighed(Film):
    """A film whose first frame counts so many times.

    Args:
        T: Time units.
        seed: Of the start, the network and its training.
        weight: Of the first frame.
    """

    def __init__(self, T: int, seed: int, weight: float) -> None:
        super().__init__(T, seed)
        self.weight = weight

    def forward(self, z: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """The losses of the first frame, of the residual at some times, and of both together."""
        data, residual, _ = super().forward(z, times)
        return torch.stack([data, residual, self.weight * data + residual])


def main(steps: int, T: int = 80, seed: int = 0, weight: int = 1) -> str:
    """Two trainings, the error of v in their last frames in words."""
    torch.set_num_threads(1)
    film = Weighed(T, seed, weight)
    ends = [film.trained(fit, steps)["trained"] for fit in FITS]
    forward, supervised = map(film.wrong, ends)
    low, high = map(film.left, ends)
    return (
        f"{steps} steps, T = {T}, seed {seed}, first frame weighs {weight}: error of v forward {forward:.3g}, "
        f"supervised {supervised:.3g}, {forward / supervised:.3g} times; forward loss {low:.2g} and {high:.2g}; v of "
        f"the first frame off by {film.wrong(ends[0], 0):.2g}"
    )


if __name__ == "__main__":
    print(main(*map(int, sys.argv[1:5])))
