"""Section 6.2 at a network's own fields: the residual loss in the parameters at five stages, and how losses split.

The total loss over a direction of the weights and k: along k it is a parabola wherever one stands, so all minima of the
plane are those of its floor, the least over k at each place along the direction. They are counted by the rule of lines.
"""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr
from scipy.ndimage import minimum_filter
from scipy.signal import find_peaks

import gsimplicit as gs
from gsimplicit.equations import Equations
from gsimplicit.inverse.methods import Network
from gsimplicit.inverse.network.questioned import training
from gsimplicit.inverse.network.representation import Representation
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
DEEP = 0.01
"""Depth of a minimum by the range of its line below which it is none."""


def stages(fields: Array, seeds: int, ways: int) -> Job:
    """One network a seed, looked at on its way, with a plane for each of some directions of its weights."""
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
        "bend": "largest deviation of the total loss along k from a parabola, by its range, over all planes",
    }
    by_way = {
        "minima": "minima of the least total loss over k, along a direction of the weights",
        "on_grid": "points of the plane below all their neighbours, its edge included",
        "lowest": "k by the true one where the total loss over the plane is least",
    }
    planes = (*shape, ways, len(ALONG))
    frame = xr.Dataset(
        {
            **{n: (per, np.full(shape, np.nan), words(text)) for n, text in names.items()},
            **{n: ((*per, "way"), np.full((*shape, ways), np.nan), words(text)) for n, text in by_way.items()},
            "plane": (
                (*per, "way", "along", "relative_k"), np.full((*planes, len(OF_K)), np.nan), words("total loss")
            ),
        },
        {
            "seed": np.arange(seeds),
            "stage": [f"{a} + {b}" for a, b in STAGES],
            "along": ("along", ALONG, words("share of a random direction of the weights, filter by filter")),
            "relative_k": ("relative_k", OF_K, words("k by the true one")),
        },
    )  # fmt: skip
    return Job(frame, per, [(fields, seed, *stage, ways) for seed in range(seeds) for stage in STAGES], _looked)


def direction(of: Representation, weights: torch.Tensor, seed: int) -> torch.Tensor:
    """A random direction with, filter by filter, the norm of the weights (H. Li and others, 2018)."""
    d = torch.randn(len(weights), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for first, last, by in of.filters():
        w, r = weights[first:last].view(-1, by), d[first:last].view(-1, by)
        d[first:last] = (r * (w.norm(dim=1) / r.norm(dim=1).clamp(min=1e-300))[:, None]).reshape(-1)
    return d


def _looked(item: tuple[Array, int, int, int, int]) -> Values:
    fields, seed, adam, lbfgs, ways = item
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
    return {
        "deviation": np.float64(_bowl.deviation(trained.fields, A, b)),
        "condition": np.float64(H[-1] / max(H[0], 1e-300)),
        "miss": np.float64(np.abs(_bowl.minimum(A, b)).max()),
        "data": np.float64(trained.data),
        "residual": np.float64(trained.residual),
        **_planes(one, trained.weights, trained.values, ways),
        **_split(one, trained.weights, trained.values),
    }


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


def valley(plane: Array) -> tuple[Array, Array, float]:
    """Floor and bottom of a plane that is a parabola along k, and how far it is from one.

    Args:
        plane: Shape (along, relative_k).

    Returns:
        The least over all k, shape (along,); the k by the true one where it is; the largest deviation from the
        parabola, by the range along k.

    Examples:
        >>> floor, bottom, off = valley(np.array([[a + (k - 1 - a) ** 2 for k in OF_K] for a in ALONG]))
        >>> bool(np.allclose(floor, ALONG)), bool(np.allclose(bottom, 1 + ALONG)), off < 1e-12
        (True, True, True)
    """
    c = np.polynomial.polynomial.polyfit(OF_K - 1, plane.T, 2)
    away = np.abs(np.polynomial.polynomial.polyval(OF_K - 1, c) - plane).max(axis=1) / np.ptp(plane, axis=1)
    return c[0] - c[1] ** 2 / (4 * c[2]), 1 - c[1] / (2 * c[2]), float(away.max())


def _planes(one: Training, z: torch.Tensor, values: Array, ways: int) -> Values:
    """The total loss over each direction of the weights and k, its minima, and where it is least."""
    planes = np.array([_plane(one, z, values, 1 + way) for way in range(ways)])
    floors, bottoms, bends = zip(*(valley(plane) for plane in planes), strict=True)
    return {
        "plane": planes,
        "bend": np.float64(max(bends)),
        "minima": np.array([minima(floor) for floor in floors], dtype=float),
        "on_grid": np.array([(p == minimum_filter(p, 3, mode="nearest")).sum() for p in planes], dtype=float),
        "lowest": np.array([b[np.argmin(f)] for f, b in zip(floors, bottoms, strict=True)]),
    }


def _plane(one: Training, z: torch.Tensor, values: Array, seed: int) -> Array:
    """Total loss over a direction of the weights and k, shape (along, relative_k)."""
    weights = z[: len(z) - len(one.objective.free)]
    d, rows = direction(one.representation, weights, seed), []
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
