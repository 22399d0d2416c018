"""`scan`: losses and gradients over any axes of the parameters, as one labelled dataset."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from gsimplicit import checks
from gsimplicit.equations import DEFAULT, ModelParams, warn_if_unstable
from gsimplicit.landscape import pieces
from gsimplicit.landscape.arguments import Arguments, Axes, as_arguments
from gsimplicit.landscape.fill import Job, fill
from gsimplicit.landscape.frame import frame_of
from gsimplicit.landscape.plan import planned
from gsimplicit.landscape.point import Here, Together, evaluate, evaluate_row
from gsimplicit.landscape.recipe import recipe_of, weights_of
from gsimplicit.losses import Gram
from gsimplicit.losses.loss import FeatureLoss
from gsimplicit.marching import Backend
from gsimplicit.provenance import global_attributes
from gsimplicit.refine import Refine
from gsimplicit.routes.arguments import Fields
from gsimplicit.routes.route import Loss, Route
from gsimplicit.surroundings import own_surroundings

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["scan"]


_TOGETHER = 8192
"""Instances of a batch that fills a device: enough that it seldom waits for the slowest; a second or so of work."""

_ASKED = 512
"""The same where states are refined or asked for gradients, which takes longer."""

_HELD = 12
"""Fields in float64 that an instance takes on a device; 7 were counted with the losses by name."""

_MORE_BY_ROUTES, _MORE_BY_GRAM = 5, 17
"""Times as much with routes: 53 fields were counted by central differences, 192 with Gram's features and a gradient."""

_GRAM = 4 * 256**2
"""Numbers in the Gram matrices of an instance: its own, the target's, and their difference twice."""


@own_surroundings
def scan(
    axes: Axes,
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
    device: torch.device | str | None = None,
) -> xr.Dataset:
    """Scan losses and gradients over one or more parameters.

    Every point marches each sample once; that state serves all losses, and all routes go on from it. No outcome
    raises: points without a steady state, or diverged ones, stay in the data with their status.

    Args:
        axes: Values of the parameters that vary, by name; dimensions come in this order.
        base: Parameters held fixed, one instance, and the model with them; None is the paper's point of Gray-Scott.
        losses: Names ("spectrum", "windowed", "gram", "residual"), objects as `gsimplicit.losses.Gram`, or callables of
            v (B, H, W) giving (B,). "residual" is evaluated at all species of the target without marching; its
            derivative is exact whatever the route.
        routes: Names, as for `grad`, or objects of `gsimplicit.routes`.
        initial: One field a sample, shape (S, species, H, W); None is one field of seed 0 on 128 x 128.
        target: v of shape (S, H, W) or all species, shape (S, species, H, W), or a batch of 1. None is `base` marched
            from the scan's own fields, sample against sample, so that the marched loss is exactly 0 at `base`.
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
        tile: Points sent to a worker and stored at a time, >= 1; None is one 64th of all, at most 16, and on a device
            as many as make 8,192 instances, 512 with routes or `refine`, or what its memory holds. On the CPU the
            values do not depend on it, nor on the executor or on interruptions, to the bit.
        dt: Length of an explicit step in time units, > 0.
        backend: What steps, as for `steady_state`.
        device: Where to march and to evaluate losses; None is where `initial` lies. On a device other than the CPU the
            points of a tile and their samples are one batch, in this process, and bits are those of its kind.

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
    overwrite, progress = checks.flag("overwrite", overwrite), checks.flag("progress", progress)
    asked = as_arguments(
        axes=axes, base=base, losses=losses, routes=routes, initial=initial, target=target, tol=tol,
        max_steps=max_steps, check_every=check_every, refine=refine, share_root=share_root, keep=keep, follow=follow,
        dtype=dtype, dt=dt, backend=backend, device=device,
    )  # fmt: skip
    warn_if_unstable(asked.base._stacked(asked.points()), asked.marching.dt)
    if tile is None and asked.follow is None and asked.marching.device.type != "cpu":
        tile = _together(asked)
    recipe, own = recipe_of(asked, kept=store is not None), asked.own()
    return fill(
        partial(_job, asked, recipe, own, kept=store is not None), recipe, store=store, overwrite=overwrite,
        executor=executor, progress=progress, tile=tile, parts=partial(pieces.pieces, own),
    )  # fmt: skip


def _together(asked: Arguments) -> int:
    """Points of a tile that fill a device, and fit into it with what is made of them."""
    from gsimplicit.marching.cuda import free_bytes

    device, one = asked.marching.device, _HELD * 8 * asked.initial[0].numel()
    gram = any(isinstance(loss, Gram) for loss in asked.losses)
    if asked.routes:
        one *= _MORE_BY_GRAM if gram else _MORE_BY_ROUTES
    one += 8 * _GRAM * gram
    most = _ASKED if asked.routes or asked.refine is not None else _TOGETHER
    room = free_bytes(device) // 2 if device.type == "cuda" else most * one
    return max(1, min(most, room // one) // len(asked.initial))


def _job(asked: Arguments, recipe: Mapping[str, Any], own: Mapping[str, Any], *, kept: bool) -> Job:
    """The frame of a scan and its points, or its rows where points follow each other."""
    plan, axes, points = planned(asked), tuple(asked.axes), asked.points()
    name = "Gray-Scott" if asked.model is DEFAULT else asked.model.name.replace("_", "-")
    title = f"Loss landscape of {name} steady states over {', '.join(axes)}"
    frame = frame_of(plan, asked, global_attributes(title, recipe, asked.model) | weights_of(asked.losses))
    if kept and own:
        frame.attrs[pieces.ATTRIBUTE] = pieces.pieces(own)
    if asked.follow is None:
        how = partial(evaluate, plan) if asked.marching.device.type == "cpu" else Together(plan)
        return Job(frame, axes, points.tolist(), how, own)
    rows = points.reshape(-1, len(asked.axes[axes[-1]]), points.shape[1]).tolist()
    along = partial(evaluate_row, plan, asked.follow.startswith("-"))
    return Job(frame, axes[:-1], rows, along if asked.marching.device.type == "cpu" else Here(along), own)
