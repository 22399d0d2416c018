"""Systems made ready by `Gmres`: batches of them, the slow directions kept between solves, the border taken off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from gsimplicit.refine.gmres import gmres
from gsimplicit.refine.linear import Solution, unsolved
from gsimplicit.refine.operator import BORDER, BorderedOperator
from gsimplicit.threads import each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gsimplicit.refine.linear import Bordered
    from gsimplicit.refine.solvers import Gmres

Array = np.ndarray[Any, np.dtype[np.float64]]
T = TypeVar("T")
R = TypeVar("R")


class PreparedGmres:
    """Operators and preconditioners of a batch, and the slow directions met so far."""

    def __init__(self, settings: Gmres, systems: Sequence[Bordered], before: PreparedGmres | None) -> None:
        self._settings, self._systems = settings, systems
        n = len(systems)
        self._on_cpu = settings.device.type == "cpu"
        size = settings.batch or (1 if self._on_cpu else 64)
        self._parts = [range(i, min(i + size, n)) for i in range(0, n, size)]
        self._operators = self._each(
            lambda part: BorderedOperator([systems[i] for i in part], settings.device), self._parts
        )
        known = before is not None and len(before._systems) == n
        # slow directions of the forward and of the transposed systems
        self._spaces: list[list[torch.Tensor | None]] = (
            before._spaces if before is not None and known else [[None] * n, [None] * n]
        )
        self._borders: dict[bool, list[list[Solution]]] = {}

    def _each(self, work: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Work on parts side by side on a CPU, one after the other on a device of its own."""
        return each(work, items) if self._on_cpu else [work(item) for item in items]

    def solve(
        self,
        r: Sequence[Array],
        q: Sequence[Array] | None = None,
        *,
        transpose: bool = False,
        border: bool = True,
        tol: float | None = None,
    ) -> list[Solution]:
        """Solve each system, see `Prepared`."""
        tol = self._settings.tol if tol is None else tol
        if border:
            return self._bordered(r, q, transpose, tol)
        return self._plain(r, transpose, tol)

    def _bordered(self, r: Sequence[Array], q: Sequence[Array] | None, transpose: bool, tol: float) -> list[Solution]:
        def one(n: int) -> list[Solution]:
            part, operator, out = self._parts[n], self._operators[n], []
            right = np.zeros((len(part), operator.unknowns + BORDER))
            for j, i in enumerate(part):
                right[j, : operator.unknowns] = np.ravel(r[i])
                if q is not None:
                    right[j, operator.unknowns : operator.unknowns + len(q[i])] = q[i]
            spaces = [self._spaces[transpose][i] for i in part]
            end = gmres(
                operator,
                torch.from_numpy(right).to(operator.device),
                transpose=transpose,
                tol=tol,
                cycle=self._settings.cycle,
                deflate=self._settings.deflate,
                max_products=self._settings.max_products,
                spaces=spaces,
            )
            x = end.x.cpu().numpy()
            for j, i in enumerate(part):
                self._spaces[transpose][i] = spaces[j]
                s = x[j, operator.unknowns :][: len(self._systems[i].directions)]
                residual = float(end.residual[j])
                if np.isfinite(residual):
                    field_part = x[j, : operator.unknowns].reshape(self._systems[i].fields.shape)
                    out.append(Solution(field_part, s, residual, int(end.products[j])))
                else:
                    out.append(unsolved(self._systems[i]))
            return out

        return [s for part in self._each(one, range(len(self._parts))) for s in part]

    def _plain(self, r: Sequence[Array], transpose: bool, tol: float) -> list[Solution]:
        """Solve without the border, through it.

        The plain Jacobian of a pattern is nearly singular along its translations, so GMRES on it would not converge.
        With the bordered solutions x, s for (r, 0) and Z, S for (0, I) it is `x + Z t` where `S t = -s`.
        """
        out = self._bordered(r, None, transpose, tol)
        if not any(len(s.directions) for s in self._systems):
            return out
        if transpose not in self._borders:
            self._borders[transpose] = self._responses(transpose)
        for i, (solution, system) in enumerate(zip(out, self._systems, strict=True)):
            if not len(system.directions) or not np.isfinite(solution.residual):
                continue
            answers = [a[i] for a in self._borders[transpose][: len(system.directions)]]
            S = np.stack([a.s for a in answers], axis=1)
            try:
                t: Any = -np.linalg.solve(S, solution.s)
            except np.linalg.LinAlgError:
                out[i] = unsolved(system, border=False)
                continue
            x = solution.x + sum(weight * a.x for weight, a in zip(t, answers, strict=True))
            products = solution.products + sum(a.products for a in answers)
            out[i] = Solution(x, np.zeros(0), self._residual(i, x, r[i], transpose), products)
        return out

    def _responses(self, transpose: bool) -> list[list[Solution]]:
        """Bordered solutions for a unit right-hand side in each border slot."""
        zero = [np.zeros_like(s.fields) for s in self._systems]
        return [
            self._bordered(zero, [np.eye(BORDER)[n][: len(s.directions)] for s in self._systems], transpose, 1e-13)
            for n in range(BORDER)
        ]

    def _residual(self, i: int, x: Array, r: Array, transpose: bool) -> float:
        part = next(n for n, members in enumerate(self._parts) if i in members)
        operator = self._operators[part].part([i - self._parts[part].start])
        product = operator.product(torch.from_numpy(x[None]).to(operator.device), transpose=transpose)
        rest = float(np.linalg.norm(r.ravel() - product[0].cpu().numpy()))
        return rest / max(float(np.linalg.norm(r)), 1e-300)
