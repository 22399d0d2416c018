"""Derivatives of a reaction that is no formula, by torch: in reverse mode, which threads may use side by side.

Levels of forward mode are those of the process: where one thread leaves a level, the tangents of all others are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from gsimplicit.models.operations import A
from gsimplicit.models.pointwise import Reaction, as_values, rows

WHERE = (
    "in a model's reaction, which is called with tensors since it could not be traced: species and rates have the "
    "shape of the pixels, in float32 where steps are taken in it"
)
"""Note on what a reaction raises."""


class ByTorch:
    """A reaction that is no formula, differentiated by torch in float64: dearer, and on tensors alone inside.

    Args:
        reaction: Takes S species and P parameters as tensors, gives S tensors; pointwise.
        species: S.
        parameters: P.
    """

    def __init__(self, reaction: Reaction, species: int, parameters: int) -> None:
        self.reaction, self.species, self.parameters = reaction, species, parameters

    def _f(self, x: Sequence[torch.Tensor], p: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """f, of parameters that are spread over the pixels: a rate is as pointwise as a species, and no number.

        What makes a number of it would cut it off autograd: of several pixels torch refuses that.
        """
        shape = _shape(*x, *p)
        try:
            given = self.reaction(*(v.expand(shape).clone() for v in (*x, *p)))  # it may write into what it gets
        except Exception as error:
            error.add_note(WHERE)
            raise
        found = as_values(given, self.species, lambda v: torch.as_tensor(v, dtype=x[0].dtype, device=x[0].device))
        return [v.expand(shape) for v in found]

    def value(self, x: Sequence[A], p: Sequence[A]) -> list[A]:
        """f; on tensors it stays attached to autograd."""
        if isinstance(x[0], torch.Tensor):
            return list(self._f(x, [_like(q, x[0]) for q in p]))
        return self._through(lambda x, p: self._f(x, p), x, p)

    def jacobian(self, x: Sequence[A], p: Sequence[A]) -> list[list[A]]:
        """df_i/dx_j, a pass a species: the reaction is pointwise, so that the sum over the pixels gives a row."""
        work = lambda x, p: [e for f in self._f(x, p) for e in _slopes(f, x)]  # noqa: E731
        return rows(self._through(work, x, p), self.species)

    def slopes(self, x: Sequence[A], p: Sequence[A]) -> list[list[A]]:
        """df_i/dp_j."""
        work = lambda x, p: _turned([_slopes(f, p) for f in self._f(x, p)])  # noqa: E731
        return rows(self._through(work, x, p), self.species)

    def second(self, x: Sequence[A], p: Sequence[A], a: Sequence[A], b: Sequence[A]) -> list[A]:
        """Second derivative along a and b."""
        work = lambda x, p, a, b: [_dot(_slopes(g, x), b) for g in self._directed(x, p, a)]  # noqa: E731
        return self._through(work, x, p, a, b)

    def second_transposed(self, x: Sequence[A], p: Sequence[A], a: Sequence[A], w: Sequence[A]) -> list[A]:
        """Its transpose in b."""
        work = lambda x, p, a, w: _slopes(_dot(self._directed(x, p, a), w), x)  # noqa: E731
        return self._through(work, x, p, a, w)

    def mixed(self, x: Sequence[A], p: Sequence[A], d: Sequence[A]) -> list[list[A]]:
        """Derivative of `slopes` along d."""
        work = lambda x, p, d: _turned([_slopes(g, p) for g in self._directed(x, p, d)])  # noqa: E731
        return rows(self._through(work, x, p, d), self.species)

    def second_slopes(self, x: Sequence[A], p: Sequence[A]) -> list[list[list[A]]]:
        """Second derivatives in the parameters."""

        def bent(x: Any, p: Any) -> list[torch.Tensor]:
            first = [_slopes(f, p, again=True) for f in self._f(x, p)]
            out = [[_slopes(row[j], p) for row in first] for j in range(self.parameters)]
            return [e for of_one in out for e in _turned(of_one)]

        return rows(rows(self._through(bent, x, p), self.species), self.parameters)

    def _directed(self, x: Any, p: Any, a: Any) -> list[torch.Tensor]:
        """Derivatives of f along a, to be differentiated again."""
        return [_dot(_slopes(f, x, again=True), a) for f in self._f(x, p)]

    def _through(self, work: Callable[..., list[torch.Tensor]], *groups: Sequence[A]) -> list[A]:
        """Work on float64 tensors, and back to arrays where arrays came."""
        tensors = isinstance(groups[0][0], torch.Tensor)
        like = groups[0][0] if tensors else torch.empty(0, dtype=torch.float64)
        with torch.inference_mode(False), torch.enable_grad():
            given = [[_like(v, like).detach() for v in group] for group in groups]
            shape = _shape(*(v for group in given for v in group))
            found = work(*([v.expand(shape).clone().requires_grad_(i < 2) for v in g] for i, g in enumerate(given)))
        return [v.detach() if tensors else v.detach().numpy() for v in found]


def _slopes(of: torch.Tensor, by: Sequence[torch.Tensor], *, again: bool = False) -> list[torch.Tensor]:
    """Pointwise derivatives: pixels share nothing, so the gradient of the sum is what each pixel has of its own."""
    if not of.requires_grad:
        return [torch.zeros_like(v) for v in by]
    found = torch.autograd.grad(
        of.sum(), list(by), create_graph=again, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return list(found)


def _shape(*tensors: torch.Tensor) -> torch.Size:
    """The shape that some tensors have together."""
    return torch.broadcast_shapes(*(v.shape for v in tensors))  # type: ignore[no-untyped-call, no-any-return]


def _dot(rates: Sequence[torch.Tensor], along: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.stack([rate * a for rate, a in zip(rates, along, strict=True)]).sum(dim=0)


def _turned(table: Sequence[Sequence[torch.Tensor]]) -> list[torch.Tensor]:
    """A table by its columns, in one list."""
    return [e for column in zip(*table, strict=True) for e in column]


def _like(value: A, like: torch.Tensor) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        return value.to(like.device, like.dtype)
    return torch.as_tensor(np.asarray(value), dtype=like.dtype, device=like.device)
