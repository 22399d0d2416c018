"""Routes side by side: what each answers, what it costs, and why it differs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gsimplicit import checks
from gsimplicit.arguments import as_march, device_of
from gsimplicit.equations import ModelParams
from gsimplicit.losses.loss import FeatureLoss
from gsimplicit.marching import Backend
from gsimplicit.progress import line, stage
from gsimplicit.refine import Refine
from gsimplicit.results import Certificate, Kind, SteadyState
from gsimplicit.routes.arguments import Fields, as_problem, as_route, objective_of
from gsimplicit.routes.ask import ask, from_one_root
from gsimplicit.routes.gradient import POSITION_LIMIT
from gsimplicit.routes.objective import Loss, Objective
from gsimplicit.routes.route import Problem, Route
from gsimplicit.states import warn_of_steps
from gsimplicit.surroundings import own_surroundings

if TYPE_CHECKING:
    from gsimplicit.routes.comparison import Comparison

__all__ = ["Reason", "compare"]

AGREES = 1e-5
"""Relative difference to the reference route up to which two gradients agree."""

SAME_STATE, SAME_SHAPE = 1e-3, 2e-2
"""Largest difference, in the max norm, of two states that count as one, and of two shapes shifted onto each other: the
lattice changes a shape by up to a hundredth as the pattern crosses a pixel."""


class Reason(IntEnum):
    """Why the gradient of a route differs from that of the reference. Stored as these integers.

    Examples:
        >>> import gsimplicit as gs
        >>> start = gs.initial_state(grid=(32, 32))
        >>> table = gs.compare(gs.Params.preset("paper"), ["unrolled", "tangent"], initial=start, tol=0.0, max_steps=50)
        >>> [gs.Reason(n).name for n in table.reason.values[:, 0]]
        ['REFERENCE', 'AGREES']
    """

    REFERENCE = 0
    AGREES = 1
    """Within 1e-5."""
    NO_GRADIENT = 2
    """The route, or the reference, has none: no root, or no finite derivative."""
    DEAD_STATE = 3
    """One stands at the trivial state, which no loss moves, the other does not."""
    BASIN = 4
    """The two stand at states of different kind."""
    OTHER_STATE = 5
    """The pattern has rearranged between the two states."""
    DRIFT = 6
    """The pattern has drifted over the lattice between the two states, and little besides."""
    POSITION = 7
    """The loss sees the pattern's position, or the lattice hardly pins it: history decides, not the parameters."""
    ROUGH_LOSS = 8
    """A difference whose own error estimate is as large."""
    FINITE_TIME = 9
    """The same state, but not enough steps for the slow modes to settle."""
    BIASED = 10
    """A phantom gradient, of which some is left out by construction; or a network's, which stands for the states."""
    UNEXPLAINED = 11


@own_surroundings
def compare(
    params: ModelParams,
    routes: Sequence[str | Route] = ("implicit", "tangent", "unrolled", "truncated", "finite_difference"),
    share_root: bool = True,
    loss: str | Loss | FeatureLoss = "spectrum",
    target: Fields | None = None,
    initial: Fields | None = None,
    tol: float = 1e-4,
    max_steps: int = 50_000,
    check_every: int = 64,
    device: torch.device | str | None = None,
    dt: float = 1.0,
    backend: Backend | None = None,
    progress: bool = True,
) -> Comparison:
    """The gradient by several routes, side by side, with price and meaning.

    Args:
        params: B instances, or 1.
        routes: Names or objects of `gsimplicit.routes`; the first is what the others are compared with.
        share_root: Certify one root an instance and start every route from it, as in `scan`: an instance without a root
            has no gradient and no loss by any route. Unlike in a scan, routes at finite time take exactly `max_steps`
            steps from the root, whatever `tol`, so that what differs is the gradient alone. False lets each route find
            its own state, as `grad` does.
        loss: Name of a loss of the steady state, or a callable of v (B, H, W) giving (B,).
        target: Target of a named loss, as for `grad`.
        initial: Shape (B, S, H, W) or (1, S, H, W); None is one field of seed 0 on 128 x 128.
        tol: Bound on the change over a marched step, >= 0.
        max_steps: Cap on the marching stage, and the steps taken from a shared root, >= 1.
        check_every: Steps between tests, >= 1.
        device: Where to march; None is where `initial` lies. Marching is in float64.
        dt: Length of an explicit step in time units, > 0.
        backend: What steps, as for `steady_state`.
        progress: Show what is done in a line once the call takes over two seconds; only on a terminal or in a notebook.

    Returns:
        A dataset over (route, instance, parameter): `gradient`, `route_loss`, `route_status`, `definition`, `cosine`
        and `difference` to the first route, `seconds` (state and gradient; a shared root's own are in the attribute
        `root_seconds`), `memory` (what the resident memory of the process grew by, MiB; NaN where it cannot be read),
        `products` and `reason`. It prints as a table;
        `gsimplicit.plotting.comparison` draws it.

    Raises:
        ValueError: An argument lies outside its range, or there is no route.
        TypeError: An argument has a wrong type.

    Example:
        >>> import gsimplicit as gs
        >>> fields = gs.initial_state(grid=(32, 32), box=gs.Box(half=5))
        >>> params = gs.Params(Du=0.16, Dv=0.08, F=0.03, k=0.05)
        >>> table = gs.compare(params, ["implicit", "tangent"], loss=lambda v: (v**2).mean((-2, -1)), initial=fields,
        ...                    max_steps=4000)
        >>> bool(table.difference.sel(route="tangent").max() < 1e-6)
        True
    """
    share_root = checks.flag("share_root", share_root)
    chosen = _as_routes(routes)
    marching = as_march(tol, max_steps, check_every, torch.float64, device_of(device, initial), dt, backend)
    problem = as_problem(params, chosen, initial, marching)
    objective = objective_of(problem, loss, target)
    root, root_seconds, rows = None, 0.0, []
    with line("compare", checks.flag("progress", progress)):
        if share_root:
            begin = time.perf_counter()
            with stage("one root for all, "):
                problem, root = from_one_root(problem, _first_refine(chosen), replace(marching, tol=0.0))
            root_seconds = time.perf_counter() - begin
        for n, route in enumerate(chosen, 1):
            with stage(f"{route.name}, {n} of {len(chosen)}, "):
                rows.append(measured(route, problem, objective, root))
    at_fault = [row.state for row in rows if bool((row.state.step_factor > 1).any())]
    if at_fault:
        warn_of_steps(at_fault[0])
    from gsimplicit.routes.comparison import table

    settings = {
        "loss": objective.name,
        "share_root": int(share_root),
        "max_steps": marching.max_steps,
        "root_seconds": root_seconds,
    }
    return table(rows, chosen, problem.params, settings)


def _as_routes(routes: Any) -> list[Route]:
    """The routes meant by one or a list of names and objects."""
    if isinstance(routes, str | Route):
        routes = [routes]
    if not isinstance(routes, Sequence):
        raise TypeError(f"routes must be a list of names or gsimplicit.routes objects, got {routes!r}")
    if not routes:
        raise ValueError("routes must name at least one route, got none")
    return [as_route(route) for route in routes]


def _first_refine(routes: Sequence[Route]) -> Refine:
    """How a root for all routes is found: as the first of them that has settings says."""
    asked = (getattr(route, "refine", None) for route in routes)
    return next((settings for settings in asked if isinstance(settings, Refine)), Refine())


@dataclass(frozen=True, eq=False)
class Row:
    """What one route gave.

    Attributes:
        state: Where its gradient was taken.
        gradient: Shape (B, P).
        loss: Shape (B,).
        certificate: How far to trust it.
        biased: Whether some of the gradient is left out by construction.
        finite_time: Whether it needs no root.
        seconds: Wall time of state and gradient.
        memory: What the resident memory grew by, MiB.
    """

    state: SteadyState
    gradient: torch.Tensor
    loss: torch.Tensor
    certificate: Certificate
    biased: bool
    finite_time: bool
    seconds: float
    memory: float


def measured(route: Route, problem: Problem, objective: Objective, root: SteadyState | None) -> Row:
    """State, gradient, loss and certificate of one route, with the time and the memory they took."""
    alone = replace(problem)  # knows no state yet, so that each route pays for its own
    with _Memory() as memory:
        begin = time.perf_counter()
        answer = ask(route, alone, [objective], root=root)
        seconds = time.perf_counter() - begin
    return Row(
        answer.state,
        answer.gradient[0],
        answer.losses[0],
        answer.certificates[0],
        biased=route.biased,
        finite_time=not route.needs_root,
        seconds=seconds,
        memory=memory.grown,
    )


def reason(rows: list[Row], r: int, b: int, difference: torch.Tensor) -> Reason:
    """The first cause, in the order of `Reason`, that the certificates of the two routes give."""
    if r == 0:
        return Reason.REFERENCE
    ours, theirs = rows[r], rows[0]
    apart = float(difference[r, b])
    if not np.isfinite(apart):
        return Reason.NO_GRADIENT
    if apart <= AGREES:
        return Reason.AGREES
    kinds = int(ours.state.kind[b]), int(theirs.state.kind[b])
    if kinds[0] != kinds[1]:
        return Reason.DEAD_STATE if Kind.TRIVIAL in kinds else Reason.BASIN
    from gsimplicit.refine.newton import rigid_distance

    here, there = (row.state.fields[b].to("cpu", torch.float64).numpy() for row in (ours, theirs))
    scale = ours.state.model.scale
    if np.abs(here - there).max() > SAME_STATE * scale:
        return Reason.DRIFT if rigid_distance(here, there) < SAME_SHAPE * scale else Reason.OTHER_STATE
    seen = max((float(x) for x in (row.certificate.position[b] for row in (ours, theirs)) if x == x), default=0.0)
    definitions = [float(row.certificate.other_definition[b]) for row in (ours, theirs)]
    if seen > POSITION_LIMIT or any(d == d and d >= 0.5 * apart for d in definitions):
        return Reason.POSITION
    if ours.biased or theirs.biased:
        return Reason.BIASED
    errors = [float(row.certificate.error[b]) for row in (ours, theirs)]
    if any(e == e and e >= apart for e in errors):
        return Reason.ROUGH_LOSS
    if ours.finite_time or theirs.finite_time:
        return Reason.FINITE_TIME
    return Reason.UNEXPLAINED


class _Memory:
    """What the resident memory of the process grows by at most inside, by looking every few milliseconds."""

    grown = float("nan")

    def __enter__(self) -> _Memory:
        self._stop, self._before = threading.Event(), _resident()
        self._largest = self._before
        self._watch = threading.Thread(target=self._look, daemon=True)
        self._watch.start()
        return self

    def _look(self) -> None:
        while not self._stop.wait(0.005):
            self._largest = max(self._largest, _resident())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._watch.join()
        self.grown = max(self._largest, _resident()) - self._before


def _resident() -> float:
    """Resident memory of this process, MiB; NaN on machines without /proc."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return float("nan")
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
