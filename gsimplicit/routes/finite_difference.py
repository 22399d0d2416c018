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
from gsimplicit.gray_scott import PARAMETERS, Params
from gsimplicit.marching import each
from gsimplicit.refine import Refine
from gsimplicit.refine.solvers import LinearSolver, chosen
from gsimplicit.results import Certificate, Kind, Status, SteadyState, kinds
from gsimplicit.routes.contract import Problem, Pulled, Route, definitions, nothing
from gsimplicit.routes.objective import Loss, MixedInstancesError, dtype_of, name_of, slope_of, value_of
from gsimplicit.steady import as_refine, plain_refine
from gsimplicit.threads import one_blas_thread

Array = np.ndarray[Any, np.dtype[np.float64]]

_STEPS = {False: 2.0**-29, True: 2.0**-20}
_ROOT_TOL = 1e-15
_ROOT_LIMIT = 1e-12


@dataclass(frozen=True)
class FiniteDifference(Route):
    """Central differences at steps h and 2 h, extrapolated: `(4 D(h) - D(2h)) / 3`, error of order h^4.

    Marched states are marched again with the base point's number of steps, so that the difference does not see the
    stop test. With `refine` roots are found again by Newton's method from the base point's root, so that they stay on
    its branch, with what its certificate leaves of the residual; where one is not, or is of another kind, there is no
    gradient, nor where a parameter lies less than 2 h above 0, or the loss has no finite derivative by autograd: a
    difference across a kink is a number all the same. Marching must be float64: the step is below the resolution of
    float32. The certificate's error estimate is `|D(h) - D(2h)| / 3` relative to the gradient: that of the plain
    difference, the extrapolated one is better.

    Attributes:
        step: h, in the units of each parameter, > 0. None is 2^-29 = 1.9e-9 for marched states, about where rounding
            and curvature meet after 2,000 to 20,000 steps at 128 x 128, and 2^-20 = 9.5e-7 for roots. The log
            spectrum is so rough that it needs steps this small.
        refine: Difference certified roots instead of marched states; a `Refine` sets how the base root is found.

    Raises:
        ValueError: The step is not positive.
        TypeError: A setting has a wrong type.
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

    def check(self, params: Params) -> None:
        """Raise where a parameter lies too near 0 for a central difference."""
        least = 2 * (self.step or _STEPS[self.needs_root])
        for name in PARAMETERS:
            value = getattr(params, name).min().item()
            if value < least:
                raise ValueError(f"{name} must be >= 2 h = {least:.1e} for central differences, got {value}")

    def solve(self, problem: Problem) -> SteadyState:
        """The marched state, or the certified root."""
        return problem.state(as_refine(self.refine))

    def pull_back(self, problem: Problem, state: SteadyState, cotangents: torch.Tensor) -> Pulled:
        """Differences of the fields, contracted with the derivatives of the losses in them."""
        fields, widths = self._perturbed(problem, state)
        values = torch.einsum("lbchw,nbchw->nlb", cotangents.cpu(), fields.to(torch.float64))
        return self._pulled(state, values, widths)

    def differentiate(self, problem: Problem, state: SteadyState, losses: Sequence[Loss]) -> Pulled:
        """Differences of the losses themselves; NaN where autograd finds a loss without a finite derivative."""
        fields, widths = self._perturbed(problem, state)
        v = fields[:, :, 1].to(state.fields.device)  # where the loss is used to it
        values = torch.stack([torch.stack([value_of(loss, one).cpu() for loss in losses]) for one in v])
        for c, loss in enumerate(losses):
            dtype = dtype_of(loss, state.v)
            if dtype != torch.float64:
                raise ValueError(
                    f"loss {name_of(loss)!r} must give float64 for central differences, got {dtype}: such small "
                    "differences do not show in it"
                )
            _require_alike(loss, state.v)
            values[:, c, ~_smooth(loss, state.v)] = torch.nan
        return self._pulled(state, values, widths)

    def _perturbed(self, problem: Problem, state: SteadyState) -> tuple[torch.Tensor, torch.Tensor]:
        """States at p + 2h, p + h, p - h, p - 2h of each parameter, (16, B, 2, H, W), and the widths, (2, 4, B)."""
        h = self.step or _STEPS[self.needs_root]
        settings = as_refine(self.refine)
        linear = chosen(None if settings is None else settings.linear, state.fields[0, 0].numel(), torch.device("cpu"))
        base = problem.params.tensor()
        reached = (base >= 2 * h).all(dim=1)  # elsewhere p - 2 h would be negative: no central difference
        shifts = [(j, m * h) for j, m in product(range(4), (2, 1, -1, -2))]
        points = torch.stack([base + by * torch.eye(4, dtype=torch.float64)[j] for j, by in shifts])
        # p + h is rounded: what counts is the distance of the points actually used
        at = torch.stack([points[n, :, j] for n, (j, _) in enumerate(shifts)]).reshape(4, 4, -1)
        widths = torch.stack([at[:, 1] - at[:, 2], at[:, 0] - at[:, 3]])

        def one(at: tuple[int, int], bordered: bool = False) -> torch.Tensor:
            n, i = at
            params = Params.stack(points[n, i : i + 1].clamp(min=0))
            if self.needs_root:
                lost = torch.full_like(state.fields[i], torch.nan, device="cpu")
                return carried(state[i], params, linear, bordered=bordered) if reached[i] else lost
            where = problem.marching
            start = problem.initial[i : i + 1].to(where.device, where.dtype)
            if state.status[i] == Status.DIVERGED or not reached[i]:
                return torch.full_like(start, torch.nan)[0]
            return replace(where, tol=0.0, max_steps=int(state.steps[i]))(start, params).fields[0]

        size = len(state)
        with one_blas_thread():
            ends = each(one, list(product(range(len(shifts)), range(size))))
            fields = torch.stack([e.cpu() for e in ends]).reshape(len(shifts), size, *ends[0].shape)
            for i in range(size) if self.needs_root else ():
                # a pattern that the lattice hardly pins: its raw equations are singular, as for the implicit route
                if state.status[i] == Status.STEADY and not torch.isfinite(fields[:, i]).all():
                    again = each(partial(one, bordered=True), [(n, i) for n in range(len(shifts))])
                    fields[:, i] = torch.stack(again)
        return fields, widths

    def _pulled(self, state: SteadyState, values: torch.Tensor, widths: torch.Tensor) -> Pulled:
        """Extrapolated differences from values (16, L, B) at the points of `_perturbed`."""
        at = values.reshape(4, 4, *values.shape[1:])
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
                products=torch.full((len(state),), 16) if self.needs_root else 16 * state.steps,
            )
            for c in range(gradient.shape[0])
        )
        return Pulled(gradient, certificates)


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
    base: SteadyState, params: Params, linear: LinearSolver | None = None, *, bordered: bool = False
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
        Fields (2, H, W), NaN where the root is lost, or is of another kind there.
    """
    from gsimplicit.refine.linear import gradient
    from gsimplicit.refine.newton import newton, residual

    lost = torch.full_like(base.fields[0], torch.nan, device="cpu")
    if not bool(base.has_root[0]) or base.kind[0] == Kind.UNKNOWN:
        return lost
    bordered = bordered or bool(base.status[0] == Status.DRIFTING)
    at = base.fields[0].detach().to("cpu", torch.float64).numpy()
    held = residual(at, base.params.tensor()[0].numpy())
    if bordered:
        held = held + np.tensordot(base.drift[0].numpy(), gradient(at), axes=1)
    root = newton(at, params.tensor()[0].numpy(), _ROOT_TOL, bordered=bordered, linear=linear, held=held)
    fields = torch.from_numpy(root.fields)
    same = kinds(fields[None])[0] == base.kind[0]
    return fields if root.residual < _ROOT_LIMIT and bool(same) else lost
