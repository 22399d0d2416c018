"""Losses of a state: the one place that calls them, on copies, and their derivatives in v."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch

from gsimplicit.losses.loss import FeatureLoss

Loss = Callable[[torch.Tensor], torch.Tensor]
"""From v of shape (B, H, W) to one loss an instance, shape (B,), float64."""


class MixedInstancesError(ValueError):
    """The loss of one instance depends on another's v, so that it has no gradient of its own."""


@dataclass(frozen=True, eq=False)
class Objective:
    """A loss with its name and, where it has one, its target.

    Attributes:
        name: Name of the loss.
        loss: A callable, or an object with features and a distance.
        target: What features are compared with, float64, shape (B, H, W), or (B, S, H, W) of a loss of all species;
            None for a callable.
    """

    name: str
    loss: Callable[..., torch.Tensor] | FeatureLoss
    target: torch.Tensor | None = None
    times: int = 1
    """How often a batch holds the target's instances, one time after the other."""
    _goal: list[torch.Tensor] = field(default_factory=list, init=False, repr=False)
    _there: dict[torch.device, torch.Tensor] = field(default_factory=dict, init=False, repr=False)

    def __call__(self, v: torch.Tensor) -> torch.Tensor:
        """Loss of each instance, float64, shape (B,), as `value_of` has it; v is (B, H, W)."""
        return value_of(self, v)

    def evaluate(self, v: torch.Tensor) -> torch.Tensor:
        """What the loss says of v, unchecked.

        On the CPU, losses with features are evaluated an instance at a time, so that the bits do not depend on the
        batch. A callable gets the batch: it may hold something of its own for each instance.
        """
        if self.target is None:
            return cast("Callable[..., torch.Tensor]", self.loss)(v)
        loss, goal = cast("FeatureLoss", self.loss), self.goal()
        if v.device.type != "cpu":
            return loss.distance(loss.features(v), self._goal_on(v.device))
        return torch.cat(
            [loss.distance(loss.features(v[i : i + 1]), goal[i % len(goal)].clone()) for i in range(len(v))]
        )

    def repeated(self, times: int) -> Objective:
        """The same loss for a batch that holds the instances several times over."""
        if self.target is None:
            return self
        self.goal()
        copy = replace(self, times=times)
        object.__setattr__(copy, "_goal", self._goal)
        object.__setattr__(copy, "_there", self._there)
        return copy

    def _goal_on(self, device: torch.device) -> torch.Tensor:
        """Features of the target as one batch, on a device."""
        if device not in self._there:
            self._there[device] = torch.cat(self.goal()).to(device)
        one = self._there[device]
        return one.repeat(self.times, *(1,) * (one.ndim - 1))

    def goal(self) -> list[torch.Tensor]:
        """Features of the target, an instance each; computed once."""
        if not self._goal:
            assert self.target is not None
            with torch.no_grad(), noted(self, "the features of the target"):
                loss = cast("FeatureLoss", self.loss)
                self._goal.extend([loss.features(one.clone()).detach() for one in torch.split(self.target, 1)])
        return self._goal

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_goal": [], "_there": {}}


def name_of(loss: Loss) -> str:
    """Name of a loss in errors and results."""
    return str(getattr(loss, "name", getattr(loss, "__name__", type(loss).__name__)))


def value_of(loss: Loss, v: torch.Tensor, entry: str = "") -> torch.Tensor:
    """Loss of each instance, float64, shape (B,): nothing else in the package calls a loss.

    It gets a copy of v, attached to autograd whatever the caller's grad mode: it may write into it, differentiate
    inside, or keep it. An instance that is not finite has no loss: 0 stands for its v, so that a loss that stumbles
    over NaN does not take the others with it, and what comes back is NaN.

    Args:
        loss: A callable of v (B, H, W) giving (B,).
        v: Shape (B, H, W). Where it is attached to autograd, so is the value; elsewhere no graph is left.
        entry: What the caller called, for errors.

    Raises:
        ValueError: What comes back is no tensor of shape (B,), or complex.
        Exception: Whatever the loss raises, with a note that names it.
    """
    finite, given = None, v
    if not math.isfinite(float(v.detach().sum())):  # a NaN or an infinity never adds up to a number
        finite = torch.isfinite(v.detach()).flatten(1).all(dim=1)
        given = torch.where(finite.reshape(-1, *(1,) * (v.ndim - 1)), v, 0.0)
    with torch.enable_grad():
        found = _called(loss, given.to(torch.float64)) if v.requires_grad else _called_alone(loss, given)
        value = _checked(found, f"{entry}: loss" if entry else "loss", name_of(loss), given)
        if not v.requires_grad:
            value = value.detach()
        return value if finite is None else torch.where(finite.to(value.device), value, torch.nan)


def slope_of(loss: Loss, v: torch.Tensor) -> torch.Tensor | None:
    """Derivative of each instance's loss in its own v, float64, shape (B, H, W), NaN where v is not finite.

    Instances do not mix, so that the sum over the batch has each instance's own derivative as its gradient; a second
    sum with other weights tells where they do.

    Returns:
        None where autograd does not see v.

    Raises:
        MixedInstancesError: The loss of one instance depends on another's v.
    """
    at = v.detach().to(torch.float64, copy=True).requires_grad_()
    with torch.enable_grad():
        value = value_of(loss, at)
        if not value.requires_grad:
            return None
        several = len(at) > 1 and not (isinstance(loss, Objective) and loss.target is not None)
        with noted(loss, "the derivative of the loss"):
            found = torch.autograd.grad(value.sum(), at, allow_unused=True, retain_graph=several)
        slope = cast("torch.Tensor | None", found[0])
        if slope is None:
            return None
        if several:
            # powers of two: what does not mix is scaled to the bit
            weights = 2.0 ** (torch.arange(len(at), dtype=torch.float64, device=value.device) % 8)
            weighed = torch.autograd.grad((weights * value).sum(), at)[0]
            _check_apart(loss, v, slope, weighed, weights.to(slope.device))
    if not math.isfinite(float(at.detach().sum())):
        slope[~torch.isfinite(at.detach()).flatten(1).all(dim=1)] = torch.nan
    return slope


def dtype_of(loss: Loss, v: torch.Tensor) -> torch.dtype:
    """Dtype in which a loss gives its values, before they are made float64."""
    with torch.enable_grad():
        return _called_alone(loss, v).dtype


def _check_apart(
    loss: Loss, v: torch.Tensor, slope: torch.Tensor, weighed: torch.Tensor, weights: torch.Tensor
) -> None:
    """Raise where the slopes of a weighted sum are not the weighted slopes of the sum, and others see an instance.

    A backward that clips or rounds is not linear in what comes down to it, and mixes nothing.
    """
    name = name_of(loss)
    off = (weighed - weights[:, None, None] * slope).nan_to_num(0.0, 0.0, 0.0).abs().flatten(1).amax(dim=1)
    size = slope.nan_to_num(0.0, 0.0, 0.0).abs().flatten(1).amax(dim=1)
    mixed = (off > 1e-6 * weights * size + 1e-12 * size.max()).nonzero().reshape(-1).tolist()
    if mixed and not _unseen_by_others(loss, v):
        raise MixedInstancesError(
            f"loss {name!r} mixes instances: the loss of another one depends on v of instances {mixed}, so that they "
            "have no gradient of their own; let each entry of what it gives depend on its own v alone"
        )


def _unseen_by_others(loss: Loss, v: torch.Tensor) -> bool:
    """Whether the losses of all other instances have no slope in the v of each."""
    at = v.detach().to(torch.float64, copy=True).requires_grad_()
    try:
        with torch.enable_grad():
            value = _called(loss, at)
        for i in range(len(v)):
            others = torch.ones_like(value)
            others[i] = 0
            (slope,) = torch.autograd.grad(value, at, others, retain_graph=True, allow_unused=True)
            if slope is not None and bool(slope[i].any()):
                return False
    except Exception:  # it cannot be asked again
        return False
    return True


def _called_alone(loss: Loss, v: torch.Tensor) -> torch.Tensor:
    """What a loss gives for a copy of its own; attached to autograd where it needs that, to differentiate inside.

    A loss that adds up what it gave would else keep every graph.
    """
    try:
        return _given(loss, v.detach().to(torch.float64, copy=True))
    except Exception:
        return _called(loss, v.detach().to(torch.float64, copy=True).requires_grad_())


def _called(loss: Loss, v: torch.Tensor) -> torch.Tensor:
    copy = v.clone()
    if copy.requires_grad:
        copy.retain_grad()  # for a loss that calls backward inside and reads v.grad
    return _given(loss, copy)


def _given(loss: Loss, own: torch.Tensor) -> torch.Tensor:
    """What a loss gives for v in memory of its own."""
    with noted(loss, "the loss"):
        return loss.evaluate(own) if isinstance(loss, Objective) else loss(own)


@contextmanager
def noted(loss: Loss, what: str) -> Iterator[None]:
    """Errors inside get a note that names the loss."""
    try:
        yield
    except Exception as error:
        error.add_note(f"raised by {what} {name_of(loss)!r}")
        raise


def _checked(value: object, what: str, name: str, v: torch.Tensor) -> torch.Tensor:
    """What a loss gave, as float64 in memory of its own."""
    if not isinstance(value, torch.Tensor) or value.shape != v.shape[:1]:
        found = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        raise ValueError(f"{what} {name!r} must give shape ({len(v)},) for v of shape {tuple(v.shape)}, got {found}")
    if value.is_complex():
        raise ValueError(f"{what} {name!r} must give real numbers, got {value.dtype}: take its modulus or real part")
    return value.to(torch.float64, copy=True)
