"""Further losses of states that a scan has kept: nothing is marched again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gsimplicit import checks, dataset, provenance
from gsimplicit.arguments import check_finite
from gsimplicit.arrays import real_fields
from gsimplicit.configuration import digest
from gsimplicit.equations import DEFAULT
from gsimplicit.identity import label
from gsimplicit.labels import attributes
from gsimplicit.landscape import pieces
from gsimplicit.landscape.arguments import as_losses
from gsimplicit.landscape.fill import Job, fill
from gsimplicit.landscape.recipe import loss_recipe, weights_of
from gsimplicit.landscape.tiles import Values
from gsimplicit.losses.loss import FeatureLoss, is_feature_loss, sees_all
from gsimplicit.results import Status
from gsimplicit.routes.arguments import Fields, as_objective
from gsimplicit.routes.objective import Objective, value_of
from gsimplicit.routes.route import Loss
from gsimplicit.surroundings import own_surroundings

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["with_losses"]

_OF_ROUTES = ("route", "parameter", "objective")
"""Dimensions of what belongs to the losses and gradients that a scan had."""


@own_surroundings
def with_losses(
    data: xr.Dataset | str | os.PathLike[str],
    losses: Sequence[str | Loss | FeatureLoss],
    target: Fields | None = None,
    store: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    executor: Executor | None = None,
    progress: bool = True,
    tile: int | None = None,
) -> xr.Dataset:
    """A scan's dataset with other losses, taken of the states it has kept: nothing is marched.

    One march of a plane, `scan(..., keep="v", store=...)`, so serves every loss. A value is what `scan` would have
    given, to the bit.

    Args:
        data: Of `scan` with `keep="v"`, as a dataset or as the path of its file. Of a path, or of a dataset that was
            opened and not loaded, one row of the first axis is read at a time, so that the states need not fit into
            memory.
        losses: Names ("spectrum", "windowed", "gram"), objects with features, or callables of v (B, H, W) giving (B,).
        target: v of shape (S, H, W), or (1, H, W); None is the scan's own target.
        store: NetCDF file to write, another than that of the states. One of the same states and losses is returned or,
            where it was interrupted, resumed.
        overwrite: Replace a store of others.
        executor: Any `concurrent.futures` executor; None is a pool of processes, or this process where all would be
            done within five seconds.
        progress: Show a progress bar.
        tile: Points sent to a worker and stored at a time, >= 1; None is one 64th of all, at most 16.

    Returns:
        The dataset without v and without what its routes gave; `loss` (<axes>, sample, objective) holds the losses
        asked for, NaN where a state diverged.

    Raises:
        ValueError: The dataset kept no v or has no target, a loss cannot be taken of v alone, or `store` is the file of
            the states.
        TypeError: An argument has a wrong type.
        StoreMismatchError: The store holds something else.
        OSError: A file cannot be read or written.

    Example:
        >>> import gsimplicit as gs
        >>> fields = gs.initial_state(grid=(32, 32), box=gs.Box(half=5))
        >>> data = gs.scan({"F": [0.03, 0.035]}, initial=fields, tol=0.0, max_steps=100, keep="v", progress=False)
        >>> more = gs.with_losses(data, ["windowed", gs.losses.Gram("random")], progress=False)
        >>> more.objective.values.tolist(), dict(more.loss.sizes)
        (['windowed', 'gram'], {'F': 2, 'sample': 1, 'objective': 2})
    """
    overwrite, progress = checks.flag("overwrite", overwrite), checks.flag("progress", progress)
    if store is not None:
        _check_apart(store, data)
    asked, states = as_losses(losses), _Kept(data)
    for loss in asked:
        if loss == "residual":
            raise ValueError("losses: the residual loss needs no states: ask scan for it")
        if sees_all(loss):
            raise ValueError(f"losses: {label(loss)!r} sees all species, and a scan keeps {states.observed} alone")
    names = [label(loss) for loss in asked]
    if len(set(names)) < len(names):
        raise ValueError(f"losses must differ in name, got {names}")
    goal = states.target if target is None else _target(target, states)
    if goal is None and any(isinstance(loss, str) or is_feature_loss(loss) for loss in asked):
        raise ValueError("target must be given: the scan has none")
    own = {f"loss {name!r}": loss for name, loss in zip(names, asked, strict=True) if callable(loss)}
    recipe = {
        "states": states.digest,
        "losses": [loss_recipe(loss, kept=store is not None) for loss in asked],
        "target": None if goal is None else digest(goal.numpy()),
        "code": provenance.code_fingerprint(),
    }

    def prepare() -> Job:
        objectives = tuple(_objective(loss, goal, states) for loss in asked)
        frame = states.frame(names, provenance.global_attributes(states.title, recipe) | weights_of(asked))
        if store is not None and own:
            frame.attrs[pieces.ATTRIBUTE] = pieces.pieces(own)
        return Job(frame, states.axes, states, partial(_evaluate, objectives), own)

    return fill(
        prepare, recipe, store=store, overwrite=overwrite, executor=executor, progress=progress, tile=tile,
        parts=partial(pieces.pieces, own),
    )  # fmt: skip


def _check_apart(store: str | os.PathLike[str], data: Any) -> None:
    """Raise where the store would replace the states that it is made of, and that took the marching."""
    source = data if isinstance(data, str | os.PathLike) else getattr(data, "encoding", {}).get("source")
    if source is None:
        return
    one, other = Path(os.fsdecode(store)), Path(os.fsdecode(source))
    if one.resolve() == other.resolve() or (one.exists() and other.exists() and one.samefile(other)):
        raise ValueError(f"store must be another file than that of the states, got {str(one)!r} for both")


def _objective(loss: str | Loss | FeatureLoss, goal: torch.Tensor | None, states: _Kept) -> Objective:
    """A loss with its target; a callable has none."""
    with_target = isinstance(loss, str) or is_feature_loss(loss)
    return as_objective(loss, goal if with_target else None, states.shape[0], states.shape[1:], DEFAULT)


def _evaluate(objectives: tuple[Objective, ...], item: tuple[Any, Any]) -> Values:
    """The losses of one point: v of its samples, (S, H, W), and which of them diverged."""
    v, diverged = torch.from_numpy(item[0]), item[1]
    found = np.stack([value_of(objective, v).numpy() for objective in objectives], axis=1)
    found[diverged] = np.nan
    return {"loss": found}


def _target(target: Fields, states: _Kept) -> torch.Tensor:
    """A target as given, one instance a sample."""
    v = real_fields("target", target, attached=False, device="cpu")
    S, H, W = states.shape
    if v.ndim != 3 or v.shape[1:] != (H, W) or len(v) not in (1, S):
        raise ValueError(f"target must be v of shape ({S}, {H}, {W}) or (1, {H}, {W}), got {tuple(v.shape)}")
    check_finite("target", v)
    return v.expand(S, H, W)


class _Kept(Sequence[Any]):
    """The states of a scan, a point each, read a row of the first axis at a time."""

    def __init__(self, data: Any) -> None:
        import xarray as xr

        if not isinstance(data, xr.Dataset | str | os.PathLike):
            raise TypeError(f"data must be a dataset of gsimplicit.scan or the path of one, got {checks.shown(data)}")
        self._given = data
        head = data if isinstance(data, xr.Dataset) else dataset.opened_without(data, ("v",))
        if "v" not in (data if isinstance(data, xr.Dataset) else dataset.names_of(data)):
            raise ValueError("the scan holds no states: scan with keep='v'")
        if not head.attrs.get("gsimplicit_complete", 1):
            raise ValueError("the scan is not whole: call scan once more, which goes on where it was interrupted")
        if "status" not in head:
            raise ValueError("data must be a dataset of gsimplicit.scan, got one without status")
        self.axes = tuple(str(name) for name in head["status"].dims if name != "sample")
        if not self.axes or "sample" not in head["status"].dims:
            raise ValueError("data must have its axes and sample as dimensions: keep one by data.isel(sample=[0])")
        gone = [n for n, one in head.data_vars.items() if n == "v" or set(_OF_ROUTES) & set(map(str, one.dims))]
        self._head = head.drop_vars(gone).drop_vars([n for n in _OF_ROUTES if n in head.coords]).load()
        self._order = (*self.axes, "sample", "y", "x")
        self._diverged = (head["status"].transpose(*self.axes, "sample") == Status.DIVERGED).values
        self._row: tuple[int, Any] | None = None
        first = self._row_at(0)
        S, H, W = (int(n) for n in first.shape[-3:])
        self.shape: tuple[int, int, int] = (S, H, W)
        self.observed = str(head.attrs.get("gsimplicit_observed", "v"))
        self.title = f"Losses of kept states: {head.attrs.get('title', '')}"

    def __len__(self) -> int:
        return int(np.prod([self._head.sizes[name] for name in self.axes]))

    def __getitem__(self, index: Any) -> Any:
        at = np.unravel_index(int(index), [self._head.sizes[name] for name in self.axes])
        return np.ascontiguousarray(self._row_at(int(at[0]))[at[1:]]), self._diverged[at]

    def _row_at(self, index: int) -> Any:
        """What v is at one value of the first axis, all others behind it."""
        if self._row is None or self._row[0] != index:
            place = {self.axes[0]: index}
            read = self._given if not isinstance(self._given, str | os.PathLike) else None
            v = dataset.part(self._given, "v", place) if read is None else read["v"].isel(place)
            self._row = (index, v.transpose(*self._order[1:]).values)
        return self._row[1]

    @property
    def digest(self) -> str:
        """SHA-256 of the states and of where they stand."""
        found = hashlib.sha256(dataset.content_of(self._head).encode())
        for index in range(self._head.sizes[self.axes[0]]):
            row = np.ascontiguousarray(self._row_at(index))
            found.update(f"{row.shape} {row.dtype.str} ".encode() + row.tobytes())
        return found.hexdigest()

    @property
    def target(self) -> torch.Tensor | None:
        """The scan's own target, v of each sample, float64."""
        if "target" not in self._head:
            return None
        values = self._head["target"].transpose("sample", "y", "x").values
        return torch.from_numpy(np.array(values, np.float64))

    def frame(self, names: Sequence[str], attrs: Mapping[str, Any]) -> xr.Dataset:
        """The dataset with no loss in it yet."""
        shape = (*(self._head.sizes[name] for name in self.axes), self.shape[0], len(names))
        loss = ((*self.axes, "sample", "objective"), np.full(shape, np.nan), attributes("loss"))
        out = self._head.copy(deep=True).assign({"loss": loss}).assign_coords({"objective": np.array(names)})
        out["objective"].attrs = attributes("objective")
        out.attrs = {**attrs, "gsimplicit_states_of": str(self._head.attrs.get("id", "unknown"))}
        return out
