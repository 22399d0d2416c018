"""A descent in a store: what is done is kept every few seconds, and gone on from."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gsimplicit.descent.row import Row, packed_state, unpacked_state
from gsimplicit.descent.walk import Entry
from gsimplicit.landscape.words import put

if TYPE_CHECKING:
    import xarray as xr

    from gsimplicit.landscape.store import Store

__all__ = ["Keeper"]

EVERY = 5.0
"""Seconds of work that a kill may cost."""

STATE = "_state"
"""What a tile holds beside variables: the state of all rows after its last step."""


class Keeper:
    """Puts entries into the frame, and into a store where there is one.

    Args:
        frame: The record.
        store: Where it is kept, held; or None.
        rows: What descends.
    """

    def __init__(self, frame: xr.Dataset, store: Store | None, rows: Sequence[Row]) -> None:
        self._frame, self._store, self._rows = frame, store, rows
        self._count = frame.sizes["step"]
        self._waiting: list[tuple[int, Entry]] = []
        self._state: np.ndarray[Any, Any] | None = None
        self._last = time.monotonic()

    def restored(self) -> tuple[int, list[int]]:
        """The step to go on from and the outcomes before it; rows and frame are where they were."""
        step, state = 0, None
        if self._store is not None:
            for indices, values in self._store.read():
                if indices[0] != step or STATE not in values:
                    break  # one before it was damaged: it goes on from the last whole one
                state = values.pop(STATE)[-1]
                put(self._frame, self._count, indices, values)
                step = indices[-1] + 1
        if state is None:
            return 0, [0] * len(self._rows)
        return step, unpacked_state(state, self._rows)

    def keep(self, step: int, entry: Entry, outcomes: Sequence[int]) -> None:
        """Keep the entry of a step; rows and outcomes are where the next one begins."""
        put(self._frame, self._count, [step], {name: value[None] for name, value in entry.items()})
        if self._store is None:
            return
        state = packed_state(self._rows, outcomes)
        self._waiting.append((step, entry))
        self._state = state
        if time.monotonic() - self._last >= EVERY:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._store is None or not self._waiting or self._state is None:
            return
        steps = [step for step, _ in self._waiting]
        values = {name: np.stack([entry[name] for _, entry in self._waiting]) for name in self._waiting[0][1]}
        self._store.add(steps, {**values, STATE: self._state[None]})
        self._waiting, self._last = [], time.monotonic()
