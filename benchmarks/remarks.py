"""Numbers that the docs quote beside the studies: `python -m benchmarks.remarks`, about five minutes.

The height of the left plateau against the cadence of the stop test; the spectrum loss of the certified roots of the
paper's point; the uncertainty of the implicit gradient where the lattice hardly pins a pattern; the edge of a spot's
basin beside its Hopf point; how the fold of hexagons depends on their lattice.
"""

from __future__ import annotations

import numpy as np
import torch

import gsimplicit as gs
from gsimplicit.bifurcation.lifetime import lifetime
from gsimplicit.losses import log_spectrum
from gsimplicit.routes.arguments import default_target
from studies._curves import CELL
from studies._single import hexagon_branch

LATTICES = ((10, 17), (11, 19), (12, 21), (13, 22), (13, 23), (14, 24), (14, 25), (15, 26), (16, 28), (17, 29))
"""Rows and columns of two cells."""


def plateau() -> None:
    """Loss of the uniform states of 13 x 13 points against the default target."""
    axes = {"F": np.linspace(0.03, 0.07, 13), "k": np.linspace(0.053, 0.068, 13)}
    for cadence in (1, 16, 64):
        data = gs.scan(
            axes, target=default_target((128, 128), gs.Params.model), check_every=cadence, progress=False
        ).isel(sample=0)
        uniform = (data["kind"] == gs.Kind.UNIFORM) & (data["status"] == gs.Status.SETTLED)
        loss = data["loss"].isel(objective=0).where(uniform)
        low, high = float(loss.min()), float(loss.max())
        print(f"left plateau, tested every {cadence}: {int(uniform.sum())} cells, {low:.0f}..{high:.0f}")


def paper_point() -> None:
    """Spectrum loss of the stop and of the root of four seeds, and the share of bins at the logarithm's floor."""
    params, target = gs.Params.preset("paper"), default_target((128, 128), gs.Params.model)
    for seed in (0, 2, 3, 4):  # the target is seed 1
        start = gs.initial_state(seed=seed)
        stop = gs.steady_state(params, start, dtype=torch.float64)
        root = gs.steady_state(params, start, refine=True)
        floor = float((log_spectrum(root.v) < -15).double().mean())
        before, after = (float(gs.spectrum_loss(s.v, target)) for s in (stop, root))
        print(f"seed {seed}: loss {before:.1f} at the stop, {after:.1f} at the root, {floor:.0%} of bins at the floor")


def definitions() -> None:
    """Distance of the full and the bordered implicit gradient at a root pinned by 1e-12."""
    params = gs.Params(0.16, 0.08, 0.03, float(np.linspace(0.053, 0.068, 8)[1]))
    given = {"initial": gs.initial_state(grid=(48, 48))}
    for name, loss in (("spectrum", "spectrum"), ("mean v^2", lambda v: (v**2).mean(dim=(-2, -1)))):
        certificate = gs.grad(params, loss=loss, **given).certificate
        print(f"{name}: full and bordered differ by {certificate.other_definition.item():.1e}")


def edge_cycle() -> None:
    """A state kept on the edge between a full spot and one that dies, near the spot's Hopf point: largest v."""
    grid, params = (32, 32), gs.Params(0.16, 0.08, 0.035, 0.0725)

    def on(fields: torch.Tensor, steps: int) -> torch.Tensor:
        return gs.steady_state(params, fields, tol=0.0, max_steps=steps, dtype=torch.float64).fields

    dying = gs.initial_state(grid=grid, noise=0.0, box=gs.Box(half=3, u=1.0, v=0.05))
    spot = gs.initial_state(grid=grid, noise=0.0, box=gs.Box(half=3))
    grown = gs.steady_state(params.replace(k=0.07), spot, tol=0.0, max_steps=20_000)
    living = gs.steady_state(params, grown.fields, refine=True).fields.to(torch.float64)
    tops: list[float] = []
    while len(tops) < 1000:
        while float((living - dying).abs().max()) > 1e-10:
            middle = (living + dying) / 2
            if lifetime(params, middle, 6000) is None:
                living = middle
            else:
                dying = middle
        for _ in range(100):
            living, dying = on(living, 2), on(dying, 2)
            tops.append(float(living[0, 1].max()))
    v = np.array(tops[200:])
    peaks = np.flatnonzero((v[1:-1] > v[:-2]) & (v[1:-1] >= v[2:]))
    print(
        f"edge at F = 0.035, k = 0.0725: largest v from {v.min():.3f} to {v.max():.3f}, "
        f"{2 * np.diff(peaks).mean():.0f} steps from peak to peak ({len(peaks)} peaks)"
    )


def lattices() -> None:
    """Folds of hexagons in ten nearly regular lattices, from the lowest of them, in cells of the paper's plane."""
    for F in (0.045, 0.055, 0.07):
        found = {n: branch for n in LATTICES if (branch := hexagon_branch(F, n)) is not None and branch.folds}
        folds = {n: branch.folds[0].value for n, branch in found.items()}
        lowest = min(folds.values())
        print(f"F = {F:g}: " + ", ".join(f"{a} x {b} +{(k - lowest) / CELL:.2f}" for (a, b), k in folds.items()))


if __name__ == "__main__":
    torch.set_num_threads(1)
    plateau()
    paper_point()
    definitions()
    edge_cycle()
    lattices()
