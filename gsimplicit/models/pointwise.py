"""What follows from a reaction by differentiation: slopes in the fields and in the parameters, second derivatives.

All of it is pointwise: arrays or tensors of any shape that broadcast, species along a Python list. A reaction that can
be traced gives formulas, which serve numpy, torch and the compiled kernels alike; any other one is differentiated by
torch, a function call at a time.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch

from gsimplicit.models.expression import (
    Graph,
    Program,
    Symbol,
    UntraceableError,
    derivative,
    times,
    total,
)

A: TypeAlias = Any
Reaction: TypeAlias = Callable[..., Any]


class Pointwise(Protocol):
    """Derivatives of a reaction `f(x, p)` of S species x and P parameters p, diffusion coefficients left out."""

    def value(self, x: Sequence[A], p: Sequence[A]) -> list[A]:
        """f, one entry a species."""
        ...

    def jacobian(self, x: Sequence[A], p: Sequence[A]) -> list[list[A]]:
        """df_i/dx_j, S rows of S."""
        ...

    def slopes(self, x: Sequence[A], p: Sequence[A]) -> list[list[A]]:
        """df_i/dp_j: P rows, a parameter each, of S."""
        ...

    def second(self, x: Sequence[A], p: Sequence[A], a: Sequence[A], b: Sequence[A]) -> list[A]:
        """Second derivative of f in x along a and b, one entry a species."""
        ...

    def second_transposed(self, x: Sequence[A], p: Sequence[A], a: Sequence[A], w: Sequence[A]) -> list[A]:
        """The row `sum_i w_i d2f_i/dx2 a`, one entry a species."""
        ...

    def mixed(self, x: Sequence[A], p: Sequence[A], d: Sequence[A]) -> list[list[A]]:
        """Derivative of `slopes` along d: P rows of S."""
        ...

    def second_slopes(self, x: Sequence[A], p: Sequence[A]) -> list[list[list[A]]]:
        """d2f_i/dp_j dp_k: P rows of P of S."""
        ...


def leaves(prefix: str, count: int) -> list[str]:
    """Names of numbered variables."""
    return [f"{prefix}{i}" for i in range(count)]


class Formulas:
    """A traced reaction and its derivatives.

    Args:
        reaction: Takes S species and P parameters, gives S values.
        species: S.
        parameters: P.

    Raises:
        UntraceableError: The reaction is no formula.
        TypeError: It does not give S values.
    """

    def __init__(self, reaction: Reaction, species: int, parameters: int) -> None:
        self.graph = Graph()
        self.x = [self.graph.leaf(n) for n in leaves("x", species)]
        self.p = [self.graph.leaf(n) for n in leaves("p", parameters)]
        try:
            given = reaction(*self.x, *self.p)
        except UntraceableError:
            raise
        except Exception as error:  # what the function does with a symbol that is no number: math.exp, say
            raise UntraceableError(f"{type(error).__name__}: {error}") from error
        self.f = as_values(given, species, self._node)

    def _node(self, value: Any) -> Symbol:
        wrapped = self.x[0]._wrapped(value)
        if wrapped is None:
            raise UntraceableError(f"the reaction gives {value!r}")
        return wrapped

    @cached_property
    def J(self) -> list[list[Symbol]]:  # noqa: N802 (the field's letter)
        """df_i/dx_j."""
        return [[derivative(f, x) for x in self.x] for f in self.f]

    @cached_property
    def K(self) -> list[list[Symbol]]:  # noqa: N802
        """df_i/dp_j, a row a parameter."""
        return [[derivative(f, p) for f in self.f] for p in self.p]

    def _along(self, prefix: str) -> list[Symbol]:
        return [self.graph.leaf(n) for n in leaves(prefix, len(self.x))]

    def _directed(self, of: Symbol, direction: Sequence[Symbol]) -> Symbol:
        return total((times(derivative(of, x), d) for x, d in zip(self.x, direction, strict=True)), self.graph)

    def _program(self, results: Sequence[Symbol], *prefixes: str) -> Program:
        names = [*leaves("x", len(self.x)), *leaves("p", len(self.p))]
        for prefix in prefixes:
            names += leaves(prefix, len(self.x))
        return Program.of(results, names)

    @cached_property
    def _value(self) -> Program:
        return self._program(self.f)

    @cached_property
    def _jacobian(self) -> Program:
        return self._program([entry for row in self.J for entry in row])

    @cached_property
    def _slopes(self) -> Program:
        return self._program([entry for row in self.K for entry in row])

    @cached_property
    def _second(self) -> Program:
        a, b = self._along("a"), self._along("b")
        return self._program([self._directed(self._directed(f, a), b) for f in self.f], "a", "b")

    @cached_property
    def _second_transposed(self) -> Program:
        a, w = self._along("a"), self._along("w")
        bent = total((times(w_i, self._directed(f, a)) for w_i, f in zip(w, self.f, strict=True)), self.graph)
        return self._program([derivative(bent, x) for x in self.x], "a", "w")

    @cached_property
    def _mixed(self) -> Program:
        d = self._along("d")
        return self._program([self._directed(entry, d) for row in self.K for entry in row], "d")

    @cached_property
    def _second_slopes(self) -> Program:
        return self._program([derivative(entry, p) for row in self.K for p in self.p for entry in row])

    def second_slopes(self, x: Sequence[A], p: Sequence[A]) -> list[list[list[A]]]:
        """Second derivatives in the parameters."""
        flat = rows(spread(self._second_slopes.run([*x, *p]), x), len(self.x))
        return rows(flat, len(self.p))

    def value(self, x: Sequence[A], p: Sequence[A]) -> list[A]:
        """F."""
        return spread(self._value.run([*x, *p]), x)

    def jacobian(self, x: Sequence[A], p: Sequence[A]) -> list[list[A]]:
        """df_i/dx_j."""
        return rows(spread(self._jacobian.run([*x, *p]), x), len(self.x))

    def slopes(self, x: Sequence[A], p: Sequence[A]) -> list[list[A]]:
        """df_i/dp_j."""
        return rows(spread(self._slopes.run([*x, *p]), x), len(self.x))

    def second(self, x: Sequence[A], p: Sequence[A], a: Sequence[A], b: Sequence[A]) -> list[A]:
        """Second derivative along a and b."""
        return spread(self._second.run([*x, *p, *a, *b]), x)

    def second_transposed(self, x: Sequence[A], p: Sequence[A], a: Sequence[A], w: Sequence[A]) -> list[A]:
        """Its transpose in b."""
        return spread(self._second_transposed.run([*x, *p, *a, *w]), x)

    def mixed(self, x: Sequence[A], p: Sequence[A], d: Sequence[A]) -> list[list[A]]:
        """Derivative of `slopes` along d."""
        return rows(spread(self._mixed.run([*x, *p, *d]), x), len(self.x))

    @property
    def text(self) -> str:
        """The reaction in a line: equal texts compute the same."""
        return self._value.text


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
        # a parameter is spread over the cells, so that its derivative is pointwise, too
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


def as_values(given: Any, species: int, convert: Callable[[Any], Any]) -> list[Any]:
    """What a reaction gives, as one value a species.

    Raises:
        TypeError: It is another number of values.
    """
    found = [given] if species == 1 and not isinstance(given, list | tuple) else given
    if not isinstance(found, list | tuple) or len(found) != species:
        count = len(found) if isinstance(found, list | tuple) else type(found).__name__
        raise TypeError(f"reaction must give one rate a species, {species} of them, got {count}")
    return [convert(v) for v in found]


def spread(values: list[A], like: Sequence[A]) -> list[A]:
    """Numbers among the results as arrays or tensors like the fields."""
    first = like[0]
    if isinstance(first, torch.Tensor):
        return [
            v if isinstance(v, torch.Tensor) and v.shape == first.shape else v + torch.zeros_like(first) for v in values
        ]
    if isinstance(first, np.ndarray):
        return [v if np.shape(v) == first.shape else v + np.zeros_like(first) for v in values]
    return values


def rows(flat: list[A], width: int) -> list[list[A]]:
    """A flat list in rows."""
    return [flat[i : i + width] for i in range(0, len(flat), width)]
