"""Pictures with an unknown gain: brought to the mean and spread that the model's own patterns have."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from gsimplicit.equations import ModelParams, StabilityWarning
from gsimplicit.initial import initial_state
from gsimplicit.inverse.fits.one_shot import first_level
from gsimplicit.inverse.fits.problem import Place, Problem
from gsimplicit.inverse.pictures.question import Array, Pictures
from gsimplicit.inverse.starts.starts import MARCHED, Guess, place
from gsimplicit.models.model import UNIFORM, Model
from gsimplicit.steady import steady_state

GRID = (48, 48)
STEPS = 6000


@dataclass(frozen=True, eq=False)
class Pattern:
    """What a model's pattern looks like at some parameters.

    Attributes:
        values: The parameters, shape (P,).
        mean: Mean of the observed species.
        spread: Its standard deviation.
    """

    values: Array
    mean: float
    spread: float


def patterns(model: Model, rows: list[Array]) -> list[Pattern]:
    """Patterns marched from the usual start at each of some parameters; none where one dies or never forms."""
    found = []
    for values in rows:
        params = ModelParams.of_values(model, values[None])
        dt = min(1.0, 0.2 / float(values[: len(model.species)].max()))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", StabilityWarning)  # one that diverges is none
            start = initial_state(grid=GRID, model=params)
            state = steady_state(params, start, tol=0.0, max_steps=STEPS, dt=dt, dtype=torch.float64, progress=False)
        v = state.fields[0, model.seen].numpy()
        if np.isfinite(v).all() and v.std() > 10 * UNIFORM * model.scale:
            found.append(Pattern(values, float(v.mean()), float(v.std())))
    return found


def standardised(pictures: Pictures, seen: int, pattern: Pattern) -> tuple[Pictures, tuple[float, float]]:
    """Pictures brought to a pattern's mean and spread, and the offset and gain that lead back."""
    there = pictures.there[:, seen]
    measured = pictures.values[:, seen][there]
    gain = float(measured.std()) / pattern.spread
    offset = float(measured.mean()) - gain * pattern.mean
    values = pictures.values.copy()
    values[:, seen] = np.where(there, (values[:, seen] - offset) / gain, 0.0)
    return replace(pictures, values=values), (offset, gain)


def starts(problem: Problem, guess: Guess, found: list[Pattern]) -> Iterator[Place]:
    """Starts at each pattern's gain, by their first level; the pictures are standardised to the first of them."""
    seen, first, tried = problem.model.seen, found[0], []
    for pattern in found:
        gain = first.spread / pattern.spread
        offset = first.mean - gain * pattern.mean
        fields = []
        for X in guess.pictures:
            own = X.copy()
            own[seen] = (X[seen] - offset) / gain
            fields.append(own)
        start = place(problem, replace(guess, pictures=tuple(fields)), pattern.values, MARCHED)
        if start is not None:
            start = replace(start, gain=(offset, gain))
            tried.append((first_level(problem, start), start))
    yield from (start for _, start in sorted(tried, key=lambda pair: pair[0]))


def led_back(place: Place, by: tuple[float, float]) -> Place:
    """A place of standardised pictures as one of the pictures themselves."""
    (a, b), (offset, gain) = place.gain, by
    return Place(place.fields, place.drifts, place.values, (offset + gain * a, gain * b))
