"""The pointwise formulas of a model as C++, for the kernels in `kernels.cu`.

The formulas are called once with objects that stand for numbers of the program, as the vector writer of the CPU does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.resources import files
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gsimplicit.models.steps import Steps


def _of_library(name: str) -> Callable[[Term], Term]:
    return lambda term: term.body.line(f"{name}({term.name})")


class Term:
    """A number of the program, with the arithmetic the pointwise formulas use; each result gets a line of its own."""

    def __init__(self, body: Body, name: str) -> None:
        self.body, self.name = body, name

    def _with(self, operation: str, other: Term | float, *, swapped: bool = False) -> Term:
        a, b = self.name, self.body.term(other).name
        return self.body.line(f"{b} {operation} {a}" if swapped else f"{a} {operation} {b}")

    def __add__(self, other: Term | float) -> Term:
        return self._with("+", other)

    def __sub__(self, other: Term | float) -> Term:
        return self._with("-", other)

    def __mul__(self, other: Term | float) -> Term:
        return self._with("*", other)

    def __truediv__(self, other: Term | float) -> Term:
        return self._with("/", other)

    def __radd__(self, other: float) -> Term:
        return self._with("+", other, swapped=True)

    def __rsub__(self, other: float) -> Term:
        return self._with("-", other, swapped=True)

    def __rmul__(self, other: float) -> Term:
        return self._with("*", other, swapped=True)

    def __rtruediv__(self, other: float) -> Term:
        return self._with("/", other, swapped=True)

    def __neg__(self) -> Term:
        return self.body.line(f"-{self.name}")

    def abs(self) -> Term:
        """The amount."""
        return self.body.line(f"fabs({self.name})")

    def sign(self) -> Term:
        """1, 0 or -1."""
        return self.body.line(f"T({self.name} > 0) - T({self.name} < 0)")

    def maximum(self, other: Term | float) -> Term:
        """The larger of two, not a number where either is none."""
        return self._chosen(">", "<=", other)

    def minimum(self, other: Term | float) -> Term:
        """The smaller of two, not a number where either is none."""
        return self._chosen("<", ">=", other)

    rmaximum, rminimum = maximum, minimum

    def _chosen(self, how: str, otherwise: str, other: Term | float) -> Term:
        a, b = self.name, self.body.term(other).name
        return self.body.line(f"{a} {how} {b} ? {a} : {a} {otherwise} {b} ? {b} : {a} + {b}")

    sqrt, exp, log, tanh, sin, cos = map(_of_library, ("sqrt", "exp", "log", "tanh", "sin", "cos"))

    def pow(self, other: Term | float) -> Term:
        """A power."""
        return self.body.line(f"pow({self.name}, {self.body.term(other).name})")

    def rpow(self, other: float) -> Term:
        """A power of a number."""
        return self.body.term(other).pow(self)


class Body:
    """The lines of one function."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._names = (f"t{n}" for n in count())

    def line(self, expression: str) -> Term:
        """A new number."""
        name = next(self._names)
        self.lines.append(f"  const T {name} = {expression};")
        return Term(self, name)

    def term(self, value: Term | float) -> Term:
        """A number of the program, or one written out: in full, and rounded once to T."""
        return value if isinstance(value, Term) else Term(self, f"T({float(value)!r})")

    def named(self, array: str, many: int) -> list[Term]:
        """The entries of an array that the function is given."""
        return [Term(self, f"{array}[{n}]") for n in range(many)]

    def set(self, array: str, values: Sequence[Term | float]) -> None:
        """Write the entries of an array that the function gives."""
        self.lines += [f"  {array}[{n}] = {self.term(value).name};" for n, value in enumerate(values)]

    def function(self, name: str, given: str, out: str) -> str:
        """The whole of it: names of the arrays that come in and go out, separated by blanks."""
        arguments = [f"const T* {a}" for a in given.split()] + [f"T* {a}" for a in out.split()]
        return "\n".join([f"DEVICE void {name}({', '.join(arguments)}) {{", *self.lines, "}"])


def formulas(steps: Steps) -> str:
    """`step_of`, `adjoint_of` and `tangents_of` of a model, and the numbers of its parts."""
    S, P = steps.species, steps.parameters
    defined = {"SPECIES": S, "CONSTANTS": steps.constants, "SUMS": steps.sums, "PARAMETERS": P}
    texts = [f"#define {name} {value}" for name, value in defined.items()]

    body = Body()
    x, around, c = body.named("x", S), body.named("S", S), body.named("c", steps.constants)
    body.set("out", steps.step(x, around, c))
    texts.append(body.function("step_of", "x S c", "out"))

    body = Body()
    a, Sa = body.named("a", S), body.named("S", S)
    back, gained = steps.adjoint(a, Sa, body.named("x", S), body.named("c", steps.constants))
    body.set("out", back)
    body.set("gained", gained)
    texts.append(body.function("adjoint_of", "a S x c", "out gained"))

    body = Body()
    d, Sd = ([body.named(name, P * S)[i * S : (i + 1) * S] for i in range(P)] for name in ("d", "Sd"))
    moved = steps.tangents(body.named("x", S), body.named("S", S), d, Sd, body.named("c", steps.constants))
    body.set("out", [entry for row in moved for entry in row])
    texts.append(body.function("tangents_of", "x S d Sd c", "out"))
    return "\n".join(texts)


@lru_cache(maxsize=1)
def kernels() -> str:
    """The kernels, without the formulas they call."""
    return files(__package__).joinpath("kernels.cu").read_text(encoding="utf-8")
