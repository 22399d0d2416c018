"""Bifurcations of the uniform states in closed form, as curves k(F).

With s = F + k the non-trivial uniform states solve `s v^2 - F v + F s = 0`, `u = s / v`. With `v = sqrt(F) x` one
number describes them, `k = sqrt(F) x / (1 + x^2) - F`: the upper state has x > 1, the fold x = 1. The Jacobian at a
mode whose Laplacian has the eigenvalue -q is `[[-(F + v^2) - Du q, -2 s], [v^2, s - Dv q]]`, so the trace at q = 0 is
`k - v^2` and the determinant `s (v^2 - F)`.

All functions take F as a float or array and return arrays of its shape, NaN where there is no such point. The trivial
state (1, 0) is stable for all F > 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gsimplicit import checks
from gsimplicit.arrays import real_array
from gsimplicit.surroundings import own_surroundings

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["eigenvalues", "hopf", "hopf_of_steps", "saddle_node", "turing", "turing_on_grid", "upper_state"]

Array = np.ndarray[Any, np.dtype[np.float64]]


@own_surroundings
def upper_state(F: Any, k: Any) -> tuple[Array, Array]:
    """The upper uniform state.

    Args:
        F: Feed rate, > 0.
        k: Kill rate, >= 0.

    Returns:
        u and v, NaN where F < 4 (F + k)^2.

    Example:
        >>> from gsimplicit.bifurcation.uniform import upper_state
        >>> u, v = upper_state(0.03, 0.05)
        >>> round(float(u), 3), round(float(v), 3)
        (0.309, 0.259)
    """
    F, k = _together(F=F, k=k)
    s = F + k
    with np.errstate(invalid="ignore", divide="ignore"):
        v = (F + np.sqrt(F * F - 4 * F * s * s)) / (2 * s)
        return s / v, v


@own_surroundings
def eigenvalues(F: Any, k: Any, q: Any = 0.0, Du: float = 0.16, Dv: float = 0.08) -> np.ndarray[Any, Any]:
    """Both eigenvalues of the upper state at a mode, complex, last dimension 2.

    Args:
        F: Feed rate.
        k: Kill rate.
        q: Minus the Laplacian's eigenvalue of the mode: `4 - 2 cos a - 2 cos b` on the lattice.
        Du: Diffusion coefficient of u.
        Dv: Diffusion coefficient of v.

    Examples:
        >>> from gsimplicit.bifurcation.uniform import eigenvalues, hopf
        >>> pair = eigenvalues(0.05, hopf(0.05))  # an oscillation begins: no real part
        >>> bool(abs(pair.real).max() < 1e-12), bool(pair[0].imag != 0)
        (True, True)
    """
    F, k, q = _together(F=F, k=k, q=q)
    Du, Dv = checks.real("Du", Du, least=0), checks.real("Dv", Dv, least=0)
    _, v = upper_state(F, k)
    a, d, s = -(F + v**2) - Du * q, F + k - Dv * q, F + k
    half, determinant = (a + d) / 2, a * d + 2 * s * v**2
    root = np.sqrt((half**2 - determinant).astype(np.complex128))
    return np.stack(np.broadcast_arrays(half + root, half - root), axis=-1)


@own_surroundings
def saddle_node(F: Any) -> Array:
    """The k at which the upper and the lower state meet: `sqrt(F) / 2 - F`.

    Example:
        >>> from gsimplicit.bifurcation.uniform import saddle_node
        >>> round(float(saddle_node(0.05)), 6)
        0.061803
    """
    (F,) = _together(F=F)
    with np.errstate(invalid="ignore"):
        k = np.sqrt(F) / 2 - F
    return np.where(k >= 0, k, np.nan)


@own_surroundings
def hopf(F: Any) -> Array:
    """The k at which the upper state starts to oscillate in continuous time.

    `(F + k)^2 = F sqrt(k)`, on the upper branch.
    With `sqrt(F) = x / (1 + x^2)^2`, `k = F x^2`, x >= 1; none for F > 1/16.

    Example:
        >>> from gsimplicit.bifurcation.uniform import hopf
        >>> round(float(hopf(0.05)), 6)
        0.061232
    """
    return _on_upper(F, lambda F, x: _k(F, x) - F * x**2)


@own_surroundings
def hopf_of_steps(F: Any) -> Array:
    """The same for explicit Euler steps of length 1: an eigenvalue of the step leaves the unit circle.

    There trace + determinant = 0, `k - v^2 + s (v^2 - F) = 0`: up to 4e-4 left of `hopf`.

    Example:
        >>> from gsimplicit.bifurcation.uniform import hopf_of_steps
        >>> round(float(hopf_of_steps(0.05)), 5)
        0.06111
    """
    return _on_upper(F, lambda F, x: _k(F, x) - F * x**2 + (_k(F, x) + F) * F * (x**2 - 1))


@own_surroundings
def turing(F: Any, Du: float = 0.16, Dv: float = 0.08) -> tuple[Array, Array]:
    """The k at which a mode of the upper state starts to grow without oscillating, and its q.

    With d = Du/Dv: `d s - (F + v^2) = 2 sqrt(d s (v^2 - F))`, `q = (d s - F - v^2) / (2 Du)`, any wave number allowed.
    Beyond the Hopf line, as for small F or where Du is not much larger than Dv, the state oscillates before it is met.

    Example:
        >>> from gsimplicit.bifurcation.uniform import turing
        >>> k, q = turing(0.05)
        >>> round(float(k), 6), round(float(q), 3)
        (0.061029, 0.34)
    """
    Du, Dv = _check(Du, Dv)
    (F,) = _together(F=F)
    d = Du / Dv

    def condition(F: float, x: float) -> float:
        s = np.sqrt(F) * x / (1 + x * x)
        return float(d * s - F * (1 + x * x) - 2 * np.sqrt(d * s * F * (x * x - 1)))

    k = _on_upper(F, condition)
    _, v = upper_state(F, k)
    return k, (d * (F + k) - F - v**2) / (2 * Du)


def _check(Du: float, Dv: float) -> tuple[float, float]:
    return checks.real("Du", Du, above=0), checks.real("Dv", Dv, above=0)


def _together(**given: Any) -> tuple[Array, ...]:
    """Numbers or arrays by name as float64, or a clear error where they do not broadcast."""
    found = tuple(real_array(name, value) for name, value in given.items())
    try:
        np.broadcast_shapes(*(one.shape for one in found))
    except ValueError as error:
        shapes = ", ".join(f"{name} {one.shape}" for name, one in zip(given, found, strict=True))
        raise ValueError(f"arguments must broadcast, got {shapes}") from error
    return found


@own_surroundings
def turing_on_grid(F: Any, grid: tuple[int, int], Du: float = 0.16, Dv: float = 0.08) -> Array:
    """The same for the modes of a periodic grid of unit spacing alone: the least k at which one of them grows.

    Example:
        >>> from gsimplicit.bifurcation.uniform import turing, turing_on_grid
        >>> abs(float(turing_on_grid(0.05, (128, 128)) - turing(0.05)[0])) < 1e-6
        True
    """
    Du, Dv = _check(Du, Dv)
    q = _modes(checks.pair("grid", grid, 1))
    if not len(q):
        raise ValueError(f"grid must have more than one pixel, got {grid}")

    def growth(F: float, x: float) -> float:
        # the determinant of the mode that is nearest to growing: negative where one grows
        s, v2 = np.sqrt(F) * x / (1 + x * x), F * x * x
        return float((Du * Dv * q**2 - (Du * s - Dv * (F + v2)) * q + s * (v2 - F)).min())

    return _on_upper(F, growth)


def _modes(grid: tuple[int, int]) -> Array:
    """All q > 0 of a grid, without repetitions."""
    a, b = (2 * np.pi * np.arange(n // 2 + 1) / n for n in grid)
    q = np.unique(np.round(4 - 2 * np.cos(a)[:, None] - 2 * np.cos(b)[None, :], 15))
    return q[q > 0]


def _k(F: float, x: float) -> float:
    """The k of the state v = sqrt(F) x."""
    return float(np.sqrt(F) * x / (1 + x * x) - F)


def _on_upper(F: Any, condition: Callable[[float, float], float]) -> Array:
    """The k of the largest x > 1 at which a condition changes sign: coming from small k, the first point met."""
    from scipy.optimize import brentq

    (F,) = _together(F=F)
    out = np.full(F.shape, np.nan)
    for i, feed in np.ndenumerate(F):
        if not feed > 0:
            continue
        # k falls with x from the fold on; k = 0 ends the range
        last = (1 + np.sqrt(max(1 - 4 * feed, 0.0))) / (2 * np.sqrt(feed))
        if last <= 1:
            continue
        x = 1 + (last - 1) * np.linspace(0, 1, 400)[::-1] ** 2
        values = np.array([condition(float(feed), float(one)) for one in x])
        change = np.flatnonzero(np.sign(values[:-1]) * np.sign(values[1:]) < 0)
        if len(change):
            n = change[0]
            at = brentq(lambda one, feed=float(feed): condition(feed, one), x[n + 1], x[n], xtol=1e-15, rtol=1e-15)
            out[i] = _k(float(feed), float(at))
    return out
