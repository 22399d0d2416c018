"""`scan`: losses and gradients over any axes of the parameters, as one labelled dataset."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, is_dataclass
from functools import partial
from itertools import product
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from gsimplicit import checks, dataset
from gsimplicit.gray_scott import PARAMETERS, Params, warn_if_unstable
from gsimplicit.initial import initial_state
from gsimplicit.landscape.point import DEFINITIONS, Plan, Values
from gsimplicit.landscape.run import run
from gsimplicit.landscape.store import Store
from gsimplicit.refine import Refine
from gsimplicit.routes.contract import Loss, Route
from gsimplicit.routes.gradient import LOSSES, Fields, as_objective, as_route, as_target, check_dtype, check_loss
from gsimplicit.steady import March, as_fields, as_refine, marched_state

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["scan"]

_CONCENTRATIONS = ("u", "v")


def scan(
    axes: Mapping[str, Sequence[float] | np.ndarray[Any, Any]],
    base: Params | None = None,
    losses: Sequence[str | Loss] = ("spectrum",),
    routes: Sequence[str | Route] = (),
    initial: Fields | None = None,
    target: Fields | None = None,
    tol: float = 1e-4,
    max_steps: int = 50_000,
    check_every: int = 64,
    refine: bool | Refine = False,
    share_root: bool = False,
    keep: str | None = None,
    dtype: torch.dtype | None = None,
    store: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    executor: Executor | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Scan losses and gradients over one or more parameters.

    Every point marches each sample once; that state serves all losses, and all routes go on from it. No outcome
    raises: points without a steady state, or diverged ones, stay in the data with their status.

    Args:
        axes: Values of the parameters that vary, by name; dimensions come in this order.
        base: Parameters held fixed, one instance; None is the paper's point.
        losses: Names ("spectrum", "windowed", "residual") or callables of v (B, H, W) giving (B,). "residual" is
            evaluated at the target's u and v without marching; its derivative is exact whatever the route.
        routes: Names ("implicit", "unrolled", "finite_difference") or objects of `gsimplicit.routes`.
        initial: One field a sample, shape (S, 2, H, W); None is one field of seed 0 on 128 x 128.
        target: v of shape (S, H, W) or u and v of shape (S, 2, H, W), or a batch of 1. None is `base` marched from
            the scan's own fields, sample against sample, so that the marched loss is exactly 0 at `base`.
        tol: Bound on the change over a marched step; 0.0 marches exactly `max_steps` steps.
        max_steps: Cap on the marching stage, >= 1.
        check_every: Steps between tests, >= 1.
        refine: Take losses at the certified root instead of the marched state.
        share_root: Start every route from one certified root; points without one have no gradient.
        keep: "v" keeps v of every point.
        dtype: Of the marching; None is float32, or float64 where a route differentiates through steps or `tol` is 0.
        store: NetCDF file to write. One of the same configuration is returned or, where it was interrupted, resumed.
        overwrite: Replace a store of another configuration.
        executor: Any `concurrent.futures` executor; None is a pool of processes on all cores.
        progress: Show a progress bar.

    Returns:
        A plain `xarray.Dataset`; its variables and dimensions are listed in the project's design notes.

    Raises:
        ValueError: An argument lies outside its range.
        StoreMismatchError: The store holds another scan, a ValueError naming the differing key.
        TypeError: An argument has a wrong type.

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
    for name, given in (("share_root", share_root), ("overwrite", overwrite), ("progress", progress)):
        checks.flag(name, given)
    values = {name: _axis(name, at) for name, at in axes.items()}
    base = _base(base)
    if keep not in (None, "v"):
        raise ValueError(f"keep must be 'v' or None, got {keep!r}")
    fields = initial_state() if initial is None else as_fields("initial", initial)
    chosen = tuple(as_route(route) for route in _listed("routes", routes))
    asked = _listed("losses", losses)
    for loss in asked:
        if not callable(loss) and loss != "residual":
            check_loss(loss)
    for loss in asked:
        if callable(loss) and _label(loss) in (*LOSSES, "residual"):
            raise ValueError(f"a callable loss must not be named {_label(loss)!r}, as a built-in one is")
    for what, names in (("routes", [r.name for r in chosen]), ("losses", [_label(loss) for loss in asked])):
        if len(set(names)) < len(names):
            raise ValueError(f"{what} must differ in name, got {names}")
    for route in chosen:
        check_dtype(route, dtype)
    precise = not tol or any(route.through_steps for route in chosen)
    marching = March(tol, max_steps, check_every, dtype or (torch.float64 if precise else torch.float32))
    settings, points = as_refine(refine), _points(values, base)
    warn_if_unstable(Params.stack(points))

    configuration = {
        "axes": {name: at.tolist() for name, at in values.items()},
        "base": base.tensor()[0].tolist(),
        "losses": [loss if isinstance(loss, str) else _identity(loss, stored=store is not None) for loss in asked],
        "routes": [_settings(route) for route in chosen],
        "initial": dataset.digest(fields.numpy()),
        "target": "base" if target is None else dataset.digest(np.asarray(torch.as_tensor(target).detach().cpu())),
        "marching": _settings(marching),
        "refine": _settings(settings),
        "share_root": bool(share_root),
        "keep": keep,
        "code": dataset.code_fingerprint(),
    }
    kept = None if store is None else Store(store, configuration, overwrite=overwrite)
    if kept is not None and (whole := kept.finished()) is not None:
        return whole
    plan = _plan(asked, chosen, fields, target, base, points, marching, settings, share_root, keep == "v")
    if kept is not None:
        kept.open()
    found = run(plan, kept, executor, progress)
    title = f"Loss landscape of Gray-Scott steady states over {', '.join(values)}"
    whole = _labelled(plan, values, base, found, dataset.provenance(title, configuration))
    if kept is not None:
        kept.finish(whole)
    return whole


def _plan(
    losses: list[str | Loss],
    routes: tuple[Route, ...],
    fields: torch.Tensor,
    target: Fields | None,
    base: Params,
    points: torch.Tensor,
    marching: March,
    refine: Refine | None,
    share_root: bool,
    keep_v: bool,
) -> Plan:
    """Targets resolved, so that workers need nothing but the plan."""
    S, grid = len(fields), cast("tuple[int, int]", tuple(fields.shape[2:]))
    steady = [loss for loss in losses if loss != "residual"]
    both: torch.Tensor | None = None
    if target is None and (any(isinstance(loss, str) for loss in losses)):
        both = marched_state(base.expand(S), fields, marching).fields.to("cpu", torch.float64)
        if not bool(torch.isfinite(both).all()):
            raise ValueError(f"base diverges when marched, so it makes no target: {base}")
    elif target is not None and torch.as_tensor(target).ndim == 4:
        both = as_fields("target", target)
    v = both[:, 1] if both is not None else as_target(target)
    objectives = tuple(as_objective(loss, None if callable(loss) else v, S, grid) for loss in steady)
    names = tuple(_label(loss) for loss in losses)
    if "residual" in names and both is None:
        raise ValueError("the residual loss needs the target's u and v, shape (S, 2, H, W); got v alone")
    residual_at = both.expand(S, -1, -1, -1) if both is not None and "residual" in names else None
    return Plan(points, fields, objectives, residual_at, names, routes, marching, refine, share_root, keep_v)


def _labelled(
    plan: Plan,
    axes: Mapping[str, np.ndarray[Any, Any]],
    base: Params,
    values: Mapping[int, Values],
    attrs: Mapping[str, Any],
) -> xr.Dataset:
    """The dataset of a whole scan."""
    import xarray as xr

    shape = tuple(len(v) for v in axes.values())
    after = {
        "loss": ("sample", "objective"),
        "gradient": ("sample", "route", "objective", "parameter"),
        "route_loss": ("sample", "route", "objective"),
        "route_definition": ("sample", "route", "objective"),
        "route_status": ("sample", "route"),
        "route_moved": ("sample", "route"),
        "v": ("sample", "y", "x"),
    }
    first = values[0]
    variables = {
        name: (
            (*axes, *after.get(name, ("sample",))),
            np.stack([values[i][name] for i in range(len(plan.points))]).reshape(*shape, *first[name].shape),
            dataset.attributes(name),
        )
        for name in first
    }
    S, _, H, W = plan.initial.shape
    variables["initial"] = (("sample", "component", "y", "x"), plan.initial.numpy(), dataset.attributes("initial"))
    targets = [o.target for o in plan.objectives if o.target is not None]
    if targets:
        variables["target"] = (("sample", "y", "x"), targets[0].numpy(), dataset.attributes("target"))
    coordinates: dict[str, Any] = {
        **{name: (name, v) for name, v in axes.items()},
        **{name: getattr(base, name).item() for name in PARAMETERS if name not in axes},
        "sample": np.arange(S),
        "objective": np.array(plan.names),
        "component": np.array(_CONCENTRATIONS),
        "y": np.arange(H),
        "x": np.arange(W),
    }
    if plan.routes:
        coordinates["route"] = np.array([r.name for r in plan.routes])
        coordinates["parameter"] = np.array(PARAMETERS)
    out = xr.Dataset(variables, coordinates, {**attrs, "gsimplicit_complete": 1})
    definitions = list(DEFINITIONS)
    if plan.routes:
        out["route_definition"].attrs |= {
            "flag_values": np.arange(len(definitions), dtype=np.int8),
            "flag_meanings": " ".join(d.replace(" ", "_") for d in definitions),
        }
    if plan.refine is not None:
        out["loss"].attrs["long_name"] = "loss of the refined state"
        out["status"].attrs["long_name"] = "how the refinement ended"
    for name in out.coords:
        out[name].attrs.update(dataset.attributes(str(name)))
    return out


def _base(base: Params | None) -> Params:
    if base is None:
        return Params.preset("paper")
    if not isinstance(base, Params):
        raise TypeError(f"base must be gsimplicit.Params, got {type(base).__name__}")
    if len(base) != 1:
        raise ValueError(f"base must be one instance, got {len(base)}")
    return base.detach()


def _axis(name: str, values: Sequence[float] | np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if name not in PARAMETERS:
        raise ValueError(f"axes must be among {', '.join(map(repr, PARAMETERS))}, got {name!r}")
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"axis {name} must be one-dimensional with at least one value, got shape {array.shape}")
    if not (np.isfinite(array) & (array >= 0)).all():
        wrong = array[~(np.isfinite(array) & (array >= 0))].tolist()
        raise ValueError(f"axis {name} must hold finite values >= 0, got {wrong}")
    if not (np.diff(array) > 0).all():
        raise ValueError(f"axis {name} must be strictly increasing, got {array.tolist()}")
    return array


def _points(axes: Mapping[str, np.ndarray[Any, Any]], base: Params) -> torch.Tensor:
    points = base.tensor().repeat(int(np.prod([len(v) for v in axes.values()])), 1)
    for i, at in enumerate(product(*axes.values())):
        for name, value in zip(axes, at, strict=True):
            points[i, PARAMETERS.index(name)] = float(value)
    return points


def _listed(name: str, given: Any) -> list[Any]:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise TypeError(f"{name} must be a list, got {given!r}")
    if name == "losses" and not given:
        raise ValueError("losses must name at least one, got none")
    return list(given)


def _label(loss: str | Loss) -> str:
    return loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)


def _identity(loss: Loss, *, stored: bool) -> Any:
    """A callable loss by name, source and what it holds, so that a store made with another one is not taken for it.

    Raises:
        ValueError: It is to be stored and holds something that cannot be told apart.
    """
    name = _label(loss)
    if not stored:
        return name
    if name == "<lambda>":
        raise ValueError("losses: a lambda has no name to store it under; define it with def")
    return [name, _content(name, loss)]


def _content(name: str, value: Any) -> Any:
    """What tells a value apart, as JSON types: source and closure of functions, entries of objects, bytes of arrays."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, torch.Tensor | np.ndarray):
        return dataset.digest(np.asarray(torch.as_tensor(value).detach().cpu()))
    if isinstance(value, Sequence):
        return [_content(name, one) for one in value]
    if isinstance(value, Mapping):
        return {str(key): _content(name, one) for key, one in sorted(value.items())}
    if isinstance(value, partial):
        return ["partial", *(_content(name, part) for part in (value.func, list(value.args), value.keywords))]
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, type) or inspect.isroutine(value):
        held = [cell.cell_contents for cell in getattr(value, "__closure__", None) or ()]
        held += [getattr(value, "__defaults__", None), getattr(value, "__kwdefaults__", None)]
        return [_source(value), *(_content(name, one) for one in held)]
    if hasattr(value, "__dict__"):
        return [_source(type(value)), _content(name, vars(value))]
    raise ValueError(f"losses: {name!r} holds a {type(value).__name__}, which a store cannot tell from another")


def _source(value: Any) -> str:
    """Digest of the source of a function or class; its qualified name where there is no source."""
    try:
        return hashlib.sha256(inspect.getsource(value).encode()).hexdigest()[:16]
    except (OSError, TypeError):
        return f"{value.__module__}.{value.__qualname__}"


def _settings(value: object) -> Any:
    """A settings object as JSON types."""
    if value is None:
        return None
    settings = asdict(value) if is_dataclass(value) and not isinstance(value, type) else {}
    return json.loads(json.dumps({"name": getattr(value, "name", type(value).__name__), **settings}, default=str))
