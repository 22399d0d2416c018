"""Writing LLVM instructions by computing with objects that stand for registers.

The formulas of a model are called once with such objects. No contraction to fused multiply-add and no reordering, so
that both dtypes give the same bits as torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba.core import cgutils, types

INDEX = ir.IntType(64)

UNROLL = 1
"""Vectors of a row worked in one turn of its loop."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"


def _vector_bytes() -> int:
    """Bytes in a vector register of this machine; 16 where LLVM does not know it."""
    try:
        features = llvmlite.binding.get_host_cpu_features()
    except RuntimeError:
        return 16
    return 64 if features.get("avx512f") else 32 if features.get("avx") else 16


BYTES = _vector_bytes()


def _of_library(name: str) -> Callable[[Register], Register]:
    return lambda register: register.writer.called(name, register)


class Register:
    """A register of one number or of a vector, with the arithmetic the pointwise formulas use."""

    def __init__(self, writer: Writer, value: Any) -> None:
        self.writer, self.value = writer, value

    def _with(self, other: Register | float, instruction: str, *, swapped: bool = False) -> Register:
        right = other if isinstance(other, Register) else self.writer.constant(other)
        a, b = (right, self) if swapped else (self, right)
        return Register(self.writer, getattr(self.writer.builder, instruction)(a.value, b.value))

    def __add__(self, other: Register | float) -> Register:
        return self._with(other, "fadd")

    def __sub__(self, other: Register | float) -> Register:
        return self._with(other, "fsub")

    def __mul__(self, other: Register | float) -> Register:
        return self._with(other, "fmul")

    def __truediv__(self, other: Register | float) -> Register:
        return self._with(other, "fdiv")

    def __radd__(self, other: float) -> Register:
        return self._with(other, "fadd", swapped=True)

    def __rsub__(self, other: float) -> Register:
        return self._with(other, "fsub", swapped=True)

    def __rmul__(self, other: float) -> Register:
        return self._with(other, "fmul", swapped=True)

    def __rtruediv__(self, other: float) -> Register:
        return self._with(other, "fdiv", swapped=True)

    def __neg__(self) -> Register:
        return Register(self.writer, self.writer.builder.fneg(self.value))

    def sqrt(self) -> Register:
        """The correctly rounded square root."""
        w = self.writer
        suffix = (f"v{w.lanes}" if w.lanes > 1 else "") + ("f32" if w.single else "f64")
        function = cgutils.get_or_insert_function(
            w.builder.module, ir.FunctionType(w.type, [w.type]), f"llvm.sqrt.{suffix}"
        )
        return Register(w, w.builder.call(function, [self.value]))

    def abs(self) -> Register:
        """The amount."""
        return self.writer.chosen(">", self, self.writer.constant(0.0), self, 0.0 - self)

    def sign(self) -> Register:
        """1, 0 or -1."""
        w = self.writer
        zero = w.constant(0.0)
        below = w.chosen("<", self, zero, w.constant(-1.0), zero)
        return w.chosen(">", self, zero, w.constant(1.0), below)

    def maximum(self, other: Register | float) -> Register:
        """The larger of two, NaN where either is."""
        w = self.writer
        (right,) = w.registers([other])
        return w.chosen(">", self, right, self, w.chosen("<=", self, right, right, self + right))

    def minimum(self, other: Register | float) -> Register:
        """The smaller of two, NaN where either is."""
        w = self.writer
        (right,) = w.registers([other])
        return w.chosen("<", self, right, self, w.chosen(">=", self, right, right, self + right))

    rmaximum, rminimum = maximum, minimum

    exp, log, tanh, sin, cos = map(_of_library, ("exp", "log", "tanh", "sin", "cos"))

    def pow(self, other: Register | float) -> Register:
        """A power, of the C library."""
        return self.writer.called("pow", self, other if isinstance(other, Register) else self.writer.constant(other))

    def rpow(self, other: float) -> Register:
        """A power of a number."""
        return self.writer.constant(other).pow(self)


class Writer:
    """Writes instructions of one dtype into a function under construction.

    Args:
        context: numba's target context.
        builder: llvmlite's builder.
        dtype: numba's float32 or float64.
        lanes: Numbers in a register; None is as many as the machine's vectors hold, 1 a plain number.
    """

    def __init__(self, context: Any, builder: Any, dtype: Any, lanes: int | None = None) -> None:
        self.context, self.builder, self.single = context, builder, dtype == types.float32
        self.scalar = ir.FloatType() if self.single else ir.DoubleType()
        self.size = 4 if self.single else 8
        self.lanes = BYTES // self.size if lanes is None else lanes
        self.type = ir.VectorType(self.scalar, self.lanes) if self.lanes > 1 else self.scalar

    def index(self, n: int) -> Any:
        """An index."""
        return ir.Constant(INDEX, n)

    def constant(self, number: float) -> Register:
        """A number, in all lanes."""
        number = float(number)
        return Register(self, ir.Constant(self.type, [number] * self.lanes if self.lanes > 1 else number))

    def registers(self, values: Sequence[Register | float]) -> list[Register]:
        """Results of formulas, of which some may be plain numbers."""
        return [v if isinstance(v, Register) else self.constant(v) for v in values]

    def chosen(self, how: str, a: Register, b: Register, yes: Register, no: Register) -> Register:
        """One or the other, lane by lane, as a comparison of two goes; the other where either is NaN."""
        asked = self.builder.fcmp_ordered(how, a.value, b.value)
        return Register(self, self.builder.select(asked, yes.value, no.value))

    def called(self, name: str, *arguments: Register) -> Register:
        """A function of the C library, lane by lane."""
        kind = ir.FunctionType(self.scalar, [self.scalar] * len(arguments))
        function = cgutils.get_or_insert_function(self.builder.module, kind, name + ("f" if self.single else ""))
        if self.lanes == 1:
            return Register(self, self.builder.call(function, [a.value for a in arguments]))
        out = ir.Constant(self.type, ir.Undefined)
        for lane in range(self.lanes):
            at = ir.Constant(ir.IntType(32), lane)
            numbers = [self.builder.extract_element(a.value, at) for a in arguments]
            out = self.builder.insert_element(out, self.builder.call(function, numbers), at)
        return Register(self, out)

    def _shuffled(self, value: Any, order: Sequence[int]) -> Register:
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), list(order))
        return Register(self, self.builder.shuffle_vector(value, ir.Constant(self.type, ir.Undefined), mask))

    def rotated(self, x: Register, by: int) -> Register:
        """The lanes of a register turned by some."""
        return self._shuffled(x.value, [(lane + by) % self.lanes for lane in range(self.lanes)])

    def load(self, pointer: Any, at: Any, align: int | None = None) -> Register:
        """A register from memory, `at` registers behind the pointer; `align` None is that of a whole vector."""
        value = self.builder.load(self.builder.gep(pointer, [at]))
        value.align = align or BYTES
        return Register(self, value)

    def store(self, x: Register, pointer: Any, at: Any, align: int | None = None) -> None:
        """A register into memory."""
        self.builder.store(x.value, self.builder.gep(pointer, [at])).align = align or BYTES

    def place(self, pointer: Any, at: Any) -> Any:
        """Pointer to a register that starts `at` numbers behind a pointer to numbers."""
        return self.builder.bitcast(self.builder.gep(pointer, [at]), self.type.as_pointer())

    def spread(self, array_type: Any, array: Any, count: int) -> list[Register]:
        """The first numbers of an array, each in all lanes."""
        data = self.context.make_array(array_type)(self.context, self.builder, array).data
        numbers = [self.builder.load(self.builder.gep(data, [self.index(n)])) for n in range(count)]
        if self.lanes == 1:
            return [Register(self, number) for number in numbers]
        undefined, zero = ir.Constant(self.type, ir.Undefined), ir.Constant(ir.IntType(32), 0)
        return [
            self._shuffled(self.builder.insert_element(undefined, number, zero), [0] * self.lanes) for number in numbers
        ]

    def loop(
        self, first: Any, last: Any, start: Sequence[Register], body: Callable[..., list[Register]]
    ) -> list[Register]:
        """`state = body(r, state)` for r from `first` to `last`, the state in registers.

        Written out `UNROLL` times a turn, so that what moves from east to west is only renamed; a second loop takes
        the rest.
        """
        middle, state = self._turns(first, last, start, body, UNROLL)
        return self._turns(middle, last, state, body, 1)[1]

    def _turns(
        self, first: Any, last: Any, start: Sequence[Register], body: Callable[..., list[Register]], times: int
    ) -> tuple[Any, list[Register]]:
        """As many turns of `times` as fit; returns where they end and the state there."""
        builder = self.builder
        before = builder.block
        test, inside, after = (builder.append_basic_block() for _ in range(3))
        builder.branch(test)
        builder.position_at_end(test)
        r = builder.phi(INDEX)
        r.add_incoming(first, before)
        state = []
        for x in start:
            phi = builder.phi(self.type)
            phi.add_incoming(x.value, before)
            state.append(Register(self, phi))
        fits = builder.icmp_signed("<=", builder.add(r, self.index(times - 1)), last)
        builder.cbranch(fits, inside, after)
        builder.position_at_end(inside)
        out = state
        for n in range(times):
            out = body(builder.add(r, self.index(n)), out)
        r.add_incoming(builder.add(r, self.index(times)), builder.block)
        for x, y in zip(state, out, strict=True):
            x.value.add_incoming(y.value, builder.block)
        builder.branch(test)
        builder.position_at_end(after)
        return r, state

    def count(self, first: Any, last: Any, by: int, work: Callable[[Any], None]) -> Any:
        """Work for `first`, `first + by`, ... while that many are left before `last`; returns where it ends."""
        builder = self.builder
        before = builder.block
        test, inside, after = (builder.append_basic_block() for _ in range(3))
        builder.branch(test)
        builder.position_at_end(test)
        i = builder.phi(INDEX)
        i.add_incoming(first, before)
        following = builder.add(i, self.index(by))
        builder.cbranch(builder.icmp_signed("<=", following, last), inside, after)
        builder.position_at_end(inside)
        work(i)
        i.add_incoming(following, builder.block)
        builder.branch(test)
        builder.position_at_end(after)
        return i


def follow(
    writer: Writer,
    height: Any,
    schedule_type: Any,
    schedule: Any,
    together: int,
    work: Callable[[Any, list[Any]], None],
) -> None:
    """Work the rows of a schedule in its order.

    Args:
        writer: Where to write.
        height: Rows of the grid.
        schedule_type: Type of `schedule`.
        schedule: Entries (step, first row, last row + 1), rows beyond an edge wrapped.
        together: Rows worked at once; what is left over one by one.
        work: Takes the step, and the indices of the row above, the rows to work and the row below.
    """
    builder = writer.builder
    made = writer.context.make_array(schedule_type)(writer.context, builder, schedule)
    entries = cgutils.unpack_tuple(builder, made.shape)[0]

    def wrapped(i: Any) -> Any:
        i = builder.select(builder.icmp_signed("<", i, writer.index(0)), builder.add(i, height), i)
        return builder.select(builder.icmp_signed(">=", i, height), builder.sub(i, height), i)

    def entry(n: Any) -> None:
        start = builder.mul(n, writer.index(3))
        t, i, last = (builder.load(builder.gep(made.data, [builder.add(start, writer.index(k))])) for k in range(3))
        for by in sorted({together, 1}, reverse=True):

            def rows(i: Any, by: int = by) -> None:
                work(t, [wrapped(builder.add(i, writer.index(k))) for k in range(-1, by + 1)])

            i = writer.count(i, last, by, rows)

    writer.count(writer.index(0), entries, 1, entry)
