"""How the linear systems of steady states are solved: one interface, its two solvers, and which is chosen.

The solvers here are settings alone; what they make ready lies beside its algorithm, in `direct` and `iterative`, and
is imported where it is first asked for.

`prepare` takes a batch of systems, and what it gives back solves with them and with their transposes, instance by
instance with its true residual. It never raises for a singular matrix: the residual says that nothing was solved.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

import numpy as np
import torch

from gsimplicit import checks
from gsimplicit.arrays import as_device

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsimplicit.refine.linear import Bordered, Solution

__all__ = ["Direct", "Gmres", "LinearSolver", "Prepared", "solver_for"]

Array = np.ndarray[Any, np.dtype[np.float64]]


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

    Examples:
        >>> import gsimplicit as gs
        >>> solver: gs.LinearSolver = gs.Gmres()
        >>> solver.name, solver.factorises
        ('gmres', False)
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

    Examples:
        >>> import gsimplicit as gs
        >>> params, start = gs.Params.preset("paper"), gs.initial_state(grid=(32, 32))
        >>> gs.Status(gs.steady_state(params, start, refine=gs.Refine(linear=gs.Direct())).status.item()).name
        'DRIFTING'
    """

    name: ClassVar[str] = "direct"
    factorises: ClassVar[bool] = True

    def prepare(self, systems: Sequence[Bordered], before: Prepared | None = None) -> Prepared:
        """Factorise each system."""
        from gsimplicit.refine.direct import PreparedLU

        return PreparedLU(systems)


@dataclass(frozen=True)
class Gmres:
    """Matrix-free GMRES with a mean-field FFT preconditioner and deflation of slow modes, batched on torch.

    The choice beyond 1024 x 1024 pixels.

    Attributes:
        tol: Relative residual to reach, in [1e-13, 1e-8]: adjoints of more than 1e-8 are refused.
        cycle: Basis vectors of a cycle, >= 20. An instance holds that many fields: 27 MB for 100 at 128 x 128.
        deflate: Slow modes taken out, in [0, cycle - 10]; they are found on the way and kept between solves.
        max_products: Cap on products with the Jacobian a solve, >= 1.
        batch: Instances solved at once, >= 1. None is 1 on a CPU, where a basis that fits the cache counts for more,
            and 64 elsewhere. With more than 1 roots are refined together too: marched on, by Newton's method, bounded.
        device: Where to compute: any torch device, or its name.

    Raises:
        ValueError: An argument lies outside its range.
        TypeError: An argument has a wrong type.

    Examples:
        >>> import gsimplicit as gs
        >>> params, start = gs.Params.preset("paper"), gs.initial_state(grid=(32, 32))
        >>> refine = gs.Refine(linear=gs.Gmres(cycle=60, deflate=10))
        >>> gs.Status(gs.steady_state(params, start, refine=refine).status.item()).name
        'DRIFTING'
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

    @property
    def at_once(self) -> int:
        """Instances solved at once."""
        return self.batch or (1 if self.device.type == "cpu" else 64)

    def prepare(self, systems: Sequence[Bordered], before: Prepared | None = None) -> Prepared:
        """Set up operators and preconditioners; slow modes known from `before` are used again."""
        as_device(self.device, "device of Gmres")  # meta may stand for a device, but nothing is computed there
        from gsimplicit.refine.iterative import PreparedGmres

        known = before.spaces if isinstance(before, PreparedGmres) and len(before.spaces) == len(systems) else None
        return PreparedGmres(self, systems, known)


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
"""Pixels up to which sparse LU is chosen: by then GMRES is as fast, and needs no gigabytes for factors."""


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


def guarded(linear: LinearSolver | None) -> LinearSolver:
    """The solver, behind copies where it is not one of this package's; None is sparse LU."""
    if linear is None:
        return Direct()
    return linear if type(linear) in (Direct, Gmres, _Guarded) else cast("LinearSolver", _Guarded(linear))


def solver_for(linear: LinearSolver | None, cells: int, device: torch.device) -> LinearSolver:
    """The solver meant: the one given; else the direct one, and GMRES where LU would not fit.

    The direct one also where fields lie on a GPU: on 16 cores it was the faster one, for one system and for 64 roots.
    """
    if linear is not None:
        return guarded(linear)
    if cells <= DIRECT_CELLS:
        return Direct()
    return Gmres(device=device)
