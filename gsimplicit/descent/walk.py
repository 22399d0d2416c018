"""The steps of a descent, one after the other; each row goes on until it ends or cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gsimplicit.descent.evaluation import Evaluation, Place
from gsimplicit.descent.record import STOPPED, Outcome, blank
from gsimplicit.descent.reparametrisation import Reparametrisation
from gsimplicit.descent.row import Row
from gsimplicit.descent.safeguards import Safeguards, possible
from gsimplicit.equations import Model

__all__ = ["Entry", "Walk"]

Entry = dict[str, np.ndarray[Any, Any]]
"""Variables of one step by name."""


@dataclass(frozen=True, eq=False)
class Walk:
    """A descent of B rows.

    Attributes:
        model: What is descended.
        start: Parameters at the start, (B, P), float64: those that do not move stay so.
        how: Which parameters move, and how they are made from raw ones.
        evaluation: What is asked at each place.
        safeguards: How the next parameters are tried; None takes whatever the optimiser proposes.
        dt: Length of a marched step.
        sizes: Of the dimensions of a record.
        names: Its variables.
        indices: Places of the targets that rows draw at a step; None where there is no pool.
    """

    model: Model
    start: torch.Tensor
    how: Reparametrisation
    evaluation: Evaluation
    safeguards: Safeguards | None
    dt: float
    sizes: Mapping[str, int]
    names: Sequence[str]
    indices: Callable[[Sequence[int], int], np.ndarray[Any, Any]] | None

    def values(self, raw: Sequence[torch.Tensor], rows: Sequence[int]) -> torch.Tensor:
        """All parameters of some rows, (rows, P), from their raw ones."""
        values = self.start[list(rows)].clone()
        values[:, self._places] = self.how.values(torch.stack(list(raw)))
        return values

    @property
    def _places(self) -> list[int]:
        return [self.model.parameters.index(name) for name in self.how.names]

    def run(
        self, rows: Sequence[Row], outcomes: list[int], first: int, last: int, keep: Callable[[int, Entry], None]
    ) -> None:
        """Take steps `first` to `last`, handing the entry of each to `keep`.

        Args:
            rows: The rows, where they stand at the step `first`.
            outcomes: What became of each at the step before; changed in place.
            first: First step.
            last: Last step, which is evaluated alone.
            keep: Called after each step, when rows and outcomes are where the next one begins.
        """
        going = [i for i in range(len(rows)) if outcomes[i] not in STOPPED]
        if not going or first > last:
            return
        places = [self._at(rows, going, first)]
        for step in range(first, last + 1):
            entry = {name: blank(name, self.sizes) for name in self.names}
            for place in places:
                self._note(entry, place, rows, step)
            places = self._moved(rows, places, step, entry) if step < last else _ended(places, entry)
            for i in going:
                outcomes[i] = int(entry["outcome"][i])
            going = [i for i in going if outcomes[i] not in STOPPED]
            keep(step, entry)
            if not going:
                return

    def _at(self, rows: Sequence[Row], some: Sequence[int], step: int) -> Place:
        return self.evaluation.at(some, self.values([rows[i].raw for i in some], some), step)

    def _note(self, entry: Entry, place: Place, rows: Sequence[Row], step: int) -> None:
        """What is known of a place before anything moves."""
        some = list(place.rows)
        entry["loss"][some] = place.losses.mean(dim=1).numpy()
        entry["sample_loss"][some] = place.losses.numpy()
        entry["params"][some] = self.values([rows[i].raw for i in some], some).numpy()
        entry["raw"][some] = torch.stack([rows[i].raw for i in some]).numpy()
        for name, values in place.measured.items():
            if name in entry:
                entry[name][some] = values
        if self.indices is not None:
            entry["target_index"][some] = self.indices(some, step)

    def _moved(self, rows: Sequence[Row], places: Sequence[Place], step: int, entry: Entry) -> list[Place]:
        """Gradients where rows stand, and the places to which those went that could."""
        ready: list[int] = []
        for place in places:
            ready += self._sloped(rows, place, entry)
        factors = (1.0,) if self.safeguards is None else self.safeguards.factors
        found: list[Place] = []
        for number, factor in enumerate(factors):
            if not ready:
                break
            there = self._tried(rows, ready, factor, step + 1)
            taken = [] if there is None else self._taken(there)
            for i in ready:
                entry["tries"][i] = number + 1
            for i in taken:
                entry["rate"][i] = rows[i].rate  # as it was tried
                rows[i].accept()
                entry["outcome"][i] = Outcome.MOVED if number == 0 else Outcome.SHRUNK if factor < 1 else Outcome.JUMPED
            if there is not None and taken:
                found.append(_part(there, taken))
            ready = [i for i in ready if i not in taken]
        for i in ready:
            rows[i].back()
            entry["outcome"][i] = Outcome.NO_RATE
        return found

    def _sloped(self, rows: Sequence[Row], place: Place, entry: Entry) -> list[int]:
        """Gradients of the rows of a place; those rows that have one."""
        losses = torch.isfinite(place.losses).all(dim=1).tolist()
        for n, i in enumerate(place.rows):
            if not losses[n]:
                entry["outcome"][i] = Outcome.DIVERGED
        some = [n for n in range(len(place.rows)) if losses[n]]
        if not some:
            return []
        slopes = place.gradient(some)
        ready = []
        for n, slope in zip(some, slopes, strict=True):
            i, there = place.rows[n], torch.isfinite(slope[:, self._places]).all(dim=1)
            entry["answered"][i] = int(there.sum())
            mean = slope[there].mean(dim=0) if bool(there.any()) else torch.full((slope.shape[1],), torch.nan)
            raw = self.how.pull_back(rows[i].raw, mean[self._places].to(torch.float64))
            entry["gradient"][i], entry["raw_gradient"][i] = mean.numpy(), raw.numpy()
            if bool(torch.isfinite(raw).all()):
                rows[i].begin(raw)
                ready.append(i)
            else:
                entry["outcome"][i] = Outcome.NO_GRADIENT
        return ready

    def _tried(self, rows: Sequence[Row], ready: Sequence[int], factor: float, step: int) -> Place | None:
        """Where rows would stand at the next step with a rate; None where none can be evaluated there."""
        values = self.values([rows[i].propose(factor) for i in ready], ready)
        can = possible(values, self.model)
        if self.safeguards is not None:
            can &= self.safeguards.steps_stay_stable(values, self.model, self.dt)
        can[can.clone()] = self.evaluation.admits(values[can])
        some = [i for i, ok in zip(ready, can.tolist(), strict=True) if ok]
        return self.evaluation.at(some, values[can], step) if some else None

    def _taken(self, place: Place) -> list[int]:
        """Rows that may stay at a place."""
        if self.safeguards is None:
            return list(place.rows)
        return [i for i, fine in zip(place.rows, place.fine.tolist(), strict=True) if fine]


def _ended(places: Sequence[Place], entry: Entry) -> list[Place]:
    """The last step: evaluated, no more."""
    for place in places:
        good = torch.isfinite(place.losses).all(dim=1).tolist()
        for i, fine in zip(place.rows, good, strict=True):
            entry["outcome"][i] = Outcome.ENDED if fine else Outcome.DIVERGED
    return []


def _part(place: Place, taken: Sequence[int]) -> Place:
    """The same place for some of its rows."""
    at = [n for n, i in enumerate(place.rows) if i in taken]
    if len(at) == len(place.rows):
        return place
    return Place(
        tuple(place.rows[n] for n in at),
        place.losses[at],
        place.fine[at],
        {name: values[at] for name, values in place.measured.items()},
        lambda some: place.gradient([at[n] for n in some]),
    )
