"""Settings of the process and thread that asked, taken along to wherever a point is evaluated.

A loss may make tensors of torch's default dtype, multiply matrices or record gradients by itself: with other settings
its numbers are others. Only what differs is set, and it is put back after the tile.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

__all__ = ["Home", "here"]


@dataclass(frozen=True)
class Home:
    """Where a call came from, and what was set there.

    Attributes:
        place: Machine and process.
        shared: Settings that all threads of a process share.
        grad: Whether gradients are recorded.
        errors: What numpy does about floating-point errors.
        tiny: Whether numbers too small for full precision are kept.
    """

    place: tuple[str, int]
    shared: dict[str, Any]
    grad: bool
    errors: dict[str, Any]
    tiny: bool

    @staticmethod
    def now() -> Home:
        """What is set here and now."""
        return Home(here(), _shared(), torch.is_grad_enabled(), dict(np.geterr()), _keeps_tiny())

    @contextmanager
    def applied(self) -> Iterator[None]:
        """As at home, inside; threads of the process that asked share its settings, and have others of their own."""
        with ExitStack() as stack:
            if here() != self.place:
                before = _shared()
                for name, value in self.shared.items():
                    if before[name] != value:
                        stack.callback(_SHARED[name][1], before[name])
                        _SHARED[name][1](value)
            if torch.is_grad_enabled() != self.grad:
                stack.enter_context(torch.set_grad_enabled(self.grad))
            if np.geterr() != self.errors:
                stack.enter_context(np.errstate(**self.errors))
            if _keeps_tiny() != self.tiny:
                torch.set_flush_denormal(not self.tiny)
                stack.callback(torch.set_flush_denormal, self.tiny)
            yield


def here() -> tuple[str, int]:
    """This process among those of all machines."""
    return platform.node(), os.getpid()


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


_SHARED: dict[str, tuple[Any, Any]] = {
    "dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "precision": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "deterministic": (
        _deterministic,
        lambda given: torch.use_deterministic_algorithms(given[0], warn_only=given[1]),
    ),
    "mkldnn": (
        lambda: bool(torch.backends.mkldnn.enabled),
        lambda given: torch.backends.mkldnn.set_flags(given),  # type: ignore[no-untyped-call]
    ),
}
"""Settings by name: how they are read, and how they are set."""


def _shared() -> dict[str, Any]:
    return {name: read() for name, (read, _) in _SHARED.items()}


def _keeps_tiny() -> bool:
    """Whether this thread keeps denormal numbers: the processor's own setting, which torch does not tell."""
    return bool(torch.full((), 2.0**-1060, dtype=torch.float64).mul(0.5) != 0)
