"""One Gauss-Newton step of states, parameters, drifts and gain together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gsimplicit.equations import Equations
from gsimplicit.inverse.fits.linearised import Change, Linearised
from gsimplicit.inverse.fits.problem import Place, Problem

Array = np.ndarray[Any, np.dtype[np.float64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

TRUST = 0.3
"""Largest change of a free coordinate in one step: by a third of a positive parameter."""
FIELD_STEP = 0.2
"""Largest change of a species in one step, by the model's scale."""
STEADY = 0.01
"""Square of the correction to a root, by that of the misfit after it, below which a level leaves it out: the next step
takes it away, and it would make steps short where hardly seen parameters have far to go."""
DAMPINGS = (1.0, 1e2, 1e4)
"""Standard deviations by which a step of one unit in a coordinate counts against it: tried in this order."""
BLIND = 1e-7
"""Singular value of the scaled columns, by the largest, below which a combination of unknowns is not seen."""


class Step:
    """The linear model at a place: corrections, columns, and the least-squares step."""

    def __init__(self, problem: Problem, place: Place, directions: Sequence[Array]) -> None:
        self.problem, self.place, self.directions = problem, place, directions
        equations = Equations(problem.model, place.values)
        self.parts = [
            Linearised(equations, X, d, c) for X, d, c in zip(place.fields, directions, place.drifts, strict=True)
        ]
        self.zeroth = self.corrections(place)
        ways = problem.scales.slopes(place.values)
        self.by_parameter: list[list[Change]] = []
        self.by_shift: list[list[Change]] = []
        for part, X in zip(self.parts, place.fields, strict=True):
            slopes = equations.parameter_slopes(X)
            self.by_parameter.append([part.correction(np.tensordot(w, slopes, axes=1)) for w in ways])
            self.by_shift.append(part.moves())
        self.columns = self._columns()
        self.start = self.deviations(place) + self.seen(self.zeroth)
        self.damp()

    def damp(self, damping: float = DAMPINGS[0]) -> None:
        """Choose the step: the least-squares one, with changes of the parameters counted against it."""
        damped = np.zeros(self.columns.shape[1])
        damped[: len(self.problem.scales.directions)] = damping
        if self.problem.affine:
            damped[-2:] = damping
        self.z = _least_squares(self.columns, self.start, damped)

    def deviations(self, place: Place) -> Array:
        """What least squares make small at a place."""
        return self.problem.misfit(place)

    def corrections(self, place: Place) -> list[Change]:
        """Changes that lead from a place to steady states, by this step's factors."""
        return [part.correction(R) for part, R in zip(self.parts, self.problem.defects(place), strict=True)]

    def absorbed(self) -> float:
        """Degrees of freedom of the data that other unknowns take than those of the columns."""
        return 0.0

    def camera(self) -> Array:
        """Derivatives of the deviations in offset, gain and bend of the camera, shape (rows, 3)."""
        pairs = zip(self.problem.snapshots, self.place.fields, strict=True)
        return np.concatenate([s.of_camera(X) for s, X in pairs])

    def measured(self) -> Mask:
        """Which of the deviations are from the data."""
        return np.ones(len(self.start), dtype=bool)

    def seen(self, changes: Sequence[Change]) -> Array:
        """What changes of all states change the deviations by."""
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
        """Misfit after the correction to a root, and the correction itself in units of the noise where it is large."""
        far = sum(float((c.fields**2).sum()) for c in corrections) / self.problem.noise**2
        misfit = float(((self.deviations(place) + self.seen(corrections)) ** 2).sum())
        return misfit if self.problem.trusted and far <= STEADY * misfit else misfit + far

    def moved(self, share: float) -> Place:
        """The place after a share of the step."""
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

    def longest(self, reach: float = 1.0) -> float:
        """Share of the step, `reach` at most, that moves neither parameters nor fields too far."""
        m, scale = len(self.problem.scales.directions), self.problem.model.scale
        far = max(float(np.abs(c.fields).max()) for c in self.whole()[0])
        return min(
            reach, TRUST / max(float(np.abs(self.z[:m]).max(initial=0)), 1e-300), FIELD_STEP * scale / max(far, 1e-300)
        )


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
