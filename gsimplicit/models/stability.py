"""Warnings before a march: a step that is too long for the equations, coefficients of another program's units."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch

from gsimplicit.models.gray_scott import gray_scott, homogeneous_states
from gsimplicit.models.gray_scott_equations import reaction_jacobian
from gsimplicit.models.params import ModelParams
from gsimplicit.surroundings import caller

Array = np.ndarray[Any, np.dtype[np.float64]]


class StabilityWarning(UserWarning):
    """A parameter lies above the stability limit of the explicit step, so that marching is expected to diverge.

    Examples:
        >>> import warnings
        >>> import gsimplicit as gs
        >>> with warnings.catch_warnings(record=True) as told:
        ...     warnings.simplefilter("always")
        ...     state = gs.steady_state(gs.Params(0.3, 0.1, 0.035, 0.06), gs.initial_state(grid=(32, 32)), max_steps=5)
        >>> told[0].category.__name__
        'StabilityWarning'
    """


class UnitsWarning(UserWarning):
    """Diffusion coefficients look like those of another spacing, or fields miss their model's scale.

    Examples:
        >>> import warnings
        >>> import gsimplicit as gs
        >>> with warnings.catch_warnings(record=True) as told:
        ...     warnings.simplefilter("always")
        ...     params = gs.Params(2e-5, 1e-5, 0.035, 0.06)
        ...     state = gs.steady_state(params, gs.initial_state(grid=(32, 32)), max_steps=5)
        >>> told[0].category.__name__
        'UnitsWarning'
    """


UNITS = (
    "Diffusion coefficients of other programs are D / dx^2 here, with wider pixels or a shorter dt where dt D / dx^2 "
    "is above 1/4: see gsimplicit.Params"
)

NOT_FELT = 1e-3
"""Diffusion below which a spot, about `sqrt(D / F)` wide, is a fraction of a pixel."""

MISSED = 100.0
"""Factor by which fields may miss their model's scale."""

_DIVERGED = "expect status diverged"

_EXPECTED: ContextVar[bool] = ContextVar("expected", default=False)


@contextmanager
def instability_expected() -> Iterator[None]:
    """Inside, no `StabilityWarning` is given: what diverges is looked at by whoever marches.

    The filters of `warnings` are the whole process's. Threads that change them beside each other leave them changed, so
    this is a variable of the thread's own.
    """
    token = _EXPECTED.set(True)
    try:
        yield
    finally:
        _EXPECTED.reset(token)


def warn_of_instability(text: str) -> None:
    """Give a `StabilityWarning`, except inside `instability_expected`."""
    if not _EXPECTED.get():
        warnings.warn(text, StabilityWarning, stacklevel=caller())


def warn_if_unstable(params: ModelParams, dt: float = 1.0) -> None:
    """Warn where the explicit step is unstable at a uniform state, or pixels hardly feel each other.

    Euler needs every eigenvalue above -2 / dt. The most negative ones are those of the chequerboard, `J - 8 D` with J
    the Jacobian of the reaction at a uniform state. For Gray-Scott at u = 1, v = 0 they are `-(8 Du + F)` and
    `-(8 Dv + F + k)`; at the upper uniform state, where there is one, about `-(8 Du + F + v^2)`.

    Args:
        params: B instances.
        dt: Length of a step.
    """
    values = params.detach().tensor().numpy()
    limits = _of_gray_scott(values) if params.model is gray_scott else _of_any(params, values)
    for text, value, outcome in limits:
        over = np.flatnonzero(dt * value > 2).tolist()
        if over:
            outcome = outcome.format(1.9 / float(value[over].max()))
            what = text if dt == 1 else f"{dt:g} ({text})"
            warn_of_instability(
                f"the explicit step is unstable: {what} = {dt * value[over[0]]:.4g} > 2 at instance {over[0]}"
                f"{f' and {len(over) - 1} more' if len(over) > 1 else ''}; {outcome}. "
                f"{_units(params)}"
            )
    _warn_if_not_felt(params, values)


def _of_gray_scott(values: Array) -> Iterator[tuple[str, Array, str]]:
    """Limits in words, their values and what comes of passing them; the upper state only where the others hold."""
    Du, Dv, F, k = values.T
    first = [("8 Du + F", 8 * Du + F, _DIVERGED), ("8 Dv + F + k", 8 * Dv + F + k, _DIVERGED)]
    yield from first
    fastest = np.array([-_fastest_of_upper(*x) for x in values.tolist()])
    fastest[np.maximum(first[0][1], first[1][1]) > 2] = 0.0
    what = "expect the uniform state, and whatever comes near its v, to be thrown back and forth by every step"
    yield "8 Du + F + v^2, about", fastest, what


def _fastest_of_upper(Du: float, Dv: float, F: float, k: float) -> float:
    """The most negative eigenvalue of the upper uniform state, that of the chequerboard; 0 where there is none."""
    upper = homogeneous_states(F, k).upper
    if upper is None:
        return 0.0
    uu, uv, vu, vv = reaction_jacobian(*upper, F, k)
    a, d = uu - 8 * Du, vv - 8 * Dv
    square = ((a - d) / 2) ** 2 + uv * vu
    return float((a + d) / 2 - math.sqrt(max(square, 0.0)))


def _of_any(params: ModelParams, values: Array) -> Iterator[tuple[str, Array, str]]:
    """The fastest decay at any uniform state that is known, or at rest."""
    model, n = params.model, len(params.model.species)
    fastest = np.zeros(len(values))
    for i, p in enumerate(values.tolist()):
        states = model.uniform_of(p[n:]) if model.uniform is not None else [model.rest_of(p[n:])]
        for state in states:
            J = np.array(model.reaction_jacobian([float(x) for x in state], p), dtype=np.float64)
            if np.isfinite(J).all():
                fastest[i] = max(fastest[i], -float(np.linalg.eigvals(J - 8 * np.diag(p[:n])).real.min()))
    yield "the fastest decay of a uniform state", fastest, f"{_DIVERGED}: take dt below {{:.2g}}"


def warn_of_size(params: ModelParams, fields: torch.Tensor) -> None:
    """Warn where fields are not of their model's scale, by which small is told from large.

    Args:
        params: B instances.
        fields: States, shape (B, S, H, W). Small ones tell nothing where the model rests at zero: they may have died.
    """
    model = params.model
    sizes = fields.detach().abs().flatten(1).amax(dim=1).cpu().tolist()
    for i, p in enumerate(params.detach().tensor().tolist()):
        rest = max((abs(float(x)) for x in model.rest_of(p[len(model.species) :])), default=0.0)
        share = max(sizes[i], rest) / model.scale
        if MISSED < share < math.inf or (0 < share < 1 / MISSED and rest):
            warnings.warn(
                f"fields of {model.name} are of size {max(sizes[i], rest):.2g} at instance {i}, its scale is "
                f"{model.scale:g}: what counts as uniform, as broken and as closed is told by the scale. Give the "
                "model one near that size (gsimplicit.Model, scale)",
                UnitsWarning,
                stacklevel=caller(),
            )
            return


def _units(params: ModelParams) -> str:
    """What the diffusion coefficients of a model mean, by their names."""
    names = ", ".join(params.model.diffusivity)
    return UNITS if params.model is gray_scott else f"{names} are D / dx^2 of pixels dx wide, see docs/models.md"


def _warn_if_not_felt(params: ModelParams, values: Array) -> None:
    """Warn where diffusion is so weak that pixels hardly feel each other: a sign of another program's units."""
    names = params.model.diffusivity
    largest = values[:, : len(names)].max(axis=1)
    small = np.flatnonzero((largest > 0) & (largest < NOT_FELT)).tolist()
    if small:
        what = f"the larger of {names[0]} and {names[1]}" if len(names) == 2 else f"the largest of {', '.join(names)}"
        warnings.warn(
            f"diffusion is hardly felt from pixel to pixel: {what} is {largest[small[0]]:.2g} < "
            f"{NOT_FELT:g} pixels squared per unit time at instance {small[0]}"
            f"{f' and {len(small) - 1} more' if len(small) > 1 else ''}. "
            f"{_units(params)}",
            UnitsWarning,
            stacklevel=caller(),
        )
