"""Section 6.3: the losses over a network's weights, along lines and by their curvature, in the steady setting.

Fixed beforehand: a line has one minimum if no second one is deeper than 1 % of its range; a loss counts as easy to
descend if 95 % of its lines have one minimum and its least curvature is above -1 % of the largest.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import xarray as xr
from scipy.signal import find_peaks

from gsimplicit.inverse.methods import Network
from gsimplicit.inverse.network.questioned import training
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from studies._lanczos import ends, products
from studies._pinn_bowl import direction
from studies._pinn_data import SHAPES, TRUTH, Array, question, words

PARTS = ("data", "residual", "total")
STAGES = {"begun": (1, 0), "half-way": (100, 0), "trained": (300, 500)}
"""Steps of Adam and iterations of L-BFGS before a look."""
LINES = ("random 1", "random 2", "least curved", "most curved")
STEPS = np.linspace(-1, 1, 41)
DEEP = 0.01
"""Depth of a minimum by the range of its line below which it is none."""
LANCZOS = 40
FITS = ("forward", "supervised")
TRAINED, RATE = 800, 5e-3
"""Steps of Adam, and its rate, where fits are compared."""


def looks(fields: Array, seeds: int) -> Job:
    """Lines and curvatures over seed and stage."""
    shape, per = (seeds, len(STAGES), len(PARTS)), ("seed", "stage", "part")
    lines = (*shape, len(LINES))
    frame = xr.Dataset(
        {
            "curvature": ((*per, "end"), np.full((*shape, 2), np.nan), words("least and largest Ritz value")),
            "minima": ((*per, "line"), np.full(lines, np.nan), words("minima along a line")),
            "values": ((*per, "line", "step"), np.full((*lines, len(STEPS)), np.nan), words("loss")),
        },
        {
            "seed": np.arange(seeds), "stage": list(STAGES), "part": list(PARTS), "end": ["least", "largest"],
            "line": list(LINES), "step": ("step", STEPS, words("share of a direction as long as the weights")),
        },
    )  # fmt: skip
    items = [(fields, seed, stage) for seed in range(seeds) for stage in STAGES]
    return Job(frame, ("seed", "stage"), items, _looked)


def fits(fields: Array, seeds: int) -> Job:
    """The error of u after as many steps with the residual at the true parameters as with u itself."""
    shape, over = (seeds, len(FITS)), ("seed", "fit")
    frame = xr.Dataset(
        {"error": (over, np.full(shape, np.nan), words("error of u by its standard deviation"))},
        {"seed": np.arange(seeds), "fit": list(FITS)},
    )
    return Job(frame, over, [(fields, seed, fit) for seed in range(seeds) for fit in FITS], _fitted)


def _fitted(item: tuple[Array, int, str]) -> Values:
    fields, seed, fit = item
    asked = question(fields, np.ones(fields.shape[1:], dtype=bool), both=fit == "supervised")
    one, _ = training(Network(seed=seed, **SHAPES[fields.shape[-1]]), asked)
    z = one.representation.start(torch.Generator().manual_seed(seed)).requires_grad_()
    optimiser, at = torch.optim.Adam([z], lr=RATE), torch.from_numpy(TRUTH)
    with torch.enable_grad():
        for n in range(TRAINED):
            optimiser.param_groups[0]["lr"] = RATE * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * n / TRAINED)))
            optimiser.zero_grad(set_to_none=True)
            X = one.representation.fields(z)
            loss = one.objective.data(X) + (one.objective.residual(X, at) if fit == "forward" else 0.0)
            loss.backward()
            optimiser.step()
    with torch.no_grad():
        u = one.representation.fields(z)[0].numpy()
    return {"error": np.float64(np.sqrt(np.mean((u - fields[0]) ** 2)) / fields[0].std())}


def minima(values: Array) -> int:
    """Minima of a line, its ends among them, that are deeper than a hundredth of its range.

    Examples:
        >>> minima(np.array([3.0, 1.0, 2.0, 0.0, 4.0])), minima(np.array([1.0, 2.0, 3.0]))
        (2, 1)
    """
    if not np.isfinite(values).all():
        return 0
    height = float(np.ptp(values))
    wall = values.max() + max(height, 1e-300)
    padded = np.concatenate([[wall], values, [wall]])
    return len(find_peaks(-padded, prominence=DEEP * height)[0])


def _looked(item: tuple[Array, int, str]) -> Values:
    fields, seed, stage = item
    adam, lbfgs = STAGES[stage]
    asked = question(fields, np.ones(fields.shape[1:], dtype=bool), both=False)
    settings = Network(adam=adam, lbfgs=lbfgs, seed=seed, **SHAPES[fields.shape[-1]])
    one, begin = training(settings, asked)
    trained = one.run(begin)
    at, o = torch.from_numpy(trained.values.copy()), one.objective

    def of(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
        loss = {"data": lambda X: o.data(X), "residual": lambda X: o.residual(X, at), "total": lambda X: o.total(X, at)}
        return lambda z: loss[name](one.representation.fields(z))

    w = trained.weights
    randoms = [direction(one, w, 100 + 2 * seed + n) for n in range(2)]
    found = []
    for part in PARTS:
        loss = of(part)
        curvature, vectors = ends(products(loss, w), len(w), LANCZOS, seed)
        ways = [*randoms, *(torch.from_numpy(v * float(w.norm()) / 4) for v in vectors)]
        with torch.no_grad():
            values = np.array([[float(loss(w + a * d)) for a in STEPS] for d in ways])
        found.append((curvature, np.array([minima(row) for row in values], dtype=float), values))
    return {n: np.stack([row[i] for row in found]) for i, n in enumerate(("curvature", "minima", "values"))}
