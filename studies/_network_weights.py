"""Section 6.3: the losses over a network's weights, along lines and by their curvature, in the steady setting.

Fixed beforehand: a line has one minimum if no second one is deeper than 1 % of its range; a loss counts as easy to
descend if 95 % of its lines have one minimum and its least curvature is above -1 % of the largest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr

from gsimplicit.inverse.methods import Network
from gsimplicit.inverse.network.questioned import training
from gsimplicit.inverse.network.representation import Representation
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from studies._lanczos import ends, products
from studies._pinn_bowl import direction, minima
from studies._pinn_data import SHAPES, TRUTH, Array, question, words

PARTS = ("data", "residual", "total")
STAGES = {"begun": (1, 0), "half-way": (100, 0), "trained": (300, 500)}
"""Steps of Adam and iterations of L-BFGS before a look."""
CURVED = ("least curved", "most curved")
"""Directions of the ends of the spectrum."""
FITS = ("forward", "supervised")
TRAINED, RATE = 800, 5e-3
"""Steps of Adam, and its rate, where fits are compared."""


@dataclass(frozen=True)
class Look:
    """How closely losses are looked at.

    Attributes:
        random: Random directions: 4, two seeds and three stages make 24 lines a loss, where 14 decide.
        points: Along a line.
        lanczos: Products with the Hessian.
    """

    random: int
    points: int
    lanczos: int

    @property
    def steps(self) -> Array:
        """Along a line."""
        return np.linspace(-1, 1, self.points)

    @property
    def lines(self) -> list[str]:
        """Names of the directions."""
        return [*(f"random {n + 1}" for n in range(self.random)), *CURVED]


LOOKS = {"quick": Look(1, 11, 6), "default": Look(4, 41, 40), "paper": Look(4, 41, 40)}
"""By scale."""
Loss = Callable[[torch.Tensor], torch.Tensor]
"""From weights to a number."""


def looks(fields: Array, seeds: int, look: Look) -> Job:
    """Lines and curvatures over seed and stage."""
    frame = looks_frame({"seed": seeds}, list(STAGES), look).assign_coords(seed=np.arange(seeds))
    items = [(fields, seed, stage, look) for seed in range(seeds) for stage in STAGES]
    return Job(frame, ("seed", "stage"), items, _looked)


def looks_frame(over: dict[str, int], stages: list[str], look: Look) -> xr.Dataset:
    """What looks leave, empty, over further dimensions, stage and part."""
    per = (*over, "stage", "part")
    shape = (*over.values(), len(stages), len(PARTS))
    lines = (*shape, len(look.lines))
    return xr.Dataset(
        {
            "curvature": ((*per, "end"), np.full((*shape, 2), np.nan), words("least and largest Ritz value")),
            "minima": ((*per, "line"), np.full(lines, np.nan), words("minima along a line")),
            "values": ((*per, "line", "step"), np.full((*lines, look.points), np.nan), words("loss")),
        },
        {
            "stage": stages, "part": list(PARTS), "end": ["least", "largest"], "line": look.lines,
            "step": ("step", look.steps, words("share of a direction as long as the weights")),
        },
    )  # fmt: skip


def fits(fields: Array, seeds: int) -> Job:
    """The error of u after as many steps with the residual at the true parameters as with u itself."""
    shape, over = (seeds, len(FITS)), ("seed", "fit")
    frame = xr.Dataset(
        {"error": (over, np.full(shape, np.nan), words("error of u by its standard deviation"))},
        {"seed": np.arange(seeds), "fit": list(FITS)},
    )
    return Job(frame, over, [(fields, seed, fit, TRAINED) for seed in range(seeds) for fit in FITS], fitted)


def fitted(item: tuple[Array, int, str, int]) -> Values:
    """The error of u after so many steps of one fit."""
    fields, seed, fit, steps = item
    asked = question(fields, np.ones(fields.shape[1:], dtype=bool), both=fit == "supervised")
    one, _ = training(Network(seed=seed, **SHAPES[fields.shape[-1]]), asked)
    z = one.representation.start(torch.Generator().manual_seed(seed)).requires_grad_()
    optimiser, at = torch.optim.Adam([z], lr=RATE), torch.from_numpy(TRUTH)
    with torch.enable_grad():
        for n in range(steps):
            optimiser.param_groups[0]["lr"] = RATE * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * n / steps)))
            optimiser.zero_grad(set_to_none=True)
            X = one.representation.fields(z)
            loss = one.objective.data(X) + (one.objective.residual(X, at) if fit == "forward" else 0.0)
            loss.backward()
            optimiser.step()
    with torch.no_grad():
        u = one.representation.fields(z)[0].numpy()
    return {"error": np.float64(np.sqrt(np.mean((u - fields[0]) ** 2)) / fields[0].std())}


def _looked(item: tuple[Array, int, str, Look]) -> Values:
    fields, seed, stage, look = item
    adam, lbfgs = STAGES[stage]
    asked = question(fields, np.ones(fields.shape[1:], dtype=bool), both=False)
    settings = Network(adam=adam, lbfgs=lbfgs, seed=seed, **SHAPES[fields.shape[-1]])
    one, begin = training(settings, asked)
    trained = one.run(begin)
    at, o = torch.from_numpy(trained.values.copy()), one.objective

    def of(name: str) -> Loss:
        loss = {"data": lambda X: o.data(X), "residual": lambda X: o.residual(X, at), "total": lambda X: o.total(X, at)}
        return lambda z: loss[name](one.representation.fields(z))

    w = trained.weights
    return looked_at([of(part) for part in PARTS], one.representation, w, look, seed)


def looked_at(losses: Sequence[Loss], of: Representation, w: torch.Tensor, look: Look, seed: int) -> Values:
    """Curvatures of some losses at weights, and their values and minima along random ways and the curved ones."""
    randoms, found = [direction(of, w, 100 + 10 * seed + n) for n in range(look.random)], []
    for loss in losses:
        curvature, vectors = ends(products(loss, w), len(w), look.lanczos, seed)
        ways = [*randoms, *(torch.from_numpy(v * float(w.norm()) / 4) for v in vectors)]
        with torch.no_grad():
            values = np.array([[float(loss(w + a * d)) for a in look.steps] for d in ways])
        found.append((curvature, np.array([minima(row) for row in values], dtype=float), values))
    return {n: np.stack([row[i] for row in found]) for i, n in enumerate(("curvature", "minima", "values"))}
