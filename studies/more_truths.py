"""Networks from patterns to parameters asked of more truths: `python -m studies.more_truths [TRUTHS] [NETWORKS]`.

Study `pinn` asks two networks of either kind of 48 truths, which leaves two questions near their bars. This command
trains more of them on the same draws and asks them of fresh truths. Printed is the error with fresh starts by that with
one, and the rank correlation of `studies/like_patterns.py` by that one's measure of likeness, with fewer and more
neighbours beside its ten, and for each parameter alone. Rules are those of the study and of `like_patterns`.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import torch
import xarray as xr

from studies import _backward, like_patterns

FRESH = 900
"""Seed of the truths, which no network and no study has seen."""


def answers(truths: int, networks: int) -> tuple[xr.Dataset, torch.Tensor, list[np.ndarray]]:
    """Errors as of study `pinn`, the truths, and by number of neighbours how these differ, a truth and parameter."""
    sizes = replace(_backward.SIZES["default"], truths=truths, seeds=networks)
    shape = (len(_backward.SEEN), networks, truths, sizes.starts, 4)
    errors, spreads, truth = np.full(shape, np.nan), [], torch.empty(0)
    for kind, seen in enumerate(_backward.SEEN):
        fresh = seen == _backward.SEEN[1]
        goals, held = _backward._drawn(sizes, truths, sizes.starts if fresh else 1, fresh, FRESH)
        for seed in range(networks):
            goal, patterns = _backward._drawn(sizes, sizes.trained, 1, fresh, 1 + seed)
            answer = _backward._trained(goal[:, 0], patterns[:, 0], sizes.steps, seed)
            with torch.no_grad():
                for s in range(held.shape[1]):
                    errors[kind, seed, :, s] = (answer(held[:, s]) - goals[:, s]).numpy()
            if fresh:
                spreads.append([like_patterns.spread(goal[:, 0], patterns, held, n) for n in like_patterns.BESIDE])
        truth = goals[:, 0]
    over = ("trained", "seed", "truth", "start", "parameter")
    return xr.Dataset({"error": (over, errors)}, {"trained": list(_backward.SEEN)}), truth, list(np.mean(spreads, 0))


def main(truths: int, networks: int) -> list[str]:
    """What is found, in lines."""
    torch.set_num_threads(1)
    fits, truth, spreads = answers(truths, networks)
    _, both, (low, high) = _backward.intervals(fits)
    out = [
        f"{truths} truths, {networks} networks of either kind: error with fresh starts by that with one {both:.2f} "
        f"(90 % over truths and networks {low:.2f} to {high:.2f})"
    ]
    error = fits["error"].sel(trained=_backward.SEEN[1])
    missed = like_patterns.missed(error, truth)
    for near, spread in zip(like_patterns.BESIDE, spreads, strict=True):
        found, (low, high) = like_patterns.correlated(spread.mean(1), missed.mean(1))
        each = ", ".join(f"{like_patterns.correlated(spread[:, p], missed[:, p])[0]:.2f}" for p in range(4))
        out.append(f"{near} like patterns: rank correlation {found:.2f} ({low:.2f} to {high:.2f}); each alone {each}")
    return out


if __name__ == "__main__":
    given = [int(x) for x in sys.argv[1:]]
    print("\n".join(main(*given, *(400, 4)[len(given) :])))
