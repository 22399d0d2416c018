"""Central differences of re-marched states, or of re-certified roots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any, ClassVar

import numpy as np
import torch

from gsimplicit import checks
from gsimplicit.arguments import as_refine, plain_refine
from gsimplicit.equations import DEFAULT, ModelParams, instances
from gsimplicit.grid import along
from gsimplicit.refine import Refine
from gsimplicit.refine.solvers import LinearSolver, solver_for
from gsimplicit.results import Certificate, Kind, Status, SteadyState
from gsimplicit.routes.objective import Loss, MixedInstancesError, dtype_of, name_of, slope_of, value_of
from gsimplicit.routes.route import Derivatives, Problem, Route, definitions, nothing, seen_by
from gsimplicit.threads import each, one_blas_thread

Array = np.ndarray[Any, np.dtype[np.float64]]

_STEPS = {False: 2.0**-29, True: 2.0**-20}
_SHARE = 2.0**-16
"""h as a share of the parameter, for models other than Gray-Scott: between rounding and curvature."""

_ROOT_TOL = 1e-15
_ROOT_LIMIT = 1e-12
_SINGULAR = 1e-14


@dataclass(frozen=True)
class FiniteDifference(Route):
    """Central differences at steps h and 2 h, extrapolated: `(4 D(h) - D(2h)) / 3`, error of order h^4.

    Marched states are marched again with the base point's number of steps, so that the difference does not see the
    stop test. With `refine` roots are found again by Newton's method from the base point's root, so that they stay on
    its branch, with what its certificate leaves of the residual; where one is not, or is of another kind, there is no
    gradient, nor at a root of a family of roots, nor where a parameter lies less than 2 h from an end of its range, or
    the loss has no finite derivative by autograd: a difference across a kink is a number all the same. Marching must
    be float64: the step is below the resolution of float32. The certificate's error estimate is `|D(h) - D(2h)| / 3`
    relative to the gradient: that of the plain difference, the extrapolated one is better.

    Attributes:
        step: h, in the units of each parameter, > 0. None is 2^-16 of each parameter, of the largest of a batch. For
            Gray-Scott it is 2^-29 = 1.9e-9 for marched states, about where rounding and curvature meet after 2,000 to
            20,000 steps at 128 x 128, and 2^-20 = 9.5e-7 for roots: its log spectrum is so rough that it needs steps
            this small.
        refine: Difference certified roots instead of marched states; a `Refine` sets how the base root is found.

    Raises:
        ValueError: The step is not positive.
        TypeError: A setting has a wrong type.

    Examples:
        >>> import gsimplicit as gs
        >>> params, start = gs.Params.preset("paper"), gs.initial_state(grid=(32, 32))
        >>> def mean_square(v):
        ...     return (v**2).mean((-2, -1))
        >>> routes = ["unrolled", gs.routes.FiniteDifference()]
        >>> table = gs.compare(params, routes, loss=mean_square, initial=start, tol=0.0, max_steps=200)
        >>> bool(table.difference.max() < 1e-6)
        True
    """

    name: ClassVar[str] = "finite_difference"
    through_steps: ClassVar[bool] = True
    step: float | None = None
    refine: bool | Refine = False

    def __post_init__(self) -> None:
        values = {
            "step": None if self.step is None else checks.real("step of FiniteDifference", self.step, above=0),
            "refine": plain_refine(self.refine),
        }
        checks.keep(self, values)

    @property
    def needs_root(self) -> bool:
        """Whether roots are differenced."""
        return self.refine is not False

    @property
    def least_dtype(self) -> torch.dtype:
        """Differences this small do not show in float32."""
        return torch.float64

    def check(self, params: ModelParams) -> None:
        """Raise where a parameter lies too near a bound of its range for a central difference."""
        for name, h in zip(params.model.parameters, self._steps(params).tolist(), strict=True):
            (low, high), values, reach = params.model.range_of(name), getattr(params, name), 2 * h
            if (value := values.min().item()) - low < reach:
                bound = f"2 h = {reach:.1e}" if low == 0 else f"{low:g} + 2 h = {low + reach:.6g}"
                raise ValueError(f"{name} must be >= {bound} for central differences, got {value}")
            if high - (value := values.max().item()) < reach:
                raise ValueError(f"{name} must be <= {high:g} - 2 h for central differences, got {value}")

    def _steps(self, params: ModelParams) -> torch.Tensor:
        """H of each parameter, shape (P,)."""
        count = len(params.model.parameters)
        if self.step is not None or params.model is DEFAULT:
            return torch.full((count,), self.step or _STEPS[self.needs_root], dtype=torch.float64)
        size = params.tensor().detach().abs().amax(dim=0)
        return _SHARE * torch.where(size > 0, size, 1.0)

    def solve(self, problem: Problem) -> SteadyState:
        """The marched state, or the certified root."""
        return problem.state(as_refine(self.refine))

    def pull_back(self, problem: Problem, state: SteadyState, cotangents: torch.Tensor) -> Derivatives:
        """Differences of the fields, contracted with the derivatives of the losses in them."""
        fields, widths = self._perturbed(problem, state)
        values = torch.einsum("lbchw,nbchw->nlb", cotangents.cpu(), fields.to(torch.float64))
        return self._pulled(state, values, widths)

    def differentiate(self, problem: Problem, state: SteadyState, losses: Sequence[Loss]) -> Derivatives:
        """Differences of the losses themselves; NaN where autograd finds a loss without a finite derivative."""
        fields, widths = self._perturbed(problem, state)
        seen, there = state.model.seen, fields.to(state.fields.device)  # where the loss is used to it
        values = torch.stack(
            [torch.stack([value_of(loss, seen_by(loss, one, seen)).cpu() for loss in losses]) for one in there]
        )
        for c, loss in enumerate(losses):
            dtype = dtype_of(loss, seen_by(loss, state.fields, seen))
            if dtype != torch.float64:
                raise ValueError(
                    f"loss {name_of(loss)!r} must give float64 for central differences, got {dtype}: such small "
                    "differences do not show in it"
                )
            _require_alike(loss, seen_by(loss, state.fields, seen))
            values[:, c, ~_smooth(loss, seen_by(loss, state.fields, seen))] = torch.nan
        return self._pulled(state, values, widths)

    def _perturbed(self, problem: Problem, state: SteadyState) -> tuple[torch.Tensor, torch.Tensor]:
        """States at p + 2h, p + h, p - h, p - 2h of each parameter, (4 P, B, S, H, W), and the widths, (2, P, B)."""
        base, h = problem.params.tensor(), self._steps(problem.params)
        count = base.shape[1]
        shifts = [(j, m * float(h[j])) for j, m in product(range(count), (2, 1, -1, -2))]
        points = torch.stack([base + by * torch.eye(count, dtype=torch.float64)[j] for j, by in shifts])
        # p + h is rounded: what counts is the distance of the points actually used
        at = torch.stack([points[n, :, j] for n, (j, _) in enumerate(shifts)]).reshape(count, 4, -1)
        widths = torch.stack([at[:, 1] - at[:, 2], at[:, 0] - at[:, 3]])
        low, high = torch.tensor([state.model.range_of(n) for n in state.model.parameters], dtype=torch.float64).T
        # elsewhere p - 2 h would lie outside a range: no central difference
        reached = ((base >= low + 2 * h) & (base <= high - 2 * h)).all(dim=1).tolist()
        fields = torch.full((len(shifts), *state.fields.shape), torch.nan, dtype=torch.float64, device="cpu")
        if self.needs_root:
            self._followed(problem, state, points, reached, fields)
        else:
            _marched_again(problem, state, points, reached, fields)
        return fields, widths

    def _followed(
        self, problem: Problem, state: SteadyState, points: torch.Tensor, reached: list[bool], fields: torch.Tensor
    ) -> None:
        """Roots followed to the points."""
        settings = as_refine(self.refine)
        linear = None if settings is None else settings.linear
        linear = solver_for(linear, state.fields[0, 0].numel(), torch.device("cpu"))

        def one(at: tuple[int, int], bordered: bool = False) -> torch.Tensor:
            n, i = at
            return carried(state[i], problem.params._stacked(points[n, i : i + 1]), linear, bordered=bordered)

        with one_blas_thread():
            for i in (i for i in range(len(state)) if reached[i] and not _of_a_family(state, i)):
                all_of = [(n, i) for n in range(len(points))]
                fields[:, i] = torch.stack(each(one, all_of))
                # a pattern that the lattice hardly pins: its raw equations are singular, as for the implicit route
                if state.status[i] == Status.STEADY and not torch.isfinite(fields[:, i]).all():
                    fields[:, i] = torch.stack(each(partial(one, bordered=True), all_of))

    def _pulled(self, state: SteadyState, values: torch.Tensor, widths: torch.Tensor) -> Derivatives:
        """Extrapolated differences from values (4 P, L, B) at the points of `_perturbed`."""
        at = values.reshape(-1, 4, *values.shape[1:])
        near = (at[:, 1] - at[:, 2]) / widths[0][:, None]
        far = (at[:, 0] - at[:, 3]) / widths[1][:, None]
        gradient = ((4 * near - far) / 3).permute(1, 2, 0)
        error = (near - far).permute(1, 2, 0).norm(dim=-1) / 3 / gradient.norm(dim=-1)
        what = "differences of roots" if self.needs_root else "differences of marched states"
        certificates = tuple(
            Certificate(
                definition=definitions(what, gradient[c]),
                adjoint_residual=nothing(len(state)),
                other_definition=nothing(len(state)),
                error=error[c],
                position=nothing(len(state)),
                products=torch.full((len(state),), len(values)) if self.needs_root else len(values) * state.steps,
            )
            for c in range(gradient.shape[0])
        )
        return Derivatives(gradient, certificates)


def _of_a_family(state: SteadyState, i: int) -> bool:
    """Whether a root is no isolated one: which of its neighbours Newton's method finds is a matter of rounding."""
    from gsimplicit.refine.least_singular import is_of_a_family

    if not bool(state.has_root[i]):
        return False
    equations = next(instances(state.params[i]))
    return bool(state.least_singular[i] < _SINGULAR) or is_of_a_family(equations, state.fields[i].cpu().numpy())


def _marched_again(
    problem: Problem, state: SteadyState, points: torch.Tensor, reached: list[bool], fields: torch.Tensor
) -> None:
    """States marched again at the points (n, B, P), each with its base point's number of steps."""
    where, good = problem.marching, [i for i in range(len(state)) if reached[i] and state.status[i] != Status.DIVERGED]
    for steps in sorted({int(state.steps[i]) for i in good}):
        some = [i for i in good if state.steps[i] == steps]
        params = problem.params._stacked(points[:, some].flatten(0, 1))
        start = problem.initial[some].repeat(len(points), 1, 1, 1)
        ends = replace(where, tol=0.0, max_steps=steps)(start, params).fields
        fields[:, some] = ends.to("cpu", torch.float64).reshape(len(points), len(some), *ends.shape[1:])


def _require_alike(loss: Loss, v: torch.Tensor) -> None:
    """Raise for a loss that gives other values when it is asked again: its differences are those, over h."""
    first, again = value_of(loss, v), value_of(loss, v)
    if not torch.equal(first.nan_to_num(), again.nan_to_num()):
        raise ValueError(
            f"loss {name_of(loss)!r} gives other values for the same v when it is called again, as with random "
            "numbers, dropout or something it counts: it has no central differences"
        )


def _smooth(loss: Loss, v: torch.Tensor) -> torch.Tensor:
    """Whether autograd finds a finite derivative of a loss, or cannot see it, an instance: bool, shape (B,)."""
    try:
        slope = slope_of(loss, v)
    except MixedInstancesError:
        raise
    except Exception:  # it leaves torch: values are all there is
        slope = None
    return torch.ones(len(v), dtype=torch.bool) if slope is None else torch.isfinite(slope).flatten(1).all(dim=1).cpu()


def carried(
    base: SteadyState, params: ModelParams, linear: LinearSolver | None = None, *, bordered: bool = False
) -> torch.Tensor:
    """The fields of a root at other parameters near by, by Newton's method alone, so that its position is kept.

    What the base root's certificate leaves of the residual is held, so that the path leads through that very root: one
    that is weakly pinned would else jump to where the residual vanishes to rounding, and its gradient with it.

    Args:
        base: One root.
        params: One instance.
        linear: How linear systems are solved; None is sparse LU.
        bordered: Use the bordered equations although it does not drift; those of a drifting root are.

    Returns:
        Fields (S, H, W), NaN where the root is lost, or is of another kind there.
    """
    from gsimplicit.refine.newton import newton

    lost = torch.full_like(base.fields[0], torch.nan, device="cpu")
    if not bool(base.has_root[0]) or base.kind[0] == Kind.UNKNOWN:
        return lost
    bordered = bordered or bool(base.status[0] == Status.DRIFTING)
    at = base.fields[0].detach().to("cpu", torch.float64).numpy()
    held = next(instances(base.params)).residual(at)
    if bordered:
        held = held + along(base.drift[0].numpy(), at)
    there = next(instances(params))
    root = newton(there, at, _ROOT_TOL * there.model.scale, bordered=bordered, linear=linear, held=held)
    fields = torch.from_numpy(root.fields)
    same = base.model.kinds(fields[None])[0] == base.kind[0]
    return fields if root.residual < _ROOT_LIMIT * there.model.scale and bool(same) else lost
