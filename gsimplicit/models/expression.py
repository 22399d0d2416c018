"""Pointwise formulas as graphs: traced from a function of plain arithmetic.

The function is called once with symbols in place of numbers. What comes back is a graph that holds its operations in
the order in which they were written. Derivatives (`differentiation`) are further nodes of the same graph; a graph is
run by a `Program`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

from gsimplicit.models.operations import FUNCTIONS, LARGER, RUN

MOST_NODES = 10_000
"""Operations at which tracing gives up: a loop that never ends would look like a very long formula."""


class UntraceableError(TypeError):
    """A function does something with its arguments that is no formula: a comparison, an index, another library."""


class HeldTensorError(TypeError):
    """A reaction holds a tensor that requires grad: no route would differentiate by it, and none would say so."""

    def __init__(self) -> None:
        super().__init__(
            "the reaction uses a tensor that requires grad and is none of its arguments: no route differentiates by "
            "it. Make it a rate, an argument of the reaction, or detach it (a module: requires_grad_(False))"
        )


class Graph:
    """The nodes of some formulas that may share parts: equal nodes are one."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[Any, ...], Symbol] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def copied_to(self, other: Graph, count: int) -> list[Symbol]:
        """The first nodes, inserted into another graph in the same order."""
        made: list[Symbol] = []
        for node in list(self._nodes.values())[:count]:
            made.append(other.insert(node.op, tuple(made[a.rank] for a in node.args), node.value))
        return made

    def leaf(self, name: str) -> Symbol:
        """A variable, by its name."""
        return self.insert("leaf", (), name)

    def number(self, value: float) -> Symbol:
        """A constant."""
        return self.insert("number", (), float(value))

    def insert(self, op: str, args: tuple[Symbol, ...], value: Any = None) -> Symbol:
        """The node of an operation, a new one where there is none yet; nothing is computed."""
        # the sign of zero counts, and 0.0 == -0.0
        told = (value, math.copysign(1.0, value)) if isinstance(value, float) else value
        key = (op, told, *(id(a) for a in args))
        found = self._nodes.get(key)
        if found is None:
            if len(self._nodes) >= MOST_NODES:
                raise UntraceableError(f"the formula has more than {MOST_NODES} operations")
            found = self._nodes[key] = Symbol(self, op, args, value, len(self._nodes))
        return found

    def node(self, op: str, *args: Symbol) -> Symbol:
        """An operation; numbers alone are computed at once."""
        if all(a.op == "number" for a in args):
            try:
                with np.errstate(all="ignore"):
                    value = float(RUN[op](*(a.value for a in args)))
            except (ArithmeticError, ValueError):
                value = math.nan
            if math.isfinite(value):
                return self.number(value)
        return self.insert(op, args)


class Symbol:
    """A node of a graph, with the arithmetic of a number. Comparisons, indices and conversions raise."""

    __slots__ = ("args", "graph", "op", "rank", "value")
    __array_priority__ = 1000  # numpy's numbers leave `number * symbol` to the symbol

    def __init__(self, graph: Graph, op: str, args: tuple[Symbol, ...], value: Any, rank: int) -> None:
        self.graph, self.op, self.args, self.value, self.rank = graph, op, args, value, rank

    def _with(self, op: str, other: Any, *, swapped: bool = False) -> Symbol:
        right = self._wrapped(other)
        if right is None:
            return NotImplemented  # type: ignore[no-any-return]
        return self.graph.node(op, right, self) if swapped else self.graph.node(op, self, right)

    def _wrapped(self, other: Any) -> Symbol | None:
        """A number or symbol as a symbol of the same graph; None for what is neither."""
        if isinstance(other, Symbol):
            if other.graph is not self.graph:
                raise UntraceableError("symbols of two traces meet: does the function keep what it was given?")
            return other
        if isinstance(other, torch.Tensor) and other.requires_grad:
            raise HeldTensorError
        if isinstance(other, torch.Tensor | np.ndarray | np.generic) and np.ndim(other) == 0:
            other = other.item()
        if isinstance(other, bool) or not isinstance(other, int | float):
            return None
        return self.graph.number(other)

    def __add__(self, other: Any) -> Symbol:
        return self._with("+", other)

    def __radd__(self, other: Any) -> Symbol:
        return self._with("+", other, swapped=True)

    def __sub__(self, other: Any) -> Symbol:
        return self._with("-", other)

    def __rsub__(self, other: Any) -> Symbol:
        return self._with("-", other, swapped=True)

    def __mul__(self, other: Any) -> Symbol:
        return self._with("*", other)

    def __rmul__(self, other: Any) -> Symbol:
        return self._with("*", other, swapped=True)

    def __truediv__(self, other: Any) -> Symbol:
        return self._with("/", other)

    def __rtruediv__(self, other: Any) -> Symbol:
        return self._with("/", other, swapped=True)

    def __neg__(self) -> Symbol:
        return self.graph.node("neg", self)

    def __abs__(self) -> Symbol:
        return self.graph.node("abs", self)

    def __pos__(self) -> Symbol:
        return self

    def __pow__(self, other: Any) -> Symbol:
        exponent = self._wrapped(other)
        if exponent is None:
            return NotImplemented
        return power(self, exponent)

    def __rpow__(self, other: Any) -> Symbol:
        base = self._wrapped(other)
        return NotImplemented if base is None else power(base, self)

    def __bool__(self) -> bool:
        raise UntraceableError("the formula branches on a value")

    def __iter__(self) -> Any:
        raise UntraceableError("the formula takes a value apart")

    def __getitem__(self, index: Any) -> Any:
        raise UntraceableError("the formula takes a value apart")

    def _no_order(self, other: Any) -> Any:
        raise UntraceableError("the formula compares values")

    # without these two a branch on a value would be taken one way, unseen: no symbol is a number
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _no_order
    __hash__ = object.__hash__
    __float__ = __int__ = __index__ = __len__ = __complex__ = lambda self: self._no_order(None)

    def __getattr__(self, name: str) -> Any:
        """`x.exp()` and the like, as of a tensor."""
        if name.startswith("__"):
            raise AttributeError(name)
        called = _CALLS.get(name)
        if called is None:
            raise UntraceableError(f"the formula asks a value for {name!r}")
        return lambda *args: called(self, *args)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        called = _CALLS.get(ufunc.__name__)
        if method != "__call__" or kwargs or called is None:
            raise UntraceableError(f"the formula calls numpy.{ufunc.__name__}")
        return called(*inputs)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", str(func))
        # torch.exp_(x) would leave another x behind
        called = None if name.endswith("_") and not name.endswith("__") else _CALLS.get(name.strip("_"))
        if kwargs or called is None:
            raise UntraceableError(f"the formula calls torch's {name}")
        return called(*args)

    def __repr__(self) -> str:
        if self.op == "leaf":
            return str(self.value)
        if self.op == "number":
            return repr(self.value)
        if len(self.args) == 2 and self.op in "+-*/":
            return f"({self.args[0]!r} {self.op} {self.args[1]!r})"
        return f"{self.op}({', '.join(map(repr, self.args))})"


def _first(*args: Any) -> Symbol:
    return next(a for a in args if isinstance(a, Symbol))


def _binary(op: str) -> Callable[[Any, Any], Symbol]:
    def call(a: Any, b: Any) -> Symbol:
        left, right = (_first(a, b)._wrapped(x) for x in (a, b))
        if left is None or right is None:
            raise UntraceableError(f"the formula combines a value with {a if left is None else b!r}")
        return power(left, right) if op == "**" else left.graph.node(op, left, right)

    return call


def _function(name: str) -> Callable[[Symbol], Symbol]:
    return lambda x: x.graph.node(name, x)


_CALLS: dict[str, Callable[..., Symbol]] = {
    **{name: _function(name) for name in FUNCTIONS},
    **{name: _binary("+") for name in ("add", "radd")},
    **{name: _binary("-") for name in ("sub", "subtract")},
    **{name: _binary("*") for name in ("mul", "multiply", "rmul")},
    **{name: _binary("/") for name in ("div", "divide", "true_divide", "truediv")},
    **{name: _binary("**") for name in ("pow", "power")},
    **{name: _binary(name) for name in LARGER},
    **{name: _function("abs") for name in ("abs", "absolute", "fabs")},
    "rsub": lambda a, b: _binary("-")(b, a),
    "rdiv": lambda a, b: _binary("/")(b, a),
    "rpow": lambda a, b: _binary("**")(b, a),
    "neg": lambda x: -x,
    "negative": lambda x: -x,
    "square": lambda x: x * x,
    "reciprocal": lambda x: 1.0 / x,
    "sigmoid": lambda x: 0.5 + 0.5 * x.graph.node("tanh", 0.5 * x),  # exp(-x) would overflow where it is steep
}
"""What a formula may call, by the names torch and numpy have for it."""


def power(base: Symbol, exponent: Symbol) -> Symbol:
    """Integer powers by multiplication, from the left and by squaring; others as they are."""
    graph = base.graph
    if exponent.op != "number":
        return graph.node("pow", base, exponent)
    n = exponent.value
    if n == 0.5:
        return graph.node("sqrt", base)
    if n != int(n) or abs(n) > 64:
        return graph.node("pow", base, exponent)
    if n < 0:
        return graph.node("/", graph.number(1), power(base, graph.number(-n)))
    out, square, left = None, base, int(n)
    while left:
        if left & 1:
            out = square if out is None else graph.node("*", out, square)
        left >>= 1
        if left:
            square = graph.node("*", square, square)
    return graph.number(1) if out is None else out


def below(nodes: Iterable[Symbol]) -> list[Symbol]:
    """All nodes that some nodes are made of, themselves included, arguments before what is made of them."""
    found: dict[int, Symbol] = {}
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node.rank not in found:
            found[node.rank] = node
            waiting += node.args
    return [found[rank] for rank in sorted(found)]
