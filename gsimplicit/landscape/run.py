"""Running tiles of points: here where that is quick, else on a pool of processes or any executor."""

from __future__ import annotations

import hashlib
import pickle
import time
import warnings
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gsimplicit.landscape import pool, worker
from gsimplicit.landscape.tiles import Values
from gsimplicit.landscape.worker import Evaluate
from gsimplicit.surroundings import caller
from gsimplicit.threads import one_blas_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gsimplicit.landscape.sent import Parcel

    Keep = Callable[[Sequence[int], Values], None]

__all__ = ["run"]

_INLINE_SECONDS = 5.0
"""Starting worker processes costs about this much; a job that ends sooner is run where it stands."""

_STRIKES = 3
"""How often the pool may lose a worker before another tile ends."""

_UNKNOWN = 512
"""Workers taken for granted where an executor does not say how many it has."""


def run(
    evaluate: Evaluate,
    items: Sequence[Any],
    tiles: Sequence[list[int]],
    keep: Keep,
    executor: Executor | None,
    given: Mapping[str, Any] | None = None,
) -> None:
    """Evaluate tiles of indices into `items`; `keep` gets each with its values, here, as they end.

    Args:
        evaluate: From an item to the variables of its point.
        items: One a point.
        tiles: Indices into them.
        keep: Takes the values of a tile.
        executor: None runs what is quick here and else on processes.
        given: What is the user's own in `evaluate`, by name: it is copied wherever it is evaluated.
    """
    from gsimplicit.landscape.sent import CannotBeSentError

    work = _Work(evaluate, given or {})
    if executor is not None:
        try:
            packed = work.sent()
        except CannotBeSentError as error:
            raise CannotBeSentError(f"{error}; without executor= it is computed here, a point at a time") from error
        _drain(packed, items, list(reversed(tiles)), keep, executor)
        return
    left = _inline(work, items, list(tiles), keep)
    left.reverse()
    if left:
        _pooled(work.sent(), items, left, keep)


class _Work:
    """An evaluation, packed for workers once it is needed."""

    def __init__(self, evaluate: Evaluate, given: Mapping[str, Any]) -> None:
        self._evaluate, self._given = evaluate, given
        self._parcel: Parcel | None = None

    def sent(self) -> bytes:
        """As it is sent: bytes, or the pools of multiprocessing would move tensors we still use to shared memory.

        Raises:
            CannotBeSentError: It cannot be copied.
        """
        return pickle.dumps(self._packed())

    def _packed(self) -> Parcel:
        from gsimplicit.landscape.sent import parcel

        if self._parcel is None:
            self._parcel = parcel(self._evaluate, self._given)
        return self._parcel

    def here(self) -> tuple[Evaluate, str | None]:
        """The evaluation in this process, on a copy as workers have it; or the caller's own and why it is that."""
        if not self._given:
            return self._evaluate, None
        from gsimplicit.landscape.sent import CannotBeSentError, opened

        try:
            return opened(self._packed()), None
        except CannotBeSentError as error:
            return self._evaluate, str(error)


def _inline(work: _Work, items: Sequence[Any], tiles: list[list[int]], keep: Keep) -> list[list[int]]:
    """Evaluate tiles here while the rest would end sooner than workers start; returns what is left for them.

    What cannot be copied to workers is all evaluated here.
    """
    begin = time.perf_counter()
    evaluate, alone = work.here() if tiles else (None, None)
    for done, tile in enumerate(tiles, start=1):
        assert evaluate is not None
        keep(tile, worker.evaluate_tile(evaluate, [items[i] for i in tile]))
        if (time.perf_counter() - begin) / done * (len(tiles) - done) > _INLINE_SECONDS:
            if alone is None:
                return tiles[done:]
            warnings.warn(f"{alone}; points are computed here, one at a time", RuntimeWarning, stacklevel=caller())
            alone, begin = None, float("inf")
    return []


def _pooled(work: bytes, items: Sequence[Any], waiting: list[list[int]], keep: Keep) -> None:
    """Evaluate tiles on processes; a new pool takes over where one lost a worker, to the out-of-memory killer say.

    Where none can be started, in a daemonic process say, threads of this one do the work.
    """
    from gsimplicit.landscape.sent import WorkerDiffersError

    strikes = 0
    while waiting:
        before = len(waiting)
        try:
            workers, used = pool.borrowed()
        except OSError:
            _threaded(work, items, waiting, keep)
            return
        done = False
        try:
            _drain(work, items, waiting, keep, workers)
            done = True
        except BrokenExecutor as error:
            strikes = 1 if len(waiting) < before else strikes + 1
            if strikes == _STRIKES:
                raise RuntimeError(
                    f"worker processes died {strikes} times and no tile ended; is memory short? "
                    "executor=ThreadPoolExecutor(1) computes a point at a time"
                ) from error
        except WorkerDiffersError:
            if not used:  # new workers import modules as they are now
                raise
        finally:
            # on an error or interrupt workers are stopped at once
            (pool.kept if done else pool.dismissed)(workers)


def _threaded(work: bytes, items: Sequence[Any], waiting: list[list[int]], keep: Keep) -> None:
    """Evaluate tiles on threads, each of them on one thread of BLAS."""
    import loky

    with one_blas_thread():
        threads = ThreadPoolExecutor(loky.cpu_count())
        try:
            _drain(work, items, waiting, keep, threads)
        finally:
            threads.shutdown(wait=True, cancel_futures=True)


def _drain(work: bytes, items: Sequence[Any], waiting: list[list[int]], keep: Keep, executor: Executor) -> None:
    """Take tiles from the end of `waiting`, two in flight a worker; what did not end is put back."""
    key = hashlib.sha256(work).hexdigest()
    sent = work if len(work) <= worker.SENT_ONCE else None
    flying: dict[Future[Values | None], list[int]] = {}
    try:
        while waiting or flying:
            room = 2 * _workers(executor)  # asked again each time: a cluster may grow
            while waiting and len(flying) < room:
                future = executor.submit(worker.work_on, key, sent, [items[i] for i in waiting[-1]])
                flying[future] = waiting.pop()
            for future in wait(flying, return_when=FIRST_COMPLETED).done:
                values = _result(future)
                if values is None:  # the worker has not been sent it yet
                    again = executor.submit(worker.work_on, key, work, [items[i] for i in flying[future]])
                    flying[again] = flying.pop(future)
                    continue
                keep(flying[future], values)
                del flying[future]
    finally:
        for future, tile in flying.items():
            future.cancel()
            if future.done() and not future.cancelled() and future.exception() is None:
                with suppress(OSError):  # of the store; it is what ends the run already
                    done = future.result()
                    if done is not None:
                        keep(tile, done)
                        continue
            waiting.append(tile)


def _result(future: Future[Values | None]) -> Values | None:
    """What a worker gave; an error of a class of the user's own as that."""
    try:
        return future.result()
    except RuntimeError as error:
        opened: Callable[[], BaseException] | None = getattr(error, "opened", None)
        if opened is None:
            raise
        raise opened() from error


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
