"""The two losses of a network: how far fields are from the data, and from a steady state of the equations.

The residual is that of the grid's own stencil. It is divided by the size of its terms, species by species: else small
parameters with small fields make it small, though nothing is solved. Where the residual is linear in the parameters
sought, and a part of it is left without them (Gray-Scott's `u v^2`), that part is the size; it does not depend on the
parameters, so that the loss is quadratic in them. In other models the size is that of diffusion and reaction together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from gsimplicit.equations import Equations, Model, model_residual
from gsimplicit.grid import NEIGHBOURS, neighbour_sum
from gsimplicit.inverse.fits.variable_projection import inside

Array = np.ndarray[Any, np.dtype[np.float64]]

LEAST = 1e-12
"""Size of a residual's terms, by the model's scale squared, that is taken at least."""
SINGULAR = 1e-12
"""Eigenvalue of the normal equations, by the largest, below which a combination of parameters is left at zero."""


def linear(model: Model, free: list[int]) -> bool:
    """Whether the residual is linear in these parameters, with a part without them in every species.

    Found by trying, at drawn fields and parameters.
    """
    draws = np.random.default_rng(0)
    X = 0.5 + draws.random((len(model.species), 4, 4))
    tried = [inside(model, draws.random(len(model.parameters))) for _ in range(2)]
    for values in tried:
        values[[j for j in range(len(values)) if j not in free]] = tried[0][[
            j for j in range(len(values)) if j not in free
        ]]  # fmt: skip
    one, other = (Equations(model, values).parameter_slopes(X)[free] for values in tried)
    bare = tried[0].copy()
    bare[free] = 0.0
    with np.errstate(all="ignore"):
        rest = Equations(model, bare).residual(X)
    left = bool(np.isfinite(rest).all()) and bool((np.abs(rest).max(axis=(1, 2)) > 0).all())
    return left and bool(np.allclose(one, other, rtol=1e-12, atol=1e-14))


@dataclass(frozen=True, eq=False)
class Objective:
    """What training makes small.

    Attributes:
        model: The model.
        target: What was measured, shape (S, H, W); of no meaning elsewhere.
        there: Where it was measured and is shown, shape (S, H, W).
        spread: Standard deviation of what was measured, by species, shape (S,).
        weight: By which the residual loss counts beside the data loss.
        values: Parameters that are not sought, shape (P,); of no meaning where they are.
        free: Places of those that are sought.
        linear: Whether the residual is linear in them, with a part without them.
    """

    model: Model
    target: torch.Tensor
    there: torch.Tensor
    spread: torch.Tensor
    weight: float
    values: torch.Tensor
    free: list[int]
    linear: bool

    @cached_property
    def factor(self) -> torch.Tensor:
        """What squared deviations are multiplied by, shape (S, H, W): nothing where nothing was measured."""
        count = self.there.sum(dim=(1, 2), keepdim=True).clamp(min=1)
        return self.there / (count * self.spread[:, None, None] ** 2)

    @cached_property
    def bare(self) -> torch.Tensor:
        """The parameters with nothing for those that are sought, shape (P,)."""
        out = self.values.clone()
        out[self.free] = 0.0
        return out

    def data(self, fields: torch.Tensor) -> torch.Tensor:
        """Mean squared deviation from the data, by their variance, summed over seen species."""
        factor, target = self.factor.to(fields.dtype), self.target.to(fields.dtype)
        return (factor * (fields - target) ** 2).sum()

    def rates(self, fields: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Steady residual per unit time, shape (S, H, W)."""
        return model_residual(self.model, fields[None], values[None])[0]

    def sizes(self, fields: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Mean square of the residual's terms, by species, shape (S,)."""
        least = LEAST * self.model.scale**2
        if self.linear:
            return (self.rates(fields, self.bare) ** 2).mean(dim=(1, 2)) + least
        D = values[: len(fields)].to(fields.dtype)[:, None, None]
        diffusion = D * (neighbour_sum(fields) - NEIGHBOURS * fields)
        reaction = self.rates(fields, values) - diffusion
        return (diffusion**2).mean(dim=(1, 2)) + (reaction**2).mean(dim=(1, 2)) + least

    def residual(self, fields: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Mean squared residual by the size of its terms, summed over species."""
        return ((self.rates(fields, values) ** 2).mean(dim=(1, 2)) / self.sizes(fields, values)).sum()

    def total(self, fields: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Data loss and weighted residual loss."""
        return self.data(fields) + self.weight * self.residual(fields, values)

    def normal(self, fields: torch.Tensor) -> tuple[Array, Array]:
        """Matrix and right-hand side of the least-squares problem for the parameters sought, at given fields."""
        X = fields.detach().double()
        rows = self.model.parameter_slopes(
            list(X.unbind(0)), list(neighbour_sum(X).unbind(0)), list(self.bare.unbind(0))
        )
        rest = self.rates(X, self.bare)
        by = torch.rsqrt((rest**2).sum(dim=(1, 2), keepdim=True) + LEAST * self.model.scale**2 * X[0].numel())
        chosen = [torch.stack([torch.as_tensor(r).expand_as(X[0]) for r in rows[j]]) for j in self.free]
        A = (by * torch.stack(chosen)).reshape(len(chosen), -1).numpy()
        return A @ A.T, -(A @ (by * rest).reshape(-1).numpy())

    def fitted(self, fields: torch.Tensor) -> torch.Tensor:
        """Parameters of least residual at given fields, shape (P,), float64: in closed form."""
        G, h = self.normal(fields)
        size = np.sqrt(np.maximum(np.diag(G), 1e-300))
        w, V = np.linalg.eigh(G / size / size[:, None])
        keep = w > SINGULAR * w[-1]
        out = self.values.clone()
        out[self.free] = torch.from_numpy(V[:, keep] @ ((V[:, keep].T @ (h / size)) / w[keep]) / size)
        return out
