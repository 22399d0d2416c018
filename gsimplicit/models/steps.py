"""One explicit Euler step of a model and its derivatives, as formulas of one pixel: what every marching backend runs.

With S the sum over the four neighbours of a pixel, the step `x + dt (D (S - 4 x) + f(x))` is gathered into

    (dt D) S + ((1 - 4 dt D) x + dt f(x)),

and what depends on the parameters alone is formed once an instance, in float64, and rounded once: formed in float32 it
costs a factor of three in accuracy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from gsimplicit.models.differentiation import minus, plus, times, total
from gsimplicit.models.expression import Symbol
from gsimplicit.models.formulas import Formulas, leaves
from gsimplicit.models.operations import A
from gsimplicit.models.program import Program, apart


class Steps(Protocol):
    """What a backend asks of a model: one pixel's step, its adjoint and its tangents.

    Attributes:
        key: Text that differs wherever the formulas do.
        species: S.
        parameters: P.
        constants: How many numbers an instance has in place of its parameters.
        sums: How many sums over pixels and steps an adjoint gathers.
    """

    @property
    def key(self) -> str:
        """Text that differs wherever the formulas do."""
        ...

    @property
    def species(self) -> int:
        """How many species."""
        ...

    @property
    def parameters(self) -> int:
        """How many parameters."""
        ...

    @property
    def constants(self) -> int:
        """How many numbers an instance has in place of its parameters."""
        ...

    @property
    def sums(self) -> int:
        """How many sums an adjoint gathers."""
        ...

    def constants_of(self, parameters: Sequence[A], dt: float) -> list[A]:
        """Numbers of an instance, from its parameters in float64: numbers or tensors."""
        ...

    def step(self, x: Sequence[A], S: Sequence[A], c: Sequence[A]) -> list[A]:
        """The species a step later, from the species x, their neighbour sums S and the constants."""
        ...

    def adjoint(self, a: Sequence[A], Sa: Sequence[A], x: Sequence[A], c: Sequence[A]) -> tuple[list[A], list[A]]:
        """The adjoint a step earlier around the state x, and what it adds to the sums."""
        ...

    def tangents(
        self, x: Sequence[A], S: Sequence[A], d: Sequence[Sequence[A]], Sd: Sequence[Sequence[A]], c: Sequence[A]
    ) -> list[list[A]]:
        """Derivatives of the species in each parameter, a step later: P rows of S."""
        ...

    def derivatives_of(self, sums: Sequence[A], dt: float) -> list[A]:
        """Derivatives in the parameters, from the sums."""
        ...


@dataclass(frozen=True)
class Derived:
    """The steps of a traced reaction.

    Attributes:
        species: S.
        parameters: P.
        constants: Numbers of an instance.
        before: From parameters and dt to the constants.
        forward: The step.
        backward: The adjoint and its sums.
        beside: The tangents.
    """

    species: int
    parameters: int
    constants: int
    before: Program
    forward: Program
    backward: Program
    beside: Program

    @property
    def sums(self) -> int:
        """One a parameter."""
        return self.parameters

    @cached_property
    def key(self) -> str:
        """A digest of all formulas, made once: each call of a kernel asks for it."""
        texts = (p.text for p in (self.before, self.forward, self.backward, self.beside))
        return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:32]

    def constants_of(self, parameters: Sequence[A], dt: float) -> list[A]:
        """Numbers of an instance, from its parameters in float64: numbers or tensors."""
        return self.before.run([*parameters, dt])

    def step(self, x: Sequence[A], S: Sequence[A], c: Sequence[A]) -> list[A]:
        """The species a step later."""
        return self.forward.run([*x, *S, *c])

    def adjoint(self, a: Sequence[A], Sa: Sequence[A], x: Sequence[A], c: Sequence[A]) -> tuple[list[A], list[A]]:
        """The adjoint a step earlier, and what it adds to the sums."""
        found = self.backward.run([*a, *Sa, *x, *c])
        return found[: self.species], found[self.species :]

    def tangents(
        self, x: Sequence[A], S: Sequence[A], d: Sequence[Sequence[A]], Sd: Sequence[Sequence[A]], c: Sequence[A]
    ) -> list[list[A]]:
        """Derivatives of the species in each parameter, a step later."""
        flat = [[entry for row in rows for entry in row] for rows in (d, Sd)]
        found = self.beside.run([*x, *S, *flat[0], *flat[1], *c])
        return [found[i : i + self.species] for i in range(0, len(found), self.species)]

    def derivatives_of(self, sums: Sequence[A], dt: float) -> list[A]:
        """Derivatives in the parameters."""
        return [dt * s for s in sums]


def derived(formulas: Formulas, *, unit: bool) -> Derived:
    """The steps of a traced reaction whose parameters start with a diffusion coefficient a species.

    Args:
        formulas: The reaction of the species and of all parameters, those of diffusion included.
        unit: For steps of dt = 1, which spare a multiplication.
    """
    graph, n = formulas.graph, len(formulas.x)
    count = len(formulas.p)

    def named(prefix: str, many: int = n) -> list[Symbol]:
        return [graph.leaf(name) for name in leaves(prefix, many)]

    dt = graph.number(1) if unit else graph.leaf("dt")
    S, a, Sa, d, Sd = named("S"), named("a"), named("Sa"), named("d", n * count), named("Sd", n * count)
    spread = [times(dt, D) for D in formulas.p[:n]]
    centre = [minus(graph.number(1), times(graph.number(4), s)) for s in spread]

    def moved(i: int, sums: Sequence[Symbol], at: Sequence[Symbol], rate: Symbol) -> Symbol:
        return plus(times(spread[i], sums[i]), plus(times(centre[i], at[i]), times(dt, rate)))

    def dot(row: Sequence[Symbol], direction: Sequence[Symbol]) -> Symbol:
        return total((times(entry, e) for entry, e in zip(row, direction, strict=True)), graph)

    four = graph.number(4)
    forward = [moved(i, S, formulas.x, formulas.f[i]) for i in range(n)]
    columns = [list(column) for column in zip(*formulas.J, strict=True)]
    backward = [moved(i, Sa, a, dot(columns[i], a)) for i in range(n)]
    # the Laplacian of the state is moved onto the adjoint by symmetry: the stored state needs no stencil
    gathered = [formulas.x[i] * (Sa[i] - four * a[i]) for i in range(n)] + [dot(row, a) for row in formulas.K[n:]]

    def force(i: int, j: int) -> Symbol:
        """Derivative of species i's rate in parameter j at fixed fields."""
        if j >= n:
            return formulas.K[j][i]
        return minus(S[i], times(four, formulas.x[i])) if i == j else graph.number(0)

    beside = []
    for j in range(count):
        dj, Sdj = d[j * n : (j + 1) * n], Sd[j * n : (j + 1) * n]
        beside += [plus(moved(i, Sdj, dj, dot(formulas.J[i], dj)), times(dt, force(i, j))) for i in range(n)]
    return _assembled([forward, backward, gathered, beside], n, count)


def _assembled(groups: Sequence[list[Symbol]], n: int, count: int) -> Derived:
    """Programs of the groups of formulas, what depends on the parameters alone taken out."""
    forward, backward, gathered, beside = groups
    known = {*leaves("p", count), "dt"}
    nodes, parts = apart([*forward, *backward, *gathered, *beside], known)
    c = leaves("c", len(parts))
    at = 2 * n + count
    x, sums, tangents = leaves("x", n), leaves("S", n), [*leaves("d", n * count), *leaves("Sd", n * count)]
    return Derived(
        species=n,
        parameters=count,
        constants=len(parts),
        before=Program.of(parts, [*leaves("p", count), "dt"]),
        forward=Program.of(nodes[:n], [*x, *sums, *c]),
        backward=Program.of(nodes[n:at], [*leaves("a", n), *leaves("Sa", n), *x, *c]),
        beside=Program.of(nodes[at:], [*x, *sums, *tangents, *c]),
    )
