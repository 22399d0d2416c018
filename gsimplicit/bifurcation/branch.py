"""Branches of patterns: a certified root followed in a parameter past its folds, and where it loses stability.

Pseudo-arclength continuation after Keller: the parameter is one more unknown, and the distance along the branch one
more equation, so that a fold is a point like any other. As in refinement the drift along each translation the pattern
breaks is an unknown too, with a phase condition for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from gsimplicit import checks, gray_scott
from gsimplicit.gray_scott import PARAMETERS
from gsimplicit.refine.linear import BorderedLU, SparseLU, gradient, interleaved, jacobian, separate
from gsimplicit.refine.newton import broken_translations, residual
from gsimplicit.refine.spectrum import leading
from gsimplicit.refine.threads import one_blas_thread
from gsimplicit.results import SteadyState

__all__ = ["Branch", "Fold", "Instability", "fold", "follow"]

Array = np.ndarray[Any, np.dtype[np.float64]]

TOLERANCE = 1e-12
"""Largest bordered residual of a point of a branch, per unit time."""

MAX_ITERATIONS = 8
"""Newton iterations before a step along the branch is halved."""

SCALE = 0.01
"""A change of the parameter by this counts as far along the branch as a change of u and v by 1 everywhere."""

CLOSE = 1e-8
"""Distance in the parameter to which folds and instabilities are found."""


@dataclass(frozen=True, eq=False)
class Fold:
    """A point where a branch turns back in its parameter.

    Attributes:
        value: The parameter.
        fields: u and v, shape (2, H, W).
        mode: Null vector of the bordered Jacobian, unit 2-norm, shape (2, H, W).
        residual: Largest bordered residual.
    """

    value: float
    fields: Array
    mode: Array
    residual: float


@dataclass(frozen=True, eq=False)
class Instability:
    """A point where the leading eigenvalue of a branch crosses the imaginary axis.

    Attributes:
        value: The parameter.
        eigenvalue: The one that crosses, per unit time; its imaginary part is 0 at a stationary instability.
        fields: u and v, shape (2, H, W).
    """

    value: float
    eigenvalue: complex
    fields: Array


@dataclass(frozen=True, eq=False)
class Branch:
    """A branch of roots in one parameter.

    Attributes:
        parameter: "Du", "Dv", "F" or "k".
        params: Du, Dv, F, k of each point, shape (n, 4).
        fields: u and v, shape (n, 2, H, W).
        drift: Velocity along rows and columns, shape (n, 2).
        slope: Derivative of the parameter along the branch, shape (n,); it changes sign at a fold.
        eigenvalues: Leading eigenvalues, shape (n, m), m = 0 unless asked for.
        residual: Largest bordered residual, shape (n,).
        folds: Where it turned back, in the order they were met.
        instabilities: Where its leading eigenvalue crossed, in the order they were met.
        ended: Why it ended: "range", "points", "folds", "step", or "branching" where another branch crosses and the
            tangent turns at once.
    """

    parameter: str
    params: Array
    fields: Array
    drift: Array
    slope: Array
    eigenvalues: np.ndarray[Any, np.dtype[np.complex128]]
    residual: Array
    folds: tuple[Fold, ...]
    instabilities: tuple[Instability, ...]
    ended: str

    @property
    def values(self) -> Array:
        """The parameter at each point, shape (n,)."""
        return self.params[:, PARAMETERS.index(self.parameter)]


@dataclass(eq=False)
class _Point:
    """A point of a branch with its tangent; `t` is the tangent in (fields, drift speeds, parameter / SCALE)."""

    X: Array
    c: Array
    params: Array
    tX: Array = field(default_factory=lambda: np.zeros(0))
    tp: float = 0.0
    residual: float = np.inf


def follow(
    state: SteadyState,
    parameter: str = "k",
    *,
    direction: int = 1,
    low: float = 0.0,
    high: float = np.inf,
    step: float = 0.02,
    max_step: float = 0.05,
    max_points: int = 200,
    max_folds: int | None = None,
    eigenvalues: int = 0,
    watch: Callable[[float, int], None] | None = None,
) -> Branch:
    """Follow a root in a parameter, past folds.

    Args:
        state: One certified root, of `steady_state(..., refine=True)`.
        parameter: "Du", "Dv", "F" or "k".
        direction: 1 begins with the parameter rising, -1 falling.
        low: Ends where the parameter falls below, >= 0.
        high: Ends where it rises above.
        step: First step along the branch, > 0: root mean square of the change of u and v and of the parameter's change
            over 0.01 together.
        max_step: Longest step.
        max_points: Most points, >= 2.
        max_folds: Ends at the first point past so many folds, >= 1; None goes on.
        eigenvalues: Leading eigenvalues at each point; with at least 1 instabilities are located.
        watch: Called with the parameter and the number of points after each.

    Returns:
        The branch, every point to a bordered residual of 1e-12, folds and instabilities to 1e-8 in the parameter.

    Raises:
        NotSteady: The state is no root.
        ValueError: An argument lies outside its range, or the root could not be closed.

    Example:
        >>> import gsimplicit as gs
        >>> from gsimplicit.bifurcation.branch import follow
        >>> from gsimplicit.bifurcation.uniform import saddle_node
        >>> start = gs.initial_state(grid=(4, 4), noise=0.0, box=None) * 0 + 0.3
        >>> state = gs.steady_state(gs.Params(0.16, 0.08, 0.05, 0.055), start, refine=True)
        >>> branch = follow(state, "k", low=0.05)
        >>> bool(abs(branch.folds[0].value - saddle_node(0.05)) < 1e-8)
        True
    """
    if parameter not in PARAMETERS:
        raise ValueError(f"parameter must be one of {', '.join(map(repr, PARAMETERS))}, got {parameter!r}")
    if len(state) != 1:
        raise ValueError(f"state must be one instance, got {len(state)}")
    if direction not in (1, -1):
        raise ValueError(f"direction must be 1 or -1, got {direction!r}")
    checks.real("step", step, above=0)
    checks.real("max_step", max_step, least=step)
    checks.integer("max_points", max_points, 2)
    checks.integer("eigenvalues", eigenvalues, 0)
    if max_folds is not None:
        checks.integer("max_folds", max_folds, 1)
    state.require_steady()
    value = float(getattr(state.params, parameter)[0])
    if not 0 <= low <= value <= high:
        raise ValueError(
            f"low and high must enclose the state's {parameter}, 0 <= low <= {value:g} <= high; got {low:g}, {high:g}"
        )
    curve = _Curve(parameter, state.fields[0].to(torch.float64).numpy())
    with one_blas_thread():
        return _followed(
            curve, state, direction, (low, high), step, max_step, max_points, max_folds, eigenvalues, watch
        )


def _followed(
    curve: _Curve,
    state: SteadyState,
    direction: int,
    ends: tuple[float, float],
    step: float,
    max_step: float,
    max_points: int,
    max_folds: int | None,
    count: int,
    watch: Callable[[float, int], None] | None,
) -> Branch:
    start = _Point(state.fields[0].to(torch.float64).numpy(), state.drift[0].numpy(), state.params.tensor()[0].numpy())
    now = curve.closed(start)
    if now is None:
        raise ValueError("the root could not be closed to 1e-12")
    curve.tangent(now, None)
    if now.tp * direction < 0:
        now.tX, now.tp = -now.tX, -now.tp
    points, found = [now], [curve.leading(now, count)]
    folds: list[Fold] = []
    unstable: list[Instability] = []
    ended = "points"
    while len(points) < max_points:
        ahead = curve.advanced(now, step)
        if ahead is None:
            step /= 2
            if step < 1e-5:
                ended = "step"
                break
            continue
        new, iterations = ahead
        if now.tp * new.tp < 0:
            at = curve.between(now, step, lambda point: point.tp)
            if abs(at.tp) > 1e-3 * min(abs(now.tp), abs(new.tp)) + 1e-9:
                ended = "branching"  # the tangent turns at once: another branch crosses, and this is no fold
                break
            folds.append(curve.fold_at(at))
        values = curve.leading(new, count)
        if count and found[-1][0].real * values[0].real < 0:
            at = curve.between(now, step, lambda point: float(curve.leading(point, count)[0].real))
            eigenvalue = complex(curve.leading(at, count)[0])
            unstable.append(Instability(curve.value(at), eigenvalue, at.X))
        points.append(new)
        found.append(values)
        now = new
        if watch is not None:
            watch(curve.value(now), len(points))
        if max_folds is not None and len(folds) >= max_folds:
            ended = "folds"
            break
        if not ends[0] <= curve.value(now) <= ends[1]:
            ended = "range"
            break
        step = min(max_step, step * (1.5 if iterations <= 4 else 0.7 if iterations >= 6 else 1.0))
    return Branch(
        curve.name,
        np.stack([p.params for p in points]),
        np.stack([p.X for p in points]),
        np.stack([p.c for p in points]),
        np.array([p.tp * SCALE for p in points]),
        np.stack(found),
        np.array([p.residual for p in points]),
        tuple(folds),
        tuple(unstable),
        ended,
    )


class _Curve:
    """The extended equations of a branch: bordered residual, phase conditions, and a last equation."""

    def __init__(self, name: str, fields: Array) -> None:
        self.name, self.index = name, PARAMETERS.index(name)
        self.directions = broken_translations(fields)
        self.cells = fields[0].size

    def value(self, point: _Point) -> float:
        return float(point.params[self.index])

    def leading(self, point: _Point, count: int) -> np.ndarray[Any, np.dtype[np.complex128]]:
        if not count:
            return np.zeros(0, np.complex128)
        values = leading(point.X, point.params, self.directions, point.c, count).values
        return np.concatenate([values, np.full(count - len(values), np.nan)])

    def defect(self, X: Array, c: Array, params: Array) -> Array:
        R = residual(X, params)
        return R + np.tensordot(c, gradient(X), axes=1) if c.any() else R

    def _translations(self, X: Array) -> Array:
        """Columns of the drift speeds, shape (r, 2, H, W)."""
        r = len(self.directions)
        return np.tensordot(self.directions, gradient(X), axes=1) if r else np.zeros((0, *X.shape))

    def _along(self, X: Array) -> Array:
        """Derivative of the residual in the parameter, by SCALE."""
        return SCALE * gray_scott.parameter_derivatives(torch.from_numpy(X)[None])[0, self.index].numpy()

    def system(self, point: _Point, phase: Array, row: Array, corner: float) -> BorderedLU:
        """The linearised equations with the last row `row . dX + corner dp`."""
        lu = SparseLU(jacobian(point.X, point.params, point.c))
        columns = np.concatenate([self._translations(point.X), self._along(point.X)[None]])
        rows = np.concatenate([phase, row[None]])
        corners = np.zeros((len(columns), len(columns)))
        corners[-1, -1] = corner
        return BorderedLU(lu, interleaved(columns), interleaved(rows), corners)

    def closed(self, start: _Point) -> _Point | None:
        """The root at the parameters of a state near it."""
        fixed = self._newton(start, start, np.zeros_like(start.X), 1.0, 0.0)
        return None if fixed is None else fixed[0]

    def advanced(self, now: _Point, step: float) -> tuple[_Point, int] | None:
        """The point a step along the branch, with its tangent, and the iterations it took; None where Newton failed."""
        moved = now.params.copy()
        moved[self.index] += step * now.tp * SCALE
        if moved[self.index] < 0:
            return None
        guess = _Point(now.X + step * now.tX, now.c, moved)
        done = self._newton(guess, now, now.tX / self.cells, now.tp, step)
        if done is None:
            return None
        new, iterations = done
        self.tangent(new, now)
        # a turn of more than 60 degrees is another branch, or a step too long
        if (new.tX * now.tX).sum() / self.cells + new.tp * now.tp < 0.5:
            return None
        return new, iterations

    def _newton(
        self, guess: _Point, origin: _Point, row: Array, corner: float, step: float
    ) -> tuple[_Point, int] | None:
        """Newton's method on the extended equations, the last one `row . (X - X0) + corner (p - p0) = step`."""
        phase = self._translations(origin.X)
        X, c, params = guess.X, guess.c, guess.params.copy()
        for n in range(MAX_ITERATIONS):
            R = self.defect(X, c, params)
            away = (params[self.index] - origin.params[self.index]) / SCALE
            off = np.concatenate(
                [np.tensordot(phase, X - origin.X, axes=3), [(row * (X - origin.X)).sum() + corner * away - step]]
            )
            size = float(np.abs(R).max())
            if not np.isfinite(size):
                return None
            if size < TOLERANCE and np.abs(off).max() < 1e-10:
                return _Point(X, c, params, residual=size), n
            try:
                system = self.system(_Point(X, c, params), phase, row, corner)
                x, s = system.solve(interleaved(-R[None])[:, 0], -off)
            except np.linalg.LinAlgError:
                return None
            X = X + separate(x, X.shape)
            c = c + s[:-1] @ self.directions if len(self.directions) else c
            params[self.index] += SCALE * s[-1]
            if params[self.index] < 0:
                return None
        return None

    def tangent(self, point: _Point, before: _Point | None) -> None:
        """The unit tangent, in the direction of the one before."""
        row = np.zeros_like(point.X) if before is None else before.tX / self.cells
        corner = 1.0 if before is None else before.tp
        system = self.system(point, self._translations(point.X), row, corner)
        goal = np.zeros(len(self.directions) + 1)
        goal[-1] = 1.0
        x, s = system.solve(np.zeros(2 * self.cells), goal)
        tX, tp = separate(x, point.X.shape), float(s[-1])
        length = np.sqrt((tX**2).sum() / self.cells + tp**2)
        point.tX, point.tp = tX / length, tp / length

    def between(self, now: _Point, step: float, test: Callable[[_Point], float]) -> _Point:
        """The point within a step at which a test function vanishes, by bisection and false position."""
        low, high, at_low = 0.0, step, test(now)
        ahead = self.advanced(now, high)
        assert ahead is not None
        best, at_high = ahead[0], test(ahead[0])
        left = now
        for n in range(60):
            share = at_low / (at_low - at_high)
            # false position alone keeps one end for ever where the function is curved
            middle = low + (high - low) * (0.5 if n % 3 == 2 else min(max(share, 0.02), 0.98))
            ahead = self.advanced(now, middle)
            if ahead is None:
                break
            point, value = ahead[0], test(ahead[0])
            if value * at_low > 0:
                low, at_low, left = middle, value, point
            else:
                high, at_high, best = middle, value, point
            if abs(self.value(best) - self.value(left)) < CLOSE and high - low < 1e-4 * step:
                break
        return best if abs(at_high) < abs(at_low) else left

    def fold_at(self, point: _Point) -> Fold:
        return Fold(self.value(point), point.X, point.tX / np.linalg.norm(point.tX), point.residual)


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
        The fold, to a residual of 1e-12.

    Raises:
        ValueError: The branch has no such fold.
        np.linalg.LinAlgError: It did not converge.
    """
    if not 0 <= number < len(branch.folds):
        raise ValueError(f"number must count one of the {len(branch.folds)} folds that were met, from 0, got {number}")
    turns = np.flatnonzero(branch.slope[:-1] * branch.slope[1:] < 0)
    before = int(turns[number])
    curve = _Curve(branch.parameter, branch.fields[before])
    start = _Point(branch.fields[before], branch.drift[before], branch.params[before])
    with one_blas_thread():
        return _augmented(curve, start, branch.folds[number].mode)


def _augmented(curve: _Curve, start: _Point, mode: Array) -> Fold:
    r = len(curve.directions)
    X, c, params = start.X, start.c, start.params.copy()
    phase = curve._translations(X)
    b = d = mode / np.linalg.norm(mode)
    for _ in range(20):
        lu = SparseLU(jacobian(X, params, c))
        test = _singular(curve, _Point(X, c, params), lu, phase, b, d)
        R = curve.defect(X, c, params)
        off = np.concatenate([np.tensordot(phase, X - start.X, axes=3), [test.g]])
        size = float(np.abs(R).max())
        if size < TOLERANCE and abs(test.g) < 1e-11:
            return Fold(float(params[curve.index]), X, test.w / np.linalg.norm(test.w), size)
        corner = np.zeros((r + 1, r + 1))
        corner[-1, :r], corner[-1, -1] = test.g_c, test.g_p
        columns = interleaved(np.concatenate([curve._translations(X), curve._along(X)[None]]))
        outer = BorderedLU(lu, columns, interleaved(np.concatenate([phase, test.g_X[None]])), corner)
        x, s = outer.solve(interleaved(-R[None])[:, 0], -off)
        X = X + separate(x, X.shape)
        c = c + s[:-1] @ curve.directions if r else c
        params[curve.index] += SCALE * s[-1]
        b, d = test.psi / np.linalg.norm(test.psi), test.w / np.linalg.norm(test.w)
    raise np.linalg.LinAlgError(f"the fold did not converge: residual {size:.1e}, test function {test.g:.1e}")


@dataclass(frozen=True, eq=False)
class _Singular:
    """g of `[A b; d^T 0] [w; g] = [0; 1]`, which vanishes where A is singular, and its derivatives.

    In the fields, in the speeds along each direction, and in the parameter by SCALE.
    """

    w: Array
    psi: Array
    g: float
    g_X: Array
    g_c: Array
    g_p: float


def _singular(curve: _Curve, at: _Point, lu: SparseLU, phase: Array, b: Array, d: Array) -> _Singular:
    r = len(curve.directions)
    G = curve._translations(at.X)
    inner = BorderedLU(lu, interleaved(np.concatenate([G, b[None]])), interleaved(np.concatenate([phase, d[None]])))
    goal, zero = np.zeros(r + 1), np.zeros(2 * curve.cells)
    goal[-1] = 1.0
    w_column, w_rest = inner.solve(zero, goal)
    psi_column, _ = inner.solve(zero, goal, transpose=True)
    w, psi = separate(w_column, at.X.shape), separate(psi_column, at.X.shape)
    # g_z = -psi . A_z w, with A's dependence on the fields, the drift speeds and the parameter
    g_X = -_second_transposed(at.X, w, psi)
    if r:
        # A holds c . grad and the columns grad X: their derivatives act on w and on the rest of the null vector
        g_X = g_X + np.tensordot(w_rest[:r] @ curve.directions, gradient(psi), axes=1)
    # the factorised Jacobian takes the drift by central differences, and g is of that
    slopes = np.stack([(np.roll(w, -1, axis) - np.roll(w, 1, axis)) / 2 for axis in (1, 2)])
    g_c = np.array([-(psi * np.tensordot(e, slopes, axes=1)).sum() for e in curve.directions])
    mixed = gray_scott.mixed_derivative(torch.from_numpy(w)[None])[0, curve.index].numpy()
    return _Singular(w, psi, float(w_rest[-1]), g_X, g_c, -SCALE * float((psi * mixed).sum()))


def _second_transposed(X: Array, w: Array, psi: Array) -> Array:
    """The field f with `f . y = psi . R_XX[w, y]` for every y: the reaction alone curves."""
    (u, v), (wu, wv) = X, w
    gain = psi[1] - psi[0]
    return np.stack([2 * v * wv * gain, (2 * v * wu + 2 * u * wv) * gain])
