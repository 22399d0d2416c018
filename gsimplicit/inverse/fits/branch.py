"""A root followed as parameters move: predicted along its tangent, corrected by Newton's method.

The root of the first parameters is found from the data, not from an initial field: the fields that are nearest to the
data with a penalty on their residual, the penalty raised, then Newton's method. After that nothing is marched.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from gsimplicit.equations import Equations, ModelParams, instability_expected
from gsimplicit.grid import broken_translations
from gsimplicit.inverse.fits import weak
from gsimplicit.inverse.fits.linearised import Change, Linearised
from gsimplicit.inverse.fits.problem import Place, Problem
from gsimplicit.inverse.fits.scales import Scales
from gsimplicit.refine import Refine
from gsimplicit.steady import steady_state

Array = np.ndarray[Any, np.dtype[np.float64]]

WEIGHTS = (1e1, 1e2, 1e3, 1e4)
"""Times of the penalty by which the first root is found."""
ITERATIONS = 10
"""Newton steps of a correction."""
CONTRACTION = 0.5
"""Ratio of one Newton step to the one before, above which it does not converge."""
CLOSED = 1e-11
"""Bordered residual of a root, by the model's scale."""
CORRECTED = 0.5
"""Correction by what was predicted, above which it may be another branch."""
SMALLEST = 1e-5
"""Correction, by the model's scale, that is always small enough."""


class BranchLostError(RuntimeError):
    """No root near the prediction."""


@dataclass(frozen=True, eq=False)
class Root:
    """A root of one snapshot, with its derivatives.

    Attributes:
        place: Where it is.
        directions: Translations it breaks, shape (r, 2).
        by: What it changes by with each free coordinate.
        moves: What moving it by a pixel along each direction changes.
        residual: Max norm of its bordered residual.
    """

    place: Place
    directions: Array
    by: tuple[Change, ...]
    moves: tuple[Change, ...]
    residual: float

    def columns(self, problem: Problem) -> Array:
        """Derivatives of the misfit in the free coordinates and the shifts, shape (count, m + r)."""
        snapshot = problem.snapshots[0]
        return np.stack([snapshot.change(c.fields) for c in (*self.by, *self.moves)], axis=1)


def first(problem: Problem, start: Place) -> Root:
    """The root of the start's parameters that is nearest to the data.

    Raises:
        BranchLostError: There is none.
    """
    held = replace(problem, scales=replace(problem.scales, directions=np.zeros((0, len(start.values)))))
    fit, _ = weak.fit(held, start, WEIGHTS)
    return _corrected(problem, fit.place, broken_translations(fit.place.fields[0], problem.model.scale), np.inf)


def settled(problem: Problem, start: Place, evaluations: int) -> Root:
    """The root in whose basin the start's fields are, at its parameters.

    Raises:
        BranchLostError: They come to no rest, or to one without a pattern.
    """
    params = ModelParams.of_values(problem.model, start.values[None])
    fields = torch.from_numpy(np.ascontiguousarray(start.fields[0]))[None]
    with instability_expected():  # a start that diverges comes to no rest
        dt = min(1.0, 0.2 / max(Equations(problem.model, start.values).diffusivity))
        refine = Refine(tol=CLOSED * problem.model.scale, max_evaluations=evaluations)
        state = steady_state(params, fields, max_steps=evaluations, refine=refine, dt=dt, progress=False)
    X = state.fields[0].numpy()
    directions = broken_translations(X, problem.model.scale) if bool(state.has_root[0]) else np.zeros((0, 2))
    if not len(directions):
        raise BranchLostError("the picture comes to no rest with a pattern")
    drift = state.drift[0].numpy()
    return _corrected(problem, Place((X,), (drift,), start.values), directions, np.inf)


def followed(problem: Problem, root: Root, z: Array, shift: Array) -> Root:
    """The root after a change of the free coordinates (m,) and a shift along the directions (r,).

    Raises:
        BranchLostError: Newton's method does not lead back to it.
    """
    place = root.place
    steps = [*zip(z, root.by, strict=True), *zip(shift, root.moves, strict=True)]
    change = sum((s * c.fields for s, c in steps), np.zeros_like(place.fields[0]))
    speeds = sum((s * c.speeds for s, c in steps), np.zeros(len(root.directions)))
    predicted = Place(
        (place.fields[0] + change,), (place.drifts[0] + speeds @ root.directions,), _moved(problem.scales, place, z)
    )
    far = float(np.abs(change).max())
    return _corrected(problem, predicted, root.directions, CORRECTED * far + SMALLEST * problem.model.scale)


def _moved(scales: Scales, place: Place, z: Array) -> Array:
    return scales.moved(place.values, z)


def _corrected(problem: Problem, place: Place, directions: Array, most: float) -> Root:
    """Newton's method from a place, whose fields may be corrected by so much at most."""
    X, c, values = place.fields[0], place.drifts[0], place.values
    equations, scale = Equations(problem.model, values), problem.model.scale
    before, total = np.inf, np.zeros_like(X)
    for _ in range(ITERATIONS):
        with np.errstate(all="ignore"):
            defect = equations.defect(X, c)
        if not np.isfinite(defect).all():
            break
        try:
            system = Linearised(equations, X, directions, c)
            step = system.correction(defect)
        except np.linalg.LinAlgError:
            break
        size = float(np.abs(step.fields).max())
        total = total + step.fields
        if size > CONTRACTION * before and size > 1e-9 * scale and before < np.inf:
            break
        if float(np.abs(total).max()) > most:
            break
        X, c = X + step.fields, c + (step.speeds @ directions if len(directions) else np.zeros(2))
        residual = float(np.abs(equations.defect(X, c)).max())
        if residual <= CLOSED * scale:
            return _with_derivatives(problem, replace(place, fields=(X,), drifts=(c,)), directions, residual)
        before = size
    raise BranchLostError("Newton's method does not lead back to the branch")


def _with_derivatives(problem: Problem, place: Place, directions: Array, residual: float) -> Root:
    X, equations = place.fields[0], Equations(problem.model, place.values)
    if len(broken_translations(X, problem.model.scale)) < len(directions):
        raise BranchLostError("the pattern is gone")
    try:
        system = Linearised(equations, X, directions, place.drifts[0])
        slopes = equations.parameter_slopes(X)
        ways = problem.scales.slopes(place.values)
        by = tuple(system.correction(np.tensordot(way, slopes, axes=1)) for way in ways)
        moves = tuple(system.moves())
    except np.linalg.LinAlgError as error:
        raise BranchLostError("the branch ends or turns: its Jacobian is singular") from error
    return Root(place, directions, by, moves, residual)
