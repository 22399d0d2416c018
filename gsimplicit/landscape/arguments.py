"""The arguments of a scan, checked: what it is asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch

from gsimplicit import checks, models
from gsimplicit.arguments import March, as_fields, as_march, as_refine, device_of
from gsimplicit.arrays import real_array
from gsimplicit.equations import DEFAULT, Model, ModelParams, in_words
from gsimplicit.identity import label
from gsimplicit.initial import initial_state
from gsimplicit.landscape.settings import is_ours
from gsimplicit.losses import LOSSES, Gram, settled
from gsimplicit.losses.loss import FeatureLoss
from gsimplicit.marching import KERNELS, TORCH, Backend
from gsimplicit.refine import Refine
from gsimplicit.routes.arguments import Fields, as_route, as_target, check_dtype, check_loss
from gsimplicit.routes.route import Loss, Route

__all__ = ["Arguments", "Axes", "as_arguments", "as_losses", "shipped_model"]

Axes = Mapping[str, Sequence[float] | np.ndarray[Any, Any]]

_MOST_POINTS = 2**31 - 1
"""Points of a scan beyond which no machine holds it."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Arguments:
    """What a scan is asked for: the arguments of `scan` that decide its values.

    Attributes:
        axes: Values of the parameters that vary, float64, in the order of the dimensions.
        base: Parameters held fixed, one instance, detached.
        losses: Names and callables.
        routes: Objects of `gsimplicit.routes`, or the user's own.
        initial: Initial fields of the samples, float64, shape (samples, S, H, W).
        target: One instance a sample, float64: the observed species alone, or all of them; None is the base marched.
        marching: How states are marched.
        refine: How marched states are certified, or None.
        share_root: Whether every route starts from one certified root.
        keep: "v" where it is kept of every point, or None.
        follow: Name of the last axis, with a minus for from its end, where points follow each other along it, or None.
    """

    axes: Mapping[str, np.ndarray[Any, Any]]
    base: ModelParams
    losses: list[str | Loss | FeatureLoss]
    routes: tuple[Route, ...]
    initial: torch.Tensor
    target: torch.Tensor | None
    marching: March
    refine: Refine | None
    share_root: bool
    keep: str | None
    follow: str | None

    @property
    def model(self) -> Model:
        """The model that is scanned."""
        return self.base.model

    def points(self) -> torch.Tensor:
        """All parameters of every point, float64, the last axis fastest."""
        points = self.base.tensor().repeat(math.prod(len(v) for v in self.axes.values()), 1)
        for i, at in enumerate(product(*self.axes.values())):
            for name, value in zip(self.axes, at, strict=True):
                points[i, self.model.parameters.index(name)] = float(value)
        return points

    def own(self) -> dict[str, Any]:
        """What is the user's own, by the name it has in errors."""
        model, backend = self.model, self.marching.backend
        own: dict[str, Any] = {f"loss {label(loss)!r}": loss for loss in self.losses if callable(loss)}
        if shipped_model(model.name) is not model:  # what a worker imports may be another reaction
            own[f"model {model.name!r}"] = (type(model), model.reaction, model.rest, model.uniform)
        if backend is not None and backend not in (KERNELS, TORCH):
            own[f"backend {backend.name!r}"] = backend
        own |= {f"route {route.name!r}": route for route in self.routes if not is_ours(route)}
        return own if is_ours(self.refine) else own | {"the solver of refine": self.refine}


def as_arguments(
    *,
    axes: Axes,
    base: ModelParams | None,
    losses: Sequence[str | Loss | FeatureLoss],
    routes: Sequence[str | Route],
    initial: Fields | None,
    target: Fields | None,
    tol: float,
    max_steps: int,
    check_every: int,
    refine: bool | Refine,
    share_root: bool,
    keep: str | None,
    follow: str | None,
    dtype: torch.dtype | None,
    dt: float,
    backend: Backend | None,
    device: torch.device | str | None,
) -> Arguments:
    """The arguments of `scan`, of the same names, checked and copied.

    Raises:
        ValueError: One lies outside its range.
        TypeError: One has a wrong type.
    """
    share_root, base = checks.flag("share_root", share_root), _base(base)
    values, keep = _axes(axes, base.model), _keep(keep)
    fields = initial_state(model=base) if initial is None else as_fields("initial", initial, base.model)
    chosen = tuple(as_route(route) for route in checks.listed("routes", routes))
    asked = as_losses(losses)
    for what, names in (("routes", [r.name for r in chosen]), ("losses", [label(loss) for loss in asked])):
        if len(set(names)) < len(names):
            raise ValueError(f"{what} must differ in name, got {names}")
    for route in chosen:
        check_dtype(route, dtype)
    precise = any(route.through_steps for route in chosen)
    return Arguments(
        axes=values, base=base, losses=asked, routes=chosen, initial=fields,
        marching=as_march(
            tol, max_steps, check_every, dtype, device_of(device, initial), dt, backend, precise=precise
        ),
        refine=as_refine(refine), share_root=share_root, keep=keep, follow=_follow(follow, list(values)),
        target=_target(target, len(fields), base.model),
    )  # fmt: skip


def shipped_model(name: str) -> Model | None:
    """The package's model of a name; None where it has none."""
    found = getattr(models, name, None)
    return found if isinstance(found, Model) else None


def _base(base: ModelParams | None) -> ModelParams:
    if base is None:
        return DEFAULT.preset("paper")
    if not isinstance(base, ModelParams):
        raise TypeError(f"base must be gsimplicit.Params, or another model's params, got {type(base).__name__}")
    if len(base) != 1:
        raise ValueError(f"base must be one instance, got {len(base)}")
    return base.detach()


def _axes(axes: Axes, model: Model) -> dict[str, np.ndarray[Any, Any]]:
    if not isinstance(axes, Mapping):
        raise TypeError(f"axes must map parameters to values, got {axes!r}")
    if not axes:
        raise ValueError("axes must name at least one parameter, got none")
    values = {str(name): _axis(name, at, model) for name, at in axes.items()}
    if math.prod(len(at) for at in values.values()) > _MOST_POINTS:
        raise ValueError(f"axes must make at most {_MOST_POINTS} points, got {[len(at) for at in values.values()]}")
    return values


def _axis(name: str, values: Sequence[float] | np.ndarray[Any, Any], model: Model) -> np.ndarray[Any, Any]:
    if not isinstance(name, str) or name not in model.parameters:
        nearest = checks.meant(name, model.parameters)
        known = ", ".join(map(repr, model.parameters))
        raise ValueError(f"axes must be among {known}, got {checks.shown(name)}{nearest}")
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


def as_losses(losses: Sequence[str | Loss | FeatureLoss]) -> list[str | Loss | FeatureLoss]:
    """Losses by name or as objects, checked; one that reads a file comes as an object that knows its digest.

    Raises:
        ValueError: There is none, or one has a name that is not its own.
        TypeError: One is neither a name nor a loss.
    """
    asked = checks.listed("losses", losses)
    if not asked:
        raise ValueError("losses must name at least one, got none")
    for loss in asked:
        if (isinstance(loss, str) or not callable(loss)) and loss != "residual":
            check_loss(loss)
    for loss in asked:
        if not isinstance(loss, str | Gram) and label(loss) in (*LOSSES, "residual"):
            raise ValueError(f"a loss of your own must not be named {label(loss)!r}, as a built-in one is")
    objects = [LOSSES["gram"] if isinstance(loss, str) and loss == "gram" else loss for loss in asked]
    return [settled(loss) if isinstance(loss, Gram) else loss for loss in objects]


def _target(target: Fields | None, samples: int, model: Model) -> torch.Tensor | None:
    """The target as float64, one instance a sample: the observed species alone, or all of them."""
    if target is None:
        return None
    every = isinstance(target, torch.Tensor | np.ndarray) and target.ndim == 4
    fields = as_fields("target", target, model) if every else as_target(target, model)
    assert fields is not None
    if len(fields) not in (1, samples):
        raise ValueError(f"target must be of 1 or {samples} instances, as the initial fields are, got {len(fields)}")
    return fields.expand(samples, *fields.shape[1:])


def _keep(keep: str | None) -> str | None:
    if keep is not None and (not isinstance(checks.plain(keep), str) or checks.plain(keep) != "v"):
        raise ValueError(f"keep must be 'v' or None, got {checks.shown(keep)}")
    return None if keep is None else "v"


def _follow(follow: str | None, axes: list[str]) -> str | None:
    if follow is None:
        return None
    if not isinstance(follow, str):
        raise TypeError(f"follow must be the name of the last axis or None, got {follow!r}")
    if follow.removeprefix("-") != axes[-1]:
        raise ValueError(f"follow must be the last axis, {axes[-1]!r} or '-{axes[-1]}', got {follow!r}")
    return str(follow)
