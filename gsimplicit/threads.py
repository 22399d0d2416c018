"""Instances on threads of our own, and inside them one thread of torch and of BLAS.

The vectors of an instance are short and the calls many, so threads inside an instance gain nothing; beside each other
they wait: GMRES of 16 instances on 16 threads took 83 seconds where four instances on one thread took 5, and
eigenvalues that take a second took more than two minutes. Sums over several threads also come in another order, with
other bits. So threads are limited where instances are spread, and whatever runs on them is the same for any number.
"""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import threadpoolctl
import torch

from gsimplicit.progress import LINE, STAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")
R = TypeVar("R")

__all__ = ["STOP", "Stopped", "each", "look", "one_blas_thread"]

STOP: ContextVar[threading.Event | None] = ContextVar("STOP", default=None)
"""Set by whoever runs instances on threads: a thread cannot be interrupted, so it looks here now and then."""


class Stopped(RuntimeError):  # noqa: N818 (an outcome, not a fault)
    """Another instance of the batch failed or was interrupted, so this one was given up."""


if hasattr(os, "register_at_fork"):
    # torch's threads are not forked with a process, and a child that asks for them waits for ever, in its first FFT say
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def look() -> None:
    """Give this instance up where another one of its batch has failed.

    Raises:
        Stopped: It has.
    """
    stop = STOP.get()
    if stop is not None and stop.is_set():
        raise Stopped("given up: another instance of the batch failed or was interrupted")


def each(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Run `work` on every item, on as many threads as torch may use here; inside, torch and BLAS use one.

    A call inside another one runs its items in turn. The limits of torch are of each thread, those of BLAS of the
    process; what the caller had set is back at the end, whatever happens.
    """
    items = list(items)
    threads = min(torch.get_num_threads(), len(items))
    work = _counted(work, len(items))
    with one_blas_thread(), _one_torch_thread():
        return [work(item) for item in items] if threads <= 1 else _spread(work, items, threads)


def _counted(work: Callable[[T], R], size: int) -> Callable[[T], R]:
    """The work, with what is done of a batch told to the line of the call, where it has one."""
    line, stage = LINE.get(), STAGE.get()
    if line is None or size == 1:
        return work
    done: list[None] = []
    line.count(0, size)

    def counted(item: T) -> R:
        # what a thread of the pool does has its notes in the same line
        tokens = LINE.set(line), STAGE.set(stage)
        try:
            return work(item)
        finally:
            STAGE.reset(tokens[1])
            LINE.reset(tokens[0])
            done.append(None)
            line.count(len(done), size)  # all done: the count goes

    return counted


def _spread(work: Callable[[T], R], items: list[T], threads: int) -> list[R]:
    """Run `work` on every item on a pool of threads; the kernels leave the GIL."""
    stop = threading.Event()

    def stoppable(item: T) -> R:
        token = STOP.set(stop)
        try:
            return work(item)
        finally:
            STOP.reset(token)

    pool = ThreadPoolExecutor(threads, initializer=_begin)
    try:
        return list(pool.map(stoppable, items))
    except BaseException:  # an interrupt too: threads end between two kernel calls, not with their instance
        stop.set()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin() -> None:
    """What a thread of the pool sets for itself; it ends with the pool."""
    torch.set_num_threads(1)
    for library in _libraries(len(sys.modules))[1]:
        _set(library, 1)


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """One thread for torch, its OpenMP and its MKL on this thread, and on those that call torch first meanwhile."""
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@lru_cache(maxsize=1)
def _libraries(modules: int) -> tuple[list[Any], list[Any]]:
    """The BLAS libraries with a number of threads for the process, and those with one for each thread (OpenMP's).

    They come with modules, so they are looked for again once there are more of those.
    """
    loaded = [lib for lib in threadpoolctl.ThreadpoolController().lib_controllers if lib.user_api == "blas"]
    own = [lib for lib in loaded if getattr(lib, "threading_layer", None) == "openmp"]
    return [lib for lib in loaded if lib not in own], own


def _set(library: Any, threads: int) -> None:
    """Set the threads of a library from any thread; newer threadpoolctl lets one at a time, and is silent to others."""
    release = getattr(getattr(threadpoolctl, "OpenBLASController", None), "clear_controlling_thread", None)
    for change in (release, lambda **_: library.set_num_threads(threads), release):
        if change is not None:
            change(force=True)


_lock = threading.Lock()
if hasattr(os, "register_at_fork"):  # a child must not be born with the lock of a thread that it does not have
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
_holders: list[None] = []
_before: dict[str, tuple[Any, int]] = {}
"""What the libraries limited now had before, by their file: the last holder out puts it back."""


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread inside, and restore what was set before.

    The setting is the process's, so threads that want it side by side share it.
    """
    shared, own = _libraries(len(sys.modules))
    mine = [(library, threads) for library in own if (threads := library.get_num_threads()) != 1]
    with _lock:
        _holders.append(None)
        for library in shared:
            if library.filepath not in _before:
                _before[library.filepath] = library, library.get_num_threads()
                _set(library, 1)
    for library, _ in mine:
        _set(library, 1)
    try:
        yield
    finally:
        for library, threads in mine:
            _set(library, threads)
        with _lock:
            _holders.pop()
            if not _holders:
                for library, threads in _before.values():
                    _set(library, threads)
                _before.clear()
