"""Derivatives of a reaction that is no formula, by torch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from gsimplicit.models.operations import A
from gsimplicit.models.pointwise import Reaction, as_values, rows


class ByTorch:
    """A reaction that is no formula, differentiated by torch in float64: dearer, and on tensors alone inside.

    Args:
        reaction: Takes S species and P parameters as tensors, gives S tensors; pointwise.
        species: S.
        parameters: P.
    """

    def __init__(self, reaction: Reaction, species: int, parameters: int) -> None:
        self.reaction, self.species, self.parameters = reaction, species, parameters

    def _f(self, x: Sequence[torch.Tensor], p: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        try:
            given = self.reaction(*(y.clone() for y in x), *(q.clone() for q in p))  # it may write into what it gets
        except Exception as error:
            error.add_note("in a model's reaction, which is called with tensors since it could not be traced")
            raise
        found = as_values(given, self.species, lambda v: torch.as_tensor(v, dtype=x[0].dtype, device=x[0].device))
        return tuple(torch.broadcast_tensors(*found, x[0])[:-1])  # type: ignore[no-untyped-call]

    def value(self, x: Sequence[A], p: Sequence[A]) -> list[A]:
        """f; on tensors it stays attached to autograd."""
        if isinstance(x[0], torch.Tensor):
            return list(self._f(x, [_like(q, x[0]) for q in p]))
        return self._through(lambda x, p: list(self._f(x, p)), x, p)

    def jacobian(self, x: Sequence[A], p: Sequence[A]) -> list[list[A]]:
        """df_i/dx_j, a pass a species: the reaction is pointwise, so that one tangent of ones gives a column."""
        return rows(self._through(lambda x, p: [e for row in self._J(x, p) for e in row], x, p), self.species)

    def slopes(self, x: Sequence[A], p: Sequence[A]) -> list[list[A]]:
        """df_i/dp_j."""
        return rows(self._through(lambda x, p: [e for row in self._K(x, p) for e in row], x, p), self.species)

    def second(self, x: Sequence[A], p: Sequence[A], a: Sequence[A], b: Sequence[A]) -> list[A]:
        """Second derivative along a and b."""

        def along(x: Any, p: Any, a: Any, b: Any) -> list[torch.Tensor]:
            first = lambda *y: _jvp(lambda *z: self._f(z, p), tuple(y), tuple(a))[1]  # noqa: E731
            return list(_jvp(first, tuple(x), tuple(b))[1])

        return self._through(along, x, p, a, b)

    def second_transposed(self, x: Sequence[A], p: Sequence[A], a: Sequence[A], w: Sequence[A]) -> list[A]:
        """Its transpose in b."""

        def pulled(x: Any, p: Any, a: Any, w: Any) -> list[torch.Tensor]:
            first = lambda *y: _jvp(lambda *z: self._f(z, p), tuple(y), tuple(a))[1]  # noqa: E731
            return list(torch.func.vjp(first, *x)[1](tuple(w)))

        return self._through(pulled, x, p, a, w)

    def mixed(self, x: Sequence[A], p: Sequence[A], d: Sequence[A]) -> list[list[A]]:
        """Derivative of `slopes` along d."""

        def along(x: Any, p: Any, d: Any) -> list[torch.Tensor]:
            flat = lambda *y: tuple(e for row in self._K(y, p) for e in row)  # noqa: E731
            return list(_jvp(flat, tuple(x), tuple(d))[1])

        return rows(self._through(along, x, p, d), self.species)

    def second_slopes(self, x: Sequence[A], p: Sequence[A]) -> list[list[list[A]]]:
        """Second derivatives in the parameters."""

        def bent(x: Any, p: Any) -> list[torch.Tensor]:
            p = [torch.broadcast_to(q, x[0].shape).clone() for q in p]
            flat, out = lambda *q: tuple(e for row in self._K(x, q) for e in row), []
            for k in range(self.parameters):
                ones = tuple(torch.ones_like(q) if i == k else torch.zeros_like(q) for i, q in enumerate(p))
                out.append(rows(list(_jvp(flat, tuple(p), ones)[1]), self.species))
            return [e for j in range(self.parameters) for k in range(self.parameters) for e in out[k][j]]

        return rows(rows(self._through(bent, x, p), self.species), self.parameters)

    def _J(self, x: Any, p: Any) -> list[list[torch.Tensor]]:  # noqa: N802
        columns = []
        for j in range(self.species):
            ones = tuple(torch.ones_like(y) if i == j else torch.zeros_like(y) for i, y in enumerate(x))
            columns.append(_jvp(lambda *y: self._f(y, p), tuple(x), ones)[1])
        return [list(row) for row in zip(*columns, strict=True)]

    def _K(self, x: Any, p: Any) -> list[list[torch.Tensor]]:  # noqa: N802
        # a parameter is spread over the pixels, so that its derivative is pointwise, too
        p = [torch.broadcast_to(q, x[0].shape).clone() for q in p]
        out = []
        for j in range(self.parameters):
            ones = tuple(torch.ones_like(q) if i == j else torch.zeros_like(q) for i, q in enumerate(p))
            out.append(list(_jvp(lambda *q: self._f(x, q), tuple(p), ones)[1]))
        return out

    def _through(self, work: Callable[..., list[torch.Tensor]], *groups: Sequence[A]) -> list[A]:
        """Work on float64 tensors, and back to arrays where arrays came."""
        tensors = isinstance(groups[0][0], torch.Tensor)
        like = groups[0][0] if tensors else torch.empty(0, dtype=torch.float64)
        given = [[_like(v, like) for v in group] for group in groups]
        with torch.inference_mode(False), torch.no_grad():
            found = work(*given)
        return [v.detach() if tensors else v.detach().numpy() for v in found]


@lru_cache(maxsize=1)
def _prepare() -> None:
    """Call forward mode once: torch 2.13 then calls its own deprecated torch.jit.script."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.func.jvp(torch.square, (torch.ones(()),), (torch.ones(()),))


def _jvp(function: Callable[..., Any], at: tuple[A, ...], along: tuple[A, ...]) -> tuple[Any, Any]:
    """A function's value and its derivative along a direction."""
    _prepare()
    found: Any = torch.func.jvp(function, at, along)
    return found[0], found[1]


def _like(value: A, like: torch.Tensor) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        return value.to(like.device, like.dtype)
    return torch.as_tensor(np.asarray(value), dtype=like.dtype, device=like.device)
