"""Pointwise formulas as graphs: traced from a function, differentiated, and run by whatever computes.

A function of plain arithmetic is called once with symbols in place of numbers. What comes back is a graph that holds
its operations in the order in which they were written. Derivatives are further nodes of the same graph, so a product
that occurs in several of them is computed once.

A graph is run by a `Program`: a flat list of operations on torch tensors, numpy arrays, numbers, or objects that write
instructions for a compiler. With + - * /, sqrt and integer powers all of them give the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch

A: TypeAlias = Any
"""A tensor, an array, a number, or an object that writes instructions: whatever has `+`, `-`, `*` and `/`."""

FUNCTIONS = ("sqrt", "exp", "log", "tanh", "sin", "cos")
"""Functions of one argument that a formula may call, as `torch.exp(x)`, `numpy.exp(x)` or `x.exp()`."""

MOST_NODES = 10_000
"""Operations at which tracing gives up: a loop that never ends would look like a very long formula."""


class UntraceableError(TypeError):
    """A function does something with its arguments that is no formula: a comparison, an index, another library."""


class Graph:
    """The nodes of some formulas that may share parts: equal nodes are one."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[Any, ...], Symbol] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def leaf(self, name: str) -> Symbol:
        """A variable, by its name."""
        return self._node("leaf", (), name)

    def number(self, value: float) -> Symbol:
        """A constant."""
        return self._node("number", (), float(value))

    def _node(self, op: str, args: tuple[Symbol, ...], value: Any = None) -> Symbol:
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
                    value = float(_RUN[op](*(a.value for a in args)))
            except (ArithmeticError, ValueError):
                value = math.nan
            if math.isfinite(value):
                return self.number(value)
        return self._node(op, args)


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

    def __pos__(self) -> Symbol:
        return self

    def __pow__(self, other: Any) -> Symbol:
        exponent = self._wrapped(other)
        if exponent is None:
            return NotImplemented
        return _power(self, exponent)

    def __rpow__(self, other: Any) -> Symbol:
        base = self._wrapped(other)
        return NotImplemented if base is None else _power(base, self)

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
        return _power(left, right) if op == "**" else left.graph.node(op, left, right)

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


def _power(base: Symbol, exponent: Symbol) -> Symbol:
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
        return graph.node("/", graph.number(1), _power(base, graph.number(-n)))
    out, square, left = None, base, int(n)
    while left:
        if left & 1:
            out = square if out is None else graph.node("*", out, square)
        left >>= 1
        if left:
            square = graph.node("*", square, square)
    return graph.number(1) if out is None else out


# ---------------------------------------------------------------------------------------------------------------------
# Algebra that drops zeros and ones, for derivatives: what a user wrote is never rearranged
# ---------------------------------------------------------------------------------------------------------------------


def is_number(x: Symbol, value: float) -> bool:
    """Whether a node is this constant."""
    return x.op == "number" and x.value == value


def plus(a: Symbol, b: Symbol) -> Symbol:
    """`a + b` without zeros and with one sign."""
    if is_number(a, 0):
        return b
    if is_number(b, 0):
        return a
    if b.op == "neg":
        return minus(a, b.args[0])
    if a.op == "neg":
        return minus(b, a.args[0])
    return a + b


def minus(a: Symbol, b: Symbol) -> Symbol:
    """`a - b` without zeros and with one sign."""
    if is_number(b, 0):
        return a
    if is_number(a, 0):
        return negative(b)
    return plus(a, b.args[0]) if b.op == "neg" else a - b


def negative(a: Symbol) -> Symbol:
    """`-a` with one sign."""
    return a.args[0] if a.op == "neg" else -a


def times(a: Symbol, b: Symbol) -> Symbol:
    """`a b` without zeros and ones, and the sign outside."""
    for x, y in ((a, b), (b, a)):
        if is_number(x, 0):
            return x
        if is_number(x, 1):
            return y
        if is_number(x, -1):
            return negative(y)
        if x.op == "neg":
            return negative(times(x.args[0], y))
    if b.op == "number" and a.op != "number":
        a, b = b, a
    return a * b


def over(a: Symbol, b: Symbol) -> Symbol:
    """`a / b` without zeros and ones."""
    if is_number(a, 0) or is_number(b, 1):
        return a
    return negative(over(a.args[0], b)) if a.op == "neg" else a / b


def total(terms: Iterable[Symbol], graph: Graph) -> Symbol:
    """The sum, from the left."""
    out = graph.number(0)
    for term in terms:
        out = plus(out, term)
    return out


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


def derivative(of: Symbol, by: Symbol) -> Symbol:
    """The derivative of a node by a leaf."""
    zero, known = of.graph.number(0), {}
    for node in below([of]):
        if node is by:
            known[node.rank] = of.graph.number(1)
            continue
        parts = [known[a.rank] for a in node.args]
        flat = all(is_number(p, 0) for p in parts)
        known[node.rank] = zero if flat else _CHAIN[node.op](node, node.args, parts)
    return known[of.rank]


def _chain_product(of: Symbol, x: Sequence[Symbol], d: Sequence[Symbol]) -> Symbol:
    if x[0] is x[1]:
        return times(times(of.graph.number(2), x[0]), d[0])
    return plus(times(d[0], x[1]), times(x[0], d[1]))


def _chain_power(of: Symbol, x: Sequence[Symbol], d: Sequence[Symbol]) -> Symbol:
    graph, (base, n) = of.graph, x
    slope = times(times(n, _power(base, minus(n, graph.number(1)))), d[0])
    if is_number(d[1], 0):
        return slope
    # at 0 the slope of `0 ** n` in n is 0, as torch has it, and not `0 log(0)`; elsewhere nothing is changed
    return plus(slope, times(times(of, graph.node("log", plus(base, graph.number(_LEAST)))), d[1]))


_LEAST = 1.2e-38
"""A normal number of either dtype."""


_CHAIN: dict[str, Callable[[Symbol, Sequence[Symbol], Sequence[Symbol]], Symbol]] = {
    "+": lambda of, x, d: plus(d[0], d[1]),
    "-": lambda of, x, d: minus(d[0], d[1]),
    "*": _chain_product,
    "/": lambda of, x, d: over(minus(d[0], times(of, d[1])), x[1]),
    "neg": lambda of, x, d: negative(d[0]),
    "pow": _chain_power,
    "sqrt": lambda of, x, d: over(d[0], times(of.graph.number(2), of)),
    "exp": lambda of, x, d: times(of, d[0]),
    "log": lambda of, x, d: over(d[0], x[0]),
    "tanh": lambda of, x, d: times(minus(of.graph.number(1), of * of), d[0]),
    "sin": lambda of, x, d: times(of.graph.node("cos", x[0]), d[0]),
    "cos": lambda of, x, d: negative(times(of.graph.node("sin", x[0]), d[0])),
}
"""Derivative of each operation from those of its arguments."""


# ---------------------------------------------------------------------------------------------------------------------
# Programs
# ---------------------------------------------------------------------------------------------------------------------


def _called(name: str, *args: A) -> A:
    """A function of whatever computes: of torch, of numpy, or of the object itself."""
    first = next((a for a in args if not isinstance(a, int | float | np.generic)), None)
    if first is None:
        numbers = [np.float64(a) for a in args]
        return np.power(numbers[0], numbers[1]) if name == "pow" else getattr(np, name)(numbers[0])
    if isinstance(first, torch.Tensor):
        if name == "sqrt" and first.device.type == "cpu":
            return _root(first)
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


_RUN: dict[str, Callable[..., Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: _divided(a, b),
    "neg": lambda a: -a,
    "pow": lambda a, b: _called("pow", a, b),
    **{name: partial(_called, name) for name in FUNCTIONS},
}


def _divided(a: A, b: A) -> A:
    """The quotient, correctly rounded; numbers by zero give what arrays give, and no error."""
    if isinstance(b, torch.Tensor) and not isinstance(a, torch.Tensor):
        a = torch.as_tensor(a, dtype=b.dtype, device=b.device)  # torch has `a * (1 / b)` for a number a
    try:
        return a / b
    except ZeroDivisionError:
        return np.float64(a) / np.float64(b)


@dataclass(frozen=True)
class Program:
    """Formulas as a flat list of operations, each on what came before.

    Attributes:
        leaves: Names of the variables, in the order of `run`.
        steps: (operation, places of its arguments); places count leaves, numbers and then operations.
        numbers: Constants.
        results: Places of the results.
    """

    leaves: tuple[str, ...]
    numbers: tuple[float, ...]
    steps: tuple[tuple[str, tuple[int, ...]], ...]
    results: tuple[int, ...]

    @classmethod
    def of(cls, results: Sequence[Symbol], leaves: Sequence[str]) -> Program:
        """The operations that the results need, in the order in which they were written.

        Args:
            results: Nodes of one graph.
            leaves: Names of all variables that may occur.
        """
        nodes = below(results)
        numbers = tuple(node.value for node in nodes if node.op == "number")
        places = {n.rank: leaves.index(n.value) for n in nodes if n.op == "leaf"}
        inner = [n for n in nodes if n.args]
        places |= {n.rank: len(leaves) + i for i, n in enumerate(n for n in nodes if n.op == "number")}
        places |= {n.rank: len(leaves) + len(numbers) + i for i, n in enumerate(inner)}
        steps = tuple((n.op, tuple(places[a.rank] for a in n.args)) for n in inner)
        return cls(tuple(leaves), numbers, steps, tuple(places[r.rank] for r in results))

    def run(self, values: Sequence[A]) -> list[A]:
        """The results for values of the leaves; constants stay Python's numbers."""
        have = [*values, *self.numbers]
        with np.errstate(all="ignore"):  # what overflows shows in the values
            for op, args in self.steps:
                have.append(_RUN[op](*(have[a] for a in args)))
        return [have[place] for place in self.results]

    @property
    def operations(self) -> int:
        """Arithmetic operations, those on numbers alone included."""
        return len(self.steps)

    @property
    def text(self) -> str:
        """All of it in one line: equal texts compute the same."""
        return repr((self.leaves, self.numbers, self.steps, self.results))


def apart(nodes: Sequence[Symbol], known: Container[str]) -> tuple[list[Symbol], list[Symbol]]:
    """Take the parts out of some formulas that depend on known leaves alone.

    They are formed once, in float64, and rounded once.

    Args:
        nodes: Formulas of one graph.
        known: Names of the known leaves.

    Returns:
        The formulas with leaves "c0", "c1", ... in place of those parts, and the parts. Constants stay where they are.
    """
    graph = nodes[0].graph
    parts: list[Symbol] = []
    free: set[int] = set()  # nodes that depend on an unknown leaf
    fixed: set[int] = set()  # nodes that depend on no leaf at all
    inside = below(nodes)
    for node in inside:
        if (node.op == "leaf" and node.value not in known) or any(a.rank in free for a in node.args):
            free.add(node.rank)
        elif node.op != "leaf" and all(a.rank in fixed for a in node.args):
            fixed.add(node.rank)
    taken = {id(a) for node in inside if node.rank in free for a in node.args} | {id(node) for node in nodes}
    same: dict[int, Symbol] = {}
    for node in inside:
        if node.rank in free and node.args:
            same[node.rank] = graph._node(node.op, tuple(same[a.rank] for a in node.args))
        elif node.rank in free or node.rank in fixed:
            same[node.rank] = node
        elif id(node) in taken:
            same[node.rank] = graph.leaf(f"c{len(parts)}")
            parts.append(node)
    return [same[node.rank] for node in nodes], parts
