"""Fits from several starts, until one is right or none is left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from gsimplicit.inverse.fits import one_shot
from gsimplicit.inverse.fits.problem import Ended, Fit, Place, Problem
from gsimplicit.inverse.pictures.whiteness import agreement
from gsimplicit.inverse.starts import nudging
from gsimplicit.inverse.starts.starts import MARCHED, Guess, Search, place, telling

NOISY = 0.03
"""Noise, by the picture's standard deviation, from which one fit is not believed: another start must agree."""
MOST, ENOUGH = 8, 4
"""Starts at most; and where an answer explains the data but was met once."""
UNPULLED = 4
"""Starts of pictures with gaps at most that are not pulled, where a pull may drive the hidden species away."""
NEAR = 1.0
"""Misfit of a pulled start, by the size of a step's reaction, below which it is fitted at once."""
CLEANEST = 1e-8
"""Error of a picture, by the model's scale, allowed for at least, alike in all pixels: of residuals, of rounding."""
WHITE = 5.0
"""Standard deviations by which deviations of neighbouring pixels may agree."""
STEADY, CERTAIN = 1e-3, 1e-6
"""Largest residual per unit time of a fit that was left unfinished where a steady state is, by the noise and by the
model's scale."""
SAME = 1e-5
"""Relative difference of parameters below which two answers are one."""
CLOSE, ALIKE = 0.02, 0.1
"""The same where all deviations together differ by less than so many standard deviations, and so parameters by less of
their own: an iteration ends that far from where it leads to at most."""


@dataclass(frozen=True, eq=False)
class Found:
    """What all starts led to.

    Attributes:
        fits: All that converged, best first, each once.
        met: How many starts led to each.
        starts: Starts tried.
        last: The best of those that did not converge, if none did.
        halted: Those that did not converge, but are at a steady state: in a valley of answers they go on and on.
    """

    fits: tuple[Fit, ...]
    met: tuple[int, ...]
    starts: int
    last: Fit | None
    halted: tuple[Fit, ...] = ()


def search(
    problem: Problem,
    starts: Iterable[Place],
    accept: float,
    *,
    noisy: bool,
    by: Callable[[Problem, Place], Fit] = one_shot.fit,
) -> Found:
    """Fits from one start after the other.

    Little noise tells a right answer from a wrong one, so the first that explains the data ends the search. With
    more of it starts are tried until the best answer was met twice.
    """
    fits: list[Fit] = []
    met: list[int] = []
    halted: list[Fit] = []
    last, n = None, 0
    for start in starts:
        n += 1
        found = by(problem, start)
        if found.ended != Ended.CONVERGED:
            last = found if last is None or found.chi2 < last.chi2 else last
            if found.residual <= min(STEADY * problem.noise, CERTAIN * problem.model.scale):
                halted.append(found)
        else:
            same = [i for i, f in enumerate(fits) if _same(f, found)]
            if same:
                met[same[0]] += 1
            else:
                fits.append(found)
                met.append(1)
            best = min(range(len(fits)), key=lambda i: fits[i].chi2)
            if explains(problem, fits[best], accept) and (not noisy or met[best] > 1):
                break
        if n >= (ENOUGH if any(explains(problem, f, accept) for f in fits) else MOST):
            break
    order = sorted(range(len(fits)), key=lambda i: fits[i].chi2)
    return Found(tuple(fits[i] for i in order), tuple(met[i] for i in order), n, None if fits else last, tuple(halted))


def explains(problem: Problem, fit: Fit, accept: float) -> bool:
    """Whether what a fit leaves is as small as it must be, and white where the noise was not known beforehand."""
    if fit.chi2 > accept or fit.ended != Ended.CONVERGED:
        return False
    if problem.sure or problem.noise * np.sqrt(fit.chi2) <= CLEANEST * problem.model.scale:
        return True
    value, sd = agreement(problem.snapshots, fit.misfit)
    return bool(value <= WHITE * sd)


def _same(a: Fit, b: Fit) -> bool:
    x, y, unit = a.place.values, b.place.values, min(a.chi2, b.chi2, 1.0)
    alike = float(np.linalg.norm(a.misfit - b.misfit)) < ALIKE * np.sqrt(unit)
    return any(np.allclose(x, y, rtol=r, atol=r * 1e-3) for r in ((CLOSE, SAME) if alike else (SAME,)))


def starts_of(problem: Problem, guess: Guess, parameters: list[np.ndarray]) -> Iterator[Place]:
    """Starts of whole pictures, in the order in which to try them."""
    if guess.noise > NOISY:
        return _ordered(problem, guess, parameters)
    return _plain(problem, guess, parameters)


def _plain(problem: Problem, guess: Guess, parameters: list[np.ndarray]) -> Iterator[Place]:
    """Each set of parameters as it is, then marched."""
    for values in parameters:
        for steps in (0, MARCHED):
            start = place(problem, guess, values, steps)
            if start is not None:
                yield start


def _ordered(problem: Problem, guess: Guess, parameters: list[np.ndarray]) -> Iterator[Place]:
    """Marched ones by their first level, then those that were not marched."""
    tried = [place(problem, guess, values, MARCHED) for values in parameters]
    starts = [(one_shot.first_level(problem, start), start) for start in tried if start is not None]
    yield from (start for _, start in sorted(starts, key=lambda pair: pair[0]))
    for values in parameters:
        start = place(problem, guess, values, 0)
        if start is not None:
            yield start


def filled(problem: Problem, guess: Guess, parameters: list[np.ndarray], box: Search) -> Iterator[Place]:
    """Starts of pictures with gaps, in the order in which to try them.

    A hidden species whose own equation is nonlinear may run away where the seen one is held at the data, as u of
    Schnakenberg's model does: it feeds on itself, and v cannot starve it. There filled pictures are taken as they are
    first.
    """
    if telling(problem.model, guess) is not None:
        yield from islice(starts_of(problem, guess, parameters), UNPULLED)
    yield from _pulled(problem, guess, parameters, box)


def _pulled(problem: Problem, guess: Guess, parameters: list[np.ndarray], box: Search) -> Iterator[Place]:
    """Starts of pictures with gaps, pulled towards the data: those that came near at once, the others by how near."""
    later = []
    for values in parameters[:MOST]:
        start = place(problem, guess, values, 0)
        if start is None:
            continue
        near, misfit = nudging.pulled(
            problem.model, problem.snapshots, start, problem.scales, (box.low, box.high), problem.edges
        )
        if not np.isfinite(misfit):
            continue
        if misfit < NEAR:
            yield near
        else:
            later.append((misfit, near))
    yield from (start for _, start in sorted(later, key=lambda pair: pair[0]))
