"""Checks of what a model is stated with: names, numbers, ranges, and the arguments of a function."""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

from gsimplicit import checks
from gsimplicit.models.pointwise import Reaction

TAKEN = frozenset({
    "self", "model", "tensor", "detach", "replace", "expand", "of_values", "preset", "stack", "requires_grad",
    "instance", "parameter", "route", "objective", "sample", "species", "component", "mode", "y", "x", "loss",
    "gradient", "route_loss", "route_definition", "route_status", "route_moved", "status", "kind", "stable",
    "eigenvalue_real", "eigenvalue_imag", "steps", "change", "residual", "v_mean", "v_std", "initial", "target",
    "target_fields", "done", "step", "time"
})  # fmt: skip
"""Names that parameters and species may not have: they mean something else in params, gradients and scans."""


SHIPPED = frozenset({"gray_scott", "schnakenberg", "brusselator", "gierer_meinhardt", "fitzhugh_nagumo"})
"""Names of the package's models."""


def require_own_name(name: str, reaction: Reaction) -> None:
    """Raise where a reaction of one's own has the name of a shipped model, in any case of letters.

    Titles, errors and stored files tell models by name: one would be taken for the other.
    """
    if name.lower() in SHIPPED and not str(getattr(reaction, "__module__", "")).startswith("gsimplicit.models."):
        raise ValueError(
            f"name must not be that of one of the package's models, {', '.join(sorted(SHIPPED))}; got {name!r}"
        )


def identifier(what: str, name: Any, taken: frozenset[str] = TAKEN) -> str:
    """A name that can be an attribute, or a clear error."""
    if not isinstance(name, str):
        raise TypeError(f"{what} must be text, got {checks.shown(name)}")
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
        raise ValueError(
            f"{what} must be of letters, digits and _, begin with a letter and be no keyword, got {name!r}"
        )
    if name in taken:
        raise ValueError(
            f"{what} must not be {name!r}, which means something else in params, gradients or scans, as do "
            f"{', '.join(sorted(taken - {name}))}"
        )
    return str(name)


def names_of(what: str, names: Any, least: int = 1, taken: frozenset[str] = TAKEN) -> tuple[str, ...]:
    """Names as a tuple, or a clear error."""
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise TypeError(f"{what} must be a sequence of names, got {checks.shown(names)}")
    if len(names) < least:
        raise ValueError(f"{what} must hold at least {least} name, got none")
    return tuple(identifier(f"name in {what}", name, taken) for name in names)


def lowest_and_highest(what: str, pair: Any) -> tuple[float, float]:
    """A lowest and a highest value, either of them perhaps infinite, or a clear error."""
    if isinstance(pair, str) or not isinstance(pair, Sequence) or len(pair) != 2:
        raise ValueError(f"{what} must be a lowest and a highest value, got {checks.shown(pair)}")
    low, high = (checks.real(f"entry of {what}", value, finite=False) for value in pair)
    if not low <= high:
        raise ValueError(f"{what} must be a lowest and a highest value, got {checks.shown(pair)}")
    return low, high


def bounds_of(species: Sequence[str], bounds: Any) -> tuple[tuple[float, float] | None, ...]:
    """Bounds of each species, None where it has none, or a clear error."""
    n = len(species)
    bounds = bounds or (None,) * n
    if not isinstance(bounds, list | tuple) or len(bounds) != n:
        raise ValueError(f"bounds must hold a pair or None a species, {n} of them, got {checks.shown(bounds)}")
    pairs = zip(species, bounds, strict=True)
    return tuple(None if b is None else lowest_and_highest(f"bounds of {s}", b) for s, b in pairs)


def require_apart(species: Sequence[str], diffusivity: Sequence[str], rates: Sequence[str]) -> None:
    """Raise unless there is a diffusion coefficient a species, and no name stands for two things."""
    n, names = len(species), [*species, *diffusivity, *rates]
    if len(diffusivity) != n:
        raise ValueError(f"diffusivity must name one coefficient a species, {n} of them, got {diffusivity}")
    if len(set(names)) < len(names):
        twice = sorted({x for x in names if names.count(x) > 1})
        raise ValueError(f"species and parameters must have different names, got {', '.join(twice)} twice")


def require_call(reaction: Reaction, names: tuple[str, ...]) -> None:
    """Raise unless a function can be called with so many arguments."""
    try:
        inspect.signature(reaction).bind(*names)
    except ValueError:  # of a function that tells nothing of its arguments
        return
    except TypeError as error:
        raise TypeError(f"reaction must take {', '.join(names)}, one by one and no more: {error}") from None


def numbers(what: str, values: Any, size: int) -> tuple[float, ...]:
    """So many finite numbers, or a clear error."""
    if isinstance(values, str) or not isinstance(values, Sequence) or len(values) != size:
        raise ValueError(f"{what} must hold {size} numbers, got {checks.shown(values)}")
    return tuple(checks.real(f"entry of {what}", v) for v in values)


def arguments_of(reaction: Reaction, species: int) -> tuple[tuple[str, ...], Mapping[str, float]]:
    """Names of a function's arguments after the species, and the defaults of those that have one."""
    try:
        found = list(inspect.signature(reaction).parameters.values())
    except (TypeError, ValueError) as error:
        raise TypeError(f"the arguments of reaction {reaction!r} cannot be read: {error}") from error
    fixed = reaction.keywords if isinstance(reaction, partial) else {}
    found = [p for p in found if p.name not in fixed]
    several = [p.name for p in found if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.KEYWORD_ONLY)]
    if several:
        after = f": of a partial what follows {', '.join(fixed)} is one no more" if fixed else ""
        raise TypeError(f"reaction must take its arguments by position, one by one, got {', '.join(several)}{after}")
    if len(found) < species:
        raise ValueError(f"reaction must take the {species} species and its rates, got {len(found)} arguments")
    given = {p.name: p.default for p in found[species:] if p.default is not p.empty}
    defaults = {name: checks.real(f"default of {name}", value) for name, value in given.items()}
    return tuple(p.name for p in found[species:]), MappingProxyType(defaults)


def name_of(reaction: Reaction) -> str:
    """A function's name, where it has one that can be a model's; else "model"."""
    name = getattr(reaction, "__name__", "model")
    return name if isinstance(name, str) and name.isidentifier() and not name.startswith("_") else "model"
