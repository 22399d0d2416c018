"""How the linear systems of steady states are solved: one interface, a sparse direct solver and a Krylov one.

`prepare` takes a batch of systems, and what it gives back solves with them and with their transposes, instance by
instance with its true residual. It never raises for a singular matrix: the residual says that nothing was solved.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, cast

import numpy as np
import torch

from gsimplicit import checks
from gsimplicit.arrays import as_device
from gsimplicit.threads import each

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gsimplicit.refine.linear import Bordered, BorderedJacobian, Solution

__all__ = ["Direct", "Gmres", "LinearSolver", "Prepared", "solver_for"]

Array = np.ndarray[Any, np.dtype[np.float64]]
T = TypeVar("T")
R = TypeVar("R")


LOOSE = 1e-3
"""Relative residual asked of a solve where the first digit counts: of bounds and errors."""


class Prepared(Protocol):
    """A batch of bordered systems, ready to be solved."""

    def solve(
        self,
        r: Sequence[Array],
        q: Sequence[Array] | None = None,
        *,
        transpose: bool = False,
        border: bool = True,
        tol: float | None = None,
    ) -> list[Solution]:
        """Solve each system (or its transpose) for one right-hand side.

        Args:
            r: Field parts, each of shape (2, H, W).
            q: Border parts, each of shape (r,); zero by default.
            transpose: Solve with the transposes, as adjoints need.
            border: With the borders; False solves with the plain Jacobians.
            tol: Relative residual to reach; None is the solver's own. What was reached is reported.
        """
        ...


class LinearSolver(Protocol):
    """A way to solve bordered systems; pass one to `Refine(linear=)` to choose it.

    Attributes:
        name: Name in reports and provenance.
        factorises: Whether preparing is the dear part, so that it is worth keeping while Newton's method goes on.
    """

    name: ClassVar[str]
    factorises: ClassVar[bool]

    def prepare(self, systems: Sequence[Bordered], before: Prepared | None = None) -> Prepared:
        """Get a batch ready; `before` is what solved nearby systems, whose work may be used again."""
        ...


@dataclass(frozen=True)
class Direct:
    """Sparse LU an instance, refined against the exact operator; on the CPU.

    Minimum-degree ordering, the border eliminated by blocks, one factorisation for the bordered and the plain Jacobian
    and their transposes. The best choice on a CPU up to about 1024 x 1024.
    """

    name: ClassVar[str] = "direct"
    factorises: ClassVar[bool] = True

    def prepare(self, systems: Sequence[Bordered], before: Prepared | None = None) -> Prepared:
        """Factorise each system."""
        return _Factorised(systems)


class _Factorised:
    def __init__(self, systems: Sequence[Bordered]) -> None:
        from gsimplicit.refine.linear import BorderedJacobian

        def one(system: Bordered) -> BorderedJacobian | None:
            try:
                return BorderedJacobian(system)
            except np.linalg.LinAlgError:
                return None

        self._systems = systems
        self._factors = each(one, systems)

    def solve(
        self,
        r: Sequence[Array],
        q: Sequence[Array] | None = None,
        *,
        transpose: bool = False,
        border: bool = True,
        tol: float | None = None,
    ) -> list[Solution]:
        def one(i: int) -> Solution:
            factors = self._factors[i]
            if factors is not None and np.isfinite(r[i]).all():
                try:
                    return factors.solve(
                        r[i], None if q is None else q[i], transpose=transpose, border=border, tol=tol or 1e-12
                    )
                except np.linalg.LinAlgError:
                    pass
            return singular(self._systems[i], border=border)

        return each(one, range(len(r)))


@dataclass(frozen=True)
class Gmres:
    """Matrix-free GMRES with a mean-field FFT preconditioner and deflation of slow modes, batched on torch.

    The choice on a GPU, and on a CPU beyond about 1024 x 1024.

    Attributes:
        tol: Relative residual to reach, in [1e-13, 1e-8]: adjoints of more than 1e-8 are refused.
        cycle: Basis vectors of a cycle, >= 20. An instance holds that many fields: 27 MB for 100 at 128 x 128.
        deflate: Slow modes taken out, in [0, cycle - 10]; they are found on the way and kept between solves.
        max_products: Cap on products with the Jacobian a solve, >= 1.
        batch: Instances solved at once, >= 1. None is 1 on a CPU, where a basis that fits the cache counts for more,
            and 64 elsewhere.
        device: Where to compute: any torch device, or its name.

    Raises:
        ValueError: An argument lies outside its range.
        TypeError: An argument has a wrong type.
    """

    name: ClassVar[str] = "gmres"
    factorises: ClassVar[bool] = False
    tol: float = 1e-10
    cycle: int = 100
    deflate: int = 20
    max_products: int = 4000
    batch: int | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __post_init__(self) -> None:
        values = {
            "tol": checks.real("tol of Gmres", self.tol, least=1e-13, most=1e-8),
            "cycle": checks.integer("cycle", self.cycle, 20),
            "deflate": checks.integer("deflate", self.deflate, 0),
            "max_products": checks.integer("max_products", self.max_products, 1),
            "batch": None if self.batch is None else checks.integer("batch", self.batch, 1),
            "device": as_device(self.device, "device of Gmres", work=False),
        }
        checks.keep(self, values)
        if self.deflate > self.cycle - 10:
            raise ValueError(f"deflate must be at most cycle - 10 = {self.cycle - 10}, got {self.deflate}")

    def prepare(self, systems: Sequence[Bordered], before: Prepared | None = None) -> Prepared:
        """Set up operators and preconditioners; slow modes known from `before` are used again."""
        as_device(self.device, "device of Gmres")  # meta may stand for a device, but nothing is computed there
        return _Iterated(self, systems, before if isinstance(before, _Iterated) else None)


class _Iterated:
    def __init__(self, settings: Gmres, systems: Sequence[Bordered], before: _Iterated | None) -> None:
        from gsimplicit.refine.gmres import BorderedOperator

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
        tol = self._settings.tol if tol is None else tol
        if border:
            return self._bordered(r, q, transpose, tol)
        return self._plain(r, transpose, tol)

    def _bordered(self, r: Sequence[Array], q: Sequence[Array] | None, transpose: bool, tol: float) -> list[Solution]:
        from gsimplicit.refine.gmres import BORDER, gmres
        from gsimplicit.refine.linear import Solution

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
                    out.append(singular(self._systems[i]))
            return out

        return [s for part in self._each(one, range(len(self._parts))) for s in part]

    def _plain(self, r: Sequence[Array], transpose: bool, tol: float) -> list[Solution]:
        """Solve without the border, through it.

        The plain Jacobian of a pattern is nearly singular along its translations, so GMRES on it would not converge.
        With the bordered solutions x, s for (r, 0) and Z, S for (0, I) it is `x + Z t` where `S t = -s`.
        """
        from gsimplicit.refine.linear import Solution

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
                out[i] = singular(system, border=False)
                continue
            x = solution.x + sum(weight * a.x for weight, a in zip(t, answers, strict=True))
            products = solution.products + sum(a.products for a in answers)
            out[i] = Solution(x, np.zeros(0), self._residual(i, x, r[i], transpose), products)
        return out

    def _responses(self, transpose: bool) -> list[list[Solution]]:
        """Bordered solutions for a unit right-hand side in each border slot."""
        from gsimplicit.refine.gmres import BORDER

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


def singular(system: Bordered, *, border: bool = True) -> Solution:
    """What is given back for a system that is singular to working precision, or a right-hand side with NaN."""
    from gsimplicit.refine.linear import Solution

    r = len(system.directions) if border else 0
    return Solution(np.full_like(system.fields, np.nan), np.full(r, np.nan), float("inf"))


def require_linear(linear: LinearSolver | None) -> None:
    """Raise a TypeError unless this is a way to solve linear systems, or None."""
    if linear is not None and (
        isinstance(linear, type)
        or not callable(getattr(linear, "prepare", None))
        or not isinstance(getattr(linear, "factorises", None), bool)
    ):
        raise TypeError(
            "linear must be a gsimplicit.Direct(), a gsimplicit.Gmres() or an object with their method prepare and "
            f"their attribute factorises, got {linear!r}"
        )


DIRECT_CELLS = 1024 * 1024
"""Cells up to which sparse LU is chosen on a CPU: by then GMRES is as fast, and needs no gigabytes for factors."""


class _Guarded:
    """A solver of the user's, whose systems, right-hand sides and solutions are copies: it can change nothing.

    Raises:
        TypeError: It does not give a solution a system, as the protocol asks.
    """

    def __init__(self, solver: LinearSolver) -> None:
        self._solver = solver
        self.name, self.factorises = getattr(solver, "name", type(solver).__name__), solver.factorises

    def prepare(self, systems: Sequence[Bordered], before: Prepared | None = None) -> Prepared:
        """Copies, prepared by the solver."""
        known = before._inner if isinstance(before, _GuardedPrepared) else None
        own = [
            replace(
                s,
                fields=s.fields.copy(),
                equations=s.equations.with_values(s.parameters.copy()),
                directions=s.directions.copy(),
                velocity=s.velocity.copy(),
                phase=None if s.phase is None else s.phase.copy(),
            )
            for s in systems
        ]
        return _GuardedPrepared(self.name, self._solver.prepare(own, known), systems)


class _GuardedPrepared:
    def __init__(self, name: str, inner: Prepared, systems: Sequence[Bordered]) -> None:
        self._name, self._inner, self._systems = name, inner, systems

    def solve(
        self,
        r: Sequence[Array],
        q: Sequence[Array] | None = None,
        *,
        transpose: bool = False,
        border: bool = True,
        tol: float | None = None,
    ) -> list[Solution]:
        right, below = [a.copy() for a in r], None if q is None else [a.copy() for a in q]
        found = list(self._inner.solve(right, below, transpose=transpose, border=border, tol=tol))
        if len(found) != len(r) or any(np.shape(s.x) != np.shape(a) for s, a in zip(found, r, strict=False)):
            raise TypeError(
                f"linear {self._name!r} must give one Solution a system, x of shape {np.shape(r[0])}, "
                f"got {[np.shape(s.x) for s in found]} for {len(r)} systems"
            )
        return [replace(s, x=np.array(s.x), s=np.array(s.s)) for s in found]


def guarded(linear: LinearSolver) -> LinearSolver:
    """The solver, behind copies where it is not one of this package's."""
    return linear if type(linear) in (Direct, Gmres, _Guarded) else cast("LinearSolver", _Guarded(linear))


def solver_for(linear: LinearSolver | None, cells: int, device: torch.device) -> LinearSolver:
    """The solver meant: the one given; else the direct one on a CPU, and GMRES on a GPU or where LU would not fit."""
    if linear is not None:
        return guarded(linear)
    if device.type == "cpu" and cells <= DIRECT_CELLS:
        return Direct()
    return Gmres(device=device)
