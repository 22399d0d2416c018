"""The implicit function theorem at a certified root."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from gsimplicit.equations import Equations, instances
from gsimplicit.grid import broken_translations
from gsimplicit.refine import Refine
from gsimplicit.refine.solvers import solver_for
from gsimplicit.results import Certificate, Status, SteadyState
from gsimplicit.routes.nearby import changes, corrections
from gsimplicit.routes.route import Derivatives, Loss, Problem, Route, cotangents
from gsimplicit.threads import one_blas_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsimplicit.refine.linear import Bordered, Solution
    from gsimplicit.refine.solvers import Prepared
    from gsimplicit.routes.nearby import Correction

Array = np.ndarray[Any, np.dtype[np.float64]]

ADJOINT_LIMIT = 1e-8
"""Largest relative residual of the adjoint solve at which a gradient is returned."""


@dataclass(frozen=True)
class Implicit(Route):
    """Adjoint of the steady equations: `J^T lambda = dL/dX`, `dL/dp = -lambda . dR/dp`.

    Where the raw residual is certified (status steady) J is the full Jacobian, unless the lattice pins the pattern so
    weakly that J is singular to working precision. There, and where only the bordered residual is certified (status
    drifting), J is bordered by the translations, so that the gradient is that of the shape, the drift left out. The
    certificate says which, and where both exist how far they differ.

    Attributes:
        refine: How the root is found and certified.

    Examples:
        >>> import gsimplicit as gs
        >>> params, start = gs.Params.preset("paper"), gs.initial_state(grid=(32, 32))
        >>> def mean_square(v):
        ...     return (v**2).mean((-2, -1))
        >>> route = gs.routes.Implicit(gs.Refine(max_evaluations=200_000))
        >>> gs.grad(params, route, mean_square, initial=start).certificate.definition
        ('bordered jacobian',)
    """

    name: ClassVar[str] = "implicit"
    through_steps: ClassVar[bool] = False
    refine: Refine = field(default_factory=Refine)

    def __post_init__(self) -> None:
        if not isinstance(self.refine, Refine):
            raise TypeError(f"refine of Implicit must be gsimplicit.Refine, got {self.refine!r}")

    @property
    def needs_root(self) -> bool:
        """True: without a root there is nothing to differentiate."""
        return True

    def solve(self, problem: Problem) -> SteadyState:
        """The certified root; initial fields that already are one are kept."""
        return problem.state(self.refine)

    def pull_back(self, problem: Problem, state: SteadyState, cotangents: torch.Tensor) -> Derivatives:
        """Adjoint solves, one factorisation an instance for all losses; NaN where there is no root."""
        return self._pulled(problem, state, cotangents, ())

    def differentiate(self, problem: Problem, state: SteadyState, losses: Sequence[Loss]) -> Derivatives:
        """The same from the losses, which also tell how much their gradients change on the way to the exact root."""
        return self._pulled(problem, state, cotangents(state.fields, losses, state.model.seen), losses)

    def _pulled(self, problem: Problem, state: SteadyState, g: torch.Tensor, losses: Sequence[Loss]) -> Derivatives:
        fields = state.fields.cpu().numpy()
        rows = [[_none(len(state.model.parameters))] * len(state) for _ in g]
        roots = [i for i in range(len(state)) if state.status[i] in (Status.STEADY, Status.DRIFTING)]
        broken = {i: broken_translations(fields[i], state.model.scale) for i in roots}
        still = [i for i in roots if state.status[i] == Status.STEADY]
        pinned = [i for i in still if len(broken[i])]
        solver = solver_for(self.refine.linear, fields[0, 0].size, problem.marching.device)
        with one_blas_thread():
            # without a translation to break the bordered jacobian is the full one
            for group in (pinned, [i for i in roots if i not in pinned]):
                if group:
                    systems = [_system(problem, state, i, broken[i]) for i in group]
                    members = _Group(
                        group, systems, solver.prepare(systems), group is pinned, [i in still for i in group]
                    )
                    for c, row in enumerate(members.adjoints(g.to("cpu", torch.float64).numpy(), state, losses)):
                        for i, found in zip(group, row, strict=True):
                            rows[c][i] = found
        gradient = torch.from_numpy(np.array([[a.gradient for a in row] for row in rows]))
        return Derivatives(gradient, tuple(_certificate(row) for row in rows))


def _system(problem: Problem, state: SteadyState, i: int, directions: Array) -> Bordered:
    from gsimplicit.refine.linear import Bordered

    drift = np.zeros(2) if state.status[i] == Status.STEADY else state.drift[i].numpy()
    return Bordered(next(instances(problem.params[i])), state.fields[i].cpu().numpy(), directions, drift)


def _certificate(row: list[_Adjoint]) -> Certificate:
    def column(name: str) -> torch.Tensor:
        return torch.tensor([getattr(a, name) for a in row], dtype=torch.float64)

    return Certificate(
        definition=tuple(a.definition for a in row),
        adjoint_residual=column("residual"),
        other_definition=column("other"),
        error=column("error"),
        position=column("position"),
        products=torch.tensor([a.products for a in row]),
        distance=column("distance"),
    )


@dataclass(frozen=True, eq=False)
class _Group:
    """Roots of one kind, prepared together.

    Attributes:
        members: Their places in the batch.
        systems: Their Jacobians, bordered.
        prepared: What solves with them.
        both: Whether the full Jacobian is asked beside the bordered one, and preferred.
        still: Whether each is steady.
    """

    members: list[int]
    systems: list[Bordered]
    prepared: Prepared
    both: bool
    still: list[bool]

    def adjoints(self, g: Array, state: SteadyState, losses: Sequence[Loss]) -> list[list[_Adjoint]]:
        """Gradients of L losses, from their derivatives in the fields (L, B, S, H, W) of the whole batch."""
        slopes = np.stack([s.equations.parameter_slopes(s.fields) for s in self.systems])
        rows = [self._row(slopes, [cotangent[i] for i in self.members]) for cotangent in g]
        for border in {a.bordered for row in rows for a in row}:
            found = corrections(self.prepared, self.systems, border=border)
            rows = [
                [
                    replace(a, distance=c.distance) if a.bordered == border else a
                    for a, c in zip(row, found, strict=True)
                ]
                for row in rows
            ]
            if losses:
                rows = self._with_errors(rows, found, slopes, self._shifts(found, state, losses), border)
        return rows

    def _row(self, slopes: Array, right: list[Array]) -> list[_Adjoint]:
        """Gradients of one loss."""
        from gsimplicit.refine.least_singular import is_of_a_family
        from gsimplicit.refine.newton import position_share

        bordered = self.prepared.solve(right, transpose=True)
        full = self.prepared.solve(right, transpose=True, border=False) if self.both else bordered
        row = []
        for j, system in enumerate(self.systems):
            name = "bordered jacobian" if self.both or not self.still[j] else "full jacobian"
            found = _adjoint(name, slopes[j], bordered[j], bordered=True)
            if self.both:
                found = _preferred(_adjoint("full jacobian", slopes[j], full[j], bordered=False), found)
            elif self.still[j] and is_of_a_family(system.equations, system.fields):
                found = replace(found, definition="none", gradient=_none(len(found.gradient)).gradient)
            row.append(replace(found, position=position_share(system.fields, system.directions, right[j])))
        return row

    def _shifts(self, found: Sequence[Correction], state: SteadyState, losses: Sequence[Loss]) -> Array:
        """Changes of the losses' derivatives in the fields on the way to the exact roots, (L, members, S, H, W)."""
        fields = state.fields.detach().to("cpu", torch.float64).clone()
        for i, correction in zip(self.members, found, strict=True):
            fields[i] += torch.from_numpy(np.nan_to_num(correction.fields))
        fields = fields.to(state.fields.device)  # where the losses are used to it
        there, here = (cotangents(x, losses, state.model.seen)[:, self.members] for x in (fields, state.fields))
        return np.asarray((there.cpu() - here.cpu()).numpy())

    def _with_errors(
        self, rows: list[list[_Adjoint]], found: Sequence[Correction], slopes: Array, shifts: Array, border: bool
    ) -> list[list[_Adjoint]]:
        """The gradients of one kind of Jacobian with what is left of them on the way to the exact roots."""
        out = []
        for row, shift in zip(rows, shifts, strict=True):
            solutions = [a.solution for a in row if a.solution is not None]
            change = changes(self.prepared, self.systems, found, solutions, slopes, list(shift), border=border)
            sizes = [max(float(np.linalg.norm(a.gradient)), 1e-300) for a in row]
            errors = [float(np.linalg.norm(x)) / size for x, size in zip(change, sizes, strict=True)]
            for j, correction in enumerate(found):
                if _unmoved(self.systems[j].equations, self.systems[j].fields, correction.fields, slopes[j]):
                    errors[j] = float("nan")
            out.append([replace(a, error=e) if a.bordered == border else a for a, e in zip(row, errors, strict=True)])
        return out


def _unmoved(equations: Equations, fields: Array, correction: Array, slopes: Array) -> bool:
    """Whether no parameter moves the exact root, as (1, 0): what gradient a certified one has is all error.

    Args:
        equations: Those of the instance.
        fields: The certified root, shape (S, H, W).
        correction: From there to the exact root, shape (S, H, W).
        slopes: dR/dp at the certified one, shape (P, S, H, W).
    """
    there = slopes + equations.mixed(fields, correction)
    rounding = float(np.finfo(np.float64).eps * np.sqrt(slopes.size))
    return bool(np.linalg.norm(there) <= 0.01 * np.linalg.norm(slopes) + rounding)


@dataclass(frozen=True, eq=False)
class _Adjoint:
    """Gradient (P,) of one loss of one instance, how well its adjoint closed, how far the other definition is."""

    definition: str
    gradient: Array
    residual: float
    solution: Solution | None = None
    bordered: bool = True
    other: float = float("nan")
    position: float = float("nan")
    products: int = 0
    error: float = float("nan")
    distance: float = float("nan")


def _none(count: int) -> _Adjoint:
    """What stands for `count` derivatives that there are not."""
    return _Adjoint("none", np.full(count, np.nan), float("inf"))


def _adjoint(definition: str, slopes: Array, solution: Solution, *, bordered: bool) -> _Adjoint:
    """The gradient from an adjoint; `slopes` are dR/dp, shape (P, S, H, W)."""
    gradient = -np.tensordot(slopes, solution.x, axes=3)
    if not (solution.residual <= ADJOINT_LIMIT and np.isfinite(gradient).all()):
        definition, gradient = "none", _none(len(slopes)).gradient
    return _Adjoint(definition, gradient, solution.residual, solution, bordered, products=solution.products)


def _preferred(full: _Adjoint, bordered: _Adjoint) -> _Adjoint:
    """The full Jacobian's gradient, with its distance to the bordered one.

    Where the lattice pins the pattern so weakly that the full Jacobian is singular to working precision its adjoint
    does not close, and the bordered one is what there is.
    """
    products = full.products + bordered.products
    if "none" in (full.definition, bordered.definition):
        return replace(bordered if full.definition == "none" else full, products=products)
    size = max(float(np.linalg.norm(full.gradient)), 1e-300)
    other = float(np.linalg.norm(bordered.gradient - full.gradient)) / size
    return replace(full, other=other, products=products)
