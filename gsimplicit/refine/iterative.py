"""Systems made ready by `Gmres`: batches of them, the slow directions kept between solves, the border taken off."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

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
Space: TypeAlias = "list[torch.Tensor | None]"
"""Slow directions of an instance: of the system and of its transpose."""

T = TypeVar("T")
R = TypeVar("R")


class PreparedGmres:
    """Operators and preconditioners of a batch, and the slow directions met so far."""

    def __init__(self, settings: Gmres, systems: Sequence[Bordered], spaces: Sequence[Space] | None = None) -> None:
        self.settings, self.systems = settings, systems
        n, size = len(systems), settings.at_once
        self._on_cpu = settings.device.type == "cpu"
        self._parts = [range(i, min(i + size, n)) for i in range(0, n, size)]
        self._operators = self._each(
            lambda part: BorderedOperator([systems[i] for i in part], settings.device), self._parts
        )
        self.spaces: list[Space] = [[None, None] for _ in systems] if spaces is None else list(spaces)
        self._borders: tuple[dict[int, list[Solution]], ...] = ({}, {})

    def _each(self, work: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Work on parts side by side on a CPU, one after the other on a device of its own."""
        return each(work, items) if self._on_cpu else [work(item) for item in items]

    def solve(
        self,
        r: Sequence[Array],
        q: Sequence[Array] | None = None,
        *,
        transpose: bool = False,
        border: bool | Sequence[bool] = True,
        tol: float | Sequence[float] | None = None,
    ) -> list[Solution]:
        """Solve each system, see `Prepared`; a border and a tolerance may be said for all, or of each."""
        asked = np.broadcast_to(np.asarray(self.settings.tol if tol is None else tol, dtype=np.float64), len(r))
        out = self._bordered(r, q, transpose, asked)
        plain = [
            i for i, kept in enumerate(np.broadcast_to(border, len(r))) if not kept and self.systems[i].directions.size
        ]
        return self._plain(out, plain, r, transpose) if plain else out

    def _bordered(self, r: Sequence[Array], q: Sequence[Array] | None, transpose: bool, tol: Array) -> list[Solution]:
        def one(n: int) -> list[Solution]:
            part, operator, out = self._parts[n], self._operators[n], []
            right = np.zeros((len(part), operator.unknowns + BORDER))
            for j, i in enumerate(part):
                right[j, : operator.unknowns] = np.ravel(r[i])
                if q is not None:
                    right[j, operator.unknowns : operator.unknowns + len(q[i])] = q[i]
            spaces = [self.spaces[i][transpose] for i in part]
            end = gmres(
                operator,
                torch.from_numpy(right).to(operator.device),
                transpose=transpose,
                tol=tol[part.start : part.stop],
                cycle=self.settings.cycle,
                deflate=self.settings.deflate,
                max_products=self.settings.max_products,
                spaces=spaces,
            )
            x = end.x.cpu().numpy()
            for j, i in enumerate(part):
                self.spaces[i][transpose] = spaces[j]
                s = x[j, operator.unknowns :][: len(self.systems[i].directions)]
                residual = float(end.residual[j])
                if np.isfinite(residual):
                    field_part = x[j, : operator.unknowns].reshape(self.systems[i].fields.shape)
                    out.append(Solution(field_part, s, residual, int(end.products[j])))
                else:
                    out.append(unsolved(self.systems[i]))
            return out

        return [s for part in self._each(one, range(len(self._parts))) for s in part]

    def _plain(self, out: list[Solution], plain: Sequence[int], r: Sequence[Array], transpose: bool) -> list[Solution]:
        """Of some systems the solutions without the border, from those with it.

        The plain Jacobian of a pattern is nearly singular along its translations, so GMRES on it would not converge.
        With the bordered solutions x, s for (r, 0) and Z, S for (0, I) it is `x + Z t` where `S t = -s`.
        """
        self._respond(plain, transpose)
        for i in plain:
            solution, answers = out[i], self._borders[transpose][i]
            if not np.isfinite(solution.residual):
                continue
            S = np.stack([a.s for a in answers], axis=1)
            try:
                t: Any = -np.linalg.solve(S, solution.s)
            except np.linalg.LinAlgError:
                out[i] = unsolved(self.systems[i], border=False)
                continue
            x = solution.x + sum(weight * a.x for weight, a in zip(t, answers, strict=True))
            products = solution.products + sum(a.products for a in answers)
            out[i] = Solution(x, np.zeros(0), float("nan"), products)
        residuals = self._residuals([one.x for one in out], r, transpose)
        return [
            replace(one, residual=rest) if np.isnan(one.residual) else one
            for one, rest in zip(out, residuals, strict=True)
        ]

    def _respond(self, some: Sequence[int], transpose: bool) -> None:
        """Bordered solutions of some systems for a unit right-hand side in each border slot, kept."""
        kept = self._borders[transpose]
        new = [i for i in some if i not in kept]
        if not new:
            return
        zero = [np.zeros_like(s.fields) for s in self.systems]
        for n in range(BORDER):
            units = [np.eye(BORDER)[n][: len(s.directions)] * (i in new) for i, s in enumerate(self.systems)]
            found = self._bordered(zero, units, transpose, np.full(len(zero), 1e-13))
            for i in new:
                kept.setdefault(i, []).extend([found[i]] if n < len(self.systems[i].directions) else [])

    def _residuals(self, x: Sequence[Array], r: Sequence[Array], transpose: bool) -> list[float]:
        """Relative residuals of the systems without their borders."""
        found = []
        for part, operator in zip(self._parts, self._operators, strict=True):
            columns = torch.from_numpy(np.stack([np.ravel(x[i]) for i in part])[:, None]).to(operator.device)
            product = operator.product(columns, transpose=transpose)[:, 0]
            for i, applied in zip(part, product.cpu().numpy(), strict=True):
                rest = float(np.linalg.norm(np.ravel(r[i]) - applied))
                found.append(rest / max(float(np.linalg.norm(r[i])), 1e-300))
        return found
