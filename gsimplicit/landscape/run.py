"""Running tiles of points: here where that is quick, else on a pool of processes or any executor."""

from __future__ import annotations

import os
import pickle
import platform
import signal
import sys
import threading
import time
import traceback
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import current_process
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from gsimplicit.landscape.tiles import Values
from gsimplicit.surroundings import own_surroundings
from gsimplicit.threads import one_blas_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Evaluate = Callable[[Any], Values]
    Keep = Callable[[Sequence[int], Values], None]

_INLINE_SECONDS = 5.0
"""Starting worker processes costs about this much; a job that ends sooner is run where it stands."""

_STRIKES = 3
"""How often the pool may lose a worker before another tile ends."""

_UNKNOWN = 512
"""Workers taken for granted where an executor does not say how many it has."""


_mine = threading.local()


def _unpacked(work: bytes) -> Evaluate:
    """The evaluation, a copy for each thread: a loss may keep an array it works in."""
    if getattr(_mine, "work", None) != work:
        _mine.work, _mine.evaluate = work, pickle.loads(work)
    return cast("Evaluate", _mine.evaluate)


@own_surroundings
def work_on(work: bytes, items: Sequence[Any]) -> Values:
    """What is sent to a worker: the pickled evaluation, the same for all tiles, and the items of one.

    Raises:
        RuntimeError: For an error that cannot be sent back: it would take the worker, or the pool, with it.
    """
    try:
        return evaluate_tile(_unpacked(work), items)
    except Exception as error:
        if _can_be_sent(error):
            raise
        told = RuntimeError(f"{type(error).__qualname__}: {error}")
        for note in (*getattr(error, "__notes__", ()), "".join(traceback.format_exception(error)).strip()):
            told.add_note(str(note))
        raise told from None


def _can_be_sent(error: Exception) -> bool:
    """Whether an error comes back from pickling as what it was."""
    try:
        return type(pickle.loads(pickle.dumps(error))) is type(error)
    except Exception:
        return False


def _here() -> tuple[str, int]:
    """This process among those of all machines."""
    return platform.node(), os.getpid()


def _as_at_home(evaluate: Evaluate, dtype: torch.dtype, home: tuple[str, int], item: Any) -> Values:
    """A point as the process that asked for it has it: a loss may make tensors of torch's default dtype.

    The dtype is a process's own, so threads of the one that asked have it already.
    """
    before = torch.get_default_dtype()
    if _here() == home or dtype == before:
        return evaluate(item)
    torch.set_default_dtype(dtype)
    try:
        return evaluate(item)
    finally:
        torch.set_default_dtype(before)


@own_surroundings
def evaluate_tile(evaluate: Evaluate, items: Sequence[Any]) -> Values:
    """The variables of some points, stacked."""
    with _one_thread():
        points = [evaluate(item) for item in items]
    return {name: np.stack([point[name] for point in points]) for name in points[0]}


def run(
    evaluate: Evaluate, items: Sequence[Any], tiles: Sequence[list[int]], keep: Keep, executor: Executor | None
) -> None:
    """Evaluate tiles of indices into `items`; `keep` gets each with its values, here, as they end."""
    left = list(tiles)
    if executor is None:
        left = _inline(evaluate, items, left, keep)
    left.reverse()
    if executor is not None:
        _drain(evaluate, items, left, keep, executor)
    elif left:
        _pooled(evaluate, items, left, keep)


def _inline(evaluate: Evaluate, items: Sequence[Any], tiles: list[list[int]], keep: Keep) -> list[list[int]]:
    """Evaluate tiles here while the rest would end sooner than workers start; returns what is left for them."""
    begin = time.perf_counter()
    for done, tile in enumerate(tiles, start=1):
        keep(tile, evaluate_tile(evaluate, [items[i] for i in tile]))
        if (time.perf_counter() - begin) / done * (len(tiles) - done) > _INLINE_SECONDS:
            return tiles[done:]
    return []


def _pooled(evaluate: Evaluate, items: Sequence[Any], waiting: list[list[int]], keep: Keep) -> None:
    """Evaluate tiles on processes; a new pool takes over where one lost a worker, to the out-of-memory killer say.

    Where none can be started, in a daemonic process say, threads of this one do the work.
    """
    strikes = 0
    while waiting:
        before = len(waiting)
        try:
            pool = processes()
        except OSError:
            _threaded(evaluate, items, waiting, keep)
            return
        try:
            _drain(evaluate, items, waiting, keep, pool)
        except BrokenExecutor as error:
            strikes = 1 if len(waiting) < before else strikes + 1
            if strikes == _STRIKES:
                raise RuntimeError(
                    f"worker processes died {strikes} times and no tile ended; is memory short? "
                    "executor=ThreadPoolExecutor(1) computes a point at a time"
                ) from error
        finally:
            # on an error or interrupt workers are stopped at once; on success there is nothing left to kill
            pool.shutdown(wait=True, kill_workers=True)  # type: ignore[call-arg]


def _threaded(evaluate: Evaluate, items: Sequence[Any], waiting: list[list[int]], keep: Keep) -> None:
    """Evaluate tiles on threads, each of them on one thread of BLAS."""
    import loky

    with one_blas_thread():
        pool = ThreadPoolExecutor(loky.cpu_count())
        try:
            _drain(evaluate, items, waiting, keep, pool)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _drain(evaluate: Evaluate, items: Sequence[Any], waiting: list[list[int]], keep: Keep, executor: Executor) -> None:
    """Take tiles from the end of `waiting`, two in flight a worker; what did not end is put back."""
    import cloudpickle

    # once for all tiles; and as bytes, or the pools of multiprocessing would move tensors we still use to shared memory
    work = cloudpickle.dumps(partial(_as_at_home, evaluate, torch.get_default_dtype(), _here()))
    flying: dict[Future[Values], list[int]] = {}
    try:
        while waiting or flying:
            room = 2 * _workers(executor)  # asked again each time: a cluster may grow
            while waiting and len(flying) < room:
                future = executor.submit(work_on, work, [items[i] for i in waiting[-1]])
                flying[future] = waiting.pop()
            for future in wait(flying, return_when=FIRST_COMPLETED).done:
                values = future.result()
                keep(flying[future], values)
                del flying[future]
    finally:
        for future, tile in flying.items():
            future.cancel()
            if future.done() and not future.cancelled() and future.exception() is None:
                with suppress(OSError):  # of the store; it is what ends the run already
                    keep(tile, future.result())
                    continue
            waiting.append(tile)


def _workers(executor: Executor) -> int:
    """How many workers an executor has now: pools of processes and threads, of MPI, of Dask, and loky's."""
    for name in ("_max_workers", "num_workers"):
        known = getattr(executor, name, None)
        if isinstance(known, int):
            return max(1, known)
    threads: Callable[[], dict[str, int]] | None = getattr(getattr(executor, "_client", None), "nthreads", None)
    if threads is not None:
        return max(1, sum(threads().values()))
    return _UNKNOWN


def processes() -> Executor:
    """A pool of processes on all cores. loky needs no main guard and sends functions defined anywhere.

    Raises:
        OSError: None can be started: this process is daemonic, or the system has no semaphores or processes left.
    """
    import loky

    pool = None
    try:
        if current_process().daemon:
            raise OSError("this process is daemonic, as those of multiprocessing.Pool and of Dask's nannies are")
        # one thread a process: the processes already fill the cores
        single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        pool = loky.ProcessPoolExecutor(env=single, initializer=_begin_worker, initargs=(os.getpid(),))
        pool.submit(os.getpid)  # starts them: what fails, fails here and not with the first tile
    except (OSError, AssertionError, RuntimeError, ImportError, TypeError, ValueError, AttributeError) as error:
        if pool is not None:
            with suppress(Exception):
                pool.shutdown(wait=False, kill_workers=True)
        raise OSError(f"no worker processes could be started: {error}; pass executor=ThreadPoolExecutor()") from error
    return cast("Executor", pool)


def _begin_worker(parent: int) -> None:
    """Ctrl-C reaches all processes of a terminal: the parent decides. A worker whose parent was killed ends too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "win32":
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


_threads_lock = threading.Lock()
_threads_before: list[int] = []


@contextmanager
def _one_thread() -> Iterator[None]:
    """One torch thread, wherever a point is evaluated: sums over several come in another order, with other bits.

    The setting is the process's, so threads that evaluate side by side share it; the last one puts it back.
    """
    with _threads_lock:
        _threads_before.append(torch.get_num_threads() if not _threads_before else _threads_before[0])
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _threads_lock:
            before = _threads_before.pop()
            if not _threads_before:
                torch.set_num_threads(before)
