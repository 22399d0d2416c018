"""What the paper's stop leaves, and what of it is a steady state.

(a) Random pattern-forming points of the F-k plane (the first of `studies/oracle.csv` on each grid): the residual and
the growing modes at the stop, and after refinement the verdict, how far the state moved and how stable the root is. (b)
How far the march is from the certified root, against steps, the position of the pattern left out. (c) How the unrolled
gradient from a root converges to the implicit one, against the rate of the slowest mode. (d) The left plateau, where
the march stops at a uniform state: which of these states are stable, and which are not steady at all (the paper's
remark on the Hopf bifurcation, sec. 5.1).
"""

from __future__ import annotations

import csv
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

import gsimplicit as gs
from gsimplicit import labels
from gsimplicit.equations import instances
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from gsimplicit.marching import cpu
from gsimplicit.plotting import plane
from gsimplicit.refine.eigenvalues import leading
from gsimplicit.refine.newton import rigid_distance
from studies import _paper
from studies._bars import at_least, at_most, below
from studies._claims import Claim, ours
from studies._common import Datasets, Study, filled
from studies.oracle import GRIDS, TABLE

SIZES = {"quick": ((32, 64), 4, 5), "default": ((32, 64, 128), 10, 10), "paper": ((32, 64, 128), 40, 24)}
"""Grids, points on each, and points along each axis of the plateau."""
PLATEAU = {"F": (0.03, 0.07), "k": (0.053, 0.061)}
ROOT_SIDE = 48
"""Grid of (c)."""
SIDE = 32
"""Grid of (d)."""
LARGEST = 64
"""Largest grid of (b): beyond, the march takes too long."""
LOOKS = 2 ** np.arange(8, 21)
"""Steps at which (b) looks, up to a million."""
VERDICTS = ("stable", "unstable", "not steady", "a pattern or trivial")


def mean_square(v: torch.Tensor) -> torch.Tensor:
    """Mean of v^2."""
    return (v**2).mean(dim=(-2, -1))


def compute(scale: str, folder: Path) -> Datasets:
    """Three small datasets, each filled point by point."""
    grids, points, cells = SIZES[scale]
    return {
        "steady_points": filled(
            folder / "steady_points.nc",
            (__file__,),
            {"grids": list(grids), "points": points},
            lambda: _points(grids, points),
        ),
        "steady_convergence": filled(folder / "steady_convergence.nc", (__file__,), {"side": ROOT_SIDE}, _convergence),
        "steady_plateau": filled(folder / "steady_plateau.nc", (__file__,), {"cells": cells}, lambda: _plateau(cells)),
    }


POINT = {
    "F": "feed rate",
    "k": "kill rate",
    "stop_residual": "largest steady residual at the stop",
    "growing": "growing modes found near 0 at the stop, 6 at most",
    "fastest": "largest real part of an eigenvalue found at the stop",
    "status": "how refinement ended",
    "stable": "stability of the root (1 yes, 2 no)",
    "leading": "real part of the leading eigenvalue of the root",
    "moved": "largest distance of the refined state from the stop",
    "drift": "speed of the rigid drift of the refined state",
    "motion": "what an unsteady state does (1 travels, 2 oscillates, 3 rearranges)",
}
"""Variables of a point of (a)."""


def _points(grids: tuple[int, ...], count: int) -> Job:
    """The first points of each grid in the oracle's table."""
    with TABLE.open() as stream:
        rows = list(csv.DictReader(stream))
    items = [
        (side, float(r["F"]), float(r["k"]))
        for side in grids
        for r in [r for r in rows if int(r["side"]) == side][:count]
    ]
    shape = (len(grids), count)
    frame = xr.Dataset(
        {n: (("side", "point"), np.full(shape, np.nan), {"long_name": w, "units": "1"}) for n, w in POINT.items()},
        {"side": ("side", list(grids)), "point": ("point", np.arange(count)), "steps": ("steps", LOOKS)},
    )
    frame["side"].attrs = {"long_name": "side of the grid in pixels", "units": "1"}
    frame["point"].attrs = {"long_name": "index of the point in its table", "units": "1"}
    frame["steps"].attrs = {"long_name": "steps marched", "units": "1"}
    long_name = "largest distance of the march from the root, moved rigidly to fit best"
    frame["apart"] = (
        ("side", "point", "steps"), np.full((*shape, len(LOOKS)), np.nan), {"long_name": long_name, "units": "1"}
    )  # fmt: skip
    return Job(frame, ("side", "point"), items, _point)


def _point(item: tuple[int, float, float]) -> Values:
    """Stop and root of one point."""
    side, F, k = item
    params, start = gs.Params(0.16, 0.08, F, k), gs.initial_state(grid=(side, side), box=gs.Box(half=GRIDS[side]))
    stop = gs.steady_state(params, start, dtype=torch.float64)
    tail = "euler" if side <= LARGEST else "chebyshev"  # (b) wants the root of exactly this trajectory
    root = gs.steady_state(params, start, dtype=torch.float64, refine=gs.Refine(tail=tail, eigenvalues=6))
    spectrum = _spectrum(stop)
    apart = _distances(start, root) if side <= LARGEST else np.full(len(LOOKS), np.nan)
    values = {
        "F": F,
        "k": k,
        "stop_residual": stop.residual[0],
        "growing": (spectrum.real > 1e-6).sum(),
        "fastest": spectrum.real.max(),
        "leading": root.eigenvalues[0, 0].real,
        "drift": root.drift[0].norm(),
        **{name: getattr(root, name)[0] for name in ("status", "stable", "moved", "motion")},
    }
    return {**{name: np.float64(value) for name, value in values.items()}, "apart": apart}


def _spectrum(stop: gs.SteadyState) -> np.ndarray[Any, np.dtype[np.complex128]]:
    """Eigenvalues near 0 at a state that is no root."""
    (equations,) = instances(stop.params)
    return leading(
        equations, stop.fields[0].to(torch.float64).numpy(), np.zeros((0, 2)), np.zeros(2), shifts=(0.0,)
    ).values


def _distances(start: torch.Tensor, root: gs.SteadyState) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Distance of the march from its root at each look; NaN where there is no root."""
    out = np.full(len(LOOKS), np.nan)
    if not root.has_root[0]:
        return out
    (equations,) = instances(root.params)
    fields, goal = start[0].numpy(), root.fields[0].numpy()
    for n, more in enumerate(np.diff(LOOKS, prepend=0)):
        fields = np.asarray(cpu.march(equations, fields, 0.0, int(more), int(more))[0])
        out[n] = rigid_distance(fields, goal)
    return out


def _convergence() -> Job:
    """Relative distance of the unrolled to the implicit gradient of mean v^2 at one stored root."""
    params = gs.Params.preset("paper")
    start = gs.initial_state(grid=(ROOT_SIDE, ROOT_SIDE))
    root = gs.steady_state(params, start, refine=gs.Refine(tol=1e-13, lattice=True, eigenvalues=6))
    exact = gs.grad(params, gs.routes.Implicit(gs.Refine(lattice=True)), mean_square, initial=root.fields).grad.tensor()
    steps = 20_000 * np.arange(1, 11)
    frame = xr.Dataset(
        {
            "apart": (
                "steps",
                np.full(len(steps), np.nan),
                {"long_name": "relative distance of the two gradients", "units": "1"},
            ),
            "eigenvalue": ("mode", root.eigenvalues[0].real, {"long_name": "real part of eigenvalues", "units": "1"}),
        },
        {"steps": ("steps", steps, {"long_name": "steps unrolled from the root", "units": "1"})},
    )
    frame = frame.assign_coords(mode=("mode", np.arange(frame.sizes["mode"]), {"long_name": "mode", "units": "1"}))
    return Job(frame, ("steps",), steps.tolist(), partial(_apart, root.fields, exact))


def _apart(fields: torch.Tensor, exact: torch.Tensor, steps: int) -> Values:
    params = gs.Params.preset("paper")
    out = gs.grad(params, "unrolled", mean_square, initial=fields, tol=0.0, max_steps=steps).grad.tensor()
    return {"apart": np.float64((out - exact).norm() / exact.norm())}


def _plateau(cells: int) -> Job:
    """Verdict on each cell: 0 stable uniform, 1 unstable uniform, 2 not steady, 3 no uniform state at the stop."""
    F, k = (np.linspace(*PLATEAU[name], cells) for name in ("F", "k"))
    attrs = {
        "long_name": "what the stopped state is",
        "units": "1",
        "flag_values": np.arange(len(VERDICTS), dtype=np.int8),
        "flag_meanings": " ".join(v.replace(" ", "_") for v in VERDICTS),
    }
    coordinates = {n: (n, at, labels.attributes(n)) for n, at in (("F", F), ("k", k))}
    frame = xr.Dataset({"verdict": (("F", "k"), np.full((cells, cells), 3, np.int8), attrs)}, coordinates)
    return Job(frame, ("F", "k"), list(product(F.tolist(), k.tolist())), _verdict)


def _verdict(item: tuple[float, float]) -> Values:
    params = gs.Params(0.16, 0.08, *item)
    start = gs.initial_state(grid=(SIDE, SIDE), box=gs.Box(half=GRIDS[SIDE]))
    if gs.steady_state(params, start).kind[0] != gs.Kind.UNIFORM:
        return {"verdict": np.int8(3)}
    root = gs.steady_state(params, start, refine=gs.Refine(eigenvalues=6, max_evaluations=200_000))
    return {"verdict": np.int8({gs.Stable.YES: 0, gs.Stable.NO: 1}.get(gs.Stable(int(root.stable[0])), 2))}


def plot(data: Datasets) -> Figure:
    """Residual and motion of the stop, the way to the root, convergence of the gradients, the plateau."""
    points, convergence, plateau = (data[f"steady_{n}"] for n in ("points", "convergence", "plateau"))
    figure = Figure(figsize=(9, 7.6), layout="constrained")
    ((left, way), (middle, right)) = figure.subplots(2, 2)
    for side, colour in zip(points["side"].values, ("#1f5a8a", "#7fb08a", "#c0392b"), strict=False):
        curves = points["apart"].sel(side=side).dropna("point", how="all")
        if curves.sizes["point"]:
            way.loglog(points["steps"], curves.T, color=colour, lw=0.6, alpha=0.6)
            way.loglog(points["steps"], curves.median("point"), color=colour, lw=2, label=f"{side} x {side}, median")
        one = points.sel(side=side)
        root = one["status"].isin([gs.Status.STEADY, gs.Status.DRIFTING])
        for chosen, face in ((root, colour), (~root, "none")):
            left.plot(
                one["stop_residual"].where(chosen),
                one["moved"].where(chosen),
                "o",
                ms=5,
                mfc=face,
                mec=colour,
                ls="none",
            )
        left.plot(
            [], [], "o", color=colour, ls="none", label=f"{side} x {side}, {int(root.sum())} of {len(root)} certified"
        )
    left.set(xscale="log", xlabel="residual at the paper's stop", ylabel="distance moved by refinement (max norm)")
    left.set_title("(a) random patterns; open: not certified", loc="left")
    left.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    way.set(xlabel="steps from the start", ylabel="distance from the root (max norm)", ylim=(1e-6, 2))
    way.set_title("(b) the march's distance from its certified root", loc="left")
    way.legend(fontsize=7, frameon=False, loc="lower left")
    rate = float(convergence["eigenvalue"].max())
    steps, apart = convergence["steps"].values, convergence["apart"].values
    middle.semilogy(steps / 1000, apart, "o-", color="#1f5a8a", ms=4, label="unrolled against implicit")
    middle.semilogy(
        steps / 1000,
        apart[-1] * np.exp(np.log1p(rate) * (steps - steps[-1])),
        "k--",
        lw=0.8,
        label=f"slowest mode, {rate:.2g} a step",
    )
    middle.set(xlabel="steps unrolled from the root, thousands", ylabel="relative distance of the gradients")
    middle.set_title("(c) one root, 48 x 48, mean v^2", loc="left")
    middle.legend(fontsize=7, frameon=False)
    colours = ("#8fb3d9", "#c0392b", "#d98c5f", "0.9")
    norm = BoundaryNorm(np.arange(len(VERDICTS) + 1) - 0.5, len(VERDICTS))
    plane(plateau["verdict"], right, cmap=ListedColormap(colours), norm=norm)
    right.set_title("(d) stopped at a uniform state, 32 x 32", loc="left")
    patches = [Patch(facecolor=c, edgecolor="0.4", label=v) for c, v in zip(colours, VERDICTS, strict=True)]
    right.legend(handles=patches, fontsize=7, frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    return figure


def judge(data: Datasets) -> list[Claim]:
    """What the stop is, how fast the routes meet, and what the left plateau is made of."""
    points, convergence, plateau = (data[f"steady_{n}"] for n in ("points", "convergence", "plateau"))
    root = points["status"].isin([gs.Status.STEADY, gs.Status.DRIFTING])
    by_side = ", ".join(
        f"{int(s)} x {int(s)}: {int(root.sel(side=s).sum())} of {root.sizes['point']}" for s in points["side"]
    )
    stable = int((points["stable"].where(root) == gs.Stable.YES).sum())
    far = float(points["moved"].where(root).median())
    motions = {m.name.lower(): int((points["motion"] == int(m)).sum()) for m in list(gs.Motion)[1:]}
    rate, slope = (
        float(convergence["eigenvalue"].max()),
        np.polyfit(convergence["steps"][-4:], np.log(convergence["apart"][-4:]), 1)[0],
    )
    verdicts = {v: int((plateau["verdict"] == i).sum()) for i, v in enumerate(VERDICTS)}
    uniform = sum(verdicts[v] for v in VERDICTS[:3])
    return [
        Claim(
            _paper.STEADY_STOP,
            "The stop (no pixel changes by 1e-4 in a step) is a steady state. Asked here: the certified steady state "
            "differs from it by less than 0.01 (median of the largest difference).",
            f"the steady state is {far:.2f} away",
            f"median distance to the certified root {far:.2f}; residual at the stop "
            f"{float(points['stop_residual'].min()):.0e}..{float(points['stop_residual'].max()):.0e}",
            far < 0.01,
            bars=(below("median of the largest difference", far, 0.01),),
        ),
        Claim(
            _paper.NO_GROWTH,
            "At the stop no small change of the pattern grows. A gradient taken there takes this for granted.",
            f"something grows at {int((points['growing'] > 0).sum())} of {points['growing'].size} stops",
            f"{int((points['growing'] > 0).sum())} of {points['growing'].size} stops have growing modes, the fastest "
            f"{float(points['fastest'].max()):.1e} per unit time",
            bool((points["growing"] == 0).all()),
            bars=(at_most("stops where something grows", int((points["growing"] > 0).sum()), 0),),
        ),
        Claim(
            _paper.ALL_STEADY,
            "Random patterns: each has a steady state, certified to 1e-10 with a rigid drift taken out.",
            f"{int(root.sum())} of {root.size} random patterns do",
            f"{by_side}; {stable} of {int(root.sum())} roots stable; the rest: "
            + ", ".join(f"{n} {m}" for m, n in motions.items()),
            bool(root.all()),
            bars=(at_least("share with a steady state", root.mean(), 1),),
        ),
        Claim(
            ours("Unrolled tends to implicit"),
            "The unrolled gradient converges to the implicit one, as fast as the slowest mode of the state dies.",
            f"rate {slope:.3g} a step, expected {rate:.3g}",
            f"slope {slope:.3g} a step against {rate:.3g}, distance at the end {float(convergence['apart'][-1]):.1e}",
            bool(abs(slope / rate - 1) < 0.1),
            bars=(below("slope away from the rate by it", abs(slope / rate - 1), 0.1),),
        ),
        Claim(
            _paper.LIMIT_CYCLES,
            "The uniform plateau may hold oscillations that the stop cuts off: not all its states are stable uniform "
            "ones.",
            f"{verdicts['unstable'] + verdicts['not steady']} of {uniform} are not stable",
            ", ".join(f"{n} {v}" for v, n in verdicts.items() if v != VERDICTS[3]) + f" of {uniform} uniform cells",
            verdicts["unstable"] + verdicts["not steady"] > 0,
            bars=(at_least("states that are not stable", verdicts["unstable"] + verdicts["not steady"], 1),),
        ),
    ]


STUDY = Study(
    "steady",
    "what the paper's stop leaves, and what of it is steady",
    compute,
    plot,
    judge,
    caption="(a): how far random patterns still are from a steady state when the march stops, against what is left of "
    "the equations there; open circles never became steady. (b): the way to the steady state in steps, position left "
    "out. (c): the unrolled gradient approaches the implicit one at the pace of the slowest mode. (d): what stands on "
    "the left plateau.",
    alt="Four panels: stopped patterns are a few tenths away from their steady states; the way there takes a hundred "
    "thousand steps and more; two gradients approach each other exponentially; a map of the left plateau.",
)
