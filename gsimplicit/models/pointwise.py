"""What follows from a reaction by differentiation: slopes in the fields and in the parameters, second derivatives.

All of it is pointwise: arrays or tensors of any shape that broadcast, species along a Python list. A reaction that can
be traced gives `formulas`, which serve numpy, torch and the compiled kernels alike; any other one is differentiated
`by_torch`, a function call at a time. What both keep is here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch

from gsimplicit.models.operations import A

Reaction: TypeAlias = Callable[..., Any]


class Pointwise(Protocol):
    """Derivatives of a reaction `f(x, p)` of S species x and P parameters p, diffusion coefficients left out."""

    def value(self, x: Sequence[A], p: Sequence[A]) -> list[A]:
        """f, one entry a species."""
        ...

    def jacobian(self, x: Sequence[A], p: Sequence[A]) -> list[list[A]]:
        """df_i/dx_j, S rows of S."""
        ...

    def slopes(self, x: Sequence[A], p: Sequence[A]) -> list[list[A]]:
        """df_i/dp_j: P rows, a parameter each, of S."""
        ...

    def second(self, x: Sequence[A], p: Sequence[A], a: Sequence[A], b: Sequence[A]) -> list[A]:
        """Second derivative of f in x along a and b, one entry a species."""
        ...

    def second_transposed(self, x: Sequence[A], p: Sequence[A], a: Sequence[A], w: Sequence[A]) -> list[A]:
        """The row `sum_i w_i d2f_i/dx2 a`, one entry a species."""
        ...

    def mixed(self, x: Sequence[A], p: Sequence[A], d: Sequence[A]) -> list[list[A]]:
        """Derivative of `slopes` along d: P rows of S."""
        ...

    def second_slopes(self, x: Sequence[A], p: Sequence[A]) -> list[list[list[A]]]:
        """d2f_i/dp_j dp_k: P rows of P of S."""
        ...


def as_values(given: Any, species: int, convert: Callable[[Any], Any]) -> list[Any]:
    """What a reaction gives, as one value a species.

    Raises:
        TypeError: It is another number of values, or one is complex.
    """
    found = [given] if species == 1 and not isinstance(given, list | tuple) else given
    if not isinstance(found, list | tuple) or len(found) != species:
        count = len(found) if isinstance(found, list | tuple) else type(found).__name__
        raise TypeError(f"reaction must give one rate a species, {species} of them, got {count}")
    plain = [v for v in found if isinstance(v, complex | np.generic | np.ndarray)]
    if any(map(np.iscomplexobj, plain)) or any(isinstance(v, torch.Tensor) and v.is_complex() for v in found):
        raise TypeError("reaction must give real rates, got complex ones")
    return [convert(v) for v in found]


def spread(values: list[A], like: Sequence[A]) -> list[A]:
    """Numbers among the results as arrays or tensors like the fields."""
    first = like[0]
    if isinstance(first, torch.Tensor):
        return [
            v if isinstance(v, torch.Tensor) and v.shape == first.shape else v + torch.zeros_like(first) for v in values
        ]
    if isinstance(first, np.ndarray):
        return [v if np.shape(v) == first.shape else v + np.zeros_like(first) for v in values]
    return values


def rows(flat: list[A], width: int) -> list[list[A]]:
    """A flat list in rows."""
    return [flat[i : i + width] for i in range(0, len(flat), width)]
