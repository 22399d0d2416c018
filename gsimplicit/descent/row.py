"""One row of a descent: its raw parameters and an optimiser of its own."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from gsimplicit import checks
from gsimplicit.identity import content, label

__all__ = ["OptimizerFactory", "Row", "as_optimizer", "optimizer_recipe", "packed_state", "unpacked_state"]

OptimizerFactory = Callable[[list[torch.Tensor]], torch.optim.Optimizer]
"""From the tensors to move to an optimiser of torch's, such as `functools.partial(torch.optim.Adam, lr=0.1)`."""


def paper_optimizer() -> OptimizerFactory:
    """Plain gradient descent with the learning rate and weight decay of arXiv 2606.11258, appendix D and code."""
    return partial(torch.optim.SGD, lr=1.2e-2, weight_decay=5e-4)


def as_optimizer(optimizer: Any) -> OptimizerFactory:
    """A factory that was seen to make an optimiser that steps.

    Raises:
        TypeError: It makes none, or one that evaluates the loss itself.
    """
    if optimizer is None:
        return paper_optimizer()
    if not callable(optimizer) or isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(
            "optimizer must make an optimiser from a list of tensors, as torch.optim.SGD or "
            f"functools.partial(torch.optim.Adam, lr=0.1) do, got {checks.shown(optimizer)}"
        )
    tensor = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    made = optimizer([tensor])
    if not isinstance(made, torch.optim.Optimizer) or not all("lr" in group for group in made.param_groups):
        raise TypeError(f"optimizer must make a torch.optim.Optimizer with a learning rate, got {checks.shown(made)}")
    tensor.grad = torch.zeros_like(tensor)
    try:
        made.step()
    except TypeError as error:
        raise TypeError(
            f"optimizer must step with the gradient it is given: {type(made).__name__} asks for a closure"
        ) from error
    return optimizer  # type: ignore[no-any-return]


def optimizer_recipe(optimizer: OptimizerFactory, *, kept: bool) -> Any:
    """An optimiser of torch's by its class and settings; another by the code of what makes it.

    A function may change what it makes, by a step of its own or hooks of the tensors: only of torch's class itself,
    or of that class with settings, is it known that the settings are all.
    """
    maker = optimizer.func if type(optimizer) is partial else optimizer
    name = label(maker)
    if isinstance(maker, type) and maker.__module__.startswith("torch.optim."):
        made = optimizer([torch.zeros(1, dtype=torch.float64, requires_grad=True)])
        name = f"{maker.__module__}.{maker.__qualname__}"
        settings = {n: x for n, x in made.param_groups[0].items() if n != "params"}
        if type(made) is maker and "step" not in vars(made) and all(map(_plain, settings.values())):
            return {"type": name, **{n: float(x) if isinstance(x, torch.Tensor) else x for n, x in settings.items()}}
    return [name, content("optimizer", name, optimizer)] if kept else name


def _plain(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return value.ndim == 0
    return (
        value is None
        or isinstance(value, bool | int | float | str)
        or (isinstance(value, tuple | list) and all(map(_plain, value)))
    )


class Row:
    """Raw parameters of a row and what moves them.

    Args:
        raw: Raw parameters, float64, (N,).
        optimizer: Makes the optimiser.
    """

    def __init__(self, raw: torch.Tensor, optimizer: OptimizerFactory) -> None:
        self._raw = raw.detach().clone().requires_grad_()
        self._by = optimizer([self._raw])
        self._before: tuple[torch.Tensor, dict[str, Any]] | None = None

    @property
    def raw(self) -> torch.Tensor:
        """The raw parameters."""
        return self._raw.detach().clone()

    @property
    def rate(self) -> float:
        """The optimiser's own learning rate, of its first group."""
        return float(self._by.param_groups[0]["lr"])

    def begin(self, gradient: torch.Tensor) -> None:
        """Take the gradient of a step and remember where it begins."""
        self._before = (self.raw, copy.deepcopy(self._by.state_dict()))
        self._raw.grad = gradient.detach().clone()

    def propose(self, factor: float) -> torch.Tensor:
        """The next raw parameters with the learning rate times a factor, from where the step began."""
        assert self._before is not None
        self.back()
        for group in self._by.param_groups:
            group["lr"] = group["lr"] * factor
        with torch.enable_grad():
            self._by.step()
        return self.raw

    def accept(self) -> None:
        """Keep the last proposal; the learning rate is the optimiser's own again."""
        assert self._before is not None
        for group, before in zip(self._by.param_groups, self._before[1]["param_groups"], strict=True):
            group["lr"] = before["lr"]
        self._before = None

    def back(self) -> None:
        """Go back to where the step began."""
        assert self._before is not None
        raw, state = self._before
        with torch.no_grad():
            self._raw.copy_(raw)
        self._by.load_state_dict(copy.deepcopy(state))

    def state(self) -> dict[str, Any]:
        """All that it goes on from."""
        return {"raw": self.raw, "optimizer": self._by.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        with torch.no_grad():
            self._raw.copy_(state["raw"])
        self._by.load_state_dict(state["optimizer"])


def packed_state(rows: Sequence[Row], outcomes: Sequence[int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """States of all rows as bytes, that torch reads back as weights only."""
    stream = io.BytesIO()
    torch.save({"rows": [row.state() for row in rows], "outcomes": list(outcomes)}, stream)
    return np.frombuffer(stream.getvalue(), dtype=np.uint8)


def unpacked_state(packed: np.ndarray[Any, Any], rows: Sequence[Row]) -> list[int]:
    """Let rows go on from bytes; gives the outcomes.

    Raises:
        ValueError: They hold something else.
    """
    found = torch.load(io.BytesIO(packed.tobytes()), weights_only=True)
    if len(found["rows"]) != len(rows):
        raise ValueError("the stored state is of another number of rows")
    for row, state in zip(rows, found["rows"], strict=True):
        row.load(state)
    return [int(one) for one in found["outcomes"]]
