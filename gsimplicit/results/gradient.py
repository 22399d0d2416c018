"""A loss and its derivative in the parameters, with the certificate that says how far to trust it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import FrozenInstanceError, dataclass, field
from typing import Any

import torch

from gsimplicit import checks
from gsimplicit.notebooks import MOST, table
from gsimplicit.pickling import ByValue
from gsimplicit.results.outcomes import Kind, Status
from gsimplicit.results.state import SteadyState


class PositionWarning(UserWarning):
    """A loss sees the position of a pattern, which no steady state determines.

    Examples:
        >>> import warnings
        >>> import gsimplicit as gs
        >>> params, start = gs.Params.preset("paper"), gs.initial_state(grid=(32, 32))
        >>> with warnings.catch_warnings(record=True) as told:
        ...     warnings.simplefilter("always")
        ...     out = gs.grad(params, "implicit", lambda v: v[:, 8, 8], initial=start)
        >>> [w.category.__name__ for w in told]
        ['PositionWarning']
    """


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
            the implicit route what is left on the way to the exact root (NaN where no parameter moves that, as the
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

    Examples:
        >>> import gsimplicit as gs
        >>> params, start = gs.Params.preset("paper"), gs.initial_state(grid=(32, 32))
        >>> trust = gs.grad(params, "implicit", lambda v: (v**2).mean((-2, -1)), initial=start).certificate
        >>> trust.definition, bool(trust.adjoint_residual < 1e-8)
        (('bordered jacobian',), True)
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

    Examples:
        >>> import torch
        >>> import gsimplicit as gs
        >>> slope = gs.ParameterGradient(("F", "k"), torch.tensor([[2.0, -3.0]]))
        >>> slope.k.item(), slope.tensor().shape
        (-3.0, torch.Size([1, 2]))
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

    Examples:
        >>> import gsimplicit as gs
        >>> params, start = gs.Params.preset("paper"), gs.initial_state(grid=(32, 32))
        >>> out = gs.grad(params, "unrolled", "spectrum", initial=start, tol=0.0, max_steps=100)
        >>> out.route, out.objective, out.loss.shape, out.grad.k.shape
        ('unrolled', 'spectrum', torch.Size([1]), torch.Size([1]))
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
            lines += [f"  {i}: loss {self.loss[i].item():.6g}  {values}", f"     state: {self.state.description(i)}"]
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


_UNSURE = "no exact root is proved to be near: the Jacobian is singular, or a fold is near"


def _trust(c: Certificate, i: int) -> str:
    parts = [f"by {c.definition[i]}", f"{int(c.products[i])} products"]
    for text, value in (
        ("adjoint residual {:.1e}", c.adjoint_residual[i]),
        ("full and bordered jacobian differ by {:.1%}", c.other_definition[i]),
        ("estimated relative error {:.1e}", c.error[i]),
        ("share along translations {:.1e}", c.position[i]),
        ("exact root some {:.1e} away", c.distance[i]),
    ):
        if torch.isfinite(value):
            parts.append(text.format(float(value)))
    if torch.isinf(c.distance[i]):
        parts.append(_UNSURE)
    return ", ".join(parts)
