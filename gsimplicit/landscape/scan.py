"""`scan`: losses and gradients over any axes of the parameters, as one labelled dataset."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from gsimplicit import dataset
from gsimplicit.gray_scott import PARAMETERS, Params, warn_if_unstable
from gsimplicit.initial import initial_state
from gsimplicit.landscape.point import Plan, Values, evaluate
from gsimplicit.landscape.store import Store
from gsimplicit.refine import Refine
from gsimplicit.results import Status
from gsimplicit.routes.contract import Loss, Route
from gsimplicit.routes.gradient import Fields, as_objective, as_route, as_target, check_loss
from gsimplicit.steady import March, as_fields, as_refine, marched_state

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["scan"]

_INLINE_SECONDS = 5.0
"""Starting worker processes costs about this much; a scan that ends sooner is run where it stands."""

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
        ValueError: An argument lies outside its range, or the store holds another scan (naming the differing key).
        TypeError: An argument has a wrong type.

    Example:
        >>> import gsimplicit as gs
        >>> fields = gs.initial_state(count=2, grid=(32, 32), box=gs.Box(half=5))
        >>> data = gs.scan({"F": [0.03, 0.035]}, initial=fields, tol=0.0, max_steps=100, progress=False)
        >>> dict(data.loss.sizes), data.loss.sel(F=0.035).values.max().item()
        ({'F': 2, 'sample': 2, 'objective': 1}, 0.0)
    """
    if not axes:
        raise ValueError("axes must name at least one parameter, got none")
    values = {name: _axis(name, given) for name, given in axes.items()}
    base = _base(base)
    if keep not in (None, "v"):
        raise ValueError(f"keep must be 'v' or None, got {keep!r}")
    fields = initial_state() if initial is None else as_fields("initial", initial)
    chosen = tuple(as_route(route) for route in _listed("routes", routes))
    asked = _listed("losses", losses)
    for loss in asked:
        if not callable(loss) and loss != "residual":
            check_loss(loss)
    for what, names in (("routes", [r.name for r in chosen]), ("losses", [_label(loss) for loss in asked])):
        if len(set(names)) < len(names):
            raise ValueError(f"{what} must differ in name, got {names}")
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
        "target": "base" if target is None else dataset.digest(torch.as_tensor(target).detach().cpu().numpy()),
        "marching": _settings(marching),
        "refine": _settings(settings),
        "share_root": bool(share_root),
        "keep": keep,
        "gsimplicit": dataset.version_of("gsimplicit"),
    }
    kept = None if store is None else Store(store, configuration, overwrite=overwrite)
    if kept is not None and (whole := kept.finished()) is not None:
        return whole
    plan = _plan(asked, chosen, fields, target, base, points, marching, settings, share_root, keep == "v")
    if kept is not None:
        kept.open()
    found = _run(plan, kept, executor, progress)
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
    objectives = tuple(as_objective(loss, v, S, grid) for loss in steady)
    names = tuple(_label(loss) for loss in losses)
    if "residual" in names and both is None:
        raise ValueError("the residual loss needs the target's u and v, shape (S, 2, H, W); got v alone")
    residual_at = both.expand(S, -1, -1, -1) if both is not None and "residual" in names else None
    return Plan(points, fields, objectives, residual_at, names, routes, marching, refine, share_root, keep_v)


# ---------------------------------------------------------------------------------------------------------------------
# Running
# ---------------------------------------------------------------------------------------------------------------------


def evaluate_tile(plan: Plan, indices: Sequence[int]) -> list[Values]:
    """Evaluate some points; what is sent to a worker."""
    return [evaluate(plan, i) for i in indices]


def _run(plan: Plan, store: Store | None, executor: Executor | None, progress: bool) -> dict[int, Values]:
    """Evaluate every point not stored yet."""
    from tqdm.auto import tqdm

    values = store.read() if store is not None else {}
    count = len(plan.points)
    values = {i: v for i, v in values.items() if i < count}
    todo = [i for i in range(count) if i not in values]
    size = max(1, min(16, count // 64))
    tiles = [todo[n : n + size] for n in range(0, len(todo), size)]
    seen: Counter[str] = Counter()

    with tqdm(total=count, initial=count - len(todo), disable=not progress, unit="point", desc="scan") as bar:

        def keep(tile: Sequence[int], points: list[Values]) -> None:
            values.update(zip(tile, points, strict=True))
            if store is not None:
                store.add(tile, points)
            for point in points:
                seen.update(Status(int(s)).name.lower() for s in point["status"])
            bar.update(len(tile))
            bar.set_postfix(seen, refresh=False)

        if executor is None:
            tiles = _inline(plan, tiles, keep)
        if tiles:
            _pooled(plan, tiles, keep, executor)
    return values


def _inline(plan: Plan, tiles: list[list[int]], keep: Callable[[Sequence[int], list[Values]], None]) -> list[list[int]]:
    """Evaluate tiles here while the rest would end sooner than workers start; returns what is left for them."""
    begin = time.perf_counter()
    with _one_thread():
        for done, tile in enumerate(tiles, start=1):
            keep(tile, evaluate_tile(plan, tile))
            spent = time.perf_counter() - begin
            if spent / done * (len(tiles) - done) > _INLINE_SECONDS:
                return tiles[done:]
    return []


def _pooled(
    plan: Plan,
    tiles: list[list[int]],
    keep: Callable[[Sequence[int], list[Values]], None],
    executor: Executor | None,
) -> None:
    """Evaluate tiles on an executor, a few in flight a worker so that an interrupt loses little."""
    own = executor is None
    pool = executor if executor is not None else _processes(plan)
    workers = getattr(pool, "_max_workers", None) or os.cpu_count() or 1
    waiting = list(reversed(tiles))
    flying: dict[Future[list[Values]], list[int]] = {}
    try:
        while waiting or flying:
            while waiting and len(flying) < 2 * workers:
                tile = waiting.pop()
                flying[pool.submit(evaluate_tile, plan, tile)] = tile
            done, _ = wait(flying, return_when=FIRST_COMPLETED)
            for future in done:
                keep(flying.pop(future), future.result())
    finally:
        for future in flying:
            future.cancel()
        if own:
            # on an error or interrupt workers are stopped at once; on success there is nothing left to kill
            pool.shutdown(wait=True, kill_workers=True)  # type: ignore[call-arg]


def _processes(plan: Plan) -> Executor:
    """A pool of processes on all cores. loky needs no main guard and sends functions defined anywhere."""
    import loky

    try:
        return cast("Executor", loky.ProcessPoolExecutor(initializer=torch.set_num_threads, initargs=(1,)))
    except OSError as error:
        raise OSError(f"no worker processes could be started: {error}; pass executor=ThreadPoolExecutor()") from error


@contextmanager
def _one_thread() -> Iterator[None]:
    """One torch thread, as in a worker: the bits must not depend on where a point is evaluated."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# ---------------------------------------------------------------------------------------------------------------------
# Labels
# ---------------------------------------------------------------------------------------------------------------------


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
        "route_status": ("sample", "route"),
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
        raise ValueError(f"axis {name} must hold finite values >= 0, got {array[~(array >= 0)].tolist()}")
    if len(np.unique(array)) < len(array):
        raise ValueError(f"axis {name} must hold each value once")
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


def _identity(loss: Loss, *, stored: bool) -> str:
    """A callable loss by name and source, so that a store made with another one is not taken for it."""
    name = _label(loss)
    if stored and name == "<lambda>":
        raise ValueError("losses: a lambda has no name to store it under; define it with def")
    try:
        source = inspect.getsource(loss)
    except (OSError, TypeError):
        source = ""
    return f"{name} {hashlib.sha256(source.encode()).hexdigest()[:16]}"


def _settings(value: object) -> Any:
    """A settings object as JSON types."""
    if value is None:
        return None
    settings = asdict(value) if is_dataclass(value) and not isinstance(value, type) else {}
    return json.loads(json.dumps({"name": getattr(value, "name", type(value).__name__), **settings}, default=str))
