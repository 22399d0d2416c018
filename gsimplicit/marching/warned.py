"""What is said once where steps are slow."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from gsimplicit.surroundings import caller

if TYPE_CHECKING:
    from gsimplicit.equations import Model


class UntracedWarning(UserWarning):
    """A model's reaction could not be traced, so that nothing of it is compiled."""


class SlowDeviceWarning(UserWarning):
    """Fields lie on a device for which there are no kernels, so that plain torch steps them."""


_said: set[tuple[str, str]] = set()


def of_model(model: Model) -> None:
    """Say once a model why its steps are slow."""
    if _first(model.name, str(model.untraced)):
        warnings.warn(
            f"the reaction of {model.name} is no formula that can be compiled ({model.untraced}), so that steps are "
            "taken by torch, some hundred times slower",
            UntracedWarning,
            stacklevel=caller(),
        )


def of_device(kind: str, why: str) -> None:
    """Say once a kind of device that plain torch steps there, and why."""
    if _first(kind, why):
        warnings.warn(
            f"steps on {kind!r} are taken by plain torch, some hundred times slower than by kernels: {why}",
            SlowDeviceWarning,
            stacklevel=caller(),
        )


def _first(*said: str) -> bool:
    new = (said[0], said[1]) not in _said
    _said.add((said[0], said[1]))
    return new
