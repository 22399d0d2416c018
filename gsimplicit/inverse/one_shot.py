"""Fields, parameters, drift and position together: one Gauss-Newton iteration for all of them.

The unknowns are the state itself and the parameters that it is steady for. At the current fields X, which need not be
steady for anything, one factorisation of the bordered Jacobian J gives

    dX = a + sum_j z_j b_j,    a = -J^-1 R,    b_j = -J^-1 dR/dz_j,

so the fields are eliminated, and least squares against the data remain in the few z: parameters, rigid shifts, and
gain and offset if they are asked for. All move together. Nothing is re-marched, so the edges of basins, which make the
cliffs of the marched landscape, are never met (H. G. Bock, in Numerical Treatment of Inverse Problems, 1983, has the
method for boundary value problems). A step is cut by the natural level function (P. Deuflhard, Newton Methods for
Nonlinear Problems, 2004, section 3.3): the next correction, measured with this iteration's factors, must not grow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gsimplicit.equations import Equations
from gsimplicit.grid import broken_translations
from gsimplicit.inverse.linearised import Change, Linearised
from gsimplicit.inverse.problem import Ended, Fit, Place, Problem
from gsimplicit.inverse.scales import Scales

Array = np.ndarray[Any, np.dtype[np.float64]]

TRUST = 0.3
"""Largest change of a free coordinate in one step: by a third of a positive parameter."""
FIELD_STEP = 0.2
"""Largest change of a species in one step, by the model's scale."""
HALVINGS = 6
LEFT = 3.0
"""A parameter that has changed by a factor exp(3) has left for nowhere."""
DAMPINGS = (1.0, 1e2, 1e4)
"""Standard deviations by which a step of one unit in a coordinate counts against it: tried in this order."""
UNSEEN = 1e-5
"""Change of all deviations together, in standard deviations, that ends an iteration: moved where nothing is seen."""
ENOUGH = 0.25
"""Share of a step that is enough not to try the next."""
BLIND = 1e-7
"""Singular value of the scaled columns, by the largest, below which a combination of unknowns is not seen."""


class _Step:
    """The linear model at a place: corrections, columns, and the least-squares step."""

    def __init__(self, problem: Problem, place: Place, directions: Sequence[Array]) -> None:
        self.problem, self.place, self.directions = problem, place, directions
        equations = Equations(problem.model, place.values)
        self.parts = [
            Linearised(equations, X, d, c) for X, d, c in zip(place.fields, directions, place.drifts, strict=True)
        ]
        self.zeroth = self.corrections(problem.defects(place))
        ways = problem.scales.slopes(place.values)
        self.by_parameter: list[list[Change]] = []
        self.by_shift: list[list[Change]] = []
        for part, X in zip(self.parts, place.fields, strict=True):
            slopes = equations.parameter_slopes(X)
            self.by_parameter.append([part.correction(np.tensordot(w, slopes, axes=1)) for w in ways])
            self.by_shift.append(part.moves())
        self.columns = self._columns()
        self.start = problem.misfit(place) + self.seen(self.zeroth)
        self.damp(DAMPINGS[0])

    def damp(self, damping: float) -> None:
        """Choose the step: the least-squares one, with changes of the parameters counted against it."""
        damped = np.zeros(self.columns.shape[1])
        damped[: len(self.problem.scales.directions)] = damping
        if self.problem.affine:
            damped[-2:] = damping
        self.z = _least_squares(self.columns, self.start, damped)

    def corrections(self, defects: Sequence[Array]) -> list[Change]:
        return [part.correction(R) for part, R in zip(self.parts, defects, strict=True)]

    def seen(self, changes: Sequence[Change]) -> Array:
        gain = self.place.gain
        return np.concatenate([s.change(c.fields, gain) for s, c in zip(self.problem.snapshots, changes, strict=True)])

    def _columns(self) -> Array:
        gain, snapshots = self.place.gain, self.problem.snapshots
        ends = np.cumsum([0, *(s.count for s in snapshots)])
        shifts = sum(map(len, self.by_shift))
        m = len(self.problem.scales.directions)
        A = np.zeros((ends[-1], m + shifts + 2 * self.problem.affine))
        at = m
        for i, s in enumerate(snapshots):
            rows = slice(ends[i], ends[i + 1])
            for j, change in enumerate(self.by_parameter[i]):
                A[rows, j] = s.change(change.fields, gain)
            for change in self.by_shift[i]:
                A[rows, at] = s.change(change.fields, gain)
                at += 1
            if self.problem.affine:
                A[rows, -2:] = s.of_gain(self.place.fields[i])
        return A

    def whole(self) -> tuple[list[Change], Array]:
        """Changes of all states, and of gain and offset, by the full step."""
        m, at, out = len(self.problem.scales.directions), len(self.problem.scales.directions), []
        for i, a in enumerate(self.zeroth):
            terms = [*zip(self.z[:m], self.by_parameter[i], strict=True)]
            terms += [*zip(self.z[at : at + len(self.by_shift[i])], self.by_shift[i], strict=True)]
            at += len(self.by_shift[i])
            out.append(
                Change(
                    a.fields + sum((z * c.fields for z, c in terms), np.zeros_like(a.fields)),
                    a.speeds + sum((z * c.speeds for z, c in terms), np.zeros_like(a.speeds)),
                )
            )
        return out, self.z[at:] if self.problem.affine else np.zeros(2)

    def level(self, place: Place, corrections: Sequence[Change]) -> float:
        """Misfit after the correction to a root, and the correction itself in units of the noise."""
        far = sum(float((c.fields**2).sum()) for c in corrections) / self.problem.noise**2
        return float(((self.problem.misfit(place) + self.seen(corrections)) ** 2).sum()) + far

    def moved(self, share: float) -> Place:
        changes, gain = self.whole()
        place, m = self.place, len(self.problem.scales.directions)
        drifts = [
            c + share * (d.speeds @ ways if len(ways) else np.zeros(2))
            for c, d, ways in zip(place.drifts, changes, self.directions, strict=True)
        ]
        return Place(
            fields=tuple(X + share * d.fields for X, d in zip(place.fields, changes, strict=True)),
            drifts=tuple(drifts),
            values=self.problem.scales.moved(place.values, share * self.z[:m]),
            gain=(place.gain[0] + share * float(gain[0]), place.gain[1] + share * float(gain[1])),
        )

    def longest(self) -> float:
        """Share of the step that moves neither parameters nor fields too far."""
        m, scale = len(self.problem.scales.directions), self.problem.model.scale
        far = max(float(np.abs(c.fields).max()) for c in self.whole()[0])
        return min(
            1.0, TRUST / max(float(np.abs(self.z[:m]).max(initial=0)), 1e-300), FIELD_STEP * scale / max(far, 1e-300)
        )


def fit(problem: Problem, start: Place, *, iterations: int = 30, tol: float = 1e-8, residual: float = 1e-10) -> Fit:
    """The iteration, from a place whose fields need not be steady.

    Args:
        problem: What is asked.
        start: Where it begins.
        iterations: Most of them.
        tol: Change of every free coordinate to reach.
        residual: Max norm of the bordered residual to reach, by the model's scale.
    """
    directions = [broken_translations(X, problem.model.scale) for X in start.fields]
    place, ended, n, size, first = start, Ended.STEPS, 0, np.inf, np.inf
    columns = np.zeros((0, 0))
    for n in range(1, iterations + 1):
        try:
            step = _Step(problem, place, directions)
        except np.linalg.LinAlgError:
            ended = Ended.SINGULAR
            break
        columns = step.columns
        here = step.level(place, step.zeroth)
        first = here if n == 1 else first
        small = bool(np.abs(step.z[: len(problem.scales.directions)]).max(initial=0) < 1e-6)
        onward = _damped(step, here, anyway=small)
        if onward is None:
            ended = Ended.DIVERGED
            break
        place, share = onward
        if np.abs(_distance(problem.scales, place.values, start.values)).max() > LEFT:
            ended = Ended.LEFT
            break
        if place.gain[1] <= 0:
            ended = Ended.GAIN
            break
        size = max(float(np.abs(R).max()) for R in problem.defects(place))
        moved = share * float(np.abs(step.z[: len(problem.scales.directions)]).max(initial=0))
        unseen = float(np.linalg.norm(step.columns @ step.z)) <= UNSEEN
        if size <= residual * problem.model.scale and (moved <= tol or unseen):
            ended = Ended.CONVERGED
            break
    return Fit(place, ended, n, size, columns, problem.misfit(place), first)


def first_level(problem: Problem, start: Place) -> float:
    """How far a start is from everything: log of the misfit after its first step, and the step's length.

    The linear model's misfit says whether the data can be met from here, the step's length whether the model holds
    that far.
    """
    directions = [broken_translations(X, problem.model.scale) for X in start.fields]
    try:
        step = _Step(problem, start, directions)
    except np.linalg.LinAlgError:
        return np.inf
    changes, _ = step.whole()
    left = float(((step.start + step.columns @ step.z) ** 2).mean())
    far = max(float(np.abs(c.fields).max()) for c in changes) / problem.model.scale
    z = step.z[: len(problem.scales.directions)]
    return float(np.log1p(left)) + far + TRUST * float(np.abs(z).max(initial=0))


def _damped(step: _Step, here: float, *, anyway: bool) -> tuple[Place, float] | None:
    """The place after the step, halved until the level does not grow; None where nothing is finite.

    Where less than a quarter of a step is left, steps that move parameters less are tried, down to one of the fields
    alone. Where no share lowers the level the smallest is taken: far from a root the level is a guide, not a law.
    """
    best: tuple[Place, float, float] | None = None
    for damping in DAMPINGS:
        step.damp(damping)
        found = _halved(step, here, anyway=anyway)
        if found is not None and (best is None or found[1] > best[1]):
            best = (*found, damping)
        if best is not None and best[1] >= ENOUGH:
            break
    if best is None:
        return None
    step.damp(best[2])
    return best[0], best[1]


def _halved(step: _Step, here: float, *, anyway: bool) -> tuple[Place, float] | None:
    """The place after a share of the step, and the share."""
    share = step.longest()
    for n in range(HALVINGS):
        place = step.moved(share)
        level = _level(step, place)
        if np.isfinite(level) and (level <= here * (1 + 1e-9) or anyway or n == HALVINGS - 1):
            return place, share
        share /= 2
    return None


def _level(step: _Step, place: Place) -> float:
    """The level function, infinite where something is not finite."""
    if not _finite(place):
        return np.inf
    with np.errstate(all="ignore"):
        try:
            return step.level(place, step.corrections(step.problem.defects(place)))
        except np.linalg.LinAlgError:
            return np.inf


def _finite(place: Place) -> bool:
    return all(bool(np.isfinite(X).all()) for X in place.fields) and bool(np.isfinite(place.values).all())


def _distance(scales: Scales, a: Array, b: Array) -> Array:
    """Change of every coordinate from b to a."""
    with np.errstate(all="ignore"):
        logs = np.log(np.where(scales.positive, a / np.where(b == 0, 1, b), 1.0))
    return np.asarray(np.where(scales.positive, logs, (a - b) / scales.size / 10))


def _least_squares(A: Array, r: Array, damped: Array) -> Array:
    """Least squares with columns of equal size, each damped by so much; what is not seen is not moved.

    Damping acts on what the data do not see, such as a scaling of the hidden species, which away from a root looks as
    if it were seen. It slows a step and does not move where the iteration ends.
    """
    size = np.linalg.norm(A, axis=0)
    size[size == 0] = 1.0
    ridge, rest = np.diag(damped / size), np.zeros(len(size))
    z: Any = np.linalg.lstsq(np.vstack([A / size, ridge]), np.concatenate([-r, rest]), rcond=BLIND)[0]
    return np.asarray(z / size)
