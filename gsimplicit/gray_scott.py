"""Former home of the Gray-Scott equations, now in `models.gray_scott`, `models.gray_scott_equations`, `equations`.

What stood here works for one more version, with a warning.
"""

from __future__ import annotations

import importlib
import warnings
from typing import Any

import torch

from gsimplicit import equations, grid
from gsimplicit.models import stability
from gsimplicit.models.gray_scott import PARAMETERS, Homogeneous, Params
from gsimplicit.models.stability import StabilityWarning, UnitsWarning

__all__ = ["PARAMETERS", "Homogeneous", "Params", "StabilityWarning", "UnitsWarning"]

_ANY = Params(0.0, 0.0, 0.0, 0.0)
"""Derivatives in the parameters depend on neither fields nor parameters, second ones on the fields alone."""


def _values(like: torch.Tensor) -> list[torch.Tensor]:
    return equations.columns(_ANY, like)


def _parameter_derivatives(fields: torch.Tensor) -> torch.Tensor:
    return equations.parameter_slopes(fields, _ANY.expand(len(fields)))


def _mixed_derivative(direction: torch.Tensor) -> torch.Tensor:
    return _parameter_derivatives(direction) - _parameter_derivatives(torch.zeros_like(direction))


def _second_derivative(fields: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    model = Params.model
    return torch.stack(model.second(fields.unbind(1), _values(fields), a.unbind(1), b.unbind(1)), dim=1)


def _second_derivative_transposed(fields: torch.Tensor, a: torch.Tensor, cotangent: torch.Tensor) -> torch.Tensor:
    model = Params.model
    found = model.second_transposed(fields.unbind(1), _values(fields), a.unbind(1), cotangent.unbind(1))
    return torch.stack(found, dim=1)


def _transposed(fields: torch.Tensor, params: Params, direction: torch.Tensor) -> torch.Tensor:
    return equations.product(fields, params, direction, transpose=True)


_MOVED: dict[str, tuple[str, Any]] = {
    "step": ("gsimplicit.equations.step", equations.step),
    "residual": ("gsimplicit.equations.residual", equations.residual),
    "jacobian_product": ("gsimplicit.equations.product", equations.product),
    "jacobian_transpose_product": ("gsimplicit.equations.product", _transposed),
    "parameter_derivatives": ("gsimplicit.equations.parameter_slopes", _parameter_derivatives),
    "mixed_derivative": ("the method `mixed` of gsimplicit.equations.Equations", _mixed_derivative),
    "second_derivative": ("the method `second` of gsimplicit.equations.Equations", _second_derivative),
    "second_derivative_transposed": (
        "the method `second_transposed` of gsimplicit.equations.Equations",
        _second_derivative_transposed,
    ),
    "neighbour_sum": ("gsimplicit.grid.neighbour_sum", grid.neighbour_sum),
    "warn_if_unstable": ("gsimplicit.models.stability.warn_if_unstable", stability.warn_if_unstable),
    "NOT_FELT": ("gsimplicit.models.stability.NOT_FELT", stability.NOT_FELT),
}


_HOMES = ("gsimplicit.models.gray_scott_equations", "gsimplicit.models.gray_scott")
"""Modules that now have what stood here under the same name."""


def _found(name: str) -> tuple[str, Any]:
    """Where a name lives now, and what it stands for.

    Raises:
        AttributeError: It never stood here.
    """
    if name in _MOVED:
        return _MOVED[name]
    for home in _HOMES if not name.startswith("__") else ():
        module = importlib.import_module(home)
        if hasattr(module, name):
            return f"{home}.{name}", getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __getattr__(name: str) -> Any:
    where, found = _found(name)
    warnings.warn(f"gsimplicit.gray_scott.{name} is {where} now", DeprecationWarning, stacklevel=2)
    return found
