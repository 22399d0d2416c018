"""A simulation that runs while one plays with it: the kernels march, parameters move, fields are drawn into."""

from __future__ import annotations

import math
import warnings
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import gsimplicit as gs
from gsimplicit import checks
from gsimplicit.equations import warn_if_unstable
from gsimplicit.explorer.report import Leg, Report
from gsimplicit.marching import KERNELS

if TYPE_CHECKING:
    from gsimplicit.equations import ModelParams

__all__ = ["Simulation", "span_of", "step_of"]

Array = np.ndarray[Any, np.dtype[np.float32]]

_STEPS = tuple(m * 10.0**-n for n in range(6) for m in ((1, 0.5, 0.2)))
"""Lengths of a step that are taken, the longest first: 1, 0.5, 0.2, 0.1, ..."""

_REMEMBERED = 150
"""Pictures kept for an animation: three seconds at 50 a second."""

_REMEMBERED_BYTES = 64 * 2**20
"""Memory that they take at most: 16 pictures of 1024 x 1024."""

SETTLED = 1e-4
"""Rate of change, per unit time, below which a march is said to have settled: the library's stop for a step of 1."""

_NOISE = 1e-6
"""Rate of change that float32 makes of fields at rest: below it none is said to grow."""


def step_of(params: ModelParams) -> float:
    """The length of a step that is stable at the uniform states: the longest of 1, 0.5, 0.2, 0.1, ... that is.

    Examples:
        >>> import gsimplicit as gs
        >>> from gsimplicit.explorer.simulation import step_of
        >>> step_of(gs.Params.preset("paper")), step_of(gs.models.schnakenberg.preset("stripes"))
        (1.0, 0.02)
    """
    largest = float(params.detach().tensor()[0, : len(params.model.species)].max())
    fits = (dt for dt in _STEPS if dt * largest <= 0.25 and not any(_told(params, dt, gs.StabilityWarning)))
    return next(fits, _STEPS[-1])


def _told(params: ModelParams, dt: float, kind: type[Warning] = Warning) -> list[str]:
    """What is to be warned of before a march."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        warn_if_unstable(params, dt)
    return [str(one.message) for one in told if issubclass(one.category, kind)]


def span_of(params: ModelParams, name: str) -> tuple[float, float]:
    """Lowest and highest value that a slider of a parameter offers: from zero to twice the value it has.

    Examples:
        >>> import gsimplicit as gs
        >>> from gsimplicit.explorer.simulation import span_of
        >>> span_of(gs.Params.preset("paper"), "F")
        (0.0, 0.07)
    """
    value = float(getattr(params, name)[0])
    low, high = sorted((0.0, 2 * value)) if value else (-1.0, 1.0)
    least, most = params.model.range_of(name)
    return max(low, least), min(high, most)


class Simulation:
    """One instance, marched in float32 a few steps at a time.

    Args:
        params: One instance.
        initial: Fields it starts from, shape (1, S, H, W); None draws `initial_state` with `seed` on `grid`.
        grid: Rows and columns, where fields are drawn.
        seed: Of the fields, where they are drawn.
        dt: Length of a step; None is `step_of` the parameters, anew whenever one is moved.

    Attributes:
        params: The parameters it has now.
        fields: The fields there are now, float32, shape (1, S, H, W).
        start: The fields that the legs begin from.
        legs: What was marched since `start`: together they repeat `fields` to the bit.
        drawn: Whether `start` was drawn into by hand, and is no initial state of a seed any more.
        initial: The fields that were handed in; None where they are drawn from `seed`.
        box: The square in them, where they are drawn and the model has one.
        began_with: The parameters at whose state of rest they were drawn.
        recent: The last pictures of the observed species, the oldest first.
        lines: Lines of Python that give `start`, where it was found elsewhere; empty where there are none.

    Examples:
        >>> import gsimplicit as gs
        >>> from gsimplicit.explorer.simulation import Simulation
        >>> live = Simulation(gs.Params.preset("paper"), grid=(32, 32))
        >>> live.advance(100)
        >>> live.report().time, live.report().status
        (100.0, 'marching')
    """

    def __init__(
        self,
        params: ModelParams,
        initial: torch.Tensor | None = None,
        grid: tuple[int, int] = (128, 128),
        seed: int = 0,
        dt: float | None = None,
    ) -> None:
        self.fields: torch.Tensor
        self.steps, self.time, self.evaluations = 0, 0.0, 0
        self.lines, self._found = "", ""
        self.seed, self._given_dt = checks.integer("seed", seed, 0, None), dt
        self._grid, self.initial = grid, initial
        self.recent: deque[Array] = deque(maxlen=_REMEMBERED)
        self._take(params)
        self.reset()

    def reset(self) -> None:
        """Back to the start, with the parameters as they are."""
        fields, self.box, self.began_with = self.initial, None, self.params
        if fields is None:
            if self.params.model is gs.models.gray_scott:
                self.box = gs.Box(half=max(1, min(10, min(self._grid) // 4)))
            fields = gs.initial_state(seed=self.seed, grid=self._grid, box=self.box, model=self.params)
        self._begin(fields.detach().to("cpu", torch.float32), drawn=False)

    def switch(self, params: ModelParams) -> None:
        """Another model, or another preset of it, from a start of its own."""
        self.initial, self._given_dt = None, None
        self._take(params)
        self.reset()

    def move(self, name: str, value: float) -> None:
        """Give one parameter another value; the fields stay.

        Raises:
            ValueError: The value is not finite, or lies outside the model's range.
        """
        self._take(self.params.replace(**{name: float(value)}))
        if self._found != "diverged":
            self._found, self.residual = "", math.nan  # of the fields with these parameters nothing is known yet

    def draw(self, row: float, column: float, radius: float = 6.0, *, erase: bool = False) -> None:
        """Paint a disc, over the edges of the grid where it reaches them; fields that diverged stay as they are.

        Args:
            row: Of its centre, pixels; what is not on the grid is taken round it.
            column: Of its centre.
            radius: Pixels, > 0.
            erase: Paint the state at rest, not the disturbance.

        Raises:
            ValueError: A number is not finite, or `radius` is not above 0.
        """
        row, column = checks.real("row", row), checks.real("column", column)
        radius = checks.real("radius", radius)
        if radius <= 0:
            raise ValueError(f"radius must be > 0, got {radius:g}")
        if self._found == "diverged":
            return
        H, W = self.fields.shape[2:]
        down = np.abs((np.arange(H) - row + H / 2) % H - H / 2)
        across = np.abs((np.arange(W) - column + W / 2) % W - W / 2)
        disc = torch.from_numpy(down[:, None] ** 2 + across[None, :] ** 2 <= radius**2)
        painted = self.fields.clone()
        for i, value in enumerate(self._paint(erase)):
            painted[0, i][disc] = value
        self._begin(painted, drawn=True, keep_time=True)

    def draw_line(self, begin: tuple[float, float], end: tuple[float, float], radius: float, *, erase: bool) -> None:
        """Paint discs from one place (row, column) to another, close enough to make a line; a long way is a jump."""
        length = math.dist(begin, end)
        count = 1 if length > 4 * max(radius, 8.0) else max(1, math.ceil(length / max(radius, 1.0)))
        for n in range(1, count + 1):
            at = [a + (b - a) * n / count for a, b in zip(begin, end, strict=True)]
            self.draw(at[0], at[1], radius, erase=erase)

    def advance(self, steps: int) -> None:
        """March so many steps; fields that are no longer finite stay as they are, until the next reset or switch."""
        steps = checks.integer("steps", steps, 1)
        if self._found == "diverged":
            return
        marched = KERNELS.march(self.params, self.fields, 0.0, steps, steps, self.dt)
        before, self.residual = self.residual, float(marched.change[0]) / self.dt
        self.fields = marched.fields
        self.steps += steps
        self.time += steps * self.dt
        values = tuple(self.params.tensor()[0].tolist())
        last = self.legs[-1] if self.legs else None
        if last is not None and (last.values, last.dt) == (values, self.dt):
            self.legs[-1] = Leg(values, self.dt, last.steps + steps)
        else:
            self.legs.append(Leg(values, self.dt, steps))
        if not math.isfinite(self.residual):
            self._found = "diverged"
        else:  # a pattern that still grows changes slowly at first
            at_rest = self.residual < SETTLED and self.residual <= max(before, _NOISE)
            self._found = "settled" if at_rest else "marching"
        self._remember()

    def adopt(self, state: gs.SteadyState, *, marched: bool = False, lines: str = "") -> None:
        """Show a state that was found elsewhere, for example a refined one.

        Args:
            state: The state.
            marched: Whether it was marched from the start: its steps then are those of the simulation. Else they come
                on top.
            lines: Of Python, that find it again as `fields`.
        """
        self._begin(state.fields[:1].detach().to("cpu", torch.float32), drawn=True, keep_time=True)
        if marched:
            self.steps, self.time, self.evaluations = 0, 0.0, 0
            self.recent.clear()
        self.steps += int(state.steps[0])
        self.time += int(state.steps[0]) * self.dt
        self.evaluations += int(state.evaluations[0])
        self.lines = lines
        self._remember()
        self.residual = float(state.residual[0])
        self._found = gs.Status(int(state.status[0])).name.lower()

    def refined(self) -> gs.SteadyState:
        """The certified root near the fields there are now, or the state as far as it came.

        It takes seconds, changes nothing, and may run on another thread: see `adopt`.
        """
        return gs.steady_state(self.params, self.fields, refine=True, dt=self.dt, progress=False)

    def picture(self) -> Array:
        """The observed species, float32, shape (H, W), in memory of its own."""
        return self.fields[0, self.params.model.seen].numpy().copy()

    def report(self) -> Report:
        """What is to be said of the fields."""
        seen = self.fields[0, self.params.model.seen]
        return Report(
            self.time,
            self.steps,
            self.dt,
            float(seen.min()),
            float(seen.max()),
            self.residual,
            self._found or "new",
            self.evaluations,
            self._warning,
            tuple(self.params.tensor()[0].tolist()),
        )

    def _take(self, params: ModelParams) -> None:
        """Take parameters, and the step that goes with them."""
        if len(params) != 1:
            raise ValueError(f"params must be one instance, got {len(params)}")
        self.params = params.detach()
        self.dt = step_of(params) if self._given_dt is None else checks.real("dt", self._given_dt)
        self._warning = " ".join(_told(self.params, self.dt))

    def _begin(self, fields: torch.Tensor, *, drawn: bool, keep_time: bool = False) -> None:
        """Fields from which what follows is repeated."""
        self.fields, self.start, self.drawn = fields, fields, drawn
        self.legs: list[Leg] = []
        self.residual, self._found, self.lines = math.nan, "", ""
        if not keep_time:
            self.steps, self.time, self.evaluations = 0, 0.0, 0
            self.recent.clear()
            self._remember()

    def _remember(self) -> None:
        """Keep the picture for an animation, and no more of them than memory allows."""
        picture = self.picture()
        self.recent.append(picture)
        while len(self.recent) * picture.nbytes > max(_REMEMBERED_BYTES, picture.nbytes):
            self.recent.popleft()

    def _paint(self, erase: bool) -> list[float]:
        """What is painted, a value a species: the paper's box, or rest with half a scale more of what is observed."""
        model = self.params.model
        if model is gs.models.gray_scott and not erase:
            return [0.5, 0.25]
        rest = [float(x) for x in model.rest_of(self.params.tensor()[0, len(model.species) :].tolist())]
        if not erase:
            rest[model.seen] += 0.5 * model.scale
        return [min(max(x, pair[0]), pair[1]) if pair else x for x, pair in zip(rest, model.bounds, strict=True)]
