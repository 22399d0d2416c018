"""Roots of a batch together: marched on and closed on the device of the fields, each by its own decisions.

Every instance does what `refine` does with it alone; only what is dear is answered for all at once: marches by the
kernels of the device, linear solves by batched GMRES. Where GMRES does not solve, sparse LU does, an instance at a
time; what ends without a root though it is slow is tried once more by the CPU's path.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gsimplicit.equations import together as as_params
from gsimplicit.marching import KERNELS, TORCH, backend_for
from gsimplicit.progress import note
from gsimplicit.refine import SLOW, marched_on, refine, refining, with_motion
from gsimplicit.refine.asking import MarchOn, Solve, Solved, solved, together
from gsimplicit.refine.direct import PreparedLU
from gsimplicit.refine.distance import bounding
from gsimplicit.refine.iterative import PreparedGmres, Space
from gsimplicit.refine.solvers import DIRECT_CELLS, LOOSE, Direct, Gmres
from gsimplicit.results import Status
from gsimplicit.threads import each

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsimplicit.equations import Equations
    from gsimplicit.refine import Refine, Refined
    from gsimplicit.refine.linear import Solution
    from gsimplicit.refine.tail import Tail

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, eq=False)
class Batch:
    """Instances that are refined together.

    Attributes:
        equations: Those of each instance.
        settings: How they are refined; `linear` is a `Gmres`.
        device: Where they are marched.
    """

    equations: Sequence[Equations]
    settings: Refine
    device: torch.device
    _there: dict[int, tuple[Array, torch.Tensor]] = field(default_factory=dict, init=False)
    """Fields last marched, as they were handed out and where they lie on the device."""

    def roots(self, fields: torch.Tensor) -> list[Refined]:
        """Refine marched states, shape (B, S, H, W): what `refine` gives of each."""
        wide = fields.detach().to(self.device, torch.float64)
        starts = [x.numpy() for x in wide.cpu()]
        self._there.update({i: (x, wide[i]) for i, x in enumerate(starts)})
        works = [refining(e, x, self.settings, keep=False) for e, x in zip(self.equations, starts, strict=True)]
        found = together(works, self.march, self.solve)
        self._there.clear()
        return each(lambda i: self._ended(i, found[i]), range(len(found)))

    def _ended(self, i: int, found: Refined) -> Refined:
        """An instance as it ended, or tried once more alone."""
        slow = found.certified.bordered < SLOW * self.equations[i].model.scale
        if found.status in (Status.UNSTEADY, Status.FAILED) and slow and found.fields[0].size <= DIRECT_CELLS:
            again = refine(self.equations[i], found.fields, replace(self.settings, linear=Direct(), max_evaluations=1))
            if again.status in (Status.STEADY, Status.DRIFTING):
                return replace(again, evaluations=found.evaluations + again.evaluations)
        return with_motion(self.equations[i], found)

    def bounds(self, roots: Sequence[Refined], *, factorise: bool) -> list[tuple[float, float]]:
        """Least singular values and distances to the exact roots, see `nearness`."""
        pairs = zip(self.equations, roots, strict=True)
        return together([bounding(e, root, factorise=factorise) for e, root in pairs], self.march, self.solve)

    def march(self, asks: dict[int, MarchOn]) -> dict[int, Tail]:
        """March on, those together that go as far; long steps, and all where the device has no kernels, on the CPU."""
        by = backend_for(self.device)
        if self.settings.tail != "euler" or by in (KERNELS, TORCH):
            tails = each(lambda i: marched_on(self.equations[i], asks[i], self.settings), asks)
            return dict(zip(asks, tails, strict=True))
        alike: dict[tuple[float, int], list[int]] = {}
        for i, ask in asks.items():
            alike.setdefault((ask.level, ask.evaluations), []).append(i)
        found: dict[int, Tail] = {}
        for (level, evaluations), some in alike.items():
            note("refining {} instances together, to {:.0e}", len(some), level)
            found |= self._marched(asks, some, level, evaluations)
        return found

    def _marched(self, asks: dict[int, MarchOn], some: list[int], level: float, evaluations: int) -> dict[int, Tail]:
        from gsimplicit.refine.tail import Tail

        dt = self.equations[0].dt
        fields = torch.stack([self._on_device(i, asks[i].fields) for i in some])
        params = as_params([self.equations[i] for i in some])
        end = backend_for(self.device).march(params, fields, level * dt, evaluations, 64, dt)
        there = end.fields.cpu().numpy()
        self._there.update({i: (there[j], end.fields[j]) for j, i in enumerate(some)})
        changes, steps = (end.change / dt).tolist(), end.steps.tolist()
        return {i: Tail(there[j], changes[j], steps[j]) for j, i in enumerate(some)}

    def _on_device(self, i: int, fields: Array) -> torch.Tensor:
        """Fields of an instance on the device, where they may lie already."""
        given, there = self._there[i]
        return there if given is fields else torch.from_numpy(fields).to(self.device)

    def solve(self, asks: dict[int, Solve]) -> dict[int, Solved]:
        """Solve together what GMRES solves, alone what it does not.

        Either systems or their transposes, whichever are more: the others wait until those ask for the same.
        """
        many = sum(ask.transpose for ask in asks.values())
        transpose = 2 * many > len(asks)
        asks = {i: ask for i, ask in asks.items() if ask.transpose is transpose}
        note("solving for {} instances together", len(asks))
        by_gmres = {i: ask for i, ask in asks.items() if not isinstance(ask.known, PreparedLU)}
        found = self._by_gmres(by_gmres, transpose=transpose) if by_gmres else {}
        left = {i: ask for i, ask in asks.items() if i not in found or _unsolved(ask, found[i].solution)}
        if left and next(iter(asks.values())).r[0].size <= DIRECT_CELLS:
            found |= dict(zip(left, each(_by_lu, left.values()), strict=True))
        return found

    def _by_gmres(self, asks: dict[int, Solve], *, transpose: bool) -> dict[int, Solved]:
        linear, many = self.settings.linear, list(asks.values())
        assert isinstance(linear, Gmres)
        known = [ask.known if isinstance(ask.known, One) else None for ask in many]
        batch = known[0].batch if known[0] is not None else None
        if batch is None or any(ask.fresh for ask in many) or any(k is None or k.batch is not batch for k in known):
            spaces: list[Space] = [[None, None] if k is None else k.batch.spaces[k.at] for k in known]
            batch = PreparedGmres(linear, [ask.system for ask in many], spaces)
            places = list(range(len(many)))
        else:
            places = [k.at for k in known if k is not None]
        solutions = _placed(batch, places, many, transpose=transpose)
        answers = [Solved(solutions[at], One(batch, at)) for at in places]
        return dict(zip(asks, answers, strict=True))


@dataclass(frozen=True, eq=False)
class One:
    """One system of a batch that is ready to be solved."""

    batch: PreparedGmres
    at: int

    def solve(
        self,
        r: Sequence[Array],
        q: Sequence[Array] | None = None,
        *,
        transpose: bool = False,
        border: bool = True,
        tol: float | None = None,
    ) -> list[Solution]:
        """Solve it alone, see `Prepared`."""
        ask = Solve(self.batch.systems[self.at], r[0], None if q is None else q[0], border=border, tol=tol)
        return [_placed(self.batch, [self.at], [ask], transpose=transpose)[self.at]]


def _placed(batch: PreparedGmres, places: Sequence[int], asks: Sequence[Solve], *, transpose: bool) -> list[Solution]:
    """Solutions of a whole batch, zero for the systems that nobody asks for."""
    systems = batch.systems
    r = [np.zeros_like(s.fields) for s in systems]
    q = [np.zeros(len(s.directions)) for s in systems]
    tol, border = [1.0] * len(systems), [True] * len(systems)
    for at, ask in zip(places, asks, strict=True):
        r[at] = ask.r
        q[at] = q[at] if ask.q is None else ask.q
        tol[at], border[at] = batch.settings.tol if ask.tol is None else ask.tol, ask.border
    return batch.solve(r, q, transpose=transpose, border=border, tol=tol)


def _unsolved(ask: Solve, solution: Solution) -> bool:
    """Whether a solution is too far off to go on from, though there may be one."""
    return bool(np.isfinite(ask.r).all()) and not solution.residual < max(LOOSE, 2 * (ask.tol or 0.0))


def _by_lu(ask: Solve) -> Solved:
    return solved(Direct(), ask if isinstance(ask.known, PreparedLU) else replace(ask, known=None, fresh=True))
