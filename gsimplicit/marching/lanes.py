"""Rows of the kernels as explicit vector code: what is shaped by the machine, and why.

A compiler's own vector code loads each west and east neighbour again, unaligned, and is limited by that. So a row is
cut into as many pieces as a vector has lanes, one piece a lane: vector r of a row holds cell r of every piece. West and
east neighbours of a whole vector are then the vectors before and after it, which stay in registers, and the periodic
wrap is one rotation of lanes at either end of the row. Twice as fast as plain loops at
128 x 128; widths that are no multiple of the lanes take the plain loops of `loops`.

The equations are those of `gray_scott`, called once with objects that write LLVM instructions instead of computing. No
contraction to fused multiply-add and no reordering, so that both dtypes give the same bits as the plain loops and as
torch.

Layout: (H, C, R, L), the C fields of a row side by side, each `R = W / L` vectors of L lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from gsimplicit import gray_scott

Array = np.ndarray[Any, np.dtype[Any]]

# mypy: disable-error-code="no-untyped-def, no-untyped-call"
_intrinsic: Any = intrinsic  # its own types take the first argument for self


def _vector_bytes() -> int:
    """Bytes in a vector register of this machine; 16 where LLVM does not know it."""
    try:
        features = llvmlite.binding.get_host_cpu_features()
    except RuntimeError:
        return 16
    return 64 if features.get("avx512f") else 32 if features.get("avx") else 16


BYTES = _vector_bytes()
_X86 = llvmlite.binding.get_process_triple().startswith(("x86_64", "i386", "i686"))
_FLUSH = 0x8040
"""Bits of the x86 control register that take denormal numbers for zero, as operands and as results."""
STAGGER = 1024
"""Bytes by which the next state starts further on its page, a multiple of a vector."""

UNROLL = 1
"""Vectors of a row worked in one turn of its loop."""
_INDEX = ir.IntType(64)


def lanes(dtype: np.dtype[Any]) -> int:
    """Numbers of this dtype in a vector."""
    return BYTES // dtype.itemsize


def fits(width: int, dtype: np.dtype[Any]) -> bool:
    """Whether rows of `width` cells can be cut into lanes."""
    return width % lanes(dtype) == 0


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An uninitialised array that starts on a vector's boundary."""
    size = int(np.prod(shape)) * dtype.itemsize
    raw = np.empty(size + BYTES, np.uint8)
    start = -raw.ctypes.data % BYTES
    return raw[start : start + size].view(dtype).reshape(shape)


def states(first: Array, count: int) -> Array:
    """`count` states side by side, the first one given, the others uninitialised.

    Each starts `STAGGER` bytes further on its page than the one before: a store and a later load at the same place of
    two pages are taken for dependent, which costs two thirds of the speed where a state fills whole pages.
    """
    stride = first.nbytes + (STAGGER - first.nbytes) % 4096
    raw = empty((count * stride,), np.dtype(np.uint8))
    out: Array = np.ndarray((count, *first.shape), first.dtype, raw, 0, (stride, *first.strides))
    out[0] = first
    return out


def pack(fields: Array) -> Array:
    """Fields (C, H, W) in the layout of lanes."""
    C, H, W = fields.shape
    L = lanes(fields.dtype)
    out = empty((H, C, W // L, L), fields.dtype)
    out[:] = fields.reshape(C, H, L, W // L).transpose(1, 0, 3, 2)
    return out


def unpack(packed: Array) -> Array:
    """Fields (C, H, W) from the layout of lanes."""
    H, C, R, L = packed.shape
    return np.ascontiguousarray(packed.transpose(1, 0, 3, 2).reshape(C, H, R * L))


# ---------------------------------------------------------------------------------------------------------------------
# Writing LLVM
# ---------------------------------------------------------------------------------------------------------------------


class _Vector:
    """A vector register, with the arithmetic the pointwise equations use."""

    def __init__(self, writer: _Writer, value: Any) -> None:
        self.writer, self.value = writer, value

    def _with(self, other: _Vector | int, instruction: str, *, swapped: bool = False) -> _Vector:
        right = self.writer.constant(other) if isinstance(other, int) else other
        a, b = (right, self) if swapped else (self, right)
        return _Vector(self.writer, getattr(self.writer.builder, instruction)(a.value, b.value))

    def __add__(self, other: _Vector | int) -> _Vector:
        return self._with(other, "fadd")

    def __sub__(self, other: _Vector | int) -> _Vector:
        return self._with(other, "fsub")

    def __mul__(self, other: _Vector | int) -> _Vector:
        return self._with(other, "fmul")

    def __radd__(self, other: int) -> _Vector:
        return self._with(other, "fadd", swapped=True)

    def __rsub__(self, other: int) -> _Vector:
        return self._with(other, "fsub", swapped=True)

    def __rmul__(self, other: int) -> _Vector:
        return self._with(other, "fmul", swapped=True)

    def __neg__(self) -> _Vector:
        return _Vector(self.writer, self.writer.builder.fneg(self.value))


class _Writer:
    """Writes vector instructions of one dtype into a function under construction."""

    def __init__(self, context: Any, builder: Any, dtype: Any) -> None:
        self.context, self.builder = context, builder
        self.scalar = ir.FloatType() if dtype == types.float32 else ir.DoubleType()
        self.lanes = BYTES // (4 if dtype == types.float32 else 8)
        self.vector = ir.VectorType(self.scalar, self.lanes)

    def index(self, n: int) -> Any:
        return ir.Constant(_INDEX, n)

    def constant(self, number: float) -> _Vector:
        return _Vector(self, ir.Constant(self.vector, [float(number)] * self.lanes))

    def _shuffled(self, value: Any, order: Sequence[int]) -> _Vector:
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), list(order))
        return _Vector(self, self.builder.shuffle_vector(value, ir.Constant(self.vector, ir.Undefined), mask))

    def rotated(self, x: _Vector, by: int) -> _Vector:
        return self._shuffled(x.value, [(lane + by) % self.lanes for lane in range(self.lanes)])

    def load(self, pointer: Any, at: Any) -> _Vector:
        value = self.builder.load(self.builder.gep(pointer, [at]))
        value.align = BYTES
        return _Vector(self, value)

    def store(self, x: _Vector, pointer: Any, at: Any) -> None:
        self.builder.store(x.value, self.builder.gep(pointer, [at])).align = BYTES

    def spread(self, array_type: Any, array: Any, count: int) -> list[_Vector]:
        """The first numbers of an array, each in all lanes."""
        data = self.context.make_array(array_type)(self.context, self.builder, array).data
        undefined, zero = ir.Constant(self.vector, ir.Undefined), ir.Constant(ir.IntType(32), 0)
        out = []
        for n in range(count):
            number = self.builder.load(self.builder.gep(data, [self.index(n)]))
            out.append(self._shuffled(self.builder.insert_element(undefined, number, zero), [0] * self.lanes))
        return out

    def loop(
        self, first: Any, last: Any, start: Sequence[_Vector], body: Callable[..., list[_Vector]]
    ) -> list[_Vector]:
        """`state = body(r, state)` for r from `first` to `last`, the state in registers.

        Written out `UNROLL` times a turn, so that what moves from east to west is only renamed; a second loop takes
        the rest.
        """
        middle, state = self._turns(first, last, start, body, UNROLL)
        return self._turns(middle, last, state, body, 1)[1]

    def _turns(
        self, first: Any, last: Any, start: Sequence[_Vector], body: Callable[..., list[_Vector]], times: int
    ) -> tuple[Any, list[_Vector]]:
        """As many turns of `times` as fit; returns where they end and the state there."""
        builder = self.builder
        before = builder.block
        test, inside, after = (builder.append_basic_block() for _ in range(3))
        builder.branch(test)
        builder.position_at_end(test)
        r = builder.phi(_INDEX)
        r.add_incoming(first, before)
        state = []
        for x in start:
            phi = builder.phi(self.vector)
            phi.add_incoming(x.value, before)
            state.append(_Vector(self, phi))
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


class _Tape:
    """An array (T, H, C, R, L), states one after the other, inside a function under construction."""

    def __init__(self, writer: _Writer, array_type: Any, array: Any) -> None:
        self.writer, builder = writer, writer.builder
        made = writer.context.make_array(array_type)(writer.context, builder, array)
        self._data = builder.bitcast(made.data, ir.IntType(8).as_pointer())
        self._stride = cgutils.unpack_tuple(builder, made.strides)[0]
        _, self.height, self._fields, self._length = cgutils.unpack_tuple(builder, made.shape)[:4]
        self.last = builder.sub(self._length, writer.index(1))
        self.vectors = builder.mul(builder.mul(self.height, self._fields), self._length)

    def state(self, t: Any) -> Any:
        """Where state t begins."""
        builder = self.writer.builder
        start = builder.gep(self._data, [builder.mul(t, self._stride)])
        return builder.bitcast(start, self.writer.vector.as_pointer())

    def rows(self, state: Any, indices: Sequence[Any], count: int) -> list[list[Any]]:
        """Where each field of some rows of a state begins."""
        builder, row = self.writer.builder, self.writer.builder.mul(self._fields, self._length)
        starts = [builder.gep(state, [builder.mul(i, row)]) for i in indices]
        offsets = [builder.mul(self.writer.index(c), self._length) for c in range(count)]
        return [[builder.gep(start, [offset]) for offset in offsets] for start in starts]


def _sweep(
    writer: _Writer,
    last: Any,
    rows: Sequence[Sequence[Any]],
    out: Sequence[Sequence[Any]],
    body: Callable[..., tuple[list[_Vector], list[_Vector]]],
    totals: Sequence[_Vector] = (),
) -> list[_Vector]:
    """Go along some neighbouring rows at once.

    Args:
        writer: Where to write.
        last: Index of the last vector.
        rows: The row above, the rows to work and the row below: where each field begins.
        out: For each row to work, where each field of the result begins.
        body: From the number of the row, r, the fields there, their neighbour sums and the totals to the new fields
            and totals.
        totals: Sums over the rows, in registers.
    """
    builder, first = writer.builder, writer.index(0)
    worked = rows[1:-1]
    fields = range(len(rows[0]))
    carried = 2 * len(worked) * len(fields)

    def inside(r: Any, state: list[_Vector], east: list[list[_Vector]]) -> list[_Vector]:
        sums = state[carried:]
        west = [[state[2 * (k * len(fields) + c)] for c in fields] for k in range(len(worked))]
        centre = [[state[2 * (k * len(fields) + c) + 1] for c in fields] for k in range(len(worked))]
        # a row between two others that are worked is loaded once
        column = [
            [writer.load(c, r) for c in rows[0]],
            *centre,
            [writer.load(c, r) for c in rows[-1]],
        ]
        for k, pointers in enumerate(out):
            # in the order of gray_scott.neighbour_sum, so that both give the same bits
            around = [(west[k][c] + east[k][c]) + (column[k][c] + column[k + 2][c]) for c in fields]
            new, sums = body(k, r, centre[k], around, sums)
            for x, pointer in zip(new, pointers, strict=True):
                writer.store(x, pointer, r)
        return [x for k in range(len(worked)) for c in fields for x in (centre[k][c], east[k][c])] + sums

    def within(r: Any, state: list[_Vector]) -> list[_Vector]:
        following = builder.add(r, writer.index(1))
        return inside(r, state, [[writer.load(c, following) for c in row] for row in worked])

    # the last vector, turned by a lane, is to the west of the first, and the first one to the east of the last
    start = [
        x for row in worked for c in row for x in (writer.rotated(writer.load(c, last), -1), writer.load(c, first))
    ]
    state = writer.loop(first, builder.sub(last, writer.index(1)), [*start, *totals], within)
    state = inside(last, state, [[writer.rotated(writer.load(c, first), 1) for c in row] for row in worked])
    return state[carried:]


def _count(writer: _Writer, first: Any, last: Any, by: int, work: Callable[[Any], None]) -> Any:
    """Work for `first`, `first + by`, ... while that many are left before `last`; returns where it ends."""
    builder = writer.builder
    before = builder.block
    test, inside, after = (builder.append_basic_block() for _ in range(3))
    builder.branch(test)
    builder.position_at_end(test)
    i = builder.phi(_INDEX)
    i.add_incoming(first, before)
    following = builder.add(i, writer.index(by))
    builder.cbranch(builder.icmp_signed("<=", following, last), inside, after)
    builder.position_at_end(inside)
    work(i)
    i.add_incoming(following, builder.block)
    builder.branch(test)
    builder.position_at_end(after)
    return i


def _follow(
    tape: _Tape,
    schedule_type: Any,
    schedule: Any,
    together: int,
    work: Callable[[Any, list[Any]], None],
) -> None:
    """Work the rows of a schedule in its order.

    Args:
        tape: The array whose rows have neighbours.
        schedule_type: Type of `schedule`.
        schedule: Entries (step, first row, last row + 1), rows beyond an edge wrapped.
        together: Rows worked at once; what is left over one by one.
        work: Takes the step, and the indices of the row above, the rows to work and the row below.
    """
    writer, height = tape.writer, tape.height
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

            i = _count(writer, i, last, by, rows)

    _count(writer, writer.index(0), entries, 1, entry)


# ---------------------------------------------------------------------------------------------------------------------
# Kernels. States are arrays (T, H, C, R, L); p holds Du, Dv, F, cu, cv. Each follows a whole schedule: a call from
# compiled code costs as much as three rows.
# ---------------------------------------------------------------------------------------------------------------------

_SIZE = types.intp


def _stepping(w, p, given):
    """What turns fields and neighbour sums of u and v into their next values."""
    Du, Dv, F, cu, cv = w.spread(p, given, 5)

    def step(fields, sums):
        (u, v), (Su, Sv) = fields[:2], sums[:2]
        return [gray_scott.step_u(u, v, Su, Du, F, cu), gray_scott.step_v(u, v, Sv, Dv, cv)]

    return step


@_intrinsic
def advance(typing, tape, at, mask, schedule, p):
    """Step from state to state: step t of the schedule goes from `(at + t - 1) & mask` to `(at + t) & mask`."""

    def write(context, builder, signature, given):
        w = _Writer(context, builder, tape.dtype)
        T, step = _Tape(w, tape, given[0]), _stepping(w, p, given[4])

        def body(k, r, fields, sums, totals):
            return step(fields, sums), totals

        def work(t, rows):
            after = builder.add(given[1], t)
            source, goal = (T.state(builder.and_(n, given[2])) for n in (builder.sub(after, w.index(1)), after))
            _sweep(w, T.last, T.rows(source, rows, 2), T.rows(goal, rows[1:-1], 2), body)

        _follow(T, schedule, given[3], 2, work)
        return context.get_dummy_value()

    return types.void(tape, _SIZE, _SIZE, schedule, p), write


@_intrinsic
def stage(typing, pair, now, schedule, p, weights):
    """The other state becomes `a x + b other + c step(x)`, x being state `now`, and a, b, c `weights`."""

    def write(context, builder, signature, given):
        w = _Writer(context, builder, pair.dtype)
        T, step = _Tape(w, pair, given[0]), _stepping(w, p, given[3])
        a, b, c = w.spread(weights, given[4], 3)
        x, other = T.state(given[1]), T.state(builder.xor(given[1], w.index(1)))

        def work(t, rows):
            out = T.rows(other, rows[1:-1], 2)

            def body(k, r, fields, sums, totals):
                new = step(fields, sums)
                return [a * x + b * w.load(o, r) + c * n for x, o, n in zip(fields, out[k], new, strict=True)], totals

            _sweep(w, T.last, T.rows(x, rows, 2), out, body)

        _follow(T, schedule, given[2], 1, work)
        return context.get_dummy_value()

    return types.void(pair, _SIZE, schedule, p, weights), write


@_intrinsic
def retreat(typing, tape, top, pair, now, schedule, p, totals):
    """Adjoint steps of a pair of adjoint states: step t around state `top - t`; `totals` (5, L) gains its five sums.

    The sums are those of a, u a, v b, u Sa, v Sb, from which the parameter derivatives are made: the Laplacian of the
    state is moved onto the adjoint by symmetry, so the stored state needs no stencil.
    """

    def write(context, builder, signature, given):
        w = _Writer(context, builder, pair.dtype)
        S, T = _Tape(w, tape, given[0]), _Tape(w, pair, given[2])
        Du, Dv, _, cu, cv = w.spread(p, given[5], 5)
        made = context.make_array(totals)(context, builder, given[6])
        gathered = builder.bitcast(made.data, w.vector.as_pointer())

        def work(t, rows):
            after, one = builder.add(given[3], t), w.index(1)
            source, goal = (T.state(builder.and_(n, one)) for n in (builder.sub(after, one), after))
            states = S.rows(S.state(builder.sub(given[1], t)), rows[1:-1], 2)

            def body(k, r, fields, sums, totals):
                (a, b), (Sa, Sb), (u, v) = fields, sums, (w.load(x, r) for x in states[k])
                terms = (a, u * a, v * b, u * Sa, v * Sb)
                new_a = gray_scott.adjoint_step_u(a, b, Sa, v, Du, cu)
                new_b = gray_scott.adjoint_step_v(a, b, Sb, u, v, Dv, cv)
                return [new_a, new_b], [total + term for total, term in zip(totals, terms, strict=True)]

            start = [w.load(gathered, w.index(n)) for n in range(5)]
            end = _sweep(w, T.last, T.rows(source, rows, 2), T.rows(goal, rows[1:-1], 2), body, start)
            for n, total in enumerate(end):
                w.store(total, gathered, w.index(n))

        _follow(T, schedule, given[4], 2, work)
        return context.get_dummy_value()

    return types.void(tape, _SIZE, pair, _SIZE, schedule, p, totals), write


@_intrinsic
def advance_tangents(typing, pair, now, schedule, p):
    """Steps of u and v and their derivatives in Du, Dv, F and k, ten fields in all."""

    def write(context, builder, signature, given):
        w = _Writer(context, builder, pair.dtype)
        T = _Tape(w, pair, given[0])
        Du, Dv, F, cu, cv = w.spread(p, given[3], 5)

        def body(k, r, fields, sums, totals):
            u, v, Su, Sv = fields[0], fields[1], sums[0], sums[1]
            of_Du, of_Dv, of_F, of_k = gray_scott.parameter_forces(u, v, Su, Sv)
            out = [gray_scott.step_u(u, v, Su, Du, F, cu), gray_scott.step_v(u, v, Sv, Dv, cv)]
            for n, (on_u, on_v) in enumerate(((of_Du, None), (None, of_Dv), (of_F, of_k), (None, of_k))):
                a, b, Sa, Sb = fields[2 + 2 * n], fields[3 + 2 * n], sums[2 + 2 * n], sums[3 + 2 * n]
                new_a = gray_scott.tangent_step_u(a, b, Sa, u, v, Du, cu)
                new_b = gray_scott.tangent_step_v(a, b, Sb, u, v, Dv, cv)
                out += [new_a if on_u is None else new_a + on_u, new_b if on_v is None else new_b + on_v]
            return out, totals

        def work(t, rows):
            after, one = builder.add(given[1], t), w.index(1)
            source, goal = (T.state(builder.and_(n, one)) for n in (builder.sub(after, one), after))
            _sweep(w, T.last, T.rows(source, rows, 10), T.rows(goal, rows[1:-1], 10), body)

        _follow(T, schedule, given[2], 1, work)
        return context.get_dummy_value()

    return types.void(pair, _SIZE, schedule, p), write


@_intrinsic
def largest_change(typing, pair):
    """Max norm of the difference of two states, NaN where either is not finite."""

    def write(context, builder, signature, given):
        w = _Writer(context, builder, pair.dtype)
        T, zero = _Tape(w, pair, given[0]), w.constant(0)
        a, b = T.state(w.index(0)), T.state(w.index(1))

        def body(r, state):
            largest, spoilt = state
            d = w.load(a, r) - w.load(b, r)
            d = _Vector(w, builder.select(builder.fcmp_ordered("<", d.value, zero.value), (-d).value, d.value))
            larger = builder.fcmp_ordered(">", d.value, largest.value)
            # a maximum drops NaN; d - d does not
            return [_Vector(w, builder.select(larger, d.value, largest.value)), spoilt + (d - d)]

        largest, spoilt = w.loop(w.index(0), builder.sub(T.vectors, w.index(1)), [zero, zero], body)
        worst = bad = ir.Constant(w.scalar, 0.0)
        for lane in range(w.lanes):
            at = ir.Constant(ir.IntType(32), lane)
            one = builder.extract_element(largest.value, at)
            worst = builder.select(builder.fcmp_ordered(">", one, worst), one, worst)
            bad = builder.fadd(bad, builder.extract_element(spoilt.value, at))
        return builder.fadd(worst, bad)

    return pair.dtype(pair), write


# ---------------------------------------------------------------------------------------------------------------------
# Denormal numbers
# ---------------------------------------------------------------------------------------------------------------------


def _control(builder: Any, name: str, slot: Any) -> None:
    """Read or write the control register through memory."""
    pointer = ir.IntType(8).as_pointer()
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(ir.VoidType(), [pointer]), f"llvm.x86.sse.{name}"
    )
    builder.call(function, [builder.bitcast(slot, pointer)])


@_intrinsic
def flush_denormals(typing, x):
    """Take denormal numbers for zero on this thread; returns what `restore_denormals` needs.

    Adjoints decay into them, in float32 soon, and so does v where it dies out; each costs many times a normal number.
    Nothing is changed on machines other than x86, which have no such penalty.
    """

    def write(context, builder, signature, given):
        word = ir.IntType(32)
        if not _X86:
            return ir.Constant(word, 0)
        slot = cgutils.alloca_once(builder, word)
        _control(builder, "stmxcsr", slot)
        before = builder.load(slot)
        builder.store(builder.or_(before, ir.Constant(word, _FLUSH)), slot)
        _control(builder, "ldmxcsr", slot)
        return before

    return types.uint32(x), write


@_intrinsic
def restore_denormals(typing, x, before):
    """Undo `flush_denormals`."""

    def write(context, builder, signature, given):
        if _X86:
            slot = cgutils.alloca_once(builder, ir.IntType(32))
            builder.store(given[1], slot)
            _control(builder, "ldmxcsr", slot)
        return context.get_dummy_value()

    return types.void(x, types.uint32), write
