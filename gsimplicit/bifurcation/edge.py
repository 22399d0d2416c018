"""Edges of basins: where the outcome of a march changes, and the state on the edge itself.

Where two outcomes meet at no bifurcation of a steady state, what separates them is the stable manifold of an unstable
state, the edge state. It is found by edge tracking (Skufca, Yorke and Eckhardt, Phys. Rev. Lett. 96, 174101, 2006):
between a start that dies and one that survives the pair is bisected, marched on, and bisected again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gsimplicit import checks
from gsimplicit.bifurcation.lifetime import alive, lifetime, marched, one_instance, single
from gsimplicit.equations import ModelParams, instances
from gsimplicit.grid import broken_translations
from gsimplicit.refine.eigenvalues import leading
from gsimplicit.refine.newton import newton
from gsimplicit.surroundings import own_surroundings
from gsimplicit.threads import one_blas_thread

__all__ = ["BasinEdge", "EdgeState", "basin_edge", "edge_state"]

Array = np.ndarray[Any, np.dtype[np.float64]]


_NEAR = 1e-2
"""Largest distance of a root from the pair it was tracked by, max norm by the model's scale."""

_SLOW = 1e-4
"""Change over a leap, by the model's scale, below which a pair is slow enough for Newton's method."""

_ROUNDING = 1e-15
"""Starts cannot be bisected below this."""


@dataclass(frozen=True)
class BasinEdge:
    """Between which two values of a parameter the outcome changes.

    Attributes:
        dies: Where the observed species dies, below the model's `trivial` amount everywhere: v of Gray-Scott.
        survives: Where it does not within the horizon.

    Examples:
        >>> from gsimplicit.bifurcation.edge import BasinEdge
        >>> edge = BasinEdge(dies=0.066, survives=0.065)
        >>> edge.value
        0.0655
    """

    dies: float
    survives: float

    @property
    def value(self) -> float:
        """The middle of the two."""
        return (self.dies + self.survives) / 2


@dataclass(frozen=True, eq=False)
class EdgeState:
    """A steady state on the edge of a basin.

    Attributes:
        fields: Shape (S, H, W).
        residual: Largest steady residual, its rigid drift taken out.
        eigenvalues: Leading eigenvalues, complex, translations taken out.
        unstable: How many of those have a positive real part. 1 is the edge of a basin; more where the starts share a
            symmetry that the other unstable modes break: then it is an edge among states of that symmetry.
        gap: Distance of the two last starts, max norm.
        rounds: Bisections.

    Examples:
        >>> import gsimplicit as gs
        >>> from gsimplicit.bifurcation.edge import edge_state
        >>> params = gs.Params(0.16, 0.08, 0.035, 0.07)
        >>> spot = gs.initial_state(grid=(32, 32), noise=0.0, box=gs.Box(half=3))
        >>> faint = gs.initial_state(grid=(32, 32), noise=0.0, box=gs.Box(half=3, u=1.0, v=0.05))
        >>> state = edge_state(params, faint, spot)
        >>> state.fields.shape, bool(state.eigenvalues[0].real > 0)
        ((2, 32, 32), True)
    """

    fields: Array
    residual: float
    eigenvalues: np.ndarray[Any, np.dtype[np.complex128]]
    unstable: int
    gap: float
    rounds: int


@own_surroundings
def basin_edge(
    params: ModelParams,
    initial: torch.Tensor,
    parameter: str = "k",
    *,
    dies: float,
    survives: float,
    tol: float = 1e-6,
    horizon: int = 3000,
    dt: float = 1.0,
) -> BasinEdge:
    """The value of a parameter between which a start dies and survives, by bisection.

    Args:
        params: One instance; the parameter is replaced.
        initial: The species, shape (1, S, H, W).
        parameter: Name of one of the model's parameters.
        dies: A value at which the start dies.
        survives: A value at which it does not.
        tol: Distance of the two to reach, > 0.
        horizon: Steps after which what lives counts as survived. Close to the edge a start takes long to decide.
        dt: Length of a step in time units, > 0.

    Returns:
        The last pair of values.

    Raises:
        ValueError: The start does not die at `dies`, or does at `survives`; steps of dt make it diverge at a value
            between; or an argument lies outside its range.
        TypeError: An argument has a wrong type.

    Example:
        >>> import gsimplicit as gs
        >>> from gsimplicit.bifurcation.edge import basin_edge
        >>> start = gs.initial_state(grid=(32, 32), noise=0.0, box=gs.Box(half=5))
        >>> edge = basin_edge(gs.Params.preset("paper"), start, dies=0.07, survives=0.06, tol=1e-3)
        >>> 0.06 < edge.value < 0.07
        True
    """
    params = one_instance(params)
    parameter = checks.choice("parameter", parameter, params.model.parameters)
    tol, horizon = checks.real("tol", tol, above=0), checks.integer("horizon", horizon, 1)
    least = params.model.range_of(parameter)[0]
    dies, survives = (checks.real(n, x, least=least) for n, x in (("dies", dies), ("survives", survives)))
    fields = single("initial", initial, params)

    def dead(value: float) -> bool:
        return lifetime(params.replace(**{parameter: value}), fields, horizon, dt=dt) is not None

    if not dead(dies):
        raise ValueError(f"dies must be a value of {parameter} at which the start dies, got {dies:g}: it survives")
    if dead(survives):
        raise ValueError(f"survives must be a value of {parameter} at which the start lives, got {survives:g}: it dies")
    while abs(dies - survives) > tol:
        middle = (dies + survives) / 2
        if middle in (dies, survives):
            break
        if dead(middle):
            dies = middle
        else:
            survives = middle
    return BasinEdge(dies, survives)


@own_surroundings
def edge_state(
    params: ModelParams,
    dying: torch.Tensor,
    surviving: torch.Tensor,
    *,
    leap: int = 100,
    rounds: int = 200,
    gap: float = 1e-9,
    horizon: int = 3000,
    tol: float = 1e-10,
    dt: float = 1.0,
) -> EdgeState:
    """The steady state on the edge between a start that dies and one that survives, tracked and then closed.

    Args:
        params: One instance.
        dying: Species that die, shape (1, S, H, W).
        surviving: Species that do not.
        leap: Steps marched between bisections, >= 1.
        rounds: Most bisections, >= 1.
        gap: Distance to which starts are bisected before they are marched on.
        horizon: Steps after which what lives counts as survived.
        tol: Residual to reach, by the model's scale.
        dt: Length of a step in time units, > 0.

    Returns:
        The state, with its leading eigenvalues.

    Raises:
        ValueError: The first start does not die, or the second does; steps of dt make one diverge; or no unstable
            steady state was met between them.
        TypeError: An argument has a wrong type.

    Example:
        >>> import gsimplicit as gs
        >>> from gsimplicit.bifurcation.edge import edge_state
        >>> params = gs.Params(0.16, 0.08, 0.035, 0.07)
        >>> spot = gs.initial_state(grid=(32, 32), noise=0.0, box=gs.Box(half=3))
        >>> faint = gs.initial_state(grid=(32, 32), noise=0.0, box=gs.Box(half=3, u=1.0, v=0.05))
        >>> state = edge_state(params, faint, spot)
        >>> state.unstable, bool(abs(state.eigenvalues[0].imag) < 1e-9)
        (1, True)
    """
    params = one_instance(params)
    low, high = single("dying", dying, params), single("surviving", surviving, params)
    if low.shape != high.shape:
        raise ValueError(f"surviving must be on the grid of dying, {tuple(low.shape)}, got {tuple(high.shape)}")
    counts = (("leap", leap), ("rounds", rounds), ("horizon", horizon))
    leap, rounds, horizon = (checks.integer(name, count, 1) for name, count in counts)
    gap, tol = checks.real("gap", gap, above=0), checks.real("tol", tol, above=0)

    def dead(x: torch.Tensor) -> bool:
        return lifetime(params, x, horizon, dt=dt) is not None

    if not dead(low):
        raise ValueError("dying must be a start that dies; it survives")
    if dead(high):
        raise ValueError("surviving must be a start that lives; it dies")
    return _tracked(params, low, high, dead, leap, rounds, gap, tol, checks.real("dt", dt, above=0))


def _tracked(
    params: ModelParams,
    low: torch.Tensor,
    high: torch.Tensor,
    dead: Callable[[torch.Tensor], bool],
    leap: int,
    rounds: int,
    gap: float,
    tol: float,
    dt: float,
) -> EdgeState:
    """Bisect a pair and march it on by turns, until it is slow enough to close."""
    for done in range(1, rounds + 1):
        middle = (low + high) / 2
        low, high = (middle, high) if dead(middle) else (low, middle)
        apart = float((high - low).abs().max())
        if apart > gap:
            continue
        bracket = low, high
        low, high = (marched(params, x, leap, dt) for x in (low, high))
        if not dead(low) or dead(high):
            # one has decided within the horizon of the other: bisect on before marching on
            (low, high), gap = bracket, gap / 10
            if gap < _ROUNDING:
                break
        # slow enough for Newton's method: the pair has come down its stable directions
        elif float((high - bracket[1]).abs().max()) < _SLOW * params.model.scale:
            found = _state_near(params, (low + high) / 2, tol, apart, done, dt)
            if found is not None:
                return found
    raise ValueError(f"no steady state was met in {done} bisections; give more rounds or another leap or horizon")


def _state_near(
    params: ModelParams, fields: torch.Tensor, tol: float, gap: float, rounds: int, dt: float
) -> EdgeState | None:
    """The live root near a state, by Newton's method; None where there is none so near.

    Raises:
        ValueError: It is stable, and so on no edge.
    """
    equations, start, scale = next(instances(params, dt)), fields[0].numpy(), params.model.scale
    with one_blas_thread():
        root = newton(equations, start, tol * scale)
        near = float(np.abs(root.fields - start).max()) < _NEAR * scale
        if not (root.converged and near and alive(params, torch.from_numpy(root.fields)[None])):
            return None
        found = leading(equations, root.fields, broken_translations(root.fields, scale), root.drift, 6).values
    unstable = int((found.real > 1e-7).sum())
    if not unstable:
        raise ValueError("the starts were tracked to a stable state: both sides end there or nearby")
    return EdgeState(root.fields, root.residual, found, unstable, gap, rounds)
