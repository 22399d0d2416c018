"""The frame of a scan: its labelled dataset, with no point in it yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gsimplicit.labels import VARIABLES, attributes
from gsimplicit.landscape.arguments import Arguments
from gsimplicit.landscape.plan import Plan

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["frame_of"]


def frame_of(plan: Plan, asked: Arguments, attrs: Mapping[str, Any]) -> xr.Dataset:
    """The labelled dataset of a scan: what each point holds that was not computed, and what the scan was given.

    Args:
        plan: Of the scan.
        asked: What it is asked for.
        attrs: Global attributes.
    """
    import xarray as xr

    axes, shape = tuple(asked.axes), tuple(len(at) for at in asked.axes.values())
    points = {
        name: (axes + VARIABLES[name].dims, np.broadcast_to(value, shape + value.shape).copy())
        for name, value in plan.blank().items()
    }
    given = {name: (VARIABLES[name].dims, value.numpy().copy()) for name, value in _given(plan, asked).items()}
    out = xr.Dataset({**points, **given}, _coordinates(plan, asked), attrs)
    for name in out.variables:
        out[name].attrs.update(attributes(str(name), asked.model, refined=plan.refine is not None))
    return out


def _given(plan: Plan, asked: Arguments) -> dict[str, torch.Tensor]:
    """Initial fields and targets: with them a file holds what reruns it."""
    given = {"initial": plan.initial}
    targets = [o.target for o in plan.objectives if o.target is not None]
    every = [t for t in (plan.residual_at, asked.target, *targets) if t is not None and t.ndim == 4]
    seen = [t for t in targets if t.ndim == 3] + [t[:, asked.model.seen] for t in targets if t.ndim == 4]
    if seen:
        given["target"] = seen[0]
    if every:
        given["target_fields"] = every[0]
    return given


def _coordinates(plan: Plan, asked: Arguments) -> dict[str, Any]:
    """The axes, the parameters held fixed, and the coordinates of all dimensions that variables have."""
    model, sizes = asked.model, plan.sizes
    coordinates: dict[str, Any] = {
        **{name: (name, at) for name, at in asked.axes.items()},
        **{name: getattr(asked.base, name).item() for name in model.parameters if name not in asked.axes},
        "sample": np.arange(sizes["sample"]),
        "objective": np.array(plan.names),
        "component": np.array(model.species),
        "y": np.arange(sizes["y"]),
        "x": np.arange(sizes["x"]),
    }
    if plan.modes:
        coordinates["mode"] = np.arange(plan.modes)
    if plan.routes:
        coordinates["route"] = np.array([route.name for route in plan.routes])
        coordinates["parameter"] = np.array(model.parameters)
    return coordinates
