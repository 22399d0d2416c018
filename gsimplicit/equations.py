"""The equations of an instance: a model with its parameters on a grid.

`Equations` are those of one instance in numpy, for refinement, linear algebra and continuation. The functions below
are those of a batch in torch, attached to autograd. What rooms after this one need of models it hands on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gsimplicit.grid import Indices, along, around, neighbour_sum, stencil
from gsimplicit.models.gray_scott import gray_scott
from gsimplicit.models.model import Model
from gsimplicit.models.params import ModelParams, in_words
from gsimplicit.models.stability import (
    StabilityWarning,
    UnitsWarning,
    instability_expected,
    warn_if_unstable,
    warn_of_instability,
    warn_of_size,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gsimplicit.models.steps import Steps

__all__ = [
    "DEFAULT",
    "Equations",
    "Model",
    "ModelParams",
    "StabilityWarning",
    "UnitsWarning",
    "applied",
    "columns",
    "constants",
    "in_words",
    "instability_expected",
    "instances",
    "model_residual",
    "parameter_slopes",
    "product",
    "residual",
    "step",
    "step_by",
    "together",
    "warn_if_unstable",
    "warn_of_instability",
    "warn_of_size",
]

DEFAULT: Model = gray_scott
"""The model meant where none is named: that of the paper."""

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, eq=False)
class Equations:
    """One instance of a model: steady residual, derivatives and explicit step, for fields (S, H, W) in numpy.

    Attributes:
        model: The model.
        values: Its parameters, float64, shape (P,).
        dt: Length of an explicit step.
    """

    model: Model
    values: Array
    dt: float = 1.0

    @property
    def steps(self) -> Steps | None:
        """One explicit step as formulas; None where the model's reaction is none."""
        return self.model.steps(self.dt)

    @property
    def diffusivity(self) -> list[float]:
        """Diffusion coefficients, one a species."""
        return [float(D) for D in self.values[: len(self.model.species)]]

    def with_values(self, values: Array) -> Equations:
        """The same model at other parameters."""
        return replace(self, values=values)

    def _p(self) -> list[float]:
        return [float(p) for p in self.values]

    def residual(self, X: Array) -> Array:
        """Right-hand side per unit time, shape (S, H, W): zero at a steady state."""
        return np.stack(self.model.residual(list(X), [self.around(x) for x in X], self._p()))

    def around(self, x: Array) -> Array:
        """Sum over the four nearest neighbours of fields (..., H, W): periodic, unless a subclass says otherwise."""
        return around(x)

    def stencil(self, H: int, W: int) -> tuple[Indices, Indices]:
        """Row and column indices of the Jacobian's entries."""
        return stencil(len(self.model.species), H, W)

    def defect(self, X: Array, velocity: Array) -> Array:
        """The residual with a rigid drift (row, column) taken out, `R + c . grad X`."""
        R = self.residual(X)
        return R + along(velocity, X) if velocity.any() else R

    def reaction_jacobian(self, X: Array) -> list[list[Array]]:
        """Pointwise part of the Jacobian of the residual, S rows of S fields (H, W)."""
        return self.model.reaction_jacobian(list(X), self._p())

    def product(self, X: Array, d: Array, *, transpose: bool = False) -> Array:
        """Jacobian of the residual at X, or its transpose, applied to d, all of shape (S, H, W)."""
        # diffusion is symmetric: the transpose exchanges the off-diagonal blocks alone
        lap = [self.around(x) - 4 * x for x in d]
        return np.stack(_applied(self.reaction_jacobian(X), lap, list(d), self._p(), transpose=transpose))

    def parameter_slopes(self, X: Array) -> Array:
        """Derivatives of the residual in the parameters at fixed fields, shape (P, S, H, W)."""
        rows = self.model.parameter_slopes(list(X), [self.around(x) for x in X], self._p())
        return np.stack([np.stack(row) for row in rows])

    def second(self, X: Array, a: Array, b: Array) -> Array:
        """Second derivative of the residual in the fields along a and b, shape (S, H, W)."""
        return np.stack(self.model.second(list(X), self._p(), list(a), list(b)))

    def second_transposed(self, X: Array, a: Array, w: Array) -> Array:
        """The field f with `f . b = w . second(X, a, b)` for every b, shape (S, H, W)."""
        return np.stack(self.model.second_transposed(list(X), self._p(), list(a), list(w)))

    def mixed(self, X: Array, d: Array) -> Array:
        """Derivative of `parameter_slopes` along d, shape (P, S, H, W)."""
        rows = self.model.mixed(list(X), self._p(), list(d), [self.around(x) for x in d])
        return np.stack([np.stack(row) for row in rows])

    def second_slopes(self, X: Array) -> Array:
        """Second derivatives of the residual in the parameters at fixed fields, shape (P, P, S, H, W)."""
        rows = self.model.second_slopes(list(X), self._p())
        return np.stack([np.stack([np.stack(entry) for entry in row]) for row in rows])

    def beyond_linear(self, X: Array, d: Array) -> Array:
        """What the residual gains along d beyond its linear part, shape (S, H, W): no rounding of the residual's."""
        return np.stack(self.model.beyond_linear(list(X), self._p(), list(d)))

    def bending(self, X: Array, reach: float) -> float:
        """Bound on the 2-norm by which the Jacobian changes for a change of 1, within reach of a state."""
        return float(np.max(self.model.bending(list(X), self._p(), reach)))

    def symbols(self, state: Sequence[float], laplacian: Array) -> Array:
        """Jacobian of a uniform state at waves whose Laplacian has these eigenvalues, shape (..., S, S)."""
        J = np.array(self.model.reaction_jacobian([float(x) for x in state], self._p()), dtype=np.float64)
        return np.asarray(J + laplacian[..., None, None] * np.diag(self.diffusivity))


def _applied(J: Any, lap: Any, d: Any, p: Any, *, transpose: bool) -> list[Any]:
    """`D lap + J d`, species by species."""
    out = []
    for i in range(len(d)):
        value = p[i] * lap[i]
        for j in range(len(d)):
            value = value + (J[j][i] if transpose else J[i][j]) * d[j]
        out.append(value)
    return out


def instances(params: ModelParams, dt: float = 1.0) -> Iterator[Equations]:
    """The equations of each instance of a batch."""
    values = params.tensor().detach().cpu().numpy()
    return (Equations(params.model, row, dt) for row in values)


def together(equations: Sequence[Equations]) -> ModelParams:
    """The parameters of some instances of one model as one batch."""
    return ModelParams.of_values(equations[0].model, np.stack([e.values for e in equations]))


# ---------------------------------------------------------------------------------------------------------------------
# Batches in torch: fields (B, S, H, W), differentiable
# ---------------------------------------------------------------------------------------------------------------------


def columns(params: ModelParams, like: torch.Tensor) -> list[torch.Tensor]:
    """The parameters, each of shape (B, 1, 1), in the dtype and on the device of `like`."""
    return [p[:, None, None] for p in params.tensor().to(like.device, like.dtype).unbind(1)]


def residual(fields: torch.Tensor, params: ModelParams) -> torch.Tensor:
    """Right-hand side of the equations of a batch, per unit time: zero exactly at a steady state.

    Args:
        fields: Shape (B, S, H, W).
        params: B instances.

    Returns:
        Shape (B, S, H, W). Differentiable by torch.
    """
    return model_residual(params.model, fields, params.tensor())


def model_residual(model: Model, fields: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The same from parameters (B, P) that nobody checks."""
    p = [q[:, None, None] for q in values.to(fields.device, fields.dtype).unbind(1)]
    return torch.stack(model.residual(fields.unbind(1), neighbour_sum(fields).unbind(1), p), dim=1)


def product(fields: torch.Tensor, params: ModelParams, d: torch.Tensor, *, transpose: bool = False) -> torch.Tensor:
    """Jacobian of the residual in the fields, or its transpose, applied to d, all of shape (B, S, H, W)."""
    p = columns(params, fields)
    return applied(params.model.reaction_jacobian(fields.unbind(1), p), p, d, transpose=transpose)


def applied(
    J: list[list[torch.Tensor]], p: list[torch.Tensor], d: torch.Tensor, *, transpose: bool = False
) -> torch.Tensor:
    """The same for d of shape (..., S, H, W), from the pointwise part of the Jacobian, S rows of S, and parameters."""
    lap = (neighbour_sum(d) - 4 * d).unbind(-3)
    return torch.stack(_applied(J, lap, d.unbind(-3), p, transpose=transpose), dim=-3)


def parameter_slopes(fields: torch.Tensor, params: ModelParams) -> torch.Tensor:
    """Derivatives of the residual in the parameters at fixed fields, shape (B, P, S, H, W)."""
    S = neighbour_sum(fields)
    rows = params.model.parameter_slopes(fields.unbind(1), S.unbind(1), columns(params, fields))
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def constants(model: Model, values: torch.Tensor, dt: float, like: torch.Tensor) -> list[torch.Tensor]:
    """What a step needs of the parameters (B, P): each (B, 1, 1), formed in float64 and rounded once."""
    steps = model.steps(dt)
    columns = list(values.to(torch.float64).unbind(1))
    formed = columns if steps is None else steps.constants_of(columns, dt)
    spread = [torch.as_tensor(c, dtype=torch.float64, device=values.device).expand(len(values)) for c in formed]
    return [c.to(like.device, like.dtype)[:, None, None] for c in spread]


def step_by(model: Model, x: torch.Tensor, c: list[torch.Tensor], dt: float) -> torch.Tensor:
    """One explicit Euler step of fields (B, S, H, W), from `constants`."""
    steps, parts, around = model.steps(dt), x.unbind(1), neighbour_sum(x).unbind(1)
    if steps is not None:
        return torch.stack(steps.step(parts, around, c), dim=1)
    return x + dt * torch.stack(model.residual(parts, around, c), dim=1)


def step(fields: torch.Tensor, params: ModelParams, dt: float = 1.0) -> torch.Tensor:
    """One explicit Euler step of a batch, `X + dt R(X)` (arXiv 2606.11258, eq. 3 and 4, for Gray-Scott and dt = 1).

    Args:
        fields: Shape (B, S, H, W).
        params: B instances.
        dt: Length of the step in time units.

    Returns:
        The fields dt later, shape (B, S, H, W). Differentiable by torch.

    Example:
        >>> import torch, gsimplicit as gs
        >>> from gsimplicit.equations import step
        >>> rest = torch.stack([torch.ones(8, 8), torch.zeros(8, 8)])[None].double()
        >>> torch.equal(step(rest, gs.Params.preset("paper")), rest)
        True
    """
    return step_by(params.model, fields, constants(params.model, params.tensor(), dt, fields), dt)
