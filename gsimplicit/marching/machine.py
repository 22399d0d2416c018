"""What launches kernels on a device, and what a kernel is told."""

from __future__ import annotations

import ctypes
from typing import ClassVar, Protocol


class Job(ctypes.Structure):
    """What a kernel is told, as `Job` in `kernels.cu`: pointers, counts, and the tolerance in the dtype marched in."""

    _fields_: ClassVar = [
        *((name, ctypes.c_void_p) for name in ("fields", "other", "tangents", "other_tangents", "constants", "which",
                                               "steps", "change", "history", "sums")),
        ("capacity", ctypes.c_longlong),
        *((name, ctypes.c_int) for name in ("instances", "most", "limit", "check")),
    ]  # fmt: skip


class SingleJob(Job):
    """In float32."""

    _fields_: ClassVar = [("tol", ctypes.c_float)]


class DoubleJob(Job):
    """In float64."""

    _fields_: ClassVar = [("tol", ctypes.c_double)]


class Kernel(Protocol):
    """A compiled kernel."""

    def launch(self, blocks: int, threads: int, shared: int, job: Job) -> None:
        """Start it, on the stream of the moment."""
        ...


class Machine(Protocol):
    """What compiles and launches.

    Attributes:
        processors: Multiprocessors.
        shared_limit: Bytes of shared memory that a block may have.
    """

    @property
    def processors(self) -> int:
        """Multiprocessors."""
        ...

    @property
    def shared_limit(self) -> int:
        """Bytes of shared memory that a block may have."""
        ...

    def compiled(self, name: str, text: str) -> Kernel:
        """A kernel of a source text; kept."""
        ...

    def free_bytes(self) -> int:
        """Memory for fields that is free."""
        ...

    def wait(self) -> None:
        """Until what was launched is done."""
        ...
