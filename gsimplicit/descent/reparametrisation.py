"""Raw parameters without bounds, from which a descent makes those of the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gsimplicit import checks
from gsimplicit.equations import DEFAULT, Model

__all__ = ["Reparametrisation", "as_bounds"]

PAPER: Mapping[str, tuple[float, float]] = {"F": (0.0, 0.1), "k": (0.0, 0.1)}
"""Bounds of arXiv 2606.11258, section 2.2, where they are narrower than Gray-Scott's ranges."""


@dataclass(frozen=True)
class Reparametrisation:
    """Raw numbers to parameters: `low + softplus(raw)`, or `low + (high - low) sigmoid(raw)` where there is an end.

    A parameter with an upper bound alone is `high - softplus(raw)`; one without bounds is its raw number.

    Attributes:
        names: Parameters that move.
        low: Their lower bounds, which may be infinite.
        high: Their upper bounds, which may be infinite.
    """

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def values(self, raw: torch.Tensor) -> torch.Tensor:
        """Parameters (..., N) of raw numbers (..., N), float64; differentiable."""
        made = [_value(raw[..., i], *ends) for i, ends in enumerate(zip(self.low, self.high, strict=True))]
        return torch.stack(made, dim=-1)

    def raw(self, values: torch.Tensor) -> torch.Tensor:
        """Raw numbers (..., N) of parameters (..., N) that lie inside their bounds."""
        made = [_raw(values[..., i], *ends) for i, ends in enumerate(zip(self.low, self.high, strict=True))]
        return torch.stack(made, dim=-1)

    def pull_back(self, raw: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """Derivatives in raw numbers (..., N) from those in the parameters."""
        at = raw.detach().clone().requires_grad_()
        with torch.enable_grad():
            (found,) = torch.autograd.grad(self.values(at), at, gradient)
        return found

    def check(self, values: torch.Tensor) -> None:
        """Raise unless parameters (B, N) lie strictly inside their bounds: no raw number makes the bound itself.

        Raises:
            ValueError: One does not; names parameter, row, value and bounds.
        """
        for i, (name, low, high) in enumerate(zip(self.names, self.low, self.high, strict=True)):
            column = values[:, i]
            bad = (~((column > low) & (column < high))).nonzero().reshape(-1).tolist()
            if bad:
                raise ValueError(
                    f"params: {name} must lie strictly between {low:g} and {high:g} to move, got "
                    f"{column[bad[0]].item():g} at row {bad[0]}; give other bounds, or hold it fixed by free="
                )


def _value(raw: torch.Tensor, low: float, high: float) -> torch.Tensor:
    if math.isfinite(low) and math.isfinite(high):
        return low + (high - low) * torch.sigmoid(raw)
    positive = torch.logaddexp(raw, torch.zeros_like(raw))  # softplus without torch's cut at 20
    return low + positive if math.isfinite(low) else high - positive if math.isfinite(high) else raw.clone()


def _raw(value: torch.Tensor, low: float, high: float) -> torch.Tensor:
    if math.isfinite(low) and math.isfinite(high):
        return torch.logit((value - low) / (high - low))
    above = value - low if math.isfinite(low) else high - value
    return above + torch.log(-torch.expm1(-above)) if math.isfinite(low) or math.isfinite(high) else value.clone()


def as_bounds(model: Model, free: Sequence[str] | None, bounds: Any) -> Reparametrisation:
    """How parameters are restricted: the paper's way for Gray-Scott, the model's ranges for others.

    Args:
        model: The model.
        free: Parameters that move; None is all.
        bounds: Ends by the name of a parameter that moves, in place of the default ones.

    Raises:
        ValueError: An unknown parameter or one that does not move, or ends that are none or lie outside the model's
            range.
        TypeError: An argument has a wrong type.
    """
    names = model.parameters if free is None else tuple(checks.listed("free", free, "a list of parameters"))
    if not names:
        raise ValueError("free must name at least one parameter, got none")
    for name in names:
        checks.choice("free", name, model.parameters)
    if len(set(names)) < len(names):
        raise ValueError(f"free must name each parameter once, got {list(names)}")
    own: dict[str, tuple[float, float]] = {}
    if bounds is not None:
        if not isinstance(bounds, Mapping):
            raise TypeError(f"bounds must map parameters to (low, high), got {checks.shown(bounds)}")
        own = {checks.choice("bounds", n, model.parameters): _ends(str(n), ends, model) for n, ends in bounds.items()}
        if held := [n for n in own if n not in names]:
            raise ValueError(f"bounds must be of parameters that move, {list(map(str, names))}, got {held[0]!r}")
    default: Callable[[str], tuple[float, float]] = (
        (lambda n: PAPER.get(n, model.range_of(n))) if model is DEFAULT else model.range_of
    )
    ends = [own.get(n, default(n)) for n in names]
    return Reparametrisation(tuple(map(str, names)), tuple(e[0] for e in ends), tuple(e[1] for e in ends))


def _ends(name: str, ends: Any, model: Model) -> tuple[float, float]:
    found = checks.listed(f"bounds of {name}", ends, "two numbers (low, high)")
    if len(found) != 2:
        raise ValueError(f"bounds of {name} must be two numbers (low, high), got {checks.shown(ends)}")
    low, high = (checks.real(f"bounds of {name}", end, finite=False) for end in found)
    least, most = model.range_of(name)
    if not (least <= low < high <= most):
        raise ValueError(
            f"bounds of {name} must be two rising numbers in [{least:g}, {most:g}], got ({low:g}, {high:g})"
        )
    return low, high
