"""The landscapes of the remedies: losses and slopes over F and k at several times, and losses along k at the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import torch
import xarray as xr

import gsimplicit as gs
from gsimplicit import labels
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from studies._constants import F_RANGE, K_RANGE, TRUTH
from studies._patterns import components
from studies._remedy_losses import LOSSES
from studies._remedy_world import FIELDS, HELD, World, target
from studies._times import kind_of

ALONG = ("pixels", "radial", "spectrum")
"""Losses along k."""
NEAR = 0.02
"""Relative step of k over which the field's change is compared with its tangent."""


def plane_job(world: World, points: int, times: Sequence[int]) -> Job:
    """Losses and slopes at each point of the plane."""
    feeds, kills = np.linspace(*F_RANGE, points), np.linspace(*K_RANGE, points)
    sizes = {"time": len(times), "objective": len(LOSSES), "known": len(FIELDS), "parameter": 2}

    def empty(dims: tuple[str, ...], words: str) -> tuple[tuple[str, ...], np.ndarray, dict[str, str]]:
        return ("F", "k", *dims), np.full((points, points, *(sizes[d] for d in dims)), np.nan), {"long_name": words}

    each = ("time", "objective", "known")
    frame = xr.Dataset(
        {
            "loss": empty(each, "loss against the truth's state at the same time"),
            "slope": empty((*each, "parameter"), "derivative of the loss in F and in k"),
            "sensitivity": empty(("time", "parameter"), "root mean square of the derivative of v in F and in k"),
            "kind": empty(("time",), "kind of state"),
        },
        {
            "F": ("F", feeds, labels.attributes("F")),
            "k": ("k", kills, labels.attributes("k")),
            "time": ("time", list(times), {"long_name": "steps"}),
            "objective": ("objective", list(LOSSES)),
            "known": ("known", list(FIELDS)),
            "parameter": ("parameter", ["F", "k"]),
        },
    )
    items = [(world, float(F), float(k), tuple(times)) for F in feeds for k in kills]
    return Job(frame, ("F", "k"), items, _point)


def _point(item: tuple[World, float, float, tuple[int, ...]]) -> Values:
    """All losses at one point, of one march: against targets of its own start, of other noise, and of a wider box."""
    world, F, k, times = item
    params, start = gs.Params(**HELD, F=F, k=k), world.fields(0, "known")
    losses, slopes, sensitivity, kinds = [], [], [], []
    for time in times:
        fields, tangents = gs.marched_derivatives(params, start, time)
        tangent = tangents[0, 2:, 1]
        kinds.append(float(kind_of(fields[0, 1])))
        sensitivity.append((tangent**2).mean((-2, -1)).sqrt().numpy())
        found = [_loss(name, fields[:, 1], world, time) for name in LOSSES]
        losses.append([[value for value, _ in of] for of in found])
        slopes.append([[torch.einsum("hw,phw->p", slope, tangent).numpy() for _, slope in of] for of in found])
    return {
        "loss": np.array(losses), "slope": np.array(slopes), "sensitivity": np.array(sensitivity),
        "kind": np.array(kinds),
    }  # fmt: skip


def _loss(name: str, v: torch.Tensor, world: World, time: int) -> list[tuple[float, torch.Tensor]]:
    """Value and slope in v against the targets of each of `FIELDS`."""
    out, at, loss = [], v.clone().requires_grad_(), LOSSES[name]
    features = loss.features(at)
    for known in FIELDS:
        value = loss.distance(features, _goal(name, world, time, known)).sum()
        (slope,) = torch.autograd.grad(value, at, retain_graph=True)
        out.append((float(value.detach()), slope[0].to(torch.float64)))
    return out


@cache
def _goal(name: str, world: World, time: int, known: str) -> torch.Tensor:
    """Features of a target that differs from what is marched as `known` says."""
    other = replace(world, half=world.half + 1) if known == "box" else world
    return LOSSES[name].features(target(other, 0 if known == "known" else 1, time))


def line_job(world: World, points: int, times: Sequence[int]) -> Job:
    """Losses along k at each time, and how far the truth's field follows its tangent there."""
    kills, shape = np.linspace(*K_RANGE, points), (len(times), points, len(ALONG))
    frame = xr.Dataset(
        {
            "loss": (("time", "k", "objective"), np.full(shape, np.nan), {"long_name": "loss along k"}),
            "bend": ("time", np.full(len(times), np.nan),
                     {"long_name": "what the tangent misses of the field's change over 2 % of k, as a share"}),
            "top": ("time", np.full(len(times), np.nan), {"long_name": "largest v at the truth"}),
            "pieces": ("time", np.full(len(times), np.nan), {"long_name": "pieces of high v at the truth"}),
            "settled": ("time", np.full(len(times), np.nan), {"long_name": "correlation with v at the end"}),
            "weak": ("time", np.full(len(times), np.nan),
                     {"long_name": "smaller by larger singular value of the relative tangents in F and k"}),
        },
        {
            "time": ("time", list(times), {"long_name": "steps"}),
            "k": ("k", kills, labels.attributes("k")),
            "objective": ("objective", list(ALONG)),
        },
    )  # fmt: skip
    return Job(frame, ("time",), [(world, time, tuple(kills.tolist())) for time in times], _line)


def _line(item: tuple[World, int, tuple[float, ...]]) -> Values:
    world, time, kills = item
    start, truth = world.fields(0, "known"), gs.Params(*TRUTH)
    goal = target(world, 0, time)
    v = gs.steady_state(
        gs.Params(*TRUTH[:3], list(kills)), start, tol=0.0, max_steps=time, dtype=torch.float64, progress=False
    ).v
    loss = np.stack([LOSSES[n].distance(LOSSES[n].features(v), LOSSES[n].features(goal)).numpy() for n in ALONG], 1)
    _, tangents = gs.marched_derivatives(truth, start, time)
    k, tangent = TRUTH[3], tangents[0, 2:, 1]
    beside = gs.steady_state(truth.replace(k=k * (1 + NEAR)), start, tol=0.0, max_steps=time, progress=False).v - goal
    relative = torch.stack([tangent[0].flatten() * TRUTH[2], tangent[1].flatten() * k])
    values = torch.linalg.svdvals(relative)
    end = target(world, 0, world.last)
    return {
        "loss": loss,
        "bend": np.float64(float((beside[0] - NEAR * k * tangent[1]).norm() / beside.norm())),
        "top": np.float64(float(goal.max())),
        "pieces": np.float64(components(goal[0].numpy())),
        "settled": np.float64(np.corrcoef(goal.flatten().numpy(), end.flatten().numpy())[0, 1]),
        "weak": np.float64(float(values[1] / values[0])),
    }


def minima(line: xr.Dataset, objective: str) -> np.ndarray:
    """How many minima the loss has along k at each time, within the line."""
    loss = line["loss"].sel(objective=objective).transpose("time", "k").values
    inside = (loss[:, 1:-1] < loss[:, :-2]) & (loss[:, 1:-1] < loss[:, 2:])
    return inside.sum(axis=1)


def flat_share(plane: xr.Dataset, objective: str, time: int, known: str = "known", share: float = 1e-3) -> float:
    """Share of the plane without a pattern where the slope foresees less than `share` of the height over one cell."""
    at = plane.sel(objective=objective, time=time, known=known)
    step = np.array([np.ptp(plane[name].values) / (plane.sizes[name] - 1) for name in ("F", "k")])
    foreseen = (abs(at["slope"].transpose("F", "k", "parameter").values) * step).sum(-1)
    flat = (at["kind"].values != gs.Kind.PATTERN) & (foreseen <= share * height(plane, objective, time, known))
    return float(flat.mean())


def height(plane: xr.Dataset, objective: str, time: int, known: str = "known") -> float:
    """99th less 1st percentile of the loss over the plane."""
    low, high = plane["loss"].sel(objective=objective, time=time, known=known).quantile([0.01, 0.99]).values
    return float(high - low)


def cliff_faces(plane: xr.Dataset, objective: str, time: int, known: str = "known", share: float = 0.25) -> float:
    """Share of the faces of the plane over which the loss jumps by `share` of its height, or more."""
    loss = plane["loss"].sel(objective=objective, time=time, known=known)
    bound = share * height(plane, objective, time, known)
    jumps = np.concatenate([abs(loss.diff(axis)).values.ravel() for axis in ("F", "k")])
    return float((jumps >= bound).mean())


def meets(plane: xr.Dataset, objective: str, time: int, start: tuple[float, float], share: float = 0.25) -> bool:
    """Whether the straight way from a start to the truth crosses a face over which the loss jumps by `share`."""
    loss = plane["loss"].sel(objective=objective, time=time, known="known").transpose("F", "k").values
    way = np.linspace(start, TRUTH[2:], 400)
    cells = [abs(plane[name].values[:, None] - way[:, n]).argmin(0) for n, name in enumerate(("F", "k"))]
    jumps = abs(np.diff(loss[cells[0], cells[1]]))
    return bool((jumps >= share * height(plane, objective, time)).any())


def downhill(plane: xr.Dataset, objective: str, time: int, known: str = "known") -> float:
    """Share of the plane at which a small step down the slope in raw parameters comes nearer to the truth."""
    at = plane.sel(objective=objective, time=time, known=known)
    raw, chain = {}, {}
    for name, true in (("F", TRUTH[2]), ("k", TRUTH[3])):
        x = plane[name].values
        raw[name] = np.log(x / (0.1 - x)) - np.log(true / (0.1 - true))
        chain[name] = x * (1 - x / 0.1)
    slope = at["slope"].transpose("F", "k", "parameter").values
    along = slope[..., 0] * chain["F"][:, None] * raw["F"][:, None] + slope[..., 1] * chain["k"] * raw["k"]
    return float((along > 0).mean())
