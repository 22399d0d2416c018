"""Where fits begin when nobody gives a guess: parameters from filtered pictures, and the middle of the model's presets.

The parameters of a start come from variable projection on the denoised pictures, filtered on both sides, begun at the
best of a coarse grid over the model's range of search. They are biased by noise, by 1 % where there is 1 % of it, and
near enough all the same. Fields begin as the pictures, with what was not seen eliminated, marched some steps: a few
steps take out what no state of the model has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch

from gsimplicit.equations import Equations, Model, ModelParams
from gsimplicit.grid import broken_translations
from gsimplicit.inverse.fits import variable_projection as projection
from gsimplicit.inverse.fits.elimination import eliminated
from gsimplicit.inverse.fits.problem import Place, Problem
from gsimplicit.inverse.fits.scales import Scales
from gsimplicit.inverse.pictures.edges import PERIODIC, Edges
from gsimplicit.inverse.starts import own_equation
from gsimplicit.inverse.starts.own_equation import Told
from gsimplicit.marching.backend import KERNELS

Array = np.ndarray[Any, np.dtype[np.float64]]

WIDER = 1.5
"""Factor by which the range of search is wider than the presets, on either side."""
GRID = 3
"""Points a parameter of the coarse grid."""
SMOOTH = 2.0
"""Width in pixels of the filter for noisy pictures."""
CLEAN = 1e-3
"""Noise, by the picture's standard deviation, below which nothing is filtered."""
FITTED = 3
"""Points of the grid from which the projected residual is fitted."""
DRAWN, DESCENDED = 256, 4
"""Points of the range tried where a seen species' equation tells the hidden one, and how many are descended from."""
PRESETS = 4
"""Presets tried, those that fit the picture best."""
MARCHED = 50
"""Steps by which the fields of a start are marched where the picture is noisy."""


@dataclass(frozen=True, eq=False)
class Search:
    """Where parameters are sought.

    Attributes:
        low: Lowest value of each parameter, shape (P,).
        high: Highest.
    """

    low: Array
    high: Array

    @staticmethod
    def told(model: Model, given: Mapping[str, tuple[float, float]]) -> bool:
        """Whether presets, or ranges of all parameters, say where to look."""
        return bool(model.presets) or set(model.parameters) <= set(given)

    @classmethod
    def of(cls, model: Model, given: Mapping[str, tuple[float, float]]) -> Search:
        """The ranges given, and those of the model's presets for the others.

        Raises:
            ValueError: The model has no presets, and a parameter's range is not given.
        """
        rows = np.array([list(values) for values in model.presets.values()]).reshape(-1, len(model.parameters))
        low, high = np.zeros(len(model.parameters)), np.zeros(len(model.parameters))
        for j, name in enumerate(model.parameters):
            if name in given:
                low[j], high[j] = given[name]
            elif len(rows):
                ends = float(rows[:, j].min()), float(rows[:, j].max())
                low[j], high[j] = (
                    e * f if e > 0 else e / f if e < 0 else 0.0 for e, f in zip(ends, (1 / WIDER, WIDER), strict=True)
                )
            else:
                raise ValueError(
                    f"ranges must say where to look for {name}: model {model.name} has no presets; give ranges or start"
                )
        return cls(low, high)

    def middle(self) -> Array:
        """The middle of the range, geometric where it is positive."""
        positive = self.low > 0
        geometric = np.sqrt(np.where(positive, self.low * self.high, 1.0))
        return np.asarray(np.where(positive, geometric, (self.low + self.high) / 2))

    def near(self, values: Array) -> bool:
        """Whether parameters are inside the range, or not far outside: by a factor of 2, or half its width."""
        wide = np.where(self.low > 0, 0.0, (self.high - self.low) / 2)
        low, high = (
            np.where(self.low > 0, self.low / 2, self.low - wide),
            np.where(self.low > 0, 2 * self.high, self.high + wide),
        )
        return bool(np.isfinite(values).all() and (low <= values).all() and (values <= high).all())

    def drawn(self, count: int) -> Array:
        """Points that fill the range evenly, always the same, shape (count, P)."""
        from scipy.stats import qmc

        shares = qmc.Sobol(len(self.low), seed=0).random(count)
        positive = self.low > 0
        ratio = np.where(positive, self.high / np.where(positive, self.low, 1.0), 1.0)
        return np.asarray(np.where(positive, self.low * ratio**shares, self.low + (self.high - self.low) * shares))

    def grid(self, places: list[int], points: int = GRID) -> Iterator[Array]:
        """Middle values, with those at some places on a grid inside their ranges."""
        shares = (np.arange(points) + 0.5) / points
        axes = []
        for j in places:
            low, high = self.low[j], self.high[j]
            axes.append(low * (high / low) ** shares if low > 0 else low + (high - low) * shares)
        for values in product(*axes):
            out = self.middle()
            out[places] = values
            yield out


@dataclass(frozen=True, eq=False)
class Guess:
    """What fits begin from.

    Attributes:
        pictures: Denoised and completed pictures of each snapshot, shape (S, H, W); species not seen are at rest.
        seen: Places of the seen species.
        noise: Noise by the pictures' standard deviation.
        edges: What lies outside the pictures.
    """

    pictures: tuple[Array, ...]
    seen: list[int]
    noise: float
    edges: Edges = PERIODIC


def guessed(problem: Problem, guess: Guess, search: Search, fixed: Mapping[int, float]) -> list[Array]:
    """Parameters to begin at, best first: fitted to filtered pictures, then presets and the best points of a grid."""
    told = telling(problem.model, guess)
    return _by_projection(problem, guess, search, fixed) if told is None else _by_telling(told, search, fixed)


def telling(model: Model, guess: Guess) -> Told | None:
    """The one hidden species by a seen one's equation, where its own is not linear in it; None elsewhere."""
    hidden = [i for i in range(len(model.species)) if i not in guess.seen]
    if len(hidden) != 1 or own_equation.linear(model, hidden):
        return None
    seen = model.seen if model.seen in guess.seen else guess.seen[0]
    return Told(model, guess.pictures[0], hidden[0], seen, _smooth(guess), guess.edges)


def _smooth(guess: Guess) -> float:
    return 0.0 if guess.noise < CLEAN else SMOOTH


def _by_telling(told: Told, search: Search, fixed: Mapping[int, float]) -> list[Array]:
    """From drawn points of the range, the best of them descended."""
    model = told.model
    free = [j for j in range(len(model.parameters)) if j not in fixed]
    scales = Scales.of(model, search.middle(), [model.parameters[j] for j in free])
    presets = [_with(np.array(values), fixed) for values in model.presets.values()]
    points = [*presets, *(_with(values, fixed) for values in search.drawn(DRAWN))]
    points = sorted(points, key=told.size)[:DESCENDED]
    ends = sorted((own_equation.descended(told, scales, values) for values in points), key=told.size)
    return _apart([*(v for v in ends if search.near(v)), *presets[:PRESETS], *points, _with(search.middle(), fixed)])


def _by_projection(problem: Problem, guess: Guess, search: Search, fixed: Mapping[int, float]) -> list[Array]:
    """Variable projection from the best points of a grid."""
    model = problem.model
    free = [j for j in range(len(model.parameters)) if j not in fixed]
    inner = projection.linear_parameters(model, guess.seen, free)
    outer = [j for j in free if j not in inner]
    scales = Scales.of(model, search.middle(), [model.parameters[j] for j in outer])
    picture = projection.Picture(model, guess.pictures[0], guess.seen, inner, scales, _smooth(guess), guess.edges)
    tried = []
    for values in search.grid(outer):
        try:
            tried.append(projection.projected(picture, _with(values, fixed)))
        except np.linalg.LinAlgError:
            continue
    tried = sorted((t for t in tried if _positive(scales, t.values)), key=lambda t: t.size)
    out: list[Array] = []
    for one in tried[:FITTED]:
        try:
            found = projection.fit(picture, one.values, tol=1e-3, iterations=12)[0].values
        except np.linalg.LinAlgError:
            continue
        if search.near(found):
            out.append(found)
    presets = _best(picture, [_with(np.array(values), fixed) for values in model.presets.values()])
    near = (t.values for t in tried[:FITTED] if search.near(t.values))
    return _apart([*out, *presets, *near, _with(search.middle(), fixed)])


def _with(values: Array, fixed: Mapping[int, float]) -> Array:
    values[list(fixed)] = list(fixed.values())
    return values


def _best(picture: projection.Picture, given: list[Array]) -> list[Array]:
    """Those of some parameters at which the projected residual is least."""
    sizes = []
    for values in given:
        try:
            sizes.append(projection.projected(picture, values).size)
        except np.linalg.LinAlgError:
            sizes.append(np.inf)
    return [given[i] for i in np.argsort(sizes)[:PRESETS]]


def _apart(given: list[Array]) -> list[Array]:
    """Those that differ by 2 % from all before them."""
    out: list[Array] = []
    for values in given:
        if all(np.abs(values / np.where(o == 0, 1, o) - 1).max() > 0.02 for o in out):
            out.append(values)
    return out


def _positive(scales: Scales, values: Array) -> bool:
    return bool(
        np.isfinite(values).all() and (values[scales.positive] >= 0).all() and (values > 0)[scales.positive].any()
    )


def place(problem: Problem, guess: Guess, values: Array, steps: int) -> Place | None:
    """A start: fields eliminated at some parameters, then marched some steps; None where no pattern is left."""
    hidden = [i for i in range(len(problem.model.species)) if i not in guess.seen]
    equations = guess.edges.equations(problem.model, values)
    try:
        fields = tuple(completed(equations, X, hidden, telling(problem.model, guess)) for X in guess.pictures)
    except np.linalg.LinAlgError:
        return None
    fields = tuple(marched(equations, X, steps, guess.edges) for X in fields)
    if not all(_patterned(problem.model, X) for X in fields):
        return None
    return Place(fields, tuple(np.zeros(2) for _ in fields), values)


def completed(equations: Equations, fields: Array, hidden: list[int], told: Told | None) -> Array:
    """Fields (S, H, W) with the hidden species from the seen ones.

    Raises:
        np.linalg.LinAlgError: They cannot be found.
    """
    if not hidden:
        return fields
    X = own_equation.at_rest(equations.model, equations.values, fields, hidden)
    return eliminated(equations, X, hidden) if told is None else own_equation.told(equations, X, told.hidden, told.seen)


def _patterned(model: Model, X: Array) -> bool:
    return bool(np.isfinite(X).all()) and len(broken_translations(X, model.scale)) > 0


def marched(equations: Equations, fields: Array, steps: int, edges: Edges = PERIODIC) -> Array:
    """Fields (S, H, W) after some explicit steps of the length that the equations allow."""
    if not steps:
        return fields
    dt = 0.2 / max(*equations.diffusivity, 0.2)
    params = ModelParams.of_values(equations.model, equations.values[None])
    start = torch.from_numpy(edges.whole(fields))[None]
    return edges.own(KERNELS.march(params, start, 0.0, steps, steps, dt).fields[0].numpy(), fields.shape)
