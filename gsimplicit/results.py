"""What comes back: statuses, steady states, gradients, certificates, and the error of a state that is not steady."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gsimplicit import checks
from gsimplicit.notebooks import MOST, limits, picture, table
from gsimplicit.pickling import ByValue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gsimplicit.equations import Model, ModelParams


class Status(IntEnum):
    """How a solve ended. Stored as these integers."""

    NOT_RUN = 0
    FIXED = 1
    """Marched exactly the steps asked for."""
    SETTLED = 2
    """The stop test of the march fired."""
    STEADY = 3
    """The raw steady residual is certified."""
    DRIFTING = 4
    """The bordered residual is certified: a rigid pattern that still drifts slowly."""
    UNSTEADY = 5
    """The cap on steps or evaluations was reached first."""
    DIVERGED = 6
    """The fields are no longer finite."""
    FAILED = 7
    """A solver gave up: Newton's method at a slow state, or the adjoint of a route in a scan."""


class Kind(IntEnum):
    """What a state looks like. Stored as these integers."""

    UNKNOWN = 0
    TRIVIAL = 1
    """As the model has it: for Gray-Scott max v < 0.01."""
    UNIFORM = 2
    """Standard deviation of the observed species < 1e-3."""
    PATTERN = 3


class Stable(IntEnum):
    """Whether a root is linearly stable, where eigenvalues were asked for. Stored as these integers."""

    UNKNOWN = 0
    YES = 1
    NO = 2


class Motion(IntEnum):
    """What an unsteady state does, where refinement gave it up. Stored as these integers."""

    UNKNOWN = 0
    TRAVELLING = 1
    """It moves without changing shape, too unevenly for a root."""
    OSCILLATING = 2
    """It comes back to where it was."""
    REARRANGING = 3
    """It changes without coming back."""
    OVERSHOOTING = 4
    """The explicit step throws it back and forth: the equations let it come to rest, such a step does not."""


class PositionWarning(UserWarning):
    """A loss sees the position of a pattern, which no steady state determines."""


class NotSteady(RuntimeError):  # noqa: N818 (the contract's name: it is an outcome, not a fault)
    """A steady state was needed and there is none.

    Attributes:
        state: The state as far as it was reached, so that nothing is lost.
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
        drift: Velocity of the pattern along rows and columns, cells per unit time, shape (B, 2); NaN likewise.
        moved: Max-norm distance of the fields from the marched state, shape (B,); 0 without refinement.
        least_singular: Least singular value of the Jacobian that certifies a root, the full one where steady and the
            bordered one where drifting, per unit time, shape (B,): from below, to a twentieth; 0 where it is singular,
            NaN where there is no root.
        distance: Bound on the distance to the root whose residual is 0, in the 2-norm over species and cells, shape
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
            lines = [f"  instance {i}: {self._describe(i)}; {self._advice(i)}" for i in bad[:8]]
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

    def _describe(self, i: int) -> str:
        status, kind = (e.name.lower() for e in (Status(int(self.status[i])), Kind(int(self.kind[i]))))
        parts = [
            f"{status} ({kind}) after {int(self.steps[i])} steps, change {float(self.change[i]):.1e}",
            f"residual {float(self.residual[i]):.1e}",
        ]
        if torch.isfinite(self.bordered_residual[i]):
            parts += [
                f"refined with {int(self.evaluations[i])} evaluations",
                f"moved {float(self.moved[i]):.2g}",
                f"drift {float(self.drift[i].norm()):.1e} cells per unit time",
                f"residual without it {float(self.bordered_residual[i]):.1e}",
            ]
        if torch.isfinite(self.distance[i]):
            parts.append(f"at most {float(self.distance[i]):.1e} from the closed root")
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
        lines = [f"  {i}: {self._describe(i)}" for i in range(min(len(self), 8))]
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


_UNBOUND = "no bound on the distance to the closed root: the Jacobian is singular"

_UNPROVED = "no closed root is proved to be near: the residual is that small beside a fold, on either side of it"

_UNSURE = "no closed root is proved to be near: the Jacobian is singular, or a fold is near"

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


@dataclass(frozen=True, eq=False)
class Certificate(ByValue):
    """How far to trust a gradient and what it cost, an entry an instance.

    Attributes:
        definition: What was differentiated: "full jacobian", "bordered jacobian", "marched steps", "last marched
            steps", "tangents of marched steps", "tangents at a root", "fixed point by torchdeq", "phantom
            steps by torchdeq", "differences of marched states", "differences of roots" or "network"; "none"
            where there is no gradient.
        adjoint_residual: Relative residual of the adjoint solve, float64, shape (B,); NaN for routes without one.
        other_definition: Relative difference between the full and the bordered implicit gradient where both exist,
            float64, shape (B,); NaN elsewhere.
        error: Estimated relative error of the gradient, float64, shape (B,); NaN where the route has no estimate. Of
            the implicit route what is left on the way to the closed root (NaN where no parameter moves that, as the
            trivial one), of differences what their steps leave out.
        position: Share of the loss's derivative in the fields that lies along translations of the pattern, in 0..1,
            float64, shape (B,); NaN for routes that do not ask. Where it is not small the loss sees the position, which
            is history, not physics, and the implicit gradient and those at finite time answer different questions.
        distance: Distance of the state from the root whose residual is 0, to first order, `|J^-1 R|` in the 2-norm with
            the Jacobian of the gradient, float64, shape (B,); infinite where that is singular or no root is proved to
            be near, NaN for routes that need no root.
        products: Work of the gradient alone, int64, shape (B,): solves with the factors or products with the Jacobian
            of the implicit route, steps pulled back by the unrolled one, steps or roots taken for differences.
        seconds: Wall time of the whole call.
    """

    definition: tuple[str, ...]
    adjoint_residual: torch.Tensor
    other_definition: torch.Tensor
    error: torch.Tensor
    position: torch.Tensor
    products: torch.Tensor
    seconds: float = float("nan")
    distance: torch.Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.float64))

    def __post_init__(self) -> None:
        if len(self.distance) != len(self.definition):
            object.__setattr__(self, "distance", torch.full((len(self.definition),), torch.nan, dtype=torch.float64))


class ParameterGradient(ByValue):
    """Derivative of each instance's own loss in each parameter of its model: attributes of the parameters' names.

    Each is float64 of shape (B,): `Du`, `Dv`, `F` and `k` for Gray-Scott.

    Args:
        names: Names of the P parameters.
        values: Shape (B, P).
    """

    def __init__(self, names: Sequence[str], values: torch.Tensor) -> None:
        for name, value in zip(names, values.unbind(1), strict=True):
            object.__setattr__(self, name, value)

    def tensor(self) -> torch.Tensor:
        """All of them as one tensor of shape (B, P), in the order of the model's parameters."""
        return torch.stack(list(vars(self).values()), dim=1)

    def __getattr__(self, name: str) -> torch.Tensor:
        raise AttributeError(
            f"the model has no parameter {name!r}: it has {', '.join(vars(self))}{checks.meant(name, vars(self))}"
        )

    def __setattr__(self, name: str, value: Any) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __repr__(self) -> str:
        return f"ParameterGradient({', '.join(f'{name}={value.tolist()}' for name, value in vars(self).items())})"


@dataclass(frozen=True, eq=False)
class Gradient(ByValue):
    """A loss of a state and its derivative in the parameters.

    Attributes:
        loss: Loss of each instance, float64, shape (B,).
        grad: Its derivative in each parameter.
        state: Where it was taken.
        certificate: How far to trust it and what it cost.
        route: Name of the route.
        objective: Name of the loss.
    """

    loss: torch.Tensor
    grad: ParameterGradient
    state: SteadyState
    certificate: Certificate
    route: str = field(default="")
    objective: str = field(default="")

    def __repr__(self) -> str:
        c = self.certificate
        lines = [f"Gradient of the {self.objective} loss by the {self.route} route, {c.seconds:.2g} s"]
        for i in range(min(len(self.loss), 8)):
            values = "  ".join(f"d/d{name} {value[i].item():.6g}" for name, value in vars(self.grad).items())
            lines += [f"  {i}: loss {self.loss[i].item():.6g}  {values}", f"     state: {self.state._describe(i)}"]
            lines += [f"     gradient: {_trust(c, i)}"]
        if len(self.loss) > 8:
            lines.append(f"  and {len(self.loss) - 8} more")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        c, names = self.certificate, list(vars(self.grad))
        heads = ["", "loss", *(f"d/d{name}" for name in names), "state", "how far to trust it"]
        rows = []
        for i in range(min(len(self.loss), MOST)):
            values = [f"{getattr(self.grad, name)[i].item():.6g}" for name in names]
            state = f"{Status(int(self.state.status[i])).name.lower()}, {Kind(int(self.state.kind[i])).name.lower()}"
            rows.append([str(i), f"{self.loss[i].item():.6g}", *values, state, _trust(c, i)])
        title = f"Gradient of the {self.objective} loss by the {self.route} route, {c.seconds:.2g} s"
        return table(title, heads, rows, len(self.loss) - MOST)


def _trust(c: Certificate, i: int) -> str:
    parts = [f"by {c.definition[i]}", f"{int(c.products[i])} products"]
    for text, value in (
        ("adjoint residual {:.1e}", c.adjoint_residual[i]),
        ("full and bordered jacobian differ by {:.1%}", c.other_definition[i]),
        ("estimated relative error {:.1e}", c.error[i]),
        ("share along translations {:.1e}", c.position[i]),
        ("taken {:.1e} from the closed root", c.distance[i]),
    ):
        if torch.isfinite(value):
            parts.append(text.format(float(value)))
    if torch.isinf(c.distance[i]):
        parts.append(_UNSURE)
    return ", ".join(parts)
