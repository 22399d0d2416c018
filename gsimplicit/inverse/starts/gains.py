"""Pictures with an unknown gain: brought to the mean and spread that the model's own patterns have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from gsimplicit.equations import ModelParams, instability_expected
from gsimplicit.initial import initial_state
from gsimplicit.inverse.fits.one_shot import first_level
from gsimplicit.inverse.fits.problem import Place, Problem
from gsimplicit.inverse.pictures.question import Array, Pictures
from gsimplicit.inverse.starts.starts import MARCHED, Guess, place
from gsimplicit.models.model import UNIFORM, Model
from gsimplicit.steady import steady_state

GRID = (48, 48)
STEPS, MORE, MOST = 5000, 1000, 30_000
"""Steps that a pattern is given, those given again while it grows, and those given at most."""
GROWING = 1.1
"""Factor of the spread over `MORE` steps from which a pattern is still growing out of its noise."""
FAINT = 1e-6
"""Spread, by the model's scale, below which there is nothing to grow."""


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
        v = grown(ModelParams.of_values(model, values[None]))
        if np.isfinite(v).all() and v.std() > 10 * UNIFORM * model.scale:
            found.append(Pattern(values, float(v.mean()), float(v.std())))
    return found


def grown(params: ModelParams) -> Array:
    """The observed species of a pattern marched from the usual start until it hardly grows, shape (H, W).

    Near an onset that takes long: the spread of a pattern that is still growing would tell a gain that is far too
    large.
    """
    model, dt = params.model, min(1.0, 0.2 / float(params.tensor()[0, : len(params.model.species)].max()))

    def marched(fields: torch.Tensor, steps: int) -> torch.Tensor:
        with instability_expected():  # one that diverges is none
            state = steady_state(params, fields, tol=0.0, max_steps=steps, dt=dt, dtype=torch.float64, progress=False)
        return state.fields

    fields = marched(initial_state(grid=GRID, model=params), STEPS)
    for _ in range(STEPS, MOST, MORE):
        before = float(fields[0, model.seen].std())
        if not np.isfinite(fields.numpy()).all():
            break
        fields = marched(fields, MORE)
        if not float(fields[0, model.seen].std()) > GROWING * max(before, FAINT * model.scale):
            break
    return np.asarray(fields[0, model.seen].numpy())


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
