"""Is what is called stable stable? Every certified root kicked, and watched.

Run once, by `python -m studies.kicks`; its table is kept in `studies/kicks.csv`. The roots are those of
`studies/certified.csv`, found anew, and beside each drifting one the root where the lattice pins it, if it does. Each
is kicked by 1e-4 in the max norm along its leading eigenvector and along a random smooth field, and marched beside a
copy that is not kicked. Measured is the difference of the two, at a drifting root with the translations of the pattern
taken out: the copy drifts and ripples over the lattice as the kicked one does. For a complex mode the kicks along its
real and its imaginary part are added in squares.

The rate is measured over the first quarter of the mode's time and over one and a half of it. At a pinned root both
must be the eigenvalue. A drifting root crosses the lattice meanwhile, whose pull changes the pattern's rates: there
the first is the eigenvalue, and the second is what a user sees. On 2 cores it takes about half an hour.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import loky
import numpy as np
import torch

import gsimplicit as gs
from gsimplicit.equations import Equations, instances
from gsimplicit.grid import along, broken_translations
from gsimplicit.marching import cpu
from gsimplicit.refine.eigenvalues import leading
from studies.certify import CERTIFIED
from studies.oracle import GRIDS

Array = np.ndarray[Any, np.dtype[np.float64]]

TABLE = Path(__file__).with_name("kicks.csv")
KICK = 1e-4
LOOKS = 8
LONGEST = 400_000
"""Steps a kicked state is watched at most; less where its mode is faster: one and a half of its times."""


def smooth_field(shape: tuple[int, ...]) -> Array:
    """A random field without features below six pixels, of max norm 1."""
    hat = np.fft.fft2(np.random.default_rng(0).standard_normal(shape))
    q = np.hypot(np.fft.fftfreq(shape[-2])[:, None], np.fft.fftfreq(shape[-1])[None])
    field = np.fft.ifft2(np.where(q < 1 / 6, hat, 0)).real
    return np.asarray(field / np.abs(field).max())


def distances(equations: Equations, fields: Array, kicks: list[Array], steps: int, still: bool) -> Array:
    """Distance from the copy that was not kicked, in the 2-norm over all kicks at each look.

    Of a drifting pattern the translations are taken out.
    """
    runs = [fields, *(fields + KICK * kick / np.abs(kick).max() for kick in kicks)]
    weights = [np.abs(kick).max() for kick in kicks]
    found = []
    for look in range(LOOKS + 1):
        if look:
            runs = [np.asarray(cpu.march(equations, X, 0.0, steps // LOOKS, steps // LOOKS)[0]) for X in runs]
        directions = np.zeros((0, 2)) if still else broken_translations(runs[0])
        slopes = along(directions, runs[0]).reshape(len(directions), fields.size)
        basis = np.linalg.qr(slopes.T)[0]
        apart = [(X - runs[0]).ravel() * w for X, w in zip(runs[1:], weights, strict=True)]
        found.append(np.sqrt(sum(np.linalg.norm(d - basis @ (basis.T @ d)) ** 2 for d in apart)))
    return np.array(found)


def watch(equations: Equations, fields: Array, still: bool, drift: Array) -> dict[str, float]:
    """Leading eigenvalue of a root, and the rates at which it leaves or relaxes after two kicks."""
    directions = np.zeros((0, 2)) if still else broken_translations(fields)
    spectrum = leading(equations, fields, directions, np.zeros(2) if still else drift, 6)
    value, mode = spectrum.values[0], spectrum.vectors[0]
    # a multiple of 6 looks, so that the first quarter of a time is a whole number of steps as well
    steps = 6 * LOOKS * max(1, int(min(LONGEST, 1.5 / max(abs(value.real), 1e-12))) // (6 * LOOKS))
    t = np.arange(LOOKS + 1) * (steps // LOOKS)
    kicks = [np.ascontiguousarray(mode.real)]
    if abs(value.imag) > 0:
        kicks.append(np.ascontiguousarray(mode.imag))
    first = distances(equations, fields, kicks, steps // 6, still)
    by_mode = distances(equations, fields, kicks, steps, still)
    anyhow = distances(equations, fields, [smooth_field(fields.shape)], steps, still)
    half = LOOKS // 2
    return {
        "leading_real": float(value.real),
        "leading_imag": float(value.imag),
        "steps": steps,
        "first_rate": float(np.polyfit(t / 6, np.log(first), 1)[0]),
        "rate": float(np.polyfit(t, np.log(by_mode), 1)[0]),
        "rate_of_smooth_kick": float(np.polyfit(t[half:], np.log(anyhow[half:]), 1)[0]),
        "smooth_kick_left": float(anyhow[-1] / anyhow[0]),
    }


def judge(side: int, F: float, k: float) -> list[dict[str, float | str]]:
    """Find the roots of one point and kick them."""
    torch.set_num_threads(1)
    params, start = gs.Params(0.16, 0.08, F, k), gs.initial_state(grid=(side, side), box=gs.Box(half=GRIDS[side]))
    root = gs.steady_state(params, start, refine=gs.Refine(eigenvalues=6))
    roots = [root]
    if root.status[0] == gs.Status.DRIFTING:
        pinned = gs.steady_state(params, root.fields, refine=gs.Refine(lattice=True, eigenvalues=6))
        roots += [pinned] if pinned.status[0] == gs.Status.STEADY else []
    rows: list[dict[str, float | str]] = []
    for state in roots:
        status = gs.Status(int(state.status[0]))
        (equations,) = instances(params)
        seen = watch(equations, state.fields[0].numpy(), status == gs.Status.STEADY, state.drift[0].numpy())
        rows.append(
            {
                "side": side,
                "F": F,
                "k": k,
                "status": status.name.lower(),
                "stable": gs.Stable(int(state.stable[0])).name.lower(),
            }
            | seen
        )
    print(side, F, k, *(row["status"] for row in rows), flush=True)
    return rows


def main() -> None:
    """Kick every certified root, and write the table."""
    with CERTIFIED.open() as stream:
        points = [
            (int(r["side"]), float(r["F"]), float(r["k"]))
            for r in csv.DictReader(stream)
            if r["tail"] == "euler" and r["status"] in ("steady", "drifting")
        ]
    pool = loky.get_reusable_executor(env=dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))
    rows = [row for found in pool.map(judge, *zip(*points, strict=True)) for row in found]
    with TABLE.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
