"""What a reaction that is no formula must keep to, tried once when the model is made.

A formula is pointwise by what it is made of. Of any other function that is a promise, and where it is broken no error
tells: states and gradients at finite time would be right, those at a root wrong.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch

from gsimplicit.models.by_torch import WHERE, ByTorch
from gsimplicit.models.expression import HeldTensorError
from gsimplicit.models.pointwise import Reaction, as_values
from gsimplicit.surroundings import own_filters, own_surroundings

if TYPE_CHECKING:
    from gsimplicit.models.formulas import Formulas

_SHAPE = (2, 3, 4)
"""Two instances of a small grid."""

_ROUNDING = 1e-12
_STEP = 1e-6
"""Of central differences, as a share of the value."""

_OFF = 1e-2
"""Share by which a derivative must miss a difference to be called another one: kinks and steep places are no faults."""

_known: ContextVar[bool] = ContextVar("known", default=False)


@contextmanager
def tried_before() -> Iterator[None]:
    """Inside, nothing is tried: a model from its pickle was tried when it was made, and 15 ms a pickle are too much."""
    token = _known.set(True)
    try:
        yield
    finally:
        _known.reset(token)


@own_surroundings
def require_pointwise(name: str, by: ByTorch, names: Sequence[str], ranges: Sequence[tuple[float, float]]) -> None:
    """Raise unless a reaction is a function of a pixel's own values that torch can differentiate.

    Args:
        name: The model's.
        by: The reaction.
        names: Species and parameters.
        ranges: Lowest and highest values of each.

    Raises:
        ValueError: It looks beyond a pixel, gives other values when it is called again, or is cut off autograd.
        TypeError: It cannot be called with tensors of several pixels, or holds a tensor that requires grad.
    """
    if _known.get():
        return
    with torch.inference_mode(False):
        for seed in range(3):
            draws = torch.Generator(device="cpu").manual_seed(seed)
            drawn = [_drawn(*pair, draws) for pair in ranges]
            x, p = drawn[: by.species], drawn[by.species :]
            _require_nothing_held(by, x, p)
            _require_pixels(name, by, x, p, draws)
            _require_attached(name, by, x, p, names)


@own_surroundings
def other_when_traced(name: str, formulas: Formulas, reaction: Reaction, ranges: Sequence[tuple[float, float]]) -> bool:
    """Whether a reaction does another thing with tensors than its formula says: it may ask what it was given.

    Args:
        name: The model's.
        formulas: What was traced.
        reaction: From species and parameters, one after the other.
        ranges: Lowest and highest values of each.

    Raises:
        ValueError: It gives other values when it is called again.
    """
    if _known.get():
        return False
    draws = torch.Generator(device="cpu").manual_seed(0)
    drawn = [_drawn(*pair, draws) for pair in ranges]
    S = len(formulas.x)
    with torch.no_grad(), np.errstate(all="ignore"), own_filters():
        # numpy's functions take a tensor in a way that numpy is to give up; the compiled formula does not
        warnings.filterwarnings("ignore", "__array_wrap__", DeprecationWarning)
        try:
            first, again = (_stacked(reaction(*(v.clone() for v in drawn)), S) for _ in range(2))
        except Exception:  # it takes symbols and arrays, but no tensors: the formula is all there is
            return False
        traced = torch.stack([v.expand(_SHAPE) for v in formulas.value(drawn[:S], drawn[S:])])
    if not _same(first, again):
        raise ValueError(
            f"the reaction of {name} gives other values when it is called again: it must not draw or count"
        )
    size = first.nan_to_num(0.0, 0.0, 0.0).abs().max().item()
    return not torch.allclose(first, traced, rtol=1e-9, atol=1e-9 * size, equal_nan=True)


def _stacked(given: Any, species: int) -> torch.Tensor:
    values = as_values(given, species, lambda v: torch.as_tensor(v, dtype=torch.float64))
    return torch.stack([v.expand(_SHAPE) for v in values])


def _drawn(low: float, high: float, draws: torch.Generator) -> torch.Tensor:
    """Values within a range, about 1 where it is wide."""
    share = 0.2 + torch.rand(_SHAPE, generator=draws, dtype=torch.float64, device="cpu")
    bottom = low if low > float("-inf") else min(high - 1.2, 0.0)
    width = min(high - bottom, 1.2)
    return bottom + share / 1.2 * width


def _called(name: str, by: ByTorch, x: Sequence[torch.Tensor], p: Sequence[torch.Tensor]) -> torch.Tensor:
    """The reaction's values, called with tensors that are attached to autograd, as routes call it."""
    try:
        with torch.enable_grad():
            found = by.value([v.detach().requires_grad_() for v in x], [q.detach().requires_grad_() for q in p])
    except Exception as error:
        _raise(name, error)
    return torch.stack(found).detach()


def _raise(name: str, error: Exception) -> NoReturn:
    if isinstance(error, NameError) or WHERE not in getattr(error, "__notes__", ()):
        raise error  # a mistake in the function, or in what it gives
    raise TypeError(
        f"the reaction of {name} is no formula and cannot be called with tensors of several pixels "
        f"({type(error).__name__}: {error}): use torch's functions, torch.exp for math.exp, torch.where for a branch "
        "or np.where, torch.maximum for max; float(), int(), .item() and numpy's functions would cut rates and species "
        "off autograd"
    ) from error


def _require_nothing_held(by: ByTorch, x: Sequence[torch.Tensor], p: Sequence[torch.Tensor]) -> None:
    """Raise where values are attached to autograd though nothing that was given is."""
    try:
        with torch.enable_grad():
            found = by.value(x, p)
    except Exception:  # told where it is called as routes call it
        return
    if any(v.requires_grad for v in found):
        raise HeldTensorError


def _require_pixels(
    name: str, by: ByTorch, x: Sequence[torch.Tensor], p: Sequence[torch.Tensor], draws: torch.Generator
) -> None:
    """Raise unless a change in one pixel stays there."""
    before = _called(name, by, x, p)
    if not _same(before, _called(name, by, x, p)):
        raise ValueError(
            f"the reaction of {name} gives other values when it is called again: it must not draw or count"
        )
    for factor in (1.0, 30.0):
        b, row, column = (int(torch.randint(n, (1,), generator=draws, device="cpu").item()) for n in _SHAPE)
        changed = [v.clone() for v in x]
        for v in changed:
            v[b, row, column] *= 1 + factor * float(torch.rand((), generator=draws, device="cpu"))
        after = _called(name, by, changed, p)
        after[:, b, row, column] = before[:, b, row, column]
        if not _same(before, after):
            apart = not _same(before[:, 1 - b], after[:, 1 - b])
            raise ValueError(
                f"the reaction of {name} looks beyond a pixel: with one pixel changed, other pixels{_OTHERS[apart]} "
                "changed as well. A reaction must be pointwise, a pixel's rates made of that pixel's values; means, "
                "sums, shifts and convolutions over the grid are no reactions"
            )
    alone = _called(name, by, [v[1] for v in x], [q[1] for q in p])
    if not _same(before[:, 1], alone):
        raise ValueError(f"the reaction of {name} gives other values alone than in a batch: it must be pointwise")


_OTHERS = {False: "", True: ", of other instances too,"}


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, rtol=_ROUNDING, atol=_ROUNDING, equal_nan=True)


def _require_attached(
    name: str, by: ByTorch, x: Sequence[torch.Tensor], p: Sequence[torch.Tensor], names: Sequence[str]
) -> None:
    """Raise where derivatives by torch are not those of the values: what was cut off autograd has none."""
    columns: list[Any] = [[row[j] for row in by.jacobian(x, p)] for j in range(len(x))] + by.slopes(x, p)
    for j, column in enumerate(columns):
        slope, ends = torch.stack(column), []
        at = [*x, *p]
        h = _STEP * at[j].abs().clamp(min=1e-12)
        for sign in (1, -1):
            moved = [v + sign * h if i == j else v for i, v in enumerate(at)]
            ends.append(_called(name, by, moved[: by.species], moved[by.species :]))
        there = (ends[0] - ends[1]) / (2 * h)
        noise = 1e-14 * ends[0].abs() / h
        off = (there - slope).abs() > _OFF * torch.maximum(there.abs(), slope.abs()) + noise
        known = torch.isfinite(there) & torch.isfinite(slope)
        if any(int((off[i] & known[i]).sum()) > int(known[i].sum()) // 2 for i in range(by.species)):
            raise ValueError(
                f"the reaction of {name} is cut off autograd: its derivative in {names[j]} by torch is not that of its "
                "values, so that no gradient would be right. Use torch's functions on what it gets, without detach(), "
                ".data, .item() or another library's functions"
            )
