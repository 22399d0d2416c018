"""What each operation of a formula computes.

On torch tensors, numpy arrays, numbers, or objects that write instructions for a compiler: with + - * /, sqrt, abs,
maximum, minimum and integer powers all of them give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch

A: TypeAlias = Any
"""A tensor, an array, a number, or an object that writes instructions: whatever has `+`, `-`, `*` and `/`."""

FUNCTIONS = ("sqrt", "exp", "log", "tanh", "sin", "cos")
"""Functions of one argument that a formula may call, as `torch.exp(x)`, `numpy.exp(x)` or `x.exp()`."""


LARGER = ("maximum", "minimum")
"""Functions of two arguments that a formula may call."""


def _called(name: str, *args: A) -> A:
    """A function of whatever computes: of torch, of numpy, or of the object itself."""
    first = next((a for a in args if not isinstance(a, int | float | np.generic)), None)
    if first is None:
        numbers = [np.float64(a) for a in args]
        return getattr(np, "power" if name == "pow" else name)(*numbers)
    if isinstance(first, torch.Tensor):
        if name == "sqrt" and first.device.type == "cpu":
            return _root(first)
        if name in LARGER:  # which take no numbers
            args = tuple(torch.as_tensor(a, dtype=first.dtype, device=first.device) for a in args)
        return torch.pow(*args) if name == "pow" else getattr(torch, name)(*args)
    if isinstance(first, np.ndarray):
        return np.power(*args) if name == "pow" else getattr(np, name)(*args)
    return getattr(first, name)(*args[1:]) if first is args[0] else getattr(first, f"r{name}")(args[0])


def _root(x: torch.Tensor) -> torch.Tensor:
    """The correctly rounded square root, as compilers and numpy have it: torch's is a unit off in its last place."""
    if x.dtype == torch.float32:
        return x.double().sqrt().float()
    y = x.sqrt()
    at, root = x.detach(), y.detach()
    # what is left of x, exactly (Dekker): half of y has half of its digits
    spread = root * 134217729.0
    high = spread - (spread - root)
    low = root - high
    left = ((at - high * high) - 2 * high * low) - low * low
    step = left / (2 * root)
    usual = (at > 1e-250) & (at < 1e250)
    return y + torch.where(usual, step, torch.zeros_like(step))


def _divided(a: A, b: A) -> A:
    """The quotient, correctly rounded; numbers by zero give what arrays give, and no error."""
    if isinstance(b, torch.Tensor) and not isinstance(a, torch.Tensor):
        a = torch.as_tensor(a, dtype=b.dtype, device=b.device)  # torch has `a * (1 / b)` for a number a
    try:
        return a / b
    except ZeroDivisionError:
        return np.float64(a) / np.float64(b)


RUN: dict[str, Callable[..., Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": _divided,
    "neg": lambda a: -a,
    "pow": lambda a, b: _called("pow", a, b),
    **{name: partial(_called, name) for name in (*FUNCTIONS, *LARGER, "abs", "sign")},
}
"""Operations by their names in a graph."""
