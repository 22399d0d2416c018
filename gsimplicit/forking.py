"""A fork waits for what other threads import or compile for the first time.

A forked child has no other threads, but the locks they held: that of a module which is being imported, and numba's,
which is held while it compiles. Whoever asks for one of them in the child waits for ever. So a fork waits until nobody
holds one, and holds numba's itself meanwhile. The lock of imports is not held: another hook may wait for a lock whose
holder imports.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import warnings
from typing import Any

__all__ = ["PATIENCE"]

_ = logging  # its hook, registered by now, must come after ours: an import that is waited for asks for its lock

PATIENCE = 60.0
"""Seconds that a fork waits; then it goes on, and says so."""

PAUSE = 0.005
"""Seconds between two looks."""

LAZY = frozenset(
    {
        "cloudpickle", "gsimplicit", "joblib", "llvmlite", "loky", "matplotlib", "netCDF4", "numba", "pandas", "scipy",
        "torch", "torchdeq", "tqdm", "xarray",
    }
)  # fmt: skip
"""Packages that are imported where they are first needed, on whatever thread that is."""

_held: list[Any] = []
"""numba's lock, while a fork holds it."""


def _before() -> None:
    """Wait for other threads, and take numba's lock."""
    if threading.active_count() == 1:
        return
    end = time.monotonic() + PATIENCE
    while True:
        compiler = _compiler()
        taken = compiler is None or compiler.acquire(timeout=max(0.0, end - time.monotonic()))
        if taken and not _importing():
            _held.append(compiler)
            return
        if taken and compiler is not None:
            compiler.release()  # what is being imported may compile
        if time.monotonic() >= end:
            break
        time.sleep(PAUSE)
    warnings.warn(
        f"another thread has been importing or compiling for {PATIENCE:g} seconds: the forked process may wait for it "
        "for ever; use the start method spawn or forkserver",
        RuntimeWarning,
        stacklevel=2,
    )


def _after() -> None:
    """Give the lock back, in the parent and in the child."""
    for compiler in _held:
        if compiler is not None:
            compiler.release()
    _held.clear()


def _compiler() -> Any:
    """The lock that numba compiles under; None before numba is imported."""
    module = sys.modules.get("numba.core.compiler_lock")
    return getattr(getattr(module, "global_compiler_lock", None), "_lock", None)


def _importing() -> bool:
    """Whether another thread is in the middle of importing one of the lazy packages."""
    begun = [
        name
        for name, module in sys.modules.copy().items()
        if name.partition(".")[0] in LAZY and getattr(getattr(module, "__spec__", None), "_initializing", False)
    ]
    return bool(begun) and not _mine()


def _mine() -> bool:
    """Whether this very thread is importing: it cannot wait for itself."""
    frame: Any = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


if hasattr(os, "register_at_fork"):
    # before those of `threads` and `files`: the last one registered takes its lock first, and what they guard may
    # import, so that theirs must be had by then
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
