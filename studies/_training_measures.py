"""What is measured along a training: adjoints against steps back, gradients of samples, losses along single moves."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
import xarray as xr

import gsimplicit as gs
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from studies import _training
from studies._constants import PIVOT, PIVOT_2, START
from studies._training import INSIDE, MAX_STEPS, TOL, VISITED, Run
from studies._widths import widths

PLACES = {"start": START, "inside": INSIDE, "pivot": PIVOT, "spots": PIVOT_2, "visited": VISITED}
"""Where gradients are looked at: the paper's start (uniform), holes, its two pivots (nothing; spots), and `VISITED`."""
BACK = 9
"""Points of a curve of adjoint norms, evenly spaced in the logarithm of the steps back."""
HIGH = 263.0
"""The right plateau's loss at 128 x 128, by which cliffs are told: a face above a quarter of it, as in `fig3`."""


def _words(long_name: str) -> dict[str, str]:
    return {"long_name": long_name, "units": "1"}


def gradients_job(grid: int, samples: int) -> Job:
    """Gradient of each sample's own loss, at each place."""
    shape, goal = (len(PLACES), samples), _training.targets(1, grid)
    blank = np.full(shape, np.nan)
    frame = xr.Dataset(
        {
            "loss": (("place", "sample"), blank.copy(), _words("loss of the sample")),
            "marched": (("place", "sample"), blank.copy(), _words("steps marched")),
            "gradient": (("place", "sample", "parameter"), np.full((*shape, 4), np.nan), _words("unrolled gradient")),
        },
        {
            "place": ("place", list(PLACES), {"long_name": "place"}),
            "sample": ("sample", np.arange(samples), _words("sample")),
            "parameter": ("parameter", ["Du", "Dv", "F", "k"], {"long_name": "parameter"}),
        },
    )
    items = list(product(PLACES.values(), range(samples)))
    return Job(frame, ("place", "sample"), items, partial(_gradient, goal, grid))


def _gradient(goal: torch.Tensor, grid: int, item: tuple[tuple[float, ...], int]) -> Values:
    place, sample = item
    start = gs.initial_state(1, 100, start=sample, grid=(grid, grid))
    out = gs.grad(gs.Params(*place), "unrolled", target=goal, initial=start, tol=TOL, max_steps=MAX_STEPS)
    return {
        "loss": np.float64(out.loss[0]),
        "marched": np.float64(out.state.steps[0]),
        "gradient": out.grad.tensor()[0].numpy(),
    }


def adjoint_job(grid: int) -> Job:
    """Norm of the adjoint so many steps before the end, at each place."""
    goal = _training.targets(1, grid)
    start = gs.initial_state(1, 100, grid=(grid, grid))
    ends = [
        int(gs.steady_state(gs.Params(*p), start, tol=TOL, max_steps=MAX_STEPS, dtype=torch.float64).steps[0])
        for p in PLACES.values()
    ]
    back = [np.unique(np.geomspace(1, end, BACK).astype(int)) for end in ends]
    steps = np.stack([np.pad(b, (0, BACK - len(b)), constant_values=b[-1]) for b in back])
    frame = xr.Dataset(
        {
            "back": (("place", "point"), steps, _words("steps before the end of the march")),
            "norm": (("place", "point"), np.full(steps.shape, np.nan), _words("norm of the adjoint, by its last one")),
        },
        {
            "place": ("place", list(PLACES), {"long_name": "place"}),
            "point": ("point", np.arange(BACK), _words("point of the curve")),
        },
    )
    items = [(place, end, int(n)) for place, end, row in zip(PLACES.values(), ends, steps, strict=True) for n in row]
    return Job(frame, ("place", "point"), items, partial(_adjoint, goal, start))


def _adjoint(goal: torch.Tensor, start: torch.Tensor, item: tuple[tuple[float, ...], int, int]) -> Values:
    """Derivative of the loss at the end in the fields some steps before, over that in the fields at the end."""
    place, end, back = item
    params, x = gs.Params(*place), start
    if end > back:
        x = gs.steady_state(params, start, tol=0.0, max_steps=end - back, dtype=torch.float64).fields
    x = x.clone().requires_grad_()
    state = gs.solve(params, "unrolled", initial=x, tol=0.0, max_steps=back)
    last = state.fields.detach().clone().requires_grad_()
    (first,) = torch.autograd.grad(gs.spectrum_loss(last[:, 1], goal).sum(), last)
    (found,) = torch.autograd.grad(gs.spectrum_loss(state.fields[:, 1], goal).sum(), x)
    return {"norm": np.float64(found.norm() / first.norm())}


def moves_of(records: dict[Run, xr.Dataset], most: int) -> list[tuple[str, Any, Any]]:
    """The first move of each run that left a pattern, or made one, as (run, from, to): `most` of them."""
    found: list[tuple[str, Any, Any]] = []
    for run, record in records.items():
        data = _training.ran(record)
        if "kind" not in data:
            continue
        pattern = (data["kind"].values == gs.Kind.PATTERN).any(axis=1)
        at = data["params"].values
        found += [(run.name, *at[n : n + 2].tolist()) for n in np.flatnonzero(pattern[1:] != pattern[:-1])[:1]]
    return found[:most]


def moves_job(moves: list[tuple[str, Any, Any]], grid: int, points: int) -> Job:
    """Losses along straight lines in parameter space, between two successive steps of a training."""
    goal, start = _training.targets(1, grid), gs.initial_state(1, 100, grid=(grid, grid))
    share = np.linspace(0, 1, points)
    names = [name for name, *_ in moves]
    shape = (len(moves), points)
    frame = xr.Dataset(
        {
            "loss": (("move", "share"), np.full(shape, np.nan), _words("loss of one sample")),
            "pattern": (("move", "share"), np.full(shape, np.nan), _words("1 where the state is a pattern")),
            "length": ("move", [abs(b[3] - a[3]) for _, a, b in moves], _words("change of k")),
        },
        {
            "move": ("move", np.array(names, dtype="U16"), {"long_name": "run"}),
            "share": ("share", share, _words("share of the move")),
        },
    )
    items = [tuple(((1 - s) * np.array(a) + s * np.array(b)).tolist()) for _, a, b in moves for s in share]
    return Job(frame, ("move", "share"), items, partial(_between, goal, start))


def _between(goal: torch.Tensor, start: torch.Tensor, place: tuple[float, ...]) -> Values:
    state = gs.steady_state(gs.Params(*place), start, tol=TOL, max_steps=MAX_STEPS)
    loss = gs.spectrum_loss(state.v.double(), goal)[0]
    return {"loss": np.float64(loss), "pattern": np.float64(state.kind[0] == gs.Kind.PATTERN)}


def cliff_widths(loss: np.ndarray[Any, Any]) -> list[float]:
    """Widths of cliffs along a line, as shares of it.

    The height is the range along the line, which must be half of a plateau's at least.
    """
    low, high = np.nanmin(loss), np.nanmax(loss)
    if not high - low > HIGH / 2:
        return []
    return [width / (len(loss) - 1) for width in widths(loss, low, high)]
