"""Formulas as programs: flat lists of operations, run on whatever computes."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np

from gsimplicit.models.expression import Symbol, below
from gsimplicit.models.operations import RUN, A


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
                have.append(RUN[op](*(have[a] for a in args)))
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
            same[node.rank] = graph.insert(node.op, tuple(same[a.rank] for a in node.args))
        elif node.rank in free or node.rank in fixed:
            same[node.rank] = node
        elif id(node) in taken:
            same[node.rank] = graph.leaf(f"c{len(parts)}")
            parts.append(node)
    return [same[node.rank] for node in nodes], parts
