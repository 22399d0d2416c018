"""torchdeq's gradients of a fixed point: implicit by its own backward solvers, and phantom gradients."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import torch

from gsimplicit import checks
from gsimplicit.equations import instances, model_residual
from gsimplicit.grid import broken_translations, slopes, wave_numbers
from gsimplicit.refine import Refine
from gsimplicit.refine.solvers import solver_for
from gsimplicit.results import Certificate, Status, SteadyState
from gsimplicit.routes.nearby import corrections
from gsimplicit.routes.route import Derivatives, Problem, Route, definitions, nothing
from gsimplicit.surroundings import with_single_factories
from gsimplicit.threads import one_blas_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from gsimplicit.refine.linear import Bordered
    from gsimplicit.refine.solvers import Prepared

SOLVERS = ("anderson", "broyden", "fixed_point_iter")


@dataclass(frozen=True)
class Deq(Route):
    """torchdeq (arXiv 2310.18605) at a certified root z0, on the map `z -> z - M^-1 (G(z) - G(z0))`.

    z holds the fields and, where the root drifts, its velocity; G is the residual, bordered by the translations. The
    little that certification leaves of it, G(z0), is held constant, so that z0 is the fixed point to the bit. On the
    raw Euler map its solvers take thousands of iterations, since a pattern's slow modes contract by 1e-4 a step. So the
    map is preconditioned: by M, the Jacobian at the root, held constant, damped. With `damping` d the map contracts by
    1 - d in every direction.

    Three of torchdeq's traps are kept off: its tolerance is absolute in the cotangent, which is scaled to norm 1; it
    ends without a word where its backward solver has not converged, which is read and put into the certificate; and it
    swallows unknown settings, of which none is passed on. The certificate's error is the distance to the adjoint solved
    directly with M: for phantom gradients the share that they leave out.

    Attributes:
        refine: How the root is found and certified.
        solver: Backward solver: "anderson", "broyden" or "fixed_point_iter".
        tol: Relative residual of the backward solve, in [1e-13, 1).
        max_iterations: Cap on its iterations, >= 3.
        damping: d, in (0, 1].
        phantom: Steps of the map to differentiate through instead of the implicit gradient, >= 0; 0 is implicit. k
            steps leave `(1 - d)^k` of the gradient out: phantom gradients are biased.

    Raises:
        ValueError: A setting lies outside its range.
        TypeError: A setting has a wrong type.

    Examples:
        >>> import gsimplicit as gs
        >>> params, start = gs.Params.preset("paper"), gs.initial_state(grid=(32, 32))
        >>> def mean_square(v):
        ...     return (v**2).mean((-2, -1))
        >>> table = gs.compare(params, ["implicit", gs.routes.Deq()], loss=mean_square, initial=start)
        >>> bool(table.difference.max() < 1e-6)
        True
    """

    name: ClassVar[str] = "deq"
    through_steps: ClassVar[bool] = False
    refine: Refine = field(default_factory=Refine)
    solver: str = "broyden"
    tol: float = 1e-10
    max_iterations: int = 100
    damping: float = 0.5
    phantom: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.refine, Refine):
            raise TypeError(f"refine of Deq must be gsimplicit.Refine, got {self.refine!r}")
        values = {
            "solver": checks.choice("solver of Deq", self.solver, SOLVERS),
            "tol": checks.real("tol of Deq", self.tol, least=1e-13, below=1),
            "max_iterations": checks.integer("max_iterations", self.max_iterations, 3),
            "damping": checks.real("damping", self.damping, above=0, most=1),
            "phantom": checks.integer("phantom", self.phantom, 0),
        }
        checks.keep(self, values)

    @property
    def needs_root(self) -> bool:
        """True: a fixed point is differentiated."""
        return True

    @property
    def biased(self) -> bool:
        """Whether it goes through a few steps of the map only."""
        return self.phantom > 0

    def solve(self, problem: Problem) -> SteadyState:
        """The certified root; initial fields that already are one are kept."""
        return problem.state(self.refine)

    def pull_back(self, problem: Problem, state: SteadyState, cotangents: torch.Tensor) -> Derivatives:
        """An instance and a loss at a time; NaN where there is no root, or torchdeq did not converge."""
        from gsimplicit.refine.least_singular import is_of_a_family
        from gsimplicit.refine.linear import Bordered

        equations, g = list(instances(problem.params)), cotangents.to("cpu", torch.float64)
        gradient = torch.full((len(g), len(state), len(state.model.parameters)), torch.nan, dtype=torch.float64)
        residuals = torch.full((len(g), len(state)), torch.inf, dtype=torch.float64)
        errors = torch.full((len(g), len(state)), torch.nan, dtype=torch.float64)
        products = torch.zeros((len(g), len(state)), dtype=torch.int64)
        distances = nothing(len(state))
        linear = solver_for(self.refine.linear, state.fields[0, 0].numel(), torch.device("cpu"))
        with one_blas_thread():
            for i in range(len(state)):
                if state.status[i] not in (Status.STEADY, Status.DRIFTING):
                    continue
                fields = state.fields[i].to("cpu", torch.float64).numpy()
                still = state.status[i] == Status.STEADY
                if still and is_of_a_family(equations[i], fields):
                    continue
                directions = np.zeros((0, 2)) if still else broken_translations(fields, state.model.scale)
                drift = np.zeros(2) if still else state.drift[i].numpy()
                system = Bordered(equations[i], fields, directions, drift)
                prepared = linear.prepare([system])
                distances[i] = corrections(prepared, [system], border=True)[0].distance
                for c in range(len(g)):
                    if torch.isfinite(g[c, i]).all():
                        found = self._differentiate(system, prepared, g[c, i])
                        gradient[c, i], residuals[c, i], products[c, i] = found
                        errors[c, i] = _distance(system, prepared, g[c, i], gradient[c, i])
        gradient[~(residuals <= _limit(self.tol))] = torch.nan
        return self._certified(gradient, residuals, errors, products, distances)

    def _certified(
        self,
        gradient: torch.Tensor,
        residuals: torch.Tensor,
        errors: torch.Tensor,
        products: torch.Tensor,
        distances: torch.Tensor,
    ) -> Derivatives:
        """Gradients (L, B, P) with what is known of them."""
        what = "fixed point by torchdeq" if not self.phantom else "phantom steps by torchdeq"
        unknown = nothing(gradient.shape[1])
        certificates = tuple(
            Certificate(
                definition=definitions(what, gradient[c]),
                adjoint_residual=residuals[c],
                other_definition=unknown.clone(),
                error=errors[c],
                position=unknown.clone(),
                products=products[c],
                distance=distances,
            )
            for c in range(len(gradient))
        )
        return Derivatives(gradient, certificates)

    def _differentiate(
        self, system: Bordered, prepared: Prepared, cotangent: torch.Tensor
    ) -> tuple[torch.Tensor, float, int]:
        """Gradient (P,), relative residual of the backward solve, and its iterations."""
        from torchdeq.grad import backward_factory
        from torchdeq.solver import get_solver

        size = float(cotangent.norm())
        values = torch.from_numpy(system.parameters[None].copy()).requires_grad_()
        if not size:
            return torch.zeros(values.shape[1], dtype=torch.float64), 0.0, 0
        mapping, z = _mapping(system, prepared, values, self.damping)
        seen: list[Any] = []
        settings = {"max_iter": self.max_iterations, "tol": self.tol, "stop_mode": "rel"}
        kind: Any = self.phantom or "ift"
        factory = backward_factory(
            grad_type=kind, b_solver=with_single_factories(get_solver(self.solver)), b_solver_kwargs=settings
        )
        with torch.enable_grad():
            end = factory(None, lambda x, tau=1.0: mapping(x), z, writer=seen.append)[-1]
            right = torch.cat([cotangent.reshape(-1) / size, torch.zeros(len(system.directions), dtype=torch.float64)])
            slope = torch.autograd.grad(end, values, right[None])[0][0]
        if self.phantom:
            return size * slope, 0.0, self.phantom
        return size * slope, float(seen[-1]["rel_lowest"].max()), int(seen[-1]["nstep"].max())


def _distance(system: Bordered, prepared: Prepared, cotangent: torch.Tensor, gradient: torch.Tensor) -> float:
    """Relative distance of torchdeq's gradient to that of the adjoint solved directly, with the factors at hand."""
    direct = prepared.solve([cotangent.numpy()], transpose=True)[0]
    exact = -np.tensordot(system.equations.parameter_slopes(system.fields), direct.x, axes=3)
    apart, size = float(np.linalg.norm(gradient.numpy() - exact)), float(np.linalg.norm(exact))
    return apart / size if apart else 0.0


def _limit(tol: float) -> float:
    """Relative residual at which torchdeq's answer counts: its solvers stop just below or give up."""
    return 10 * tol


def _mapping(
    system: Bordered, prepared: Prepared, values: torch.Tensor, damping: float
) -> tuple[Callable[[torch.Tensor], torch.Tensor], torch.Tensor]:
    """The damped, preconditioned map on columns (1, S H W + r), and its fixed point."""
    shape, directions = system.fields.shape, torch.from_numpy(system.directions)
    n, r = system.fields.size, len(system.directions)
    base = torch.from_numpy(system.fields)
    translations = torch.from_numpy(slopes(system.fields))
    phase = torch.einsum("rd,dchw->rchw", directions, translations).reshape(r, n)
    waves, model = [torch.from_numpy(wave_numbers(size)) for size in shape[1:]], system.equations.model

    def defect(z: torch.Tensor) -> torch.Tensor:
        x = z[:, :n].reshape(1, *shape)
        out = model_residual(model, x, values).reshape(1, n)
        if r:
            velocity = z[0, n:] @ directions
            symbol = velocity[0] * waves[0][:, None] + velocity[1] * waves[1][None, :]
            moved = torch.fft.ifft2(torch.fft.fft2(x) * symbol).real
            out = out + moved.reshape(1, n)
        return torch.cat([out, ((x - base).reshape(1, n) @ phase.T)], dim=1)

    speed = torch.from_numpy(system.directions @ system.velocity)
    root = torch.cat([base.reshape(-1), speed])[None]
    # what the certificate leaves of G is held: without it a step would move a weakly pinned root by M^-1 G, far
    # beyond the tolerance, and the linearisation would stand elsewhere than the loss's derivative
    with torch.no_grad():
        left = defect(root)

    def mapping(z: torch.Tensor) -> torch.Tensor:
        return z - damping * _inverse(defect(z) - left, prepared, shape)

    return mapping, root


class _Solve(torch.autograd.Function):
    """`M^-1` on a column, and its transpose backwards."""

    @staticmethod
    def forward(ctx: Any, column: torch.Tensor, prepared: Prepared, shape: tuple[int, ...]) -> torch.Tensor:
        ctx.prepared, ctx.shape = prepared, shape
        return _solved(column, prepared, shape, transpose=False)

    @staticmethod
    def backward(ctx: Any, *cotangents: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return _solved(cotangents[0], ctx.prepared, ctx.shape, transpose=True), None, None


def _inverse(column: torch.Tensor, prepared: Prepared, shape: tuple[int, ...]) -> torch.Tensor:
    return cast("torch.Tensor", _Solve.apply(column, prepared, shape))  # type: ignore[no-untyped-call]


def _solved(column: torch.Tensor, prepared: Prepared, shape: tuple[int, ...], *, transpose: bool) -> torch.Tensor:
    z, n = column.detach()[0].numpy(), int(np.prod(shape))
    answer = prepared.solve([z[:n].reshape(shape)], [z[n:]], transpose=transpose)[0]
    return torch.from_numpy(np.concatenate([answer.x.ravel(), answer.s])).unsqueeze(0)
