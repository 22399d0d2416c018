"""What a worker does: it opens what it was sent and evaluates tiles of points, with one thread of torch and BLAS."""

from __future__ import annotations

import pickle
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from gsimplicit.landscape.tiles import Values
from gsimplicit.surroundings import own_surroundings
from gsimplicit.threads import one_blas_thread

if TYPE_CHECKING:
    from gsimplicit.landscape.home import Home
    from gsimplicit.landscape.sent import Parcel

__all__ = ["SENT_ONCE", "Evaluate", "evaluate_tile", "work_on"]

Evaluate = Callable[[Any], Values]
"""From an item to the variables of its point."""

SENT_ONCE = 1_000_000
"""Bytes of an evaluation beyond which it goes to a worker once, and not with every tile."""


_mine = threading.local()


def _unpacked(work: bytes) -> tuple[Evaluate, Home]:
    """The evaluation, a copy for each thread: a loss may keep an array it works in; and the settings it is to have."""
    from gsimplicit.landscape.sent import opened

    if getattr(_mine, "work", None) != work:
        sent: Parcel = pickle.loads(work)
        _mine.opened, _mine.work = (opened(sent), sent.home), work
    return cast("tuple[Evaluate, Home]", _mine.opened)


_large: dict[str, bytes] = {}
"""The large evaluation that this process was sent last, by its digest."""


@own_surroundings
def work_on(key: str, work: bytes | None, items: Sequence[Any]) -> Values | None:
    """What is sent to a worker: the pickled evaluation, the same for all tiles, and the items of one.

    Args:
        key: Digest of the evaluation.
        work: The evaluation; None where this process may have it already, a network of a gigabyte say.
        items: One a point.

    Returns:
        The variables of the points, stacked; None where the evaluation has to be sent first.

    Raises:
        CarriedError: An error of a class of the user's, for the process that knows it.
        RuntimeError: For an error that cannot be sent back: it would take the worker, or the pool, with it.
    """
    if work is None and (work := _large.get(key)) is None:
        return None
    if len(work) > SENT_ONCE and key not in _large:
        _large.clear()
        _large[key] = work
    try:
        evaluate, home = _unpacked(work)
        with home.applied():
            return evaluate_tile(evaluate, items)
    except BaseException as error:  # one of a user's that is no Exception ends the scan as well, with its words
        from gsimplicit.landscape.sent import can_be_sent, carried

        if can_be_sent(error):
            raise
        name = f"{type(error).__qualname__}: {error}"
        notes = (*getattr(error, "__notes__", ()), "".join(traceback.format_exception(error)).strip())
        told = carried(error, name) or RuntimeError(name)
        for note in notes:
            told.add_note(str(note))
        raise told from None


@own_surroundings
def evaluate_tile(evaluate: Evaluate, items: Sequence[Any]) -> Values:
    """The variables of some points, stacked."""
    together = getattr(evaluate, "tile", None)
    # what fills a device is not one of many: roots are found beside it, on as many threads as torch may use
    with one_blas_thread(), _one_thread() if together is None else nullcontext():
        points = [evaluate(item) for item in items] if together is None else together(items)
    return {name: np.stack([point[name] for point in points]) for name in points[0]}


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
