"""Derivatives of formulas, as further nodes of their graph: a product that occurs in several is computed once.

What a user wrote is never rearranged; the algebra here drops zeros and ones from what differentiation adds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from gsimplicit.models.expression import Graph, Symbol, below, power


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
    slope = times(times(n, power(base, minus(n, graph.number(1)))), d[0])
    if is_number(d[1], 0):
        return slope
    # at 0 the slope of `0 ** n` in n is 0, as torch has it, and not `0 log(0)`; elsewhere nothing is changed
    return plus(slope, times(times(of, graph.node("log", plus(base, graph.number(_LEAST)))), d[1]))


def _chain_larger(of: Symbol, x: Sequence[Symbol], d: Sequence[Symbol]) -> Symbol:
    """Of a maximum or a minimum: that of the one taken, half of each where they are equal, as torch has it."""
    graph = of.graph
    half, side = graph.number(0.5), graph.node("sign", x[0] - x[1] if of.op == "maximum" else x[1] - x[0])
    first = half + half * side
    return plus(times(first, d[0]), times(graph.number(1) - first, d[1]))


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
    "abs": lambda of, x, d: times(of.graph.node("sign", x[0]), d[0]),
    "sign": lambda of, x, d: of.graph.number(0),
    "maximum": _chain_larger,
    "minimum": _chain_larger,
    "cos": lambda of, x, d: negative(times(of.graph.node("sin", x[0]), d[0])),
}
"""Derivative of each operation from those of its arguments."""
