"""A traced reaction and its derivatives as formulas, which serve numpy, torch and the compiled kernels alike."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from gsimplicit.models.differentiation import derivative, times, total
from gsimplicit.models.expression import Graph, HeldTensorError, Symbol, UntraceableError
from gsimplicit.models.operations import A
from gsimplicit.models.pointwise import Reaction, as_values, rows, spread
from gsimplicit.models.program import Program


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
        TypeError: It does not give S values, or holds a tensor that requires grad.
        NameError: It asks for a name that does not exist.
    """

    def __init__(self, reaction: Reaction, species: int, parameters: int) -> None:
        self.graph = Graph()
        self.x = [self.graph.leaf(n) for n in leaves("x", species)]
        self.p = [self.graph.leaf(n) for n in leaves("p", parameters)]
        try:
            given = reaction(*self.x, *self.p)
        except (UntraceableError, HeldTensorError, NameError):  # these are no fault of tracing
            raise
        except Exception as error:  # what the function does with a symbol that is no number: math.exp, say
            raise UntraceableError(f"{type(error).__name__}: {error}") from error
        self.f = as_values(given, species, self._node)
        self._size = len(self.graph)

    def alone(self) -> Formulas:
        """The reaction in a graph of its own, where nothing is differentiated yet.

        What was differentiated before decides the order of operations in a graph. Steps have one order and one key.
        """
        made = object.__new__(Formulas)
        made.graph, made._size = Graph(), self._size
        same = self.graph.copied_to(made.graph, self._size)
        made.x, made.p, made.f = ([same[node.rank] for node in nodes] for nodes in (self.x, self.p, self.f))
        return made

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
