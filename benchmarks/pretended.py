"""A device `cuda:0` that is not there: what asks for it runs on the CPU, as strictly as on a device.

It finds tensors of two devices that are mixed, ways to numpy and forks that a device refuses, launches that it refuses,
and what is held at a time. It finds nothing of streams, of reading before a launch has ended, or of speed.
"""

from __future__ import annotations

import copyreg
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.utils.checkpoint

from benchmarks.crossing import DEVICE, TENSOR, Asked, Computed, held, lies_there, pickled, watchers
from benchmarks.gpu_work import replaced
from benchmarks.shim import ThreadsMachine
from gsimplicit.marching import cuda

__all__ = ["DEVICE", "Pretended", "pretended"]


@contextmanager
def _modes() -> Iterator[None]:
    with Asked(), Computed():
        yield


class Pretended(ThreadsMachine):
    """What compiles and launches, and how much was held.

    Args:
        free: Bytes said to be free.

    Attributes:
        peak: Most bytes of tensors on the device at a time; counted where `counting` is set.
    """

    def __init__(self, free: int) -> None:
        super().__init__(free=free)
        self.counting, self.peak = False, 0

    def count(self) -> None:
        """Note what is held now."""
        if self.counting:
            self.peak = max(self.peak, held())


@contextmanager
def pretended(*, free: int = 2**30) -> Iterator[Pretended]:
    """A device `cuda:0` for what runs inside, on all threads; kernels run on threads of the CPU.

    Args:
        free: Bytes said to be free.
    """
    machine = Pretended(free)
    answers = {
        "current_device": 0,
        "mem_get_info": (free, free),
        "memory_reserved": 0,
        "memory_allocated": 0,
        "get_device_name": "pretended",
        "is_available": True,
        "device_count": 1,
        "synchronize": None,
    }
    with ExitStack() as stack:
        for name, answer in answers.items():
            stack.enter_context(replaced(torch.cuda, name, lambda *_, answer=answer: answer))
        stack.enter_context(replaced(cuda, "machine_of", lambda device: machine))
        stack.enter_context(replaced(cuda, "missing", lambda device: None))
        stack.enter_context(replaced(threading.Thread, "run", _beside(threading.Thread.run)))
        for module in (torch.autograd, torch.autograd.graph):
            stack.enter_context(
                replaced(module, "_engine_run_backward", _back(torch.autograd.graph._engine_run_backward))
            )
        # it compares devices in places where torch has put aside what it was asked for
        checks: Any = torch.utils.checkpoint._allowed_determinism_checks_to_fns
        stack.callback(checks.__setitem__, "default", checks["default"])
        checks["default"] = checks["none"]
        copyreg.pickle(TENSOR, pickled)
        stack.callback(copyreg.dispatch_table.pop, TENSOR)
        watchers.append(machine.count)
        stack.callback(watchers.pop)
        with _modes():
            yield machine


def _beside(run: Callable[[Any], None]) -> Callable[[Any], None]:
    def beside(self: threading.Thread) -> None:
        with _modes():
            run(self)

    return beside


def _back(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Backward on a thread of its own, as torch goes back through what lies on a device."""

    def back(roots: Any, *args: Any, **kwargs: Any) -> Any:
        if not any(map(lies_there, roots)):
            with Asked():  # torch calls this with what it was itself asked for put aside
                return backward(roots, *args, **kwargs)
        with ThreadPoolExecutor(1) as alone:
            return alone.submit(backward, roots, *args, **kwargs).result()

    return back
