"""A batch of states and how far each is from steady, and the error of a state that is not."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gsimplicit import checks
from gsimplicit.notebooks import MOST, limits, picture, table
from gsimplicit.pickling import ByValue
from gsimplicit.results.outcomes import Kind, Motion, Stable, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsimplicit.equations import Model, ModelParams


class NotSteady(RuntimeError):  # noqa: N818 (the contract's name: it is an outcome, not a fault)
    """A steady state was needed and there is none.

    Attributes:
        state: The state as far as it was reached, so that nothing is lost.

    Examples:
        >>> import gsimplicit as gs
        >>> state = gs.steady_state(gs.Params.preset("paper"), gs.initial_state(grid=(32, 32)), max_steps=10)
        >>> try:
        ...     state.require_steady()
        ... except gs.NotSteady as error:
        ...     print(gs.Status(error.state.status.item()).name)
        UNSTEADY
    """

    state: SteadyState

    def __init__(self, message: str, state: SteadyState | None = None) -> None:
        super().__init__(message)
        if state is not None:  # pickles of version 0.1.0 put it there afterwards
            self.state = state

    def __reduce__(self) -> tuple[Any, ...]:
        # an exception is made again from its `args`, of which the state is none; its notes go with the rest
        return type(self), (str(self), self.state), vars(self)


@dataclass(frozen=True, eq=False)
class SteadyState(ByValue):
    """A batch of B states and how far each is from steady.

    Pickled and deep-copied it is cut off from autograd.

    Attributes:
        fields: Shape (B, S, H, W), the model's species along the second axis.
        params: The parameters of each instance.
        status: How each solve ended, `Status` as int64, shape (B,).
        kind: What each state looks like, `Kind` as int64, shape (B,).
        stable: `Stable` as int64, shape (B,).
        steps: Euler steps marched to the stop test or cap, int64, shape (B,).
        change: Largest |difference| of a species over the last step marched, float64, shape (B,).
        residual: Max norm of the raw steady residual per unit time, float64, shape (B,).
        bordered_residual: The same after the drift is taken out; NaN where no drift was solved for.
        drift: Velocity of the pattern along rows and columns, pixels per unit time, shape (B, 2); NaN likewise.
        moved: Max-norm distance of the fields from the marched state, shape (B,); 0 without refinement.
        least_singular: Least singular value of the Jacobian that certifies a root, the full one where steady and the
            bordered one where drifting, per unit time, shape (B,): from below, to a twentieth; 0 where it is singular,
            NaN where there is no root.
        distance: Bound on the distance to the root whose residual is 0, in the 2-norm over species and pixels, shape
            (B,): the 2-norm of the residual over `least_singular`, times 1 to 1.4 for what bends on the way (theorem of
            Newton and Kantorovich); NaN likewise. Where it is large the position of the pattern is hardly held, or a
            fold is near. Infinite where the Jacobian is singular, and where no root is proved to be near: close to a
            fold the residual is small on either side, with or without a root.
        evaluations: Residual evaluations of the refinement, int64, shape (B,).
        eigenvalues: Leading eigenvalues per unit time where they were asked for, sorted by falling real part,
            complex128, shape (B, n), NaN where there are fewer; n = 0 otherwise.
        motion: What a state does that refinement had to leave unsteady, `Motion` as int64, shape (B,). OVERSHOOTING
            also where a march alone saw it.
        step_factor: Largest |1 + dt eigenvalue| over the modes that the equations damp: above 1 the explicit step blows
            them up, and cannot hold the state; float64, shape (B,). NaN where it was not asked, as at a root whose
            modes are all too slow for that. Of a pattern the fastest mode counts alone.

    Examples:
        >>> import gsimplicit as gs
        >>> state = gs.steady_state(gs.Params.preset("paper"), gs.initial_state(grid=(32, 32)))
        >>> state.v.shape, gs.Status(state.status.item()).name, bool(state.change < 1e-4)
        (torch.Size([1, 32, 32]), 'SETTLED', True)
    """

    fields: torch.Tensor
    params: ModelParams
    status: torch.Tensor
    kind: torch.Tensor
    stable: torch.Tensor
    steps: torch.Tensor
    change: torch.Tensor
    residual: torch.Tensor
    bordered_residual: torch.Tensor
    drift: torch.Tensor
    moved: torch.Tensor
    least_singular: torch.Tensor
    distance: torch.Tensor
    evaluations: torch.Tensor
    eigenvalues: torch.Tensor
    motion: torch.Tensor
    step_factor: torch.Tensor

    @property
    def model(self) -> Model:
        """The model it is a state of."""
        return self.params.model

    @property
    def u(self) -> torch.Tensor:
        """Species u, shape (B, H, W)."""
        return self.species("u")

    @property
    def v(self) -> torch.Tensor:
        """Species v, or the observed one of a model that has none of that name, shape (B, H, W)."""
        return self.species("v") if "v" in self.model.species else self.observed

    @property
    def observed(self) -> torch.Tensor:
        """The species that losses see, shape (B, H, W): v of Gray-Scott."""
        return self.fields[:, self.model.seen]

    def species(self, name: str) -> torch.Tensor:
        """A species by its name, shape (B, H, W).

        Raises:
            ValueError: The model has no such species.
        """
        return self.fields[:, self.model.species.index(checks.choice("species", name, self.model.species))]

    @property
    def has_root(self) -> torch.Tensor:
        """Whether each instance is steady or drifting, bool, shape (B,)."""
        return (self.status == Status.STEADY) | (self.status == Status.DRIFTING)

    def require_steady(self) -> None:
        """Raise unless every instance is steady or drifting.

        Raises:
            NotSteady: Names the instances, how each ended and what to try.
        """
        bad = (~self.has_root).nonzero().reshape(-1).tolist()
        if bad:
            lines = [f"  instance {i}: {self.description(i)}; {self._advice(i)}" for i in bad[:8]]
            more = [f"  and {len(bad) - 8} more"] if len(bad) > 8 else []
            raise NotSteady(
                "\n".join([f"{len(bad)} of {len(self)} instances have no steady state:", *lines, *more]), self
            )

    def replace(self, **changes: Any) -> SteadyState:
        """A copy with some entries replaced."""
        return replace(self, **changes)

    def _advice(self, i: int) -> str:
        if self.motion[i] == Motion.OVERSHOOTING:
            return f"{self.step_text(i)}: more steps do not help, a shorter dt or weaker diffusion does ({_UNITS})"
        if self.status[i] == Status.DIVERGED:
            return self.model.advice(self.params.tensor()[i].detach().tolist()) or _ADVICE[Status.DIVERGED]
        return _ADVICE[Status(int(self.status[i]))]

    def step_text(self, i: int) -> str:
        """What is wrong with the explicit step at instance i, in numbers."""
        reach = self.model.reach(self.params.tensor()[i].detach().tolist(), self.fields[i])
        return (
            "the explicit step is itself unstable here, the equations need not be: it multiplies a mode that they damp "
            f"by {float(self.step_factor[i]):.3g} ({reach})"
        )

    def description(self, i: int) -> str:
        """How instance i ended, in a line."""
        status, kind = (e.name.lower() for e in (Status(int(self.status[i])), Kind(int(self.kind[i]))))
        parts = [
            f"{status} ({kind}) after {int(self.steps[i])} steps, change {float(self.change[i]):.1e}",
            f"residual {float(self.residual[i]):.1e}",
        ]
        if torch.isfinite(self.bordered_residual[i]):
            parts += [
                f"refined with {int(self.evaluations[i])} evaluations",
                f"moved {float(self.moved[i]):.2g}",
                f"drift {float(self.drift[i].norm()):.1e} pixels per unit time",
                f"residual without it {float(self.bordered_residual[i]):.1e}",
            ]
        if torch.isfinite(self.distance[i]):
            parts.append(f"the exact root within {float(self.distance[i]):.1e}")
        elif torch.isinf(self.distance[i]):
            parts.append(_UNBOUND if self.least_singular[i] == 0 else _UNPROVED)
        if self.motion[i] != Motion.UNKNOWN:
            parts.append(f"{Motion(int(self.motion[i])).name.lower()}")
        if self.stable[i] != Stable.UNKNOWN:
            leading = complex(self.eigenvalues[i, 0])
            parts.append(
                f"{'stable' if self.stable[i] == Stable.YES else 'unstable'}, leading eigenvalue {leading.real:.2g}"
                + (f" {leading.imag:+.2g}i" if leading.imag else "")
            )
        return ", ".join(parts)

    def __len__(self) -> int:
        return len(self.fields)

    def __getitem__(self, index: int | np.integer[Any] | slice | list[int]) -> SteadyState:
        chosen = checks.index(index)
        return SteadyState(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})

    def __repr__(self) -> str:
        grid = " x ".join(map(str, self.fields.shape[2:]))
        lines = [f"  {i}: {self.description(i)}" for i in range(min(len(self), 8))]
        more = [f"  and {len(self) - 8} more"] if len(self) > 8 else []
        return "\n".join(
            [f"SteadyState of {len(self)} on {grid}, {str(self.fields.dtype).removeprefix('torch.')}", *lines, *more]
        )

    def _repr_html_(self) -> str:
        grid = " x ".join(map(str, self.fields.shape[2:]))
        heads = ["", self.model.observed, *self.model.parameters, "status", "kind", "steps", "residual", "stable"]
        rows, seen = [], self.observed[:MOST].detach().to("cpu", torch.float64).numpy()
        ends = limits(seen)
        for i in range(min(len(self), MOST)):
            values = [f"{x:.6g}" for x in self.params.tensor()[i].tolist()]
            words = [Status(int(self.status[i])), Kind(int(self.kind[i])), Stable(int(self.stable[i]))]
            status, kind, stable = (word.name.lower() for word in words)
            rest = [status, kind, f"{int(self.steps[i]):,}", f"{float(self.residual[i]):.1e}", stable]
            rows.append(
                [str(i), picture(seen[i], f"{self.model.observed} of instance {i}, {kind}", ends), *values, *rest]
            )
        title = f"{len(self)} {'state' if len(self) == 1 else 'states'} of {self.model.name} on {grid} pixels"
        return table(title, heads, rows, len(self) - MOST)


_UNBOUND = "no bound on the distance to the exact root: the Jacobian is singular"

_UNPROVED = "no exact root is proved to be near: the residual is that small beside a fold, on either side of it"

_UNITS = "a preset of another program is D / dx^2 here, see gsimplicit.Params"

_ADVICE = {
    Status.NOT_RUN: "it was not run",
    Status.FIXED: "it was not refined: refine=True",
    Status.SETTLED: "it was not refined: refine=True",
    Status.UNSTEADY: (
        "it travels, oscillates or still rearranges: try more max_steps or Refine(max_evaluations=...), "
        "or a route at finite time"
    ),
    Status.DIVERGED: f"the explicit step is unstable here: a shorter dt, or weaker diffusion ({_UNITS})",
    Status.FAILED: "the refinement gave up: march further, or a route at finite time",
}


def copied(state: SteadyState) -> SteadyState:
    """The same state in memory of its own, cut off from autograd."""
    parts = {f.name: getattr(state, f.name) for f in fields(SteadyState)}
    params = parts.pop("params").detach()  # is a copy
    own = {n: value.detach().clone() if isinstance(value, torch.Tensor) else value for n, value in parts.items()}
    return SteadyState(params=params, **own)


def concatenate(states: Sequence[SteadyState]) -> SteadyState:
    """One batch from several, in order."""
    parts = {f.name: [getattr(s, f.name) for s in states] for f in fields(SteadyState)}
    params = parts.pop("params")
    params = params[0]._of(torch.cat([p.tensor() for p in params]))
    return SteadyState(params=params, **{name: torch.cat(values) for name, values in parts.items()})
