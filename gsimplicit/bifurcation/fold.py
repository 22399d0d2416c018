"""Folds of a branch by the minimally augmented system, apart from the branch they were met on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gsimplicit import checks
from gsimplicit.bifurcation.branch import Branch, Fold
from gsimplicit.bifurcation.curve import TOLERANCE, Curve, Point
from gsimplicit.equations import Equations
from gsimplicit.grid import along, interleaved, separate
from gsimplicit.refine.linear import BorderedLU, SparseLU, jacobian
from gsimplicit.surroundings import own_surroundings
from gsimplicit.threads import one_blas_thread

__all__ = ["fold"]

Array = np.ndarray[Any, np.dtype[np.float64]]


@own_surroundings
def fold(branch: Branch, number: int = 0) -> Fold:
    """A fold of a branch found anew, by Newton's method on the minimally augmented system from a point beside it.

    With the bordered Jacobian A, `[A b; d^T 0] [w; g] = [0; 1]` makes g(X, p) a function that vanishes where A is
    singular; the fold solves the equations of the branch together with g = 0 (Govaerts, Numerical Methods for
    Bifurcations of Dynamical Equilibria, 2000). It uses second derivatives and no step along the branch, and so is a
    second opinion on what `follow` found.

    Args:
        branch: Of `follow`.
        number: Which of its folds, in the order they were met.

    Returns:
        The fold, to a residual of 1e-12 by the model's scale.

    Raises:
        ValueError: The branch has no such fold.
        np.linalg.LinAlgError: It did not converge.

    Examples:
        >>> import gsimplicit as gs
        >>> from gsimplicit.bifurcation.branch import follow
        >>> from gsimplicit.bifurcation.fold import fold
        >>> start = gs.initial_state(grid=(4, 4), noise=0.0, box=None) * 0 + 0.3
        >>> state = gs.steady_state(gs.Params(0.16, 0.08, 0.05, 0.055), start, refine=True)
        >>> branch = follow(state, "k", low=0.05)
        >>> bool(abs(fold(branch).value - branch.folds[0].value) < 1e-8)
        True
    """
    if not isinstance(branch, Branch):
        raise TypeError(f"branch must be of gsimplicit.bifurcation.branch.follow, got {type(branch).__name__}")
    number = checks.integer("number", number, -checks.LARGEST)
    if not 0 <= number < len(branch.folds):
        raise ValueError(f"number must count one of the {len(branch.folds)} folds that were met, from 0, got {number}")
    turns = np.flatnonzero(branch.slope[:-1] * branch.slope[1:] < 0)
    before = int(turns[number])
    equations = Equations(branch.model, branch.params[before])
    curve = Curve(equations, branch.parameter, branch.fields[before], branch.unit)
    start = Point(branch.fields[before], branch.drift[before], branch.params[before])
    with one_blas_thread():
        return _augmented(curve, start, branch.folds[number].mode)


def _augmented(curve: Curve, start: Point, mode: Array) -> Fold:
    r = len(curve.directions)
    X, c, params = start.X, start.c, start.params.copy()
    phase = curve.translations(X)
    b = d = mode / np.linalg.norm(mode)
    for _ in range(20):
        lu = SparseLU(jacobian(curve.at(params), X, c))
        test = _singular(curve, Point(X, c, params), lu, phase, b, d)
        R = curve.defect(X, c, params)
        off = np.concatenate([np.tensordot(phase, X - start.X, axes=3), [test.g]])
        size = float(np.abs(R).max())
        if size < TOLERANCE * curve.scale and abs(test.g) < 1e-11:
            return Fold(float(params[curve.index]), X, test.w / np.linalg.norm(test.w), size)
        corner = np.zeros((r + 1, r + 1))
        corner[-1, :r], corner[-1, -1] = test.g_c, test.g_p
        columns = interleaved(np.concatenate([curve.translations(X), curve.along(X, params)[None]]))
        outer = BorderedLU(lu, columns, interleaved(np.concatenate([phase, test.g_X[None]])), corner)
        x, s = outer.solve(interleaved(-R[None])[:, 0], -off)
        X = X + separate(x, X.shape)
        c = c + s[:-1] @ curve.directions if r else c
        params[curve.index] += curve.unit * s[-1]
        b, d = test.psi / np.linalg.norm(test.psi), test.w / np.linalg.norm(test.w)
    raise np.linalg.LinAlgError(f"the fold did not converge: residual {size:.1e}, test function {test.g:.1e}")


@dataclass(frozen=True, eq=False)
class _Singular:
    """g of `[A b; d^T 0] [w; g] = [0; 1]`, which vanishes where A is singular, and its derivatives.

    In the fields, in the speeds along each direction, and in the parameter by its unit.
    """

    w: Array
    psi: Array
    g: float
    g_X: Array
    g_c: Array
    g_p: float


def _singular(curve: Curve, at: Point, lu: SparseLU, phase: Array, b: Array, d: Array) -> _Singular:
    r = len(curve.directions)
    G = curve.translations(at.X)
    inner = BorderedLU(lu, interleaved(np.concatenate([G, b[None]])), interleaved(np.concatenate([phase, d[None]])))
    goal, zero = np.zeros(r + 1), np.zeros(at.X.size)
    goal[-1] = 1.0
    w_column, w_rest = inner.solve(zero, goal)
    psi_column, _ = inner.solve(zero, goal, transpose=True)
    w, psi = separate(w_column, at.X.shape), separate(psi_column, at.X.shape)
    # g_z = -psi . A_z w, with A's dependence on the fields, the drift speeds and the parameter
    equations = curve.at(at.params)
    g_X = -equations.second_transposed(at.X, w, psi)
    if r:
        # A holds c . grad and the columns grad X: their derivatives act on w and on the rest of the null vector
        g_X = g_X + along(w_rest[:r] @ curve.directions, psi)
    # the factorised Jacobian takes the drift by central differences, and g is of that
    slopes = np.stack([(np.roll(w, -1, axis) - np.roll(w, 1, axis)) / 2 for axis in (1, 2)])
    g_c = np.array([-(psi * np.tensordot(e, slopes, axes=1)).sum() for e in curve.directions])
    mixed = equations.mixed(at.X, w)[curve.index]
    return _Singular(w, psi, float(w_rest[-1]), g_X, g_c, -curve.unit * float((psi * mixed).sum()))
