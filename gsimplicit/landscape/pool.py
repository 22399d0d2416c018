"""Processes that evaluate points: a pool on all cores, kept for the next scan of this process."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from concurrent.futures import Executor
from contextlib import suppress
from multiprocessing import current_process, process
from typing import Any, cast
from weakref import WeakKeyDictionary

__all__ = ["borrowed", "dismissed", "kept", "processes"]

_IDLE_SECONDS = 60.0
"""How long a pool waits for the next scan: each worker holds some 250 MB."""

_GROWTH = "LOKY_MAX_MEMORY_LEAK_SIZE"
"""Bytes by which a worker may grow; loky's own are 3e8."""


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
        # where psutil is there, loky restarts a worker that has grown since its first task: factors and compiled code
        # are no leak, and a restart takes ten seconds
        growth = {_GROWTH: os.environ.get(_GROWTH, "2e9")}
        pool = loky.ProcessPoolExecutor(env=single | growth, initializer=_begin_worker, initargs=(os.getpid(),))
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


_lock = threading.Lock()
_waiting: list[tuple[Executor, threading.Timer]] = []
"""The pool that waits for the next scan; one at most."""

_started: WeakKeyDictionary[Executor, tuple[Any, ...]] = WeakKeyDictionary()
"""What pools were started from."""

_inherited: list[Any] = []
"""Pools of the process that this one was forked from: they are its own, and are left alone."""


def borrowed() -> tuple[Executor, bool]:
    """A pool for one scan, and whether it has worked before.

    Raises:
        OSError: None can be started.
    """
    with _lock:
        found = _waiting.pop() if _waiting else None
    if found is not None:
        pool, timer = found
        timer.cancel()
        if _started[pool] == _surroundings() and not _broken(pool):
            return pool, True
        dismissed(pool)
    started_from = _surroundings()
    pool = processes()
    _started[pool] = started_from
    return pool, False


def kept(pool: Executor) -> None:
    """Give a pool back that has nothing left to do."""
    timer = threading.Timer(_IDLE_SECONDS, _expired, (pool,))
    timer.daemon = True
    with _lock:
        if not _waiting and not _broken(pool):
            _waiting.append((pool, timer))
            timer.start()
            return
    dismissed(pool)


def dismissed(pool: Executor) -> None:
    """End the workers of a pool at once, whatever they do."""
    pool.shutdown(wait=True, kill_workers=True)  # type: ignore[call-arg]


def _expired(pool: Executor) -> None:
    """Nobody wanted the pool."""
    with _lock:
        mine = [one for one in _waiting if one[0] is pool]
        _waiting[:] = [one for one in _waiting if one[0] is not pool]
    if mine:
        dismissed(pool)


def _surroundings() -> tuple[Any, ...]:
    """What a worker takes from this process when it starts: in another folder or environment it is another one."""
    with suppress(OSError):
        return os.getpid(), os.getcwd(), tuple(sys.path), tuple(sorted(os.environ.items()))
    return (object(),)  # the folder is gone: no other pool is like it


def _broken(pool: Any) -> bool:
    flags = getattr(pool, "_flags", None)
    return flags is None or bool(flags.broken or flags.shutdown)


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()
    for pool, _ in _waiting:  # or a child would wait for them where it ends
        for worker in list(getattr(pool, "_processes", {}).values()):
            getattr(process, "_children", set()).discard(worker)
    _inherited.extend(_waiting)
    _waiting.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
