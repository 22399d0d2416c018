"""Where the scans of a study march: on the device asked for, if they march and do no more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from gsimplicit.arrays import as_device

__all__ = ["device_for", "on_device", "with_device"]


@dataclass
class _Asked:
    """The device asked for, and how many datasets of the study are made elsewhere."""

    device: str
    elsewhere: int = 0


_ASKED: ContextVar[_Asked | None] = ContextVar("asked", default=None)


@contextmanager
def on_device(device: str | None) -> Iterator[None]:
    """Hand a device to the scans of a study, and say once at its end what did not use it."""
    asked = None if device is None or as_device(device).type == "cpu" else _Asked(device)
    token = _ASKED.set(asked)
    try:
        yield
    finally:
        _ASKED.reset(token)
    if asked is not None and asked.elsewhere:
        print(f"  on the CPU: {asked.elsewhere} of the datasets; only scans that march alone use {device}", flush=True)


def with_device() -> bool:
    """Whether a device other than the CPU was asked for."""
    return _ASKED.get() is not None


def device_for(scan: Mapping[str, Any] | None) -> str | None:
    """The device for a scan of these settings, or for another dataset where there are none; None is the CPU.

    Roots are found faster on the CPU's cores (docs/gpu.md). The residual loss marches nothing, and points that follow
    each other fill no device.
    """
    if (asked := _ASKED.get()) is None:
        return None
    if scan is not None and not any(scan.get(name) for name in _MORE) and list(scan.get("losses", ())) != ["residual"]:
        return asked.device
    asked.elsewhere += 1
    return None


_MORE = ("routes", "refine", "follow")
"""Settings of a scan that does more than march, or not at once."""
