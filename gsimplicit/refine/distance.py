"""How far a certified root may be from the closed one: its residual over the least singular value of its Jacobian.

A residual of 1e-10 says little where the lattice pins a pattern with a rate of 1e-7: the root may then lie 1e-3 away,
along the translation that is hardly held. With J the Jacobian that certifies (full where steady, bordered where
drifting), `|X - X*| <= |R| / sigma_min(J)` in the 2-norm to first order, twice that at most in truth, where there is a
root: near a fold a state can be as good as any without one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gsimplicit.equations import Equations
from gsimplicit.grid import along
from gsimplicit.refine.modes import deviation, symbols
from gsimplicit.refine.solvers import LOOSE
from gsimplicit.results import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gsimplicit.refine import Refined
    from gsimplicit.refine.linear import Bordered, Solution
    from gsimplicit.refine.solvers import LinearSolver, Prepared

Array = np.ndarray[Any, np.dtype[np.float64]]

ROUNDS = 8
"""Solves with J, and as many with its transpose, at most; two to four of each are usual."""

SHARP = 0.05
"""Relative width of the interval at which it is narrow enough."""

CLOSED = 0.5
"""Relative residual of a solve above which the matrix counts as singular."""

SINGULAR = 1e-13
"""Least singular value below which a uniform state counts as one of a family: its Jacobian is singular."""

SURELY_UNIFORM = 1e-6
"""Deviation from the mean below which a root counts as uniform: certification leaves some 1e-9."""

PROVED = 0.4
"""Kantorovich's number up to which a root counts as proved to be near: 1/2, less what higher orders may add."""

NEAR = 0.2
"""Longest step in u or v from which a root counts as near: Newton's own steps are cut there."""

STEPS, NOTHING = 6, 1e-8
"""Simplified Newton steps that are looked at, at most, and the share of the first one at which they end."""

CLEAR = 1e-12
"""Relative residual asked of their solves: what the weakest mode gets must be its own."""

FLAT = 0.01
"""A state counts as uniform where its waves change the Jacobian by less than this share of the value found."""


def least_singular(prepared: Prepared, systems: Sequence[Bordered], *, border: bool) -> Array:
    """Least singular values of a batch of prepared systems, from below, by Golub and Kahan's bidiagonalisation.

    Args:
        prepared: What solves with them.
        systems: Their states and borders.
        border: Of the bordered Jacobians; False is the plain ones.

    Returns:
        Shape (B,), per unit time: the lower end of an interval of `SHARP` in which a singular value lies, the least one
        unless a start at random misses it; 0 where a matrix is singular to working precision.
    """
    found = [_Inverse(system, border=border) for system in systems]
    for _ in range(ROUNDS):
        for transpose in (True, False):
            parts = [one.asked(transpose=transpose) for one in found]
            right, corner = [x for x, _ in parts], [s for _, s in parts]
            solutions = prepared.solve(right, corner if border else None, transpose=transpose, border=border, tol=LOOSE)
            for one, solution in zip(found, solutions, strict=True):
                one.take(solution, transpose=transpose)
        if all(one.sharp for one in found):
            break
    return np.array([one.least for one in found])


class _Inverse:
    """Bidiagonalisation of B, the inverse of the transpose: `B Q = P U` and `B^T P = Q U^T + b q y^T`.

    The largest singular value of U is one of B but for the rest `b |y|`, its left vector's last entry times the next b.
    """

    def __init__(self, system: Bordered, *, border: bool) -> None:
        self._shape, self._size = system.fields.shape, system.fields.size
        # at random: a start that favours the translations overlooks a fold beside them
        start = np.random.default_rng(0).standard_normal(self._size + (len(system.directions) if border else 0))
        self._next: Array = start / float(np.linalg.norm(start))
        self._bases: tuple[list[Array], list[Array]] = [], []
        self._diagonal: list[float] = []
        self._beside: list[float] = []
        self._ended = False
        self.sharp, self.least = False, float("inf")

    def asked(self, *, transpose: bool) -> tuple[Array, Array]:
        """The next right-hand side, of the transposed system or of the system itself."""
        x = self._next if transpose or not self._bases[1] else self._bases[1][-1]
        return x[: self._size].reshape(self._shape), x[self._size :]

    def take(self, solution: Solution, *, transpose: bool) -> None:
        """Take the solution of what was asked."""
        if self._ended:
            return
        if not solution.residual <= CLOSED:
            self.sharp, self.least, self._ended = True, 0.0, True
            return
        y = np.concatenate([solution.x.ravel(), solution.s])
        if transpose:
            self._bases[0].append(self._next)
        basis = self._bases[1 if transpose else 0]
        for _ in range(2):  # again: what rounding, and loose solves, leave along the others
            for other in basis:
                y = y - (other @ y) * other
        size = float(np.linalg.norm(y))
        unit: Array = y / max(size, 1e-300)
        if transpose:
            self._diagonal.append(size)
            self._bases[1].append(unit)
        else:
            self._measure(size)
            self._beside.append(size)
            self._next = unit

    def _measure(self, beside: float) -> None:
        """The least singular value of the matrix that is seen so far."""
        U = np.diag(self._diagonal) + np.diag(self._beside, 1)
        left, values, _ = np.linalg.svd(U)
        rest = beside * abs(float(left[-1, 0]))
        self.least = 1 / max(float(values[0]) + rest, 1e-300)
        self.sharp = rest <= SHARP * float(values[0])
        # a basis that ended has seen all there is to see from this start
        self._ended = beside <= 1e-12 * float(values[0])


def least_singular_of_uniform(equations: Equations, fields: Array) -> float | None:
    """The same for a uniform state, in closed form by wave number; None where the state is not uniform enough.

    Args:
        equations: Those of the instance.
        fields: Shape (S, H, W).
    """
    largest = max(abs(float(f.mean())) for f in fields)
    least = float(np.linalg.svd(symbols(equations, fields), compute_uv=False).min())
    # what waves change in the entries of the Jacobian, whose slopes are of the size of the fields
    return least if 8 * deviation(fields) * max(1.0, largest) < max(FLAT * least, SINGULAR) else None


def is_of_a_family(equations: Equations, fields: Array) -> bool:
    """Whether a uniform state is no isolated root: a mode of it neither grows nor decays. False for patterns."""
    if deviation(fields) > SURELY_UNIFORM:
        return False
    return bool(np.linalg.svd(symbols(equations, fields), compute_uv=False).min() < SINGULAR)


def nearness(equations: Equations, root: Refined, linear: LinearSolver, *, factorise: bool) -> tuple[float, float]:
    """Least singular value at a root, and the bound on its distance to the closed root.

    Args:
        equations: Those of the instance.
        root: What a refinement reached.
        linear: How linear systems are solved.
        factorise: Prepare a system at the root where Newton's method left none that serves; else there is no bound.

    Returns:
        The value per unit time and the distance in the 2-norm: infinite where no root is proved to be near; NaN where
        none was certified, or there is no system. Four to eight solves, and some more where the root is hardly held.
    """
    from gsimplicit.refine.linear import Bordered

    if root.status not in (Status.STEADY, Status.DRIFTING):
        return float("nan"), float("nan")
    still = root.status == Status.STEADY
    drift = np.zeros(2) if still else root.certified.drift
    R = equations.defect(root.fields, drift)
    least = least_singular_of_uniform(equations, root.fields)
    if least is not None:
        return least, _bound(equations, root.fields, R, least, _solve_uniform(equations, root.fields), np.zeros((0, 2)))
    # a lattice's hold changes by orders of magnitude within what Newton's last steps move: it is asked at the root
    factors = None if still else root.factors
    if factors is None and factorise:
        system = Bordered(equations, root.fields, root.certified.directions, drift)
        factors = linear.prepare([system]), system
    if factors is None:
        return float("nan"), float("nan")
    prepared, system = factors
    least = float(least_singular(prepared, [system], border=not still)[0])

    directions = system.directions if not still else np.zeros((0, 2))
    return least, _bound(equations, root.fields, R, least, solves(prepared, [system], 0, border=not still), directions)


Solve: TypeAlias = "Callable[[Array], tuple[Array, Array]]"
"""Fields and speeds that the (bordered) Jacobian takes to given fields; NaN where it is singular."""


def solves(prepared: Prepared, systems: Sequence[Bordered], at: int, *, border: bool) -> Solve:
    """Solves with one of several prepared systems."""

    def solve(r: Array) -> tuple[Array, Array]:
        right = [np.zeros_like(system.fields) for system in systems]
        right[at] = r
        found = prepared.solve(right, border=border, tol=CLEAR)[at]
        return (found.x if found.residual <= CLOSED else np.full_like(r, np.nan)), found.s

    return solve


def _solve_uniform(equations: Equations, fields: Array) -> Solve:
    """Solves at a uniform state, wave number by wave number."""

    def solve(r: Array) -> tuple[Array, Array]:
        hat = np.fft.fft2(r)
        try:
            x = np.linalg.solve(symbols(equations, fields), np.moveaxis(hat, 0, -1)[..., None])[..., 0]
        except np.linalg.LinAlgError:
            x = np.full((*r.shape[1:], len(r)), np.nan)
        return np.fft.ifft2(np.moveaxis(x, -1, 0)).real, np.zeros(0)

    return solve


def _bound(equations: Equations, fields: Array, R: Array, least: float, solve: Solve, directions: Array) -> float:
    """Bound on the distance to the closed root by the theorem of Newton and Kantorovich; infinite where it is silent.

    With `eta = |R| / least` and `h = eta L / least`, L a Lipschitz constant of the Jacobian, there is a root within
    `2 eta / (1 + sqrt(1 - 2 h))` if `h <= 1/2`. L counts as if all curvature lay along the weakest mode; where that is
    too much h is asked of the equations themselves, by `kantorovich`.
    """
    size = float(np.linalg.norm(R))
    if not size:
        return 0.0
    if not least:
        return float("inf")
    eta = size / least
    h = eta / least * _lipschitz(equations, fields, 2 * eta, moving=len(directions) > 0)
    if not h <= PROVED:
        h = kantorovich(equations, fields, *solve(-R), solve, directions)
    return 2 * eta / (1 + float(np.sqrt(1 - 2 * h))) if h <= PROVED else float("inf")


def kantorovich(
    equations: Equations, fields: Array, step: Array, speeds: Array, solve: Solve, directions: Array
) -> float:
    """Kantorovich's number as simplified Newton steps show it (Deuflhard, Newton Methods for Nonlinear Problems, 2004).

    Where one mode bends, the second step is h / 2 of the first, the third nearly h of the second, and later ones go
    down to `1 - sqrt(1 - 2 h)` of those before. Beyond a fold h is above 1/2 however small the residual. Along the
    translation of a pattern that the lattice hardly holds every other step takes back what the one before left out of
    the third order, so steps are compared two apart. Several, since the first may be along what does not bend.

    Args:
        equations: Those of the instance.
        fields: Shape (S, H, W).
        step: Field part of the Newton step there, shape (S, H, W).
        speeds: Its border part, shape (r,).
        solve: With the Jacobian there.
        directions: Translations of the border, shape (r, 2).

    Returns:
        The largest that the steps show; infinite where one is not finite, or leads too far.
    """
    h, sizes = 0.0, [_norm(step, speeds)]
    before, at, speed = np.zeros_like(fields), step, speeds
    for n in range(1, STEPS + 1):
        if not (np.isfinite(sizes[-1]) and np.abs(at).max() <= NEAR):
            return float("inf")
        bent = _beyond(equations, fields, at, speed, directions)
        after, more = solve(before - bent)
        sizes.append(_norm(after, more))
        share = sizes[n] / max(sizes[max(n - 2, 0)], 1e-300)
        h = max(h, 2 * share if n == 1 else float(np.sqrt(2 * share)) if n == 2 else _of_two(share))
        if not h <= PROVED:
            return float("inf")
        if sizes[n] <= NOTHING * sizes[0]:
            break
        before, at, speed = bent, at + after, speed + more
    return h


def _of_two(share: float) -> float:
    """Kantorovich's number at which two late steps lower the next to this share."""
    one = float(np.sqrt(share))
    return one - one**2 / 2


def _beyond(equations: Equations, fields: Array, step: Array, speeds: Array, directions: Array) -> Array:
    """What the residual gains along a step beyond its linear part, shape (S, H, W): no rounding of the residual's."""
    bent = equations.beyond_linear(fields, step)
    return bent + along(speeds @ directions, step) if len(directions) else bent


def surely_proved(equations: Equations, fields: Array, step: Array, right: Array) -> bool:
    """Whether the number is surely small, from what the Jacobian makes of a right-hand side.

    The weakest mode has its share in any residual that rounding and marching leave, some 1 in the root of the unknowns.
    """
    size = float(np.linalg.norm(step))
    gain = size / max(float(np.linalg.norm(right)), 1e-300) * float(np.sqrt(step.size))
    return bool(size * gain * _lipschitz(equations, fields, size, moving=True) <= PROVED)


def _norm(x: Array, s: Array) -> float:
    return float(np.sqrt((x**2).sum() + (s**2).sum()))


def _lipschitz(equations: Equations, fields: Array, reach: float, *, moving: bool) -> float:
    """Lipschitz constant of the Jacobian within `reach` of a state, in the 2-norm, bordered by translations or not."""
    # a border bends through `speed . grad`, of norm pi along an axis
    return equations.bending(fields, reach) + (np.pi * np.sqrt(2) if moving else 0.0)
