"""Section 6.2 at a network's own fields: the residual loss in the parameters at five stages, and how losses split."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr

import gsimplicit as gs
from gsimplicit.equations import Equations
from gsimplicit.inverse.methods import Network
from gsimplicit.inverse.network.questioned import training
from gsimplicit.inverse.network.training import Training
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from studies import _bowl
from studies._pinn_data import SHAPES, TRUTH, Array, question, words

STAGES = ((0, 0), (20, 0), (100, 0), (300, 0), (300, 1500))
"""Steps of Adam and iterations of L-BFGS before each look."""
ALONG = np.linspace(-0.5, 0.5, 21)
"""Shares of a filter-normalised direction of the weights."""
OF_K = np.linspace(0.8, 1.2, 21)
"""Values of k by the true one."""


def stages(fields: Array, seeds: int) -> Job:
    """One network a seed, looked at on its way."""
    per = ("seed", "stage")
    shape = (seeds, len(STAGES))
    names = {
        "deviation": "largest deviation of the residual loss from its quadratic, as a share of its range",
        "condition": "condition of its Hessian in relative parameters",
        "miss": "largest distance of its minimum from the truth, as a share of it",
        "data": "data loss",
        "residual": "residual loss by its terms",
        "data_slope": "largest derivative of the data loss in a parameter",
        "split": "largest relative difference of the two parts of the gradient, by eq. 8, from the whole",
        "bend": "largest deviation of the total loss along k from a parabola, by its range, over a plane",
    }
    frame = xr.Dataset(
        {
            **{n: (per, np.full(shape, np.nan), words(text)) for n, text in names.items()},
            "plane": (
                (*per, "along", "relative_k"), np.full((*shape, len(ALONG), len(OF_K)), np.nan), words("total loss")
            ),
        },
        {
            "seed": np.arange(seeds),
            "stage": [f"{a} + {b}" for a, b in STAGES],
            "along": ("along", ALONG, words("share of a random direction of the weights, filter by filter")),
            "relative_k": ("relative_k", OF_K, words("k by the true one")),
        },
    )  # fmt: skip
    return Job(frame, per, [(fields, seed, *stage) for seed in range(seeds) for stage in STAGES], _looked)


def direction(one: Training, weights: torch.Tensor, seed: int) -> torch.Tensor:
    """A random direction with, filter by filter, the norm of the weights (H. Li and others, 2018)."""
    d = torch.randn(len(weights), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for first, last, by in one.representation.filters():
        w, r = weights[first:last].view(-1, by), d[first:last].view(-1, by)
        d[first:last] = (r * (w.norm(dim=1) / r.norm(dim=1).clamp(min=1e-300))[:, None]).reshape(-1)
    return d


def _looked(item: tuple[Array, int, int, int]) -> Values:
    fields, seed, adam, lbfgs = item
    asked = question(fields, np.ones(fields.shape[1:], dtype=bool), both=False)
    settings = Network(
        parameters="gradient", adam=adam or 1, lbfgs=lbfgs, rate=None if adam else 1e-300, seed=seed,
        **SHAPES[fields.shape[-1]],
    )  # fmt: skip
    one, begin = training(settings, asked)
    trained = one.run(begin)
    equations = Equations(gs.models.gray_scott, TRUTH)
    A = equations.parameter_slopes(trained.fields).reshape(4, -1).T
    b = equations.residual(trained.fields).ravel()
    H = np.linalg.eigvalsh(_bowl.relative_hessian(A))
    plane = _plane(one, trained.weights, trained.values)
    ranges = np.ptp(plane, axis=1)
    fit = np.polynomial.polynomial.polyfit(OF_K - 1, plane.T, 2)
    bend = np.abs(np.polynomial.polynomial.polyval(OF_K - 1, fit) - plane).max(axis=1) / ranges
    return {
        "deviation": np.float64(_bowl.deviation(trained.fields, A, b)),
        "condition": np.float64(H[-1] / max(H[0], 1e-300)),
        "miss": np.float64(np.abs(_bowl.minimum(A, b)).max()),
        "data": np.float64(trained.data),
        "residual": np.float64(trained.residual),
        "bend": np.float64(bend.max()),
        "plane": plane,
        **_split(one, trained.weights, trained.values),
    }


def _plane(one: Training, z: torch.Tensor, values: Array) -> Array:
    """Total loss over a direction of the weights and k, shape (along, relative_k)."""
    weights = z[: len(z) - len(one.objective.free)]
    d, rows = direction(one, weights, 1), []
    at = torch.from_numpy(values.copy())
    for a in ALONG:
        X = one.representation.fields(weights + a * d)
        row = []
        for share in OF_K:
            at[3] = share * TRUTH[3]
            row.append(float(one.objective.total(X, at)))
        rows.append(row)
    return np.array(rows)


def _split(one: Training, z: torch.Tensor, values: Array) -> dict[str, np.float64]:
    """Eq. 7 and 8 by autograd: derivatives of the parts against those of the whole."""
    weights = z[: len(z) - len(one.objective.free)].clone().requires_grad_()
    p = torch.from_numpy(values.copy()).requires_grad_()
    with torch.enable_grad():
        X = one.representation.fields(weights)
        data, residual, total = one.objective.data(X), one.objective.residual(X, p), one.objective.total(X, p)
        of_data = torch.autograd.grad(data, (weights, p), retain_graph=True, allow_unused=True)
        of_residual = torch.autograd.grad(residual, (weights, p), retain_graph=True)
        whole = torch.autograd.grad(total, (weights, p))
    slope = 0.0 if of_data[1] is None else float(of_data[1].abs().max())
    parts = (of_data[0] + one.objective.weight * of_residual[0], one.objective.weight * of_residual[1])
    apart = max(float((a - b).norm() / b.norm()) for a, b in zip(parts, whole, strict=True))
    return {"data_slope": np.float64(slope), "split": np.float64(apart)}
