"""Filling a labelled dataset point by point: stored as it goes, resumed, on any executor, the same bits however cut."""

from __future__ import annotations

import errno
import math
import os
import shutil
import signal
import threading
import time
from collections import Counter
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gsimplicit import checks, dataset, files
from gsimplicit.labels import flag_attributes
from gsimplicit.landscape.run import run
from gsimplicit.landscape.store import Store
from gsimplicit.landscape.tiles import Values, begun_since, stored_part, there
from gsimplicit.landscape.words import put, settle
from gsimplicit.progress import Bar
from gsimplicit.results import Status
from gsimplicit.surroundings import own_surroundings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import xarray as xr

__all__ = ["Job", "fill", "partial_scan", "terminable"]

_LOOKS = 4
"""How often a store that changes while it is looked at is looked at again."""


@dataclass(frozen=True, eq=False)
class Job:
    """What is computed.

    Attributes:
        frame: The labelled dataset; variables that `evaluate` gives start with the dimensions `over` and hold what a
            point holds that was not computed.
        over: Dimensions over which points are numbered, the last one fastest; none where there is one point.
        items: One item a point: all that `evaluate` needs to know of it.
        evaluate: From an item to the variables of its point. It is sent to workers with the items of a tile. It must
            depend on nothing but its item, or the bits depend on how the points are cut.
        given: What is the user's own in `evaluate`, by the name it has in errors: copies of it are evaluated, and each
            worker makes sure that its copy is what was handed in.
    """

    frame: xr.Dataset
    over: tuple[str, ...]
    items: Sequence[Any]
    evaluate: Callable[[Any], Values]
    given: Mapping[str, Any] = field(default_factory=dict)


def fill(
    prepare: Callable[[], Job],
    configuration: Mapping[str, Any],
    *,
    store: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    executor: Executor | None = None,
    progress: bool = True,
    tile: int | None = None,
    parts: Callable[[], str] | None = None,
) -> xr.Dataset:
    """Compute every point of a dataset, or find it where it is stored.

    Args:
        prepare: Makes the job; called only where something is left to compute.
        configuration: All that decides the values, of JSON types; what is stored is told apart by it.
        store: NetCDF file to write; None keeps nothing.
        overwrite: Replace what is stored under another configuration.
        executor: Any `concurrent.futures` executor; None runs a quick job here and others on a pool of processes.
        progress: Show a progress bar.
        tile: Points that are sent to a worker and stored at a time; None is one 64th of all, at most 16.
        parts: Of what is the user's own, as `pieces` tells them, to say what changed where a store holds another.

    Returns:
        The frame with every point in it, `gsimplicit_complete` 1.

    Raises:
        StoreMismatchError: The store holds something else; names the key that differs.
        StoreLockedError: Another process computes into the store; names it.
        OSError: The store cannot be written, or there is not enough space.
    """
    if tile is not None:
        tile = checks.integer("tile", tile, least=1)
    if not (executor is None or isinstance(executor, Executor)):
        raise TypeError(f"executor must be a concurrent.futures.Executor, got {executor!r}")
    kept = None if store is None else Store(store, configuration, overwrite=overwrite, parts=parts)
    if kept is not None and (whole := kept.finished()) is not None:
        if kept.folder.exists():  # killed between the last rename and the sweep
            with suppress(OSError), kept.held():
                kept.sweep()
        return whole
    if kept is None:
        return _filled(prepare(), None, executor, progress, tile)
    # held before anything is computed, and asked again: another process may have finished it in between
    with terminable(), kept.held():
        if (whole := kept.finished()) is None:
            return _filled(prepare(), kept, executor, progress, tile)
        kept.sweep()
        return whole


def _filled(job: Job, kept: Store | None, executor: Executor | None, progress: bool, tile: int | None) -> xr.Dataset:
    """The frame of a job with every point in it, stored where it is to be."""
    frame = job.frame
    frame.attrs |= {"gsimplicit_points_over": " ".join(job.over), "gsimplicit_complete": 0}
    if kept is not None:
        kept.begin(frame)
    _evaluate(job, kept, executor, progress, tile or max(1, min(16, len(job.items) // 64)))
    settle(frame)
    frame.attrs["gsimplicit_complete"] = 1
    if kept is not None:
        frame.attrs[dataset.CONTENT] = dataset.content_of(frame)
        kept.finish(frame)
    return frame


@own_surroundings
def partial_scan(path: str | os.PathLike[str]) -> xr.Dataset:
    """What is stored of a scan so far, also while it runs; nothing is changed.

    Args:
        path: NetCDF file the scan is to write, as given to `scan` as `store`.

    Returns:
        The dataset with attribute `gsimplicit_complete` 0 and a variable `done`, 1 where a point is stored. The other
        points hold NaN and status 0, not run. Where the scan has ended, the whole dataset as it is in the file.

    Raises:
        FileNotFoundError: Neither the file nor a part of it is there.
        OSError: The file is damaged.

    Example:
        >>> import gsimplicit as gs
        >>> gs.partial_scan("never_begun.nc")
        Traceback (most recent call last):
        FileNotFoundError: neither never_begun.nc nor an unfinished dataset of that name is there
    """
    file = files.place("path", path)
    for attempt in range(_LOOKS):
        try:
            if there(file) and not begun_since(file):
                return dataset.load(file)
            frame, tiles = stored_part(path)
            break
        except PermissionError:
            raise
        except OSError:  # it may just have begun, or ended
            if attempt == _LOOKS - 1:
                raise
            time.sleep(0.05)
    over = str(frame.attrs["gsimplicit_points_over"]).split()
    shape = tuple(frame.sizes[name] for name in over)
    done = np.zeros(math.prod(shape), np.int8)
    for indices, values in tiles:
        put(frame, len(done), indices, values)
        done[indices] = 1
    settle(frame)
    words = flag_attributes(("not_stored", "stored"))
    frame["done"] = (over, done.reshape(shape), {"long_name": "whether the point is stored", "units": "1", **words})
    frame.attrs["title"] = f"Unfinished: {frame.attrs.get('title', '')}"
    return frame


def _evaluate(job: Job, kept: Store | None, executor: Executor | None, progress: bool, size: int) -> None:
    """Every point that is not stored yet, into the frame and into the store."""
    count = len(job.items)
    missing = np.ones(count, bool)
    if kept is not None:
        for indices, values in kept.read():
            put(job.frame, count, indices, values)
            missing[indices] = False
        _require_space(kept, job.frame, float(missing.mean()), count // size)
    todo = np.flatnonzero(missing).tolist()
    tiles = [todo[n : n + size] for n in range(0, len(todo), size)]
    seen: Counter[str] = Counter()
    bar = Bar(count, count - len(todo), shown=progress)

    def keep(indices: Sequence[int], values: Values) -> None:
        if kept is not None:
            kept.add(indices, values)
        put(job.frame, count, indices, values)
        missing[list(indices)] = False
        if "status" in values:
            seen.update(Status(int(s)).name.lower() for s in values["status"].ravel())
        bar.add(len(indices), seen)

    try:
        run(job.evaluate, job.items, tiles, keep, executor, job.given)
    except BaseException as error:
        if kept is not None:
            stored = count - int(missing.sum())
            error.add_note(f"{stored} of {count} points are stored in {kept.folder}; the same call goes on there")
        raise
    finally:
        bar.close()


def _require_space(kept: Store, frame: xr.Dataset, missing: float, tiles: int) -> None:
    """Refuse to begin what the disk cannot hold: tiles and final file stand beside each other for a moment."""
    need = int(1.1 * ((1 + missing) * frame.nbytes + 8192 * tiles))
    free = shutil.disk_usage(kept.folder).free
    if free < need:
        message = f"the dataset needs {need / 1e6:.1f} MB while it is made, and {free / 1e6:.1f} MB are free"
        raise OSError(errno.ENOSPC, message, str(kept.path))


@contextmanager
def terminable() -> Iterator[None]:
    """A request to terminate (SIGTERM) ends the computing in order, as Ctrl-C does, where nobody else listens to it."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
