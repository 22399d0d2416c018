"""Single patterns, followed by arclength or tracked on an edge: one spot, stripes, hexagons, a band without corners."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
import xarray as xr

import gsimplicit as gs
from gsimplicit import labels
from gsimplicit.bifurcation.branch import Branch, follow
from gsimplicit.bifurcation.edge import EdgeState, basin_edge, edge_state
from gsimplicit.bifurcation.fold import fold
from gsimplicit.bifurcation.uniform import hopf, turing, upper_state
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from studies._curves import CELL

SPOT = 32
"""Side of the field of a spot."""
HORIZON = 6000
"""Steps after which what lives counts as survived."""
EDGES = 5
"""Edge states beside a branch."""
SPOT_CELLS = 150
"""A pattern with more pixels above v = 0.15 is no single spot."""
PERIODS = (11, 12, 13)
LATTICES = ((13, 22), (14, 24), (15, 26))
"""Rows and columns of two unit cells of a nearly regular hexagonal lattice."""
STARTS = tuple(product((3e-4, -2e-4, -1.2e-3), (0.15, 0.2, 0.25, 0.3)))
"""Distances in k from the Turing line, and amplitudes, from which waves are refined."""
LOOK, LOOKS = 20_000, 6
"""Steps over which a strip that does not shrink is taken to be held, and how often it is looked at."""
ENOUGH = gs.Refine(max_evaluations=100_000)
"""What the search for a pattern from a wave may cost: what is one settles soon."""
HIGH = 0.06
"""Above this F no such start leads to hexagons: those of this F are carried there."""

CURVES = {
    "spot_fold": "fold of the single spot",
    "spot_hopf": "Hopf point of the single spot",
    "spot_fold_augmented": "fold of the single spot by the minimally augmented system",
    "stripe_fold": "fold of stripes towards small k, best of three periods",
    "hexagon_fold": "fold of hexagons of holes towards small k, lowest of three lattices",
    "hexagon_patch": "where half a field of these hexagons is lost to the uniform state",
    "planar_edge": "where a band of the box's values dies, without corners",
}


def curves(feeds: tuple[float, ...]) -> Job:
    frame = xr.Dataset(
        {n: ("F", np.full(len(feeds), np.nan), {"long_name": w, "units": "1"}) for n, w in CURVES.items()},
        {"F": ("F", np.array(feeds), labels.attributes("F"))},
    )
    return Job(frame, ("F",), list(map(float, feeds)), _curves_at)


def _spot(F: float) -> gs.SteadyState | None:
    """A single spot at F, at the largest k where a small box leaves one."""
    for k, half in product(np.arange(0.073, 0.0605, -0.001), (3, 4, 5)):
        start = gs.initial_state(grid=(SPOT, SPOT), noise=0.0, box=gs.Box(half=half))
        state = gs.steady_state(gs.Params(0.16, 0.08, F, float(k)), start, max_steps=20_000)
        if state.kind[0] != gs.Kind.PATTERN or int((state.v > 0.15).sum()) > SPOT_CELLS:
            continue
        root = gs.steady_state(state.params, state.fields, refine=gs.Refine(max_evaluations=100_000))
        if root.has_root[0]:
            return root
    if F <= 0.055:
        return None
    # no box leaves one there: the spot of a smaller F, carried along
    before = _spot(F - 0.005)
    return None if before is None else _carried(before, F)


def _carried(spot: gs.SteadyState, F: float) -> gs.SteadyState | None:
    """A spot at another F, by following it there at its k."""
    branch = follow(spot, "F", high=F, max_folds=1)
    if branch.ended != "range":
        return None
    nearest = int(np.argmin(np.abs(branch.values - F)))
    params = gs.Params(*branch.params[nearest]).replace(F=F)
    root = gs.steady_state(params, torch.from_numpy(branch.fields[nearest : nearest + 1]), refine=True)
    return root if root.has_root[0] and root.kind[0] == gs.Kind.PATTERN else None


def _curves_at(F: float) -> Values:
    """Folds and Hopf point of the spot, folds of stripes and hexagons, and where a band of the box's values dies."""
    out = dict.fromkeys(CURVES, np.nan)
    spot = _spot(F)
    if spot is not None:
        right = follow(spot, "k", low=0.05, high=0.085, max_folds=1, eigenvalues=3)
        if right.folds:
            out["spot_fold"], out["spot_fold_augmented"] = right.folds[0].value, fold(right).value
        out["spot_hopf"] = next((i.value for i in right.instabilities if abs(i.eigenvalue.imag) > 1e-5), np.nan)
    folds = [x for x in (_stripe_fold(F, n) for n in PERIODS) if x is not None]
    out["stripe_fold"] = min(folds, default=np.nan)
    folding = [b for b in (hexagon_branch(F, n) for n in LATTICES) if b is not None and b.folds]
    if folding:
        lowest = min(folding, key=lambda branch: branch.folds[0].value)
        out["hexagon_fold"], out["hexagon_patch"] = lowest.folds[0].value, _patch_edge(F, lowest)
    out["planar_edge"] = _planar_edge(F)
    return {name: np.float64(value) for name, value in out.items()}


def spot_edge(params: gs.Params, spot: torch.Tensor) -> EdgeState | None:
    """The state on the edge between a faint spot, which dies, and a full one, which lives."""
    faint = gs.initial_state(grid=(SPOT, SPOT), noise=0.0, box=gs.Box(half=3, u=1.0, v=0.05))
    try:
        return edge_state(params, faint, spot, rounds=400, horizon=HORIZON)
    except ValueError:
        return None


def _planar_edge(F: float) -> float:
    """The k at which a band of u = 0.5, v = 0.25 dies, 64 pixels wide: the box without its corners."""
    band = torch.zeros((1, 2, 3, 192), dtype=torch.float64)
    band[:, 0], band[:, 0, :, 64:128], band[:, 1, :, 64:128] = 1.0, 0.5, 0.25
    try:
        return basin_edge(gs.Params(0.16, 0.08, F, 0.06), band, dies=0.075, survives=0.057, tol=1e-6).value
    except ValueError:
        return float("nan")


def _stripe_fold(F: float, period: int) -> float | None:
    """K where stripes of a period fold, coming from the Turing line."""
    wave = np.cos(2 * np.pi * np.arange(period) / period)
    for ahead, size in STARTS:
        k = float(turing(F)[0]) + ahead
        fields = np.stack([np.full((3, period), 0.5) - 1.3 * size * wave, np.full((3, period), 0.2) + size * wave])
        state = gs.steady_state(gs.Params(0.16, 0.08, F, k), fields[None], refine=ENOUGH)
        if state.has_root[0] and state.kind[0] == gs.Kind.PATTERN:
            branch = follow(state, "k", direction=-1, low=0.05, max_folds=1)
            return branch.folds[0].value if branch.folds else None
    return None


def hexagon_branch(F: float, lattice: tuple[int, int]) -> Branch | None:
    """Hexagons of holes, to their fold unless they cross to another pattern before; None where none are met."""
    hexagons = _hexagons(min(F, HIGH), lattice)
    if hexagons is not None and F > HIGH:
        hexagons = _carried(hexagons, F)
    if hexagons is None:
        return None
    return follow(hexagons, "k", direction=-1, low=0.05, max_folds=1)


def _patch_edge(F: float, branch: Branch) -> float:
    """K below which a strip of hexagons, half the field, shrinks until it is gone, edges along either side tried.

    NaN where the uniform state is not stable at the fold, or nothing changes within two cells of it.
    """
    fold_at = branch.folds[0].value
    if fold_at > hopf(F):  # NaN where there is no such line
        return float("nan")
    upper = slice(int(np.argmin(branch.values)) + 1)

    def lives(k: float) -> bool:
        nearest = int(np.argmin(np.abs(branch.values[upper] - k)))
        params = gs.Params(0.16, 0.08, F, k)
        hexagons = _marched(params, torch.from_numpy(branch.fields[nearest : nearest + 1]), 3000)
        u, v = upper_state(F, k)
        uniform = torch.tensor([float(u), float(v)], dtype=torch.float64)[:, None, None]
        return all(_strip_lives(params, hexagons[0], uniform, axis) for axis in (1, 2))

    dies, survives = fold_at + 0.1 * CELL, fold_at + 2 * CELL
    if lives(dies) or not lives(survives):
        return float("nan")
    while survives - dies > CELL / 20:
        middle = (survives + dies) / 2
        dies, survives = (dies, middle) if lives(middle) else (middle, survives)
    return (survives + dies) / 2


def _strip_lives(params: gs.Params, hexagons: torch.Tensor, uniform: torch.Tensor, axis: int) -> bool:
    """Whether a strip across the field, half of it, stops shrinking before it is gone."""
    copies = 8 if hexagons.shape[axis] < 20 else 6
    fields = hexagons.repeat(*(copies if n == axis else 1 for n in range(3)))
    size = fields.shape[axis]
    outside = torch.ones(size, dtype=torch.bool)
    outside[size // 4 : 3 * size // 4] = False
    where = (slice(None), outside) if axis == 1 else (slice(None), slice(None), outside)
    fields[where] = uniform
    width = size // 2
    for _ in range(LOOKS):
        fields = _marched(params, fields[None], LOOK)[0]
        now = int(((fields[1] - uniform[1]).abs().amax(dim=2 - axis) > 0.03).sum())
        if now >= width or not now:
            return now > 0
        width = now
    return False


def _marched(params: gs.Params, fields: torch.Tensor, steps: int) -> torch.Tensor:
    return gs.steady_state(params, fields, tol=0.0, max_steps=steps, dtype=torch.float64).fields


def _hexagons(F: float, lattice: tuple[int, int]) -> gs.SteadyState | None:
    rows, columns = (2 * np.pi * np.arange(n) / n for n in lattice)
    wave = (np.cos(2 * columns)[None] + 2 * np.cos(rows)[:, None] * np.cos(columns)[None]) / 3
    for ahead, size in STARTS:
        fields = np.stack([0.5 + 1.3 * size * wave, 0.2 - size * wave])
        params = gs.Params(0.16, 0.08, F, float(turing(F)[0]) + ahead)
        state = gs.steady_state(params, fields[None], refine=ENOUGH)
        if state.has_root[0] and state.kind[0] == gs.Kind.PATTERN:
            return state
    return None


def spots(feeds: tuple[float, ...]) -> Job:
    """Branches of different lengths: each is brought to 200 points at equal distances along it."""
    count = 200
    words = {
        "k": "kill rate", "v_max": "largest v", "v_mean": "mean of v over the grid",
        "growth": "largest real part of an eigenvalue, per unit time",
        "distance": "distance in k from the fold", "slope": "derivative of mean v in k near the fold",
        "edge_k": "kill rate of an edge state", "edge_v_max": "its largest v", "edge_rate": "its unstable rate",
    }  # fmt: skip
    sizes = {n: ("edge", EDGES) if n.startswith("edge") else ("point", count) for n in words}
    frame = xr.Dataset(
        {
            n: (("F", sizes[n][0]), np.full((len(feeds), sizes[n][1]), np.nan), {"long_name": w, "units": "1"})
            for n, w in words.items()
        },
        {
            "F": ("F", np.array(feeds), labels.attributes("F")),
            "point": ("point", np.arange(count), {"long_name": "point along the branch", "units": "1"}),
            "edge": ("edge", np.arange(EDGES), {"long_name": "edge state between a faint spot and a full one"}),
        },
    )
    return Job(frame, ("F",), list(feeds), partial(_spot_branch, count))


def _spot_branch(count: int, F: float) -> Values:
    spot = _spot(F)
    assert spot is not None
    out = {n: np.full(count, np.nan) for n in ("k", "v_max", "v_mean", "growth", "distance", "slope")}
    left = follow(spot, "k", direction=-1, low=0.058, high=0.085, max_folds=1, eigenvalues=3)
    right = follow(spot, "k", low=0.058, high=0.085, eigenvalues=3, max_points=150)
    fields = np.concatenate([left.fields[::-1], right.fields[1:]])
    n = min(count, len(fields))
    out["k"][:n] = np.concatenate([left.values[::-1], right.values[1:]])[:n]
    out["v_max"][:n], out["v_mean"][:n] = fields[:n, 1].max(axis=(1, 2)), fields[:n, 1].mean(axis=(1, 2))
    out["growth"][:n] = np.concatenate([left.eigenvalues[::-1, 0], right.eigenvalues[1:, 0]])[:n].real
    near, at = _near_fold(right)
    stable = np.flatnonzero(out["growth"][:n] < 0)
    beside = stable[np.linspace(0, len(stable) - 1, EDGES).round().astype(int)]
    edges = [_edge_beside(F, float(out["k"][i]), fields[i : i + 1]) for i in beside]
    out["edge_k"], out["edge_v_max"], out["edge_rate"] = np.array(edges).T
    turn = min(int(np.flatnonzero(near.slope < 0)[0]), count)
    out["distance"][:turn] = (at - near.values)[:turn]
    out["slope"][:turn] = np.gradient(near.fields[:turn, 1].mean(axis=(1, 2)), near.values[:turn])
    return out


def _edge_beside(F: float, k: float, full: np.ndarray[Any, Any]) -> tuple[float, float, float]:
    """Kill rate, largest v and unstable rate of the edge state below a full spot."""
    edge = spot_edge(gs.Params(0.16, 0.08, F, k), torch.from_numpy(full))
    if edge is None:
        return k, np.nan, np.nan
    return k, float(edge.fields[1].max()), float(edge.eigenvalues[0].real)


def _near_fold(branch: Branch) -> tuple[Branch, float]:
    """The stretch before the fold again, in steps that double away from it."""
    at = branch.folds[0].value
    last = int(np.flatnonzero((branch.slope > 0) & (at - branch.values > 3e-4))[-1])
    state = gs.steady_state(
        gs.Params(*branch.params[last]), torch.from_numpy(branch.fields[last : last + 1]), refine=True
    )
    return follow(state, "k", low=0.05, step=1e-3, max_step=1e-3, max_points=200), at
