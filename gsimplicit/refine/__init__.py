"""From a marched state to a certified root.

The paper's stop is not a steady state: spots still drift and some modes still grow. So the state is marched on in
float64 until it moves slowly enough for Newton's method, which then closes the residual. Where it does not close, the
verdict says so and keeps the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gsimplicit import checks
from gsimplicit.equations import Equations
from gsimplicit.grid import shifted
from gsimplicit.progress import note, stage
from gsimplicit.refine.asking import MarchOn, Solving, Working, alone, solved
from gsimplicit.refine.solvers import Direct, Gmres, LinearSolver, guarded, require_linear
from gsimplicit.results import Motion, Stable, Status

if TYPE_CHECKING:
    from gsimplicit.refine.linear import Bordered
    from gsimplicit.refine.newton import Certified
    from gsimplicit.refine.solvers import Prepared
    from gsimplicit.refine.tail import Tail

__all__ = ["Direct", "Gmres", "LinearSolver", "Refine", "Refined", "recognise", "refine", "stability"]

Array = np.ndarray[Any, np.dtype[np.float64]]

_TAILS = ("euler", "chebyshev")


@dataclass(frozen=True)
class Refine:
    """How a marched state is refined to a root.

    Attributes:
        tol: Max norm of the residual to certify, per unit time and by the model's `scale`, in (0, 1e-6].
        max_evaluations: Cap on residual evaluations, marching and Newton together, >= 1. At 128 x 128 the two million
            of the default take about 20 s on one core.
        lattice: Go on from a drifting pattern to a root of the raw residual, where the lattice pins it.
        tail: How the slow tail is marched: "euler", exactly the trajectory of the explicit step; "chebyshev", long
            stabilised steps with step control, about a third of the evaluations where a pattern settles.
        eigenvalues: Number of leading eigenvalues to compute at a root, >= 0; with any, `stable` is decided. Six take
            a few seconds at 128 x 128.
        linear: How linear systems are solved, in Newton's method and for adjoints: a `Direct` or `Gmres`, or your own
            object with their methods. None is `Direct`, and `Gmres` beyond 1024 x 1024
            pixels, where LU does not fit. `Gmres` on a device takes the roots of a batch together.

    Raises:
        ValueError: An argument lies outside its range.
        TypeError: An argument has a wrong type.

    Examples:
        >>> import gsimplicit as gs
        >>> params, start = gs.Params.preset("paper"), gs.initial_state(grid=(32, 32))
        >>> root = gs.steady_state(params, start, refine=gs.Refine(eigenvalues=2, max_evaluations=100_000))
        >>> bool(root.bordered_residual < 1e-10), gs.Stable(root.stable.item()).name
        (True, 'YES')
    """

    tol: float = 1e-10
    max_evaluations: int = 2_000_000
    lattice: bool = False
    tail: str = "euler"
    eigenvalues: int = 0
    linear: LinearSolver | None = None

    def __post_init__(self) -> None:
        values = {
            "tol": checks.real("tol of Refine", self.tol, above=0, most=1e-6),
            "max_evaluations": checks.integer("max_evaluations", self.max_evaluations, 1),
            "eigenvalues": checks.integer("eigenvalues", self.eigenvalues, 0),
            "lattice": checks.flag("lattice", self.lattice),
            "tail": checks.choice("tail", self.tail, _TAILS),
        }
        checks.keep(self, values)
        require_linear(self.linear)


@dataclass(frozen=True)
class Refined:
    """What a refinement reached.

    Attributes:
        fields: u and v, shape (S, H, W).
        status: STEADY, DRIFTING, UNSTEADY, DIVERGED or FAILED.
        certified: Residuals and drift of these fields.
        evaluations: Residual evaluations spent.
        motion: What an unsteady state does.
        factors: A linear system near the root and what solves with it, where Newton's method left one.
    """

    fields: Array
    status: Status
    certified: Certified
    evaluations: int
    motion: Motion = Motion.UNKNOWN
    factors: tuple[Prepared, Bordered] | None = None


def _tol(equations: Equations, settings: Refine) -> float:
    """Residual to close, in the units of the fields."""
    return settings.tol * equations.model.scale


def recognise(equations: Equations, fields: Array, settings: Refine) -> Refined | None:
    """The fields as a root, where they already are one to the tolerance; else None."""
    from gsimplicit.refine.newton import certify

    certified = certify(equations, fields)
    tol = _tol(equations, settings)
    if certified.raw <= tol:
        return Refined(fields, Status.STEADY, certified, 0)
    if certified.bordered <= tol and not settings.lattice:
        return Refined(fields, Status.DRIFTING, certified, 0)
    return None


def refine(equations: Equations, fields: Array, settings: Refine) -> Refined:
    """Refine one marched state to a root.

    Args:
        equations: Those of the instance.
        fields: Float64, shape (S, H, W).
        settings: Tolerance, budget and which residual to close.

    Returns:
        The root; or, where none was certified, the state marched furthest: UNSTEADY where the budget ended, FAILED
        where it is as slow as marching gets and Newton's method does not close.
    """
    linear = guarded(settings.linear)

    def answer(ask: Any) -> Any:
        if not isinstance(ask, MarchOn):
            return solved(linear, ask)
        with stage(f"refining, {ask.spent:,} of {settings.max_evaluations:,} evaluations, "):
            return marched_on(equations, ask, settings)

    return with_motion(equations, alone(refining(equations, fields, settings, keep=linear.factorises), answer))


def with_motion(equations: Equations, found: Refined) -> Refined:
    """The same, with what it does where it is unsteady."""
    from gsimplicit.refine.motion import motion

    return replace(found, motion=motion(equations, found.fields)) if found.status == Status.UNSTEADY else found


def refining(equations: Equations, fields: Array, settings: Refine, *, keep: bool) -> Working[Refined]:
    """The same as work that asks for its marches and linear solves, what an unsteady state does left out.

    Args:
        equations: Those of the instance.
        fields: Float64, shape (S, H, W).
        settings: Tolerance, budget and which residual to close.
        keep: Whether what solves is worth keeping.
    """
    from gsimplicit.refine.newton import Certified, certify

    scale = equations.model.scale
    X, spent, level = fields, 0, 1e-6 * scale
    while True:
        tail = yield MarchOn(X, level, max(min(LOOK, settings.max_evaluations - spent), 1), spent)
        X, spent = tail.fields, spent + tail.evaluations
        if np.isnan(tail.change):
            nan = float("nan")
            return Refined(X, Status.DIVERGED, Certified(nan, nan, np.full(2, nan), np.zeros((0, 2))), spent)
        exhausted = spent >= settings.max_evaluations
        # a pattern may travel fast and yet be steady in shape: what counts is what changes besides
        here = certify(equations, X)
        if here.raw <= _tol(equations, settings):
            return Refined(X, Status.STEADY, here, spent)
        slow = min(tail.change, here.bordered)
        if slow < level or (exhausted and slow < SLOW * scale):
            found = yield from _closed(equations, X, settings, last=exhausted, keep=keep)
            spent += found.evaluations
            if found.status != Status.FAILED:
                return replace(found, evaluations=spent)
            level = min(level, slow) / 10
            if level < 1e-3 * _tol(equations, settings):  # as slow as marching gets, and Newton's method does not close
                return Refined(X, Status.FAILED, here, spent)
        if exhausted:
            return Refined(X, Status.UNSTEADY, here, spent)


def _closed(equations: Equations, fields: Array, settings: Refine, *, last: bool, keep: bool) -> Solving[Refined]:
    """Close the residual of a slow state by Newton's method; FAILED where it does not, or finds another kind.

    The last try may creep: there is no marching on.
    """
    from gsimplicit.refine.newton import certify, closing
    from gsimplicit.refine.pinning import pinning

    note("closing the residual by Newton's method")
    tol = _tol(equations, settings)
    root = yield from closing(equations, fields, tol, keep=keep, hurry=not last)
    spent = root.evaluations
    certified = certify(equations, root.fields)
    if not root.converged or _kind(equations, root.fields) != _kind(equations, fields):
        return Refined(fields, Status.FAILED, certified, spent)
    if settings.lattice and certified.raw > tol:
        pinned = yield from pinning(equations, root, tol, keep=keep)
        spent += pinned.evaluations
        if pinned.converged:
            root, certified = pinned, certify(equations, pinned.fields)
    if certified.raw <= tol:
        return Refined(root.fields, Status.STEADY, certified, spent, factors=root.factors)
    # the drift is fitted anew, in another norm than Newton's: what counts is the residual it leaves
    status = Status.DRIFTING if certified.bordered <= tol else Status.FAILED
    return Refined(root.fields, status, certified, spent, factors=root.factors)


def marched_on(equations: Equations, ask: MarchOn, settings: Refine) -> Tail:
    """March one instance until its residual is below a level, by the tail asked for, on the CPU."""
    from gsimplicit.marching import cpu
    from gsimplicit.refine.tail import Tail, march_on

    level, dt = ask.level * equations.dt, equations.dt
    if settings.tail == "chebyshev":
        tail = march_on(equations, ask.fields, level, ask.evaluations)
        return replace(tail, change=tail.change / dt)
    end, steps, change = cpu.march(equations, ask.fields, level, ask.evaluations, 64)
    return Tail(np.asarray(end, dtype=np.float64), change / dt, steps)


LOOK = 50_000
"""Evaluations after which a march that has not slowed down is looked at all the same: it may only travel."""

SLOW = 1e-5
"""Newton's method is not tried from a state whose shape changes by this or more a step, by the model's scale: it would
land elsewhere."""

NEUTRAL = 1e-9
"""Real parts below this are taken for zero: translations of a pattern that the lattice does not pin."""


def stability(equations: Equations, root: Refined, settings: Refine) -> tuple[Stable, np.ndarray[Any, np.dtype[Any]]]:
    """Whether a root is linearly stable, and its leading eigenvalues, shape (settings.eigenvalues,).

    A drifting root is judged by its shape: the translations are taken out. It crosses the lattice meanwhile, which
    changes slow rates by as much as 1e-4: one that grows here is called unstable only if it also grows half a pixel
    further, and else unknown.
    """
    none = np.full(settings.eigenvalues, np.nan, dtype=np.complex128)
    if not settings.eigenvalues or root.status not in (Status.STEADY, Status.DRIFTING):
        return Stable.UNKNOWN, none
    from gsimplicit.refine.eigenvalues import leading

    note("computing leading eigenvalues")
    still = root.status == Status.STEADY
    try:
        found = leading(
            equations,
            root.fields,
            np.zeros((0, 2)) if still else root.certified.directions,
            np.zeros(2) if still else root.certified.drift,
            settings.eigenvalues,
        )
    except np.linalg.LinAlgError:
        return Stable.UNKNOWN, none
    none[: len(found.values)] = found.values
    if found.values.real.max() <= NEUTRAL:
        return Stable.YES, none
    return (Stable.NO if still or _grows_everywhere(equations, root, settings) else Stable.UNKNOWN), none


def _grows_everywhere(equations: Equations, root: Refined, settings: Refine) -> bool:
    """Whether a drifting root has a growing mode at the other three positions half a pixel away, too."""
    from gsimplicit.refine.eigenvalues import leading
    from gsimplicit.refine.newton import newton

    for by in ((0.5, 0.0), (0.0, 0.5), (0.5, 0.5)):
        there = newton(equations, shifted(root.fields, np.array(by)), _tol(equations, settings), linear=settings.linear)
        if not there.converged:
            return False
        try:
            found = leading(equations, there.fields, root.certified.directions, there.drift)
        except np.linalg.LinAlgError:
            return False
        if found.values.real.max() <= NEUTRAL:
            return False
    return True


def _kind(equations: Equations, fields: Array) -> int:
    return int(equations.model.kinds(torch.from_numpy(fields)[None])[0])
