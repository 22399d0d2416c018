"""What `invert` is asked, checked and made into what the methods work on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from gsimplicit import checks
from gsimplicit.arrays import real_array, real_fields
from gsimplicit.equations import DEFAULT, Model, ModelParams
from gsimplicit.inverse.pictures.edges import PERIODIC, Edges

Array = np.ndarray[Any, np.dtype[np.float64]]
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, eq=False)
class Pictures:
    """What was measured.

    Attributes:
        values: Shape (B, S, H, W); zero where nothing was measured.
        there: Where something was, shape (B, S, H, W).
        seen: Places of the species that were seen.
        edges: What lies outside.
        first: Number of the first in the call.
    """

    values: Array
    there: Mask
    seen: list[int]
    edges: Edges = PERIODIC
    first: int = 0

    def __len__(self) -> int:
        return len(self.values)

    def one(self, b: int) -> Pictures:
        """The b-th alone."""
        return Pictures(self.values[b : b + 1], self.there[b : b + 1], self.seen, self.edges, self.first + b)

    @property
    def whole(self) -> bool:
        """Whether every pixel of every seen species was measured."""
        return bool(self.there[:, self.seen].all())


def as_pictures(model: Model, v: Any, u: Any, mask: Any, edges: Edges = PERIODIC) -> Pictures:
    """Pictures of the observed species, of another one too, or of all.

    Raises:
        ValueError: A shape is wrong, a measured value is not finite, a picture has nothing measured, or is constant.
        TypeError: Something is no array of numbers.
    """
    S, names = len(model.species), model.species
    (v, hidden), (u, other_hidden) = _unmasked(v), _unmasked(u)
    values = _batch("v", v)
    if values.ndim == 4:
        if values.shape[1] != S:
            raise ValueError(f"v must have {S} species, {', '.join(names)}, along its second axis, got {values.shape}")
        if u is not None:
            raise ValueError("u must be None where v holds all species, got both")
        out, seen = values, list(range(S))
    else:
        out = np.zeros((len(values), S, *values.shape[1:]))
        out[:, model.seen], seen = values, [model.seen]
        if u is not None:
            other = [i for i in range(S) if i != model.seen]
            if len(other) != 1:
                raise ValueError(f"u stands for the other one of two species, {model.name} has {S}: give all in v")
            second = _batch("u", u)
            if second.shape != values.shape:
                raise ValueError(f"u must have the shape of v, {values.shape}, got {second.shape}")
            out[:, other[0]], seen = second, sorted([model.seen, other[0]])
    if min(out.shape[2:]) < 8:
        raise ValueError(f"v must have at least 8 x 8 pixels, got {out.shape[2]} x {out.shape[3]}")
    there = np.zeros(out.shape, dtype=bool)
    measured = _mask(mask, (len(out), *out.shape[2:])).copy()
    for one in (hidden, other_hidden):
        if one is not None:  # a pixel counts where all that was seen of it was measured
            measured &= ~(one.any(axis=1) if one.ndim == 4 else one)
    there[:, seen] = measured[:, None]
    for b in range(len(out)):
        for i in seen:
            _require_data(names[i], b, out[b, i], there[b, i])
    return Pictures(np.where(there, out, 0.0), there, seen, edges)


def _unmasked(given: Any) -> tuple[Any, Mask | None]:
    """Numbers of a masked array, and where it is masked; None where nothing is."""
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        return given.filled(0), np.ma.getmaskarray(given)
    return given, None


def _batch(name: str, given: Any) -> Array:
    if isinstance(given, torch.Tensor) and given.dtype in INTEGERS:  # grey values, as numpy's are taken
        given = given.cpu().numpy()
    elif isinstance(given, torch.Tensor):
        given = real_fields(name, given, attached=False, device="cpu").numpy()
    values = real_array(name, given)
    if values.ndim not in (2, 3, 4):
        raise ValueError(f"{name} must be a picture (H, W), B of them (B, H, W), or all species (B, S, H, W), "
                         f"got shape {values.shape}")  # fmt: skip
    return values[None] if values.ndim == 2 else values


def _mask(given: Any, shape: tuple[int, ...]) -> Mask:
    if given is None:
        return np.ones(shape, dtype=bool)
    mask = np.asarray(given.cpu() if isinstance(given, torch.Tensor) else given)
    if mask.dtype != bool:
        raise TypeError(f"mask must be boolean, True where a pixel was measured, got {mask.dtype}")
    if mask.shape not in (shape, shape[1:]):
        raise ValueError(f"mask must have the shape of v, {shape} or {shape[1:]}, got {mask.shape}")
    return np.broadcast_to(mask, shape)


def _require_data(name: str, b: int, picture: Array, there: Mask) -> None:
    if not there.any():
        raise ValueError(f"mask must leave some pixels of {name} in picture {b}, it leaves none")
    measured = picture[there]
    if not np.isfinite(measured).all():
        bad = int((~np.isfinite(measured)).sum())
        raise ValueError(f"{name} must be finite where it was measured: picture {b} has {bad} values that are not; "
                         "say with mask where there is nothing")  # fmt: skip
    if measured.min() == measured.max():
        raise ValueError(f"{name} must vary: picture {b} is {measured[0]:g} everywhere")


@dataclass(frozen=True, eq=False)
class Wanted:
    """What is sought.

    Attributes:
        free: Names of the parameters that are sought.
        fixed: Values of the others by their place.
        start: Parameters to begin at, shape (P,); None leaves the choice.
        ranges: Where to look, by name.
        tied: Places of parameters that are a factor times another one: place of that one, and the factor.
    """

    free: list[str]
    fixed: dict[int, float]
    start: Array | None
    ranges: Mapping[str, tuple[float, float]]
    tied: Mapping[int, tuple[int, float]] = field(default_factory=dict)


def as_wanted(model: Model, start: Any, free: Any, ranges: Any, tied: Any = None) -> Wanted:
    """What is sought, and where.

    Raises:
        ValueError: A name is unknown, a fixed parameter has no value, or a range is empty or outside the model's.
        TypeError: `start` is no set of parameters of the model.
    """
    names = list(model.parameters)
    chosen = names if free is None else [checks.choice("entry of free", n, names) for n in checks.listed("free", free)]
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"free must name a parameter once, got {', '.join(chosen)}")
    ties = _ties(model, tied)
    both = [] if free is None else [n for n in chosen if n in ties]
    if both:
        raise ValueError(f"free must not name what is tied: {both[0]} is {ties[both[0]][1]:g} {ties[both[0]][0]}")
    chosen = [n for n in chosen if n not in ties]
    if not chosen:
        raise ValueError(f"free must name at least one of {', '.join(names)}, it is empty")
    values = None
    if start is not None:
        if not isinstance(start, ModelParams) or not start.model.same(model):
            raise TypeError(f"start must be parameters of {model.name}, got {checks.shown(start)}")
        if len(start) != 1:
            raise ValueError(f"start must be one set of parameters, got {len(start)}")
        values = start.tensor().detach().cpu().numpy()[0]
    fixed = [n for n in names if n not in chosen and n not in ties]
    held = [n for n, (other, _) in ties.items() if other in fixed]
    if held:
        raise ValueError(f"tied must follow what is free: {held[0]} follows {ties[held[0]][0]}, which stays at start")
    if values is not None:
        _require_tied(names, values, ties)
    if fixed and values is None:
        raise ValueError(f"start must give the values of what is not free: {', '.join(fixed)}")
    looked = {} if ranges is None else dict(ranges)
    for name, pair in looked.items():
        checks.choice("entry of ranges", name, names)
        looked[name] = _range(model, name, pair)
    return Wanted(
        free=[n for n in names if n in chosen],
        fixed={} if values is None else {names.index(n): float(values[names.index(n)]) for n in fixed},
        start=values,
        ranges=looked,
        tied={names.index(n): (names.index(other), factor) for n, (other, factor) in ties.items()},
    )


def _ties(model: Model, given: Any) -> dict[str, tuple[str, float]]:
    """What is tied: another parameter's name, and the factor, by name."""
    names = list(model.parameters)
    if given is not None and not isinstance(given, Mapping):
        raise TypeError(f"tied must be a mapping such as {{'Dv': ('Du', 0.5)}}, got {checks.shown(given)}")
    out: dict[str, tuple[str, float]] = {}
    given = {} if given is None else dict(given)
    for name, pair in given.items():
        checks.choice("entry of tied", name, names)
        parts = checks.listed(f"tied {name}", pair, "another parameter and a factor")
        if len(parts) != 2:
            raise ValueError(f"tied {name} must be another parameter and a factor, got {pair!r}")
        other = checks.choice(f"tied {name}", parts[0], names)
        if other == name or other in given:
            raise ValueError(f"tied {name} must follow a parameter that is not tied itself, got {other}")
        for one in (name, other):
            if model.range_of(one)[0] < 0:
                raise ValueError(f"tied {name} must be of parameters that are positive, {one} may be negative")
        out[name] = (other, checks.real(f"factor of tied {name}", parts[1], above=0))
    return out


def _require_tied(names: list[str], values: Array, ties: Mapping[str, tuple[str, float]]) -> None:
    for name, (other, factor) in ties.items():
        own, wanted = float(values[names.index(name)]), factor * float(values[names.index(other)])
        if abs(own - wanted) > 1e-9 * abs(wanted):
            raise ValueError(f"start must keep what is tied: {name} is {own:g} there, {factor:g} {other} is {wanted:g}")


def _range(model: Model, name: str, pair: Any) -> tuple[float, float]:
    ends = checks.listed(f"range of {name}", pair, "a lowest and a highest value")
    if len(ends) != 2:
        raise ValueError(f"range of {name} must be a lowest and a highest value, got {pair!r}")
    low, high = (checks.real(f"range of {name}", end) for end in ends)
    least, most = model.range_of(name)
    if not least <= low < high <= most:
        raise ValueError(f"range of {name} must rise and lie in {least:g} to {most:g}, got {low:g} to {high:g}")
    return low, high


def as_noise(given: Any, seen: Sequence[int]) -> list[float | None]:
    """Standard deviation of the noise of each seen species; None where it is to be estimated.

    Raises:
        ValueError: A value is not above 0, or there are not as many as seen species.
    """
    if given is None:
        return [None] * len(seen)
    given = checks.plain(given)
    if isinstance(given, int | float):
        return [checks.real("noise", given, above=0)] * len(seen)
    if isinstance(given, str):
        raise TypeError(f"noise must be a number, or a list of one a species, got {given!r}")
    values = [checks.real("noise", one, above=0) for one in checks.listed("noise", given)]
    if len(values) != len(seen):
        raise ValueError(f"noise must be one number, or one a seen species ({len(seen)}), got {len(values)}")
    return list(values)


def as_model(model: Any, start: Any) -> Model:
    """The model: what is given, else that of `start`, else Gray-Scott."""
    if model is None:
        return start.model if isinstance(start, ModelParams) else DEFAULT
    if not isinstance(model, Model):
        raise TypeError(f"model must be a gsimplicit.Model, got {checks.shown(model)}")
    return model
