"""What a refinement asks for on its way, and who answers: it alone at once, or those of a batch together.

A refinement is a generator: it yields what is dear, marches and linear solves, and decides by itself what to make of
the answers. So an instance takes the same decisions alone and in a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from gsimplicit.threads import each

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from gsimplicit.refine.linear import Bordered, Solution
    from gsimplicit.refine.solvers import LinearSolver, Prepared

Array = np.ndarray[Any, np.dtype[np.float64]]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class MarchOn:
    """March until the change is slow.

    Attributes:
        fields: Float64, shape (S, H, W).
        level: Residual per unit time to reach.
        evaluations: Cap on residual evaluations, >= 1.
        spent: Evaluations spent before.
    """

    fields: Array
    level: float
    evaluations: int
    spent: int = 0


@dataclass(frozen=True, eq=False)
class Solve:
    """Solve a linear system; the answer is `Solved`.

    Attributes:
        system: The system.
        r: Field part of the right-hand side, shape (S, H, W).
        q: Border part, shape (r,); None is zero.
        known: What solved this system or one near by.
        fresh: Make the system ready, from what `known` has; else `known` solves as it is.
        transpose: Solve with the transpose.
        border: With the border.
        tol: Relative residual to reach; None is the solver's own.
    """

    system: Bordered
    r: Array
    q: Array | None = None
    known: Prepared | None = None
    fresh: bool = True
    transpose: bool = False
    border: bool = True
    tol: float | None = None


@dataclass(frozen=True, eq=False)
class Solved:
    """A solution, and what can solve with the system again."""

    solution: Solution
    prepared: Prepared


Solving: TypeAlias = "Generator[Solve, Solved, T]"
"""Work that asks for linear solves."""

Working: TypeAlias = "Generator[Any, Any, T]"
"""Work that asks for marches as well."""


def solved(linear: LinearSolver, ask: Solve) -> Solved:
    """The answer of a solver to one instance."""
    prepared = linear.prepare([ask.system], ask.known) if ask.fresh or ask.known is None else ask.known
    q = None if ask.q is None else [ask.q]
    found = prepared.solve([ask.r], q, transpose=ask.transpose, border=ask.border, tol=ask.tol)[0]
    return Solved(found, prepared)


def alone(work: Working[T], answer: Callable[[Any], Any]) -> T:
    """Do the work of one instance, each request answered when it comes."""
    given: Any = None
    while True:
        try:
            ask = work.send(given)
        except StopIteration as end:
            found: T = end.value
            return found
        given = answer(ask)


def together(
    works: Sequence[Working[T]], march: Callable[[dict[int, Any]], Any], solve: Callable[[dict[int, Any]], Any]
) -> list[T]:
    """Do the work of a batch, requests answered together: all marches first, so that as many as may be solve together.

    Args:
        works: One an instance.
        march: Answers requests to march, by instance.
        solve: The same for linear systems; some of them, if it likes, and the others later.

    Returns:
        What each work came to.
    """
    found: dict[int, T] = {}
    asked: dict[int, Any] = {}

    def go(one: tuple[int, Any]) -> tuple[int, Any, bool]:
        try:
            return one[0], works[one[0]].send(one[1]), False
        except StopIteration as end:
            return one[0], end.value, True

    given: list[tuple[int, Any]] = [(i, None) for i in range(len(works))]
    while given:
        for i, value, ended in each(go, given):
            if ended:
                found[i] = value
            else:
                asked[i] = value
        marches = {i: ask for i, ask in asked.items() if isinstance(ask, MarchOn)}
        answers = march(marches) if marches else solve(asked) if asked else {}
        given = sorted(answers.items())
        asked = {i: ask for i, ask in asked.items() if i not in answers}
    return [found[i] for i in range(len(works))]
