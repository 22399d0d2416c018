"""`scan`: losses and gradients over any axes of the parameters, as one labelled dataset."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from gsimplicit import checks, dataset, models
from gsimplicit.arrays import real_array
from gsimplicit.equations import DEFAULT, Model, ModelParams, in_words, warn_if_unstable
from gsimplicit.identity import identity, label
from gsimplicit.initial import initial_state
from gsimplicit.landscape import pieces
from gsimplicit.landscape.fill import Job, fill
from gsimplicit.landscape.point import Plan, blank, evaluate, evaluate_row, flags
from gsimplicit.landscape.settings import decoded, encoded, is_ours
from gsimplicit.losses import LOSSES
from gsimplicit.losses.loss import FeatureLoss, is_feature_loss, sees_all
from gsimplicit.marching import KERNELS, TORCH, Backend
from gsimplicit.refine import Refine
from gsimplicit.routes.contract import Loss, Route
from gsimplicit.routes.gradient import Fields, as_objective, as_route, as_target, check_dtype, check_loss
from gsimplicit.steady import March, as_fields, as_march, as_refine, marched_state
from gsimplicit.surroundings import own_surroundings

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["scan", "scan_arguments"]

_MOST_POINTS = 2**31 - 1
"""Points of a scan beyond which no machine holds it."""


@own_surroundings
def scan(
    axes: Mapping[str, Sequence[float] | np.ndarray[Any, Any]],
    base: ModelParams | None = None,
    losses: Sequence[str | Loss | FeatureLoss] = ("spectrum",),
    routes: Sequence[str | Route] = (),
    initial: Fields | None = None,
    target: Fields | None = None,
    tol: float = 1e-4,
    max_steps: int = 50_000,
    check_every: int = 64,
    refine: bool | Refine = False,
    share_root: bool = False,
    keep: str | None = None,
    follow: str | None = None,
    dtype: torch.dtype | None = None,
    store: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    executor: Executor | None = None,
    progress: bool = True,
    tile: int | None = None,
    dt: float = 1.0,
    backend: Backend | None = None,
) -> xr.Dataset:
    """Scan losses and gradients over one or more parameters.

    Every point marches each sample once; that state serves all losses, and all routes go on from it. No outcome
    raises: points without a steady state, or diverged ones, stay in the data with their status.

    Args:
        axes: Values of the parameters that vary, by name; dimensions come in this order.
        base: Parameters held fixed, one instance, and the model with them; None is the paper's point of Gray-Scott.
        losses: Names ("spectrum", "windowed", "residual") or callables of v (B, H, W) giving (B,). "residual" is
            evaluated at the target's u and v without marching; its derivative is exact whatever the route.
        routes: Names, as for `grad`, or objects of `gsimplicit.routes`.
        initial: One field a sample, shape (S, 2, H, W); None is one field of seed 0 on 128 x 128.
        target: v of shape (S, H, W) or u and v of shape (S, 2, H, W), or a batch of 1. None is `base` marched from
            the scan's own fields, sample against sample, so that the marched loss is exactly 0 at `base`.
        tol: Bound on the change over a marched step; 0.0 marches exactly `max_steps` steps.
        max_steps: Cap on the marching stage, >= 1.
        check_every: Steps between tests, >= 1.
        refine: Take losses at the certified root instead of the marched state; `Refine(eigenvalues=n)` keeps whether
            each is stable, and its n leading eigenvalues.
        share_root: Start every route from one certified root; points without one have no gradient.
        keep: "v" keeps v of every point.
        follow: Name of the last axis, as "k": each point starts from the state of the one before it along that axis,
            the first from `initial`; "-k" goes from the largest value down. What is sent and stored are whole rows. So
            a scan follows a pattern beyond the edge of the basin of its start.
        dtype: Of the marching; None is float32, or float64 where a route differentiates through steps or `tol` is 0.
        store: NetCDF file to write. One of the same configuration is returned or, where it was interrupted, resumed.
        overwrite: Replace a store of another configuration.
        executor: Any `concurrent.futures` executor; None is a pool of processes on all cores, or this process where all
            would be done within five seconds.
        progress: Show a progress bar.
        tile: Points sent to a worker and stored at a time, >= 1; None is one 64th of all, at most 16. The values do
            not depend on it, nor on the executor or on interruptions, to the bit.
        dt: Length of an explicit step in time units, > 0.
        backend: What steps, as for `steady_state`.

    Returns:
        A plain `xarray.Dataset`; docs/reference/file.md lists its variables and dimensions.

    Raises:
        ValueError: An argument lies outside its range.
        StoreMismatchError: The store holds another scan, a ValueError naming the differing key.
        StoreLockedError: Another process computes into the store, an OSError naming it.
        OSError: The store cannot be written, or there is not enough space.
        RuntimeError: A worker has another loss, route or solver than this process; names it and what to do.
        TypeError: An argument has a wrong type, or a loss cannot be sent to the executor.

    Example:
        >>> import gsimplicit as gs
        >>> fields = gs.initial_state(count=2, grid=(32, 32), box=gs.Box(half=5))
        >>> data = gs.scan({"F": [0.03, 0.035]}, initial=fields, tol=0.0, max_steps=100, progress=False)
        >>> dict(data.loss.sizes), data.loss.sel(F=0.035).values.max().item()
        ({'F': 2, 'sample': 2, 'objective': 1}, 0.0)
    """
    if not isinstance(axes, Mapping):
        raise TypeError(f"axes must map parameters to values, got {axes!r}")
    if not axes:
        raise ValueError("axes must name at least one parameter, got none")
    share_root, overwrite = checks.flag("share_root", share_root), checks.flag("overwrite", overwrite)
    progress = checks.flag("progress", progress)
    base = _base(base)
    model = base.model
    values = {str(name): _axis(name, at, model) for name, at in axes.items()}
    if math.prod(len(at) for at in values.values()) > _MOST_POINTS:
        raise ValueError(f"axes must make at most {_MOST_POINTS} points, got {[len(at) for at in values.values()]}")
    if keep is not None and (not isinstance(checks.plain(keep), str) or checks.plain(keep) != "v"):
        raise ValueError(f"keep must be 'v' or None, got {checks.shown(keep)}")
    keep = None if keep is None else "v"
    fields = initial_state(model=base) if initial is None else as_fields("initial", initial, model)
    chosen = tuple(as_route(route) for route in _listed("routes", routes))
    asked = _listed("losses", losses)
    for loss in asked:
        if (isinstance(loss, str) or not callable(loss)) and loss != "residual":
            check_loss(loss)
    for loss in asked:
        if not isinstance(loss, str) and label(loss) in (*LOSSES, "residual"):
            raise ValueError(f"a loss of your own must not be named {label(loss)!r}, as a built-in one is")
    for what, names in (("routes", [r.name for r in chosen]), ("losses", [label(loss) for loss in asked])):
        if len(set(names)) < len(names):
            raise ValueError(f"{what} must differ in name, got {names}")
    for route in chosen:
        check_dtype(route, dtype)
    precise = any(route.through_steps for route in chosen)
    marching = as_march(tol, max_steps, check_every, dtype, None, dt, backend, precise=precise)
    settings, points = as_refine(refine), _points(values, base)
    warn_if_unstable(base._stacked(points), marching.dt)

    followed = None if follow is None else _follow(follow, list(values))
    goal = _given_target(target, len(fields), model)
    configuration = {
        "axes": [[name, at.tolist()] for name, at in values.items()],  # in the order of the dimensions
        "base": base.tensor()[0].tolist(),
        "losses": [
            loss if isinstance(loss, str) else label(loss) if store is None else identity(loss) for loss in asked
        ],
        "routes": [encoded("routes", route, kept=store is not None) for route in chosen],
        "initial": dataset.digest(fields.numpy()),
        "target": "base" if goal is None else dataset.digest(goal.numpy()),
        "marching": encoded("marching", marching),
        "refine": encoded("refine", settings, kept=store is not None),
        "share_root": share_root,
        "keep": keep,
        "follow": followed,
        "code": dataset.code_fingerprint(),
        **_told_model(model, kept=store is not None),
    }

    own = _own(asked, chosen, settings, model, backend)

    def prepare() -> Job:
        plan = _plan(asked, chosen, fields, goal, base, marching, settings, share_root, keep == "v")
        title = f"Loss landscape of {_title(model)} steady states over {', '.join(values)}"
        frame = _labelled(plan, values, base, goal, dataset.provenance(title, configuration, model))
        if store is not None and own:
            frame.attrs[pieces.ATTRIBUTE] = pieces.pieces(own)
        if followed is None:
            return Job(frame, tuple(values), points.tolist(), partial(evaluate, plan), own)
        rows = points.reshape(-1, len(values[next(reversed(values))]), len(model.parameters)).tolist()
        return Job(frame, tuple(values)[:-1], rows, partial(evaluate_row, plan, followed.startswith("-")), own)

    return fill(
        prepare,
        configuration,
        store=store,
        overwrite=overwrite,
        executor=executor,
        progress=progress,
        tile=tile,
        parts=partial(pieces.pieces, own),
    )


@own_surroundings
def scan_arguments(data: xr.Dataset) -> dict[str, Any]:
    """The arguments with which `scan` makes a dataset again, from what the dataset itself holds.

    Args:
        data: Of `scan`, or read back from its file.

    Returns:
        Keywords of `scan`, all but those on storing and running.

    Raises:
        ValueError: It is not of `scan`, or a loss or route is not this package's: those cannot be made from a file.

    Example:
        >>> import gsimplicit as gs
        >>> fields = gs.initial_state(grid=(32, 32), box=gs.Box(half=5))
        >>> data = gs.scan({"F": [0.03]}, initial=fields, tol=0.0, max_steps=10, progress=False)
        >>> gs.scan(**gs.scan_arguments(data), progress=False).equals(data)
        True
    """
    import xarray as xr

    if not isinstance(data, xr.Dataset):
        raise TypeError(f"data must be a dataset of gsimplicit.scan, got {type(data).__name__}")
    found = dataset.configuration_of(data.attrs)
    if "marching" not in found or "axes" not in found:
        raise ValueError("the dataset holds no settings of a scan of gsimplicit")
    for loss in found["losses"]:
        if not isinstance(loss, str):
            raise ValueError(f"losses: {loss[0]!r} is a function, which a file does not hold; pass it to scan")
    marching = decoded(found["marching"])
    target = None
    if found["target"] != "base":
        target = data["target_fields" if "target_fields" in data else "target"].values.copy()
    return {
        "axes": dict(found["axes"]),
        "base": _model_of(found).params(**dict(zip(_model_of(found).parameters, found["base"], strict=True))),
        "losses": found["losses"],
        "routes": [decoded(route) for route in found["routes"]],
        "initial": data["initial"].values.copy(),
        "target": target,
        "tol": marching.tol,
        "max_steps": marching.max_steps,
        "check_every": marching.check_every,
        "dtype": marching.dtype,
        "refine": decoded(found["refine"]) or False,
        "share_root": found["share_root"],
        "keep": found["keep"],
        "follow": found["follow"],
        "dt": marching.dt,
        "backend": marching.backend,
    }


def _follow(follow: str, axes: list[str]) -> str:
    if not isinstance(follow, str):
        raise TypeError(f"follow must be the name of the last axis or None, got {follow!r}")
    if follow.removeprefix("-") != axes[-1]:
        raise ValueError(f"follow must be the last axis, {axes[-1]!r} or '-{axes[-1]}', got {follow!r}")
    return str(follow)


def _given_target(target: Fields | None, samples: int, model: Model) -> torch.Tensor | None:
    """The target as float64, one instance a sample: v alone or u and v."""
    if target is None:
        return None
    both = isinstance(target, torch.Tensor | np.ndarray) and target.ndim == 4
    fields = as_fields("target", target, model) if both else as_target(target, model)
    assert fields is not None
    if len(fields) not in (1, samples):
        raise ValueError(f"target must be of 1 or {samples} instances, as the initial fields are, got {len(fields)}")
    return fields.expand(samples, *fields.shape[1:])


def _own(
    losses: list[str | Loss], routes: tuple[Route, ...], refine: Refine | None, model: Model, backend: Backend | None
) -> dict[str, Any]:
    """What is the user's own, by the name it has in errors."""
    own: dict[str, Any] = {f"loss {label(loss)!r}": loss for loss in losses if callable(loss)}
    if not _shipped(model):  # what a worker imports may be another reaction
        own[f"model {model.name!r}"] = (type(model), model.reaction, model.rest, model.uniform)
    if backend is not None and backend not in (KERNELS, TORCH):
        own[f"backend {backend.name!r}"] = backend
    own |= {f"route {route.name!r}": route for route in routes if not is_ours(route)}
    return own if is_ours(refine) else own | {"the solver of refine": refine}


def _plan(
    losses: list[str | Loss | FeatureLoss],
    routes: tuple[Route, ...],
    fields: torch.Tensor,
    target: torch.Tensor | None,
    base: ModelParams,
    marching: March,
    refine: Refine | None,
    share_root: bool,
    keep_v: bool,
) -> Plan:
    """Targets resolved, so that workers need nothing but the plan."""
    S, grid = len(fields), cast("tuple[int, int]", tuple(fields.shape[2:]))
    if target is None and any(isinstance(loss, str) or is_feature_loss(loss) for loss in losses):
        target = marched_state(base.expand(S), fields, marching).fields.to("cpu", torch.float64)
        if not bool(torch.isfinite(target).all()):
            raise ValueError(f"base diverges when marched, so it makes no target: {base}")
    both = target if target is not None and target.ndim == 4 else None
    v = both[:, base.model.seen] if both is not None else target
    objectives = tuple(
        as_objective(x, _seen_target(x, v, both), S, grid, base.model, marching.dt) for x in losses if x != "residual"
    )
    names = tuple(label(loss) for loss in losses)
    if "residual" not in names:
        both = None
    elif both is None:
        raise ValueError("the residual loss needs all species of the target, shape (S, species, H, W); got one alone")
    return Plan(base, fields, objectives, both, names, routes, marching, refine, share_root, keep_v)


def _seen_target(
    loss: str | Loss | FeatureLoss, v: torch.Tensor | None, both: torch.Tensor | None
) -> torch.Tensor | None:
    """What a loss compares with: the target's observed species, or all of it; a callable with nothing."""
    if not (isinstance(loss, str) or is_feature_loss(loss)):
        return None
    return both if sees_all(loss) else v


def _labelled(
    plan: Plan,
    axes: Mapping[str, np.ndarray[Any, Any]],
    base: ModelParams,
    goal: torch.Tensor | None,
    attrs: Mapping[str, Any],
) -> xr.Dataset:
    """The dataset of a scan, with no point in it yet."""
    import xarray as xr

    shape = tuple(len(v) for v in axes.values())
    after = {
        "loss": ("sample", "objective"),
        "gradient": ("sample", "route", "objective", "parameter"),
        "route_loss": ("sample", "route", "objective"),
        "route_definition": ("sample", "route", "objective"),
        "route_status": ("sample", "route"),
        "route_moved": ("sample", "route"),
        "eigenvalue_real": ("sample", "mode"),
        "eigenvalue_imag": ("sample", "mode"),
        "v": ("sample", "y", "x"),
    }
    variables = {
        name: (
            (*axes, *after.get(name, ("sample",))),
            np.broadcast_to(value, (*shape, *value.shape)).copy(),
            dataset.attributes(name),
        )
        for name, value in blank(plan).items()
    }
    S, _, H, W = plan.initial.shape
    variables["initial"] = (
        ("sample", "component", "y", "x"),
        plan.initial.numpy().copy(),
        dataset.attributes("initial"),
    )
    targets = [o.target for o in plan.objectives if o.target is not None]
    if targets:
        variables["target"] = (("sample", "y", "x"), targets[0].numpy().copy(), dataset.attributes("target"))
    both = plan.residual_at if plan.residual_at is not None else goal if goal is not None and goal.ndim == 4 else None
    if both is not None:
        at = both.numpy().copy()
        variables["target_fields"] = (("sample", "component", "y", "x"), at, dataset.attributes("target_fields"))
    coordinates: dict[str, Any] = {
        **{name: (name, v) for name, v in axes.items()},
        **{name: getattr(base, name).item() for name in base.model.parameters if name not in axes},
        "sample": np.arange(S),
        "objective": np.array(plan.names),
        "component": np.array(base.model.species),
        "y": np.arange(H),
        "x": np.arange(W),
    }
    if plan.modes:
        coordinates["mode"] = np.arange(plan.modes)
    if plan.routes:
        coordinates["route"] = np.array([r.name for r in plan.routes])
        coordinates["parameter"] = np.array(base.model.parameters)
    out = xr.Dataset(variables, coordinates, attrs)
    if plan.routes:
        out["route_definition"].attrs |= flags()
    if plan.refine is not None:
        out["loss"].attrs["long_name"] = "loss of the refined state"
        out["status"].attrs["long_name"] = "how the refinement ended"
    for name in out.coords:
        out[name].attrs.update(dataset.attributes(str(name), base.model))
    return out


def _base(base: ModelParams | None) -> ModelParams:
    if base is None:
        return DEFAULT.preset("paper")
    if not isinstance(base, ModelParams):
        raise TypeError(f"base must be gsimplicit.Params, or another model's params, got {type(base).__name__}")
    if len(base) != 1:
        raise ValueError(f"base must be one instance, got {len(base)}")
    return base.detach()


def _told_model(model: Model, *, kept: bool) -> dict[str, Any]:
    """What a scan is known by besides, where the model is not Gray-Scott: names and formulas, or the code of one."""
    if model is DEFAULT:
        return {}
    told: dict[str, Any] = {n: list(getattr(model, n)) for n in ("species", "diffusivity", "rates")}
    steps = model.steps(0.5)
    reaction = steps.key if steps is not None else identity(model.reaction) if kept else label(model.reaction)
    told |= {"observed": model.observed, "reaction": reaction}
    if model.trivial is not None:
        told["trivial"] = model.trivial
    if type(model) is not Model:  # what a subclass overrides
        told["class"] = identity(type(model)) if kept else type(model).__qualname__
    return {"model": {"name": model.name, **told}}


def _shipped(model: Model) -> bool:
    """Whether a model is one of the package's."""
    return getattr(models, model.name, None) is model


def _model_of(configuration: Mapping[str, Any]) -> Model:
    """The model of a scan: one of the package's, told by its name and formulas.

    Raises:
        ValueError: It is another, which a file does not hold.
    """
    told = configuration.get("model")
    if told is None:
        return DEFAULT
    found = getattr(models, told["name"], None)
    if not isinstance(found, Model) or _told_model(found, kept=True)["model"] != told:
        raise ValueError(f"base: the model {told['name']!r} is a function, which a file does not hold; pass its params")
    return found


def _title(model: Model) -> str:
    return "Gray-Scott" if model is DEFAULT else model.name.replace("_", "-")


def _axis(name: str, values: Sequence[float] | np.ndarray[Any, Any], model: Model) -> np.ndarray[Any, Any]:
    if not isinstance(name, str) or name not in model.parameters:
        raise ValueError(f"axes must be among {', '.join(map(repr, model.parameters))}, got {checks.shown(name)}")
    array = real_array(f"axis {name}", values, "a sequence or array of real numbers")
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"axis {name} must be one-dimensional with at least one value, got shape {array.shape}")
    low, high = model.range_of(name)
    good = np.isfinite(array) & (array >= low) & (array <= high)
    if not good.all():
        wrong = array[~good].tolist()
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        bounds = in_words(low, high).removeprefix(" and").replace("lie in", "in")
        raise ValueError(f"axis {name} must hold finite values{bounds}, got {wrong[:5]}{more}")
    falls = np.flatnonzero(~(np.diff(array) > 0)).tolist()
    if falls:
        first, then = array[falls[0] : falls[0] + 2].tolist()
        hint = "; its values in reverse order do" if len(array) > 1 and bool((np.diff(array) < 0).all()) else ""
        raise ValueError(
            f"axis {name} must be strictly increasing, got {then!r} after {first!r} at place {falls[0] + 1}{hint}"
        )
    return array


def _points(axes: Mapping[str, np.ndarray[Any, Any]], base: ModelParams) -> torch.Tensor:
    points = base.tensor().repeat(int(np.prod([len(v) for v in axes.values()])), 1)
    for i, at in enumerate(product(*axes.values())):
        for name, value in zip(axes, at, strict=True):
            points[i, base.model.parameters.index(name)] = float(value)
    return points


def _listed(name: str, given: Any) -> list[Any]:
    found = checks.listed(name, given)
    if name == "losses" and not found:
        raise ValueError("losses must name at least one, got none")
    return found
