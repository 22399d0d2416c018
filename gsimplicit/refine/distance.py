"""How far a certified root may be from the closed one: its residual over the least singular value of its Jacobian.

A residual of 1e-10 says little where the lattice pins a pattern with a rate of 1e-7: the root may then lie 1e-3 away,
along the translation that is hardly held. With J the Jacobian that certifies (full where steady, bordered where
drifting), `|X - X*| <= |R| / sigma_min(J)` in the 2-norm to first order, twice that at most in truth, where there is a
root: near a fold a state can be as good as any without one.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from gsimplicit.equations import Equations
from gsimplicit.grid import along
from gsimplicit.refine.asking import Solve, Solving, alone, solved
from gsimplicit.refine.least_singular import CLOSED, SHARP, least_singular_of_uniform, seeking
from gsimplicit.refine.modes import symbols
from gsimplicit.refine.solvers import LOOSE
from gsimplicit.results import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from gsimplicit.refine import Refined
    from gsimplicit.refine.linear import Bordered, Solution
    from gsimplicit.refine.solvers import LinearSolver, Prepared

Array = np.ndarray[Any, np.dtype[np.float64]]

PROVED = 0.4
"""Kantorovich's number up to which a root counts as proved to be near: 1/2, less what higher orders may add."""

NEAR = 0.2
"""Longest step of a species, by the model's scale, from which a root counts as near: Newton's are cut there."""

STEPS, NOTHING = 6, 1e-8
"""Simplified Newton steps that are looked at, at most, and the share of the first one at which they end."""

AT_ONCE = 1e-4
"""Way from the state of Newton's last system to the root, by the model's scale, on which no singular value changes."""

CLEAR = 1e-12
"""Relative residual asked of their solves: what the weakest mode gets must be its own."""


def nearness(equations: Equations, root: Refined, linear: LinearSolver, *, factorise: bool) -> tuple[float, float]:
    """Least singular value at a root, and the bound on its distance to the exact root.

    Args:
        equations: Those of the instance.
        root: What a refinement reached.
        linear: How linear systems are solved.
        factorise: Prepare a system at the root where Newton's method left none that serves; else one that is less near
            serves too, and without one there is no bound.

    Returns:
        The value per unit time and the distance in the 2-norm: infinite where no root is proved to be near; NaN where
        none was certified, or there is no system. Four to eight solves, and some more where the root is hardly held.
    """
    return alone(bounding(equations, root, factorise=factorise), partial(solved, linear))


def bounding(equations: Equations, root: Refined, *, factorise: bool) -> Solving[tuple[float, float]]:
    """The same as work that asks for its solves."""
    from gsimplicit.refine.linear import Bordered

    if root.status not in (Status.STEADY, Status.DRIFTING):
        return float("nan"), float("nan")
    border = root.status == Status.DRIFTING
    drift = root.certified.drift if border else np.zeros(2)
    R = equations.defect(root.fields, drift)
    least = least_singular_of_uniform(equations, root.fields)
    if least is not None:
        work = _bound(equations, root.fields, R, least, np.zeros((0, 2)))
        return least, alone(work, _solve_uniform(equations, root.fields))
    # a lattice's hold changes by orders of magnitude within what Newton's last steps move: it is asked at the root
    known, system = root.factors if border and root.factors is not None else (None, None)
    if known is not None and system is not None and factorise:
        changed = yield from _changed(root, system, known)
        known, system = (known, system) if changed <= SHARP else (None, None)
    if system is None:
        if not factorise:
            return float("nan"), float("nan")
        system = Bordered(equations, root.fields, root.certified.directions, drift)
    least, known = yield from seeking(system, known, border=border)
    work = _bound(equations, root.fields, R, least, system.directions if border else np.zeros((0, 2)))
    given: Any = None
    while True:
        try:
            right = work.send(given)
        except StopIteration as end:
            return least, float(end.value)
        answer = yield Solve(system, right, None, known, False, border=border, tol=CLEAR)
        given = _closed(answer.solution)


def _changed(root: Refined, system: Bordered, known: Prepared) -> Solving[float]:
    """Share by which the Jacobian changes from the state of a system to a root, against what it is along that way.

    Newton's method keeps factors while steps shrink by half: along the weakest mode it may be half as large there.
    """
    way = root.fields - system.fields
    if np.abs(way).max() <= AT_ONCE * system.equations.model.scale:
        return 0.0
    # the second order of the residual along the way is half of what the Jacobian changes by, times the way
    bent = system.equations.beyond_linear(system.fields, way) + along(root.certified.drift - system.velocity, way)
    answer = yield Solve(system, bent, None, known, False, tol=LOOSE)
    return 2 * float(np.linalg.norm(_closed(answer.solution)[0])) / float(np.linalg.norm(way))


def _closed(found: Solution) -> tuple[Array, Array]:
    """The parts of a solution; NaN where nothing was solved."""
    return (found.x if found.residual <= CLOSED else np.full_like(found.x, np.nan)), found.s


Answer: TypeAlias = "Callable[[Array], tuple[Array, Array]]"
"""Fields and speeds that the (bordered) Jacobian takes to given fields; NaN where it is singular."""

Measuring: TypeAlias = "Generator[Array, tuple[Array, Array], float]"
"""Work that asks for such answers."""


def solves(prepared: Prepared, systems: Sequence[Bordered], at: int, *, border: bool) -> Answer:
    """Solves with one of several prepared systems."""

    def solve(r: Array) -> tuple[Array, Array]:
        right = [np.zeros_like(system.fields) for system in systems]
        right[at] = r
        return _closed(prepared.solve(right, border=border, tol=CLEAR)[at])

    return solve


def _solve_uniform(equations: Equations, fields: Array) -> Answer:
    """Solves at a uniform state, wave number by wave number."""

    def solve(r: Array) -> tuple[Array, Array]:
        hat = np.fft.fft2(r)
        try:
            x = np.linalg.solve(symbols(equations, fields), np.moveaxis(hat, 0, -1)[..., None])[..., 0]
        except np.linalg.LinAlgError:
            x = np.full((*r.shape[1:], len(r)), np.nan)
        return np.fft.ifft2(np.moveaxis(x, -1, 0)).real, np.zeros(0)

    return solve


def _bound(equations: Equations, fields: Array, R: Array, least: float, directions: Array) -> Measuring:
    """Bound on the distance to the exact root by the theorem of Newton and Kantorovich; infinite where it is silent.

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
        step, speeds = yield -R
        h = yield from bending(equations, fields, step, speeds, directions)
    return 2 * eta / (1 + float(np.sqrt(1 - 2 * h))) if h <= PROVED else float("inf")


def kantorovich(
    equations: Equations, fields: Array, step: Array, speeds: Array, solve: Answer, directions: Array
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
    return alone(bending(equations, fields, step, speeds, directions), solve)


def bending(equations: Equations, fields: Array, step: Array, speeds: Array, directions: Array) -> Measuring:
    """The same as work that asks for its solves."""
    h, sizes = 0.0, [_norm(step, speeds)]
    before, at, speed = np.zeros_like(fields), step, speeds
    for n in range(1, STEPS + 1):
        if not (np.isfinite(sizes[-1]) and np.abs(at).max() <= NEAR * equations.model.scale):
            return float("inf")
        bent = _beyond(equations, fields, at, speed, directions)
        after, more = yield before - bent
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
