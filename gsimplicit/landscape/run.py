"""Running the points of a scan: here where that is quick, else on a pool of processes or any executor."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager
from typing import cast

import torch

from gsimplicit.landscape.point import Plan, Values, evaluate
from gsimplicit.landscape.store import Store
from gsimplicit.results import Status

_INLINE_SECONDS = 5.0
"""Starting worker processes costs about this much; a scan that ends sooner is run where it stands."""


def evaluate_tile(plan: Plan, indices: Sequence[int]) -> list[Values]:
    """Evaluate some points; what is sent to a worker."""
    return [evaluate(plan, i) for i in indices]


def run(plan: Plan, store: Store | None, executor: Executor | None, progress: bool) -> dict[int, Values]:
    """Evaluate every point not stored yet."""
    from tqdm.auto import tqdm

    values = store.read() if store is not None else {}
    count = len(plan.points)
    values = {i: v for i, v in values.items() if i < count}
    todo = [i for i in range(count) if i not in values]
    size = max(1, min(16, count // 64))
    tiles = [todo[n : n + size] for n in range(0, len(todo), size)]
    seen: Counter[str] = Counter()

    # a terminal gets a moving bar, a log a line now and then
    every = 0.1 if sys.stderr.isatty() else 15.0
    with tqdm(
        total=count, initial=count - len(todo), disable=not progress, unit="point", desc="scan", mininterval=every
    ) as bar:

        def keep(tile: Sequence[int], points: list[Values]) -> None:
            values.update(zip(tile, points, strict=True))
            if store is not None:
                store.add(tile, points)
            for point in points:
                seen.update(Status(int(s)).name.lower() for s in point["status"])
            bar.update(len(tile))
            bar.set_postfix(seen, refresh=False)

        if executor is None:
            tiles = _inline(plan, tiles, keep)
        if tiles:
            _pooled(plan, tiles, keep, executor)
    return values


def _inline(plan: Plan, tiles: list[list[int]], keep: Callable[[Sequence[int], list[Values]], None]) -> list[list[int]]:
    """Evaluate tiles here while the rest would end sooner than workers start; returns what is left for them."""
    begin = time.perf_counter()
    with _one_thread():
        for done, tile in enumerate(tiles, start=1):
            keep(tile, evaluate_tile(plan, tile))
            spent = time.perf_counter() - begin
            if spent / done * (len(tiles) - done) > _INLINE_SECONDS:
                return tiles[done:]
    return []


def _pooled(
    plan: Plan,
    tiles: list[list[int]],
    keep: Callable[[Sequence[int], list[Values]], None],
    executor: Executor | None,
) -> None:
    """Evaluate tiles on an executor, a few in flight a worker so that an interrupt loses little."""
    own = executor is None
    pool = executor if executor is not None else _processes()
    workers = getattr(pool, "_max_workers", None) or os.cpu_count() or 1
    waiting = list(reversed(tiles))
    flying: dict[Future[list[Values]], list[int]] = {}
    try:
        while waiting or flying:
            while waiting and len(flying) < 2 * workers:
                tile = waiting.pop()
                flying[pool.submit(evaluate_tile, plan, tile)] = tile
            done, _ = wait(flying, return_when=FIRST_COMPLETED)
            for future in done:
                keep(flying.pop(future), future.result())
    finally:
        for future in flying:
            future.cancel()
        if own:
            # on an error or interrupt workers are stopped at once; on success there is nothing left to kill
            pool.shutdown(wait=True, kill_workers=True)  # type: ignore[call-arg]


def _processes() -> Executor:
    """A pool of processes on all cores. loky needs no main guard and sends functions defined anywhere."""
    import loky

    try:
        # one thread a process: the processes already fill the cores
        single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        return cast("Executor", loky.ProcessPoolExecutor(env=single, initializer=torch.set_num_threads, initargs=(1,)))
    except OSError as error:
        raise OSError(f"no worker processes could be started: {error}; pass executor=ThreadPoolExecutor()") from error


@contextmanager
def _one_thread() -> Iterator[None]:
    """One torch thread, as in a worker: the bits must not depend on where a point is evaluated."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
