"""Rows of the kernels as explicit vector code: what is shaped by the machine, and why.

A compiler's own vector code loads each west and east neighbour again, unaligned, and is limited by that. So a row is
cut into as many pieces as a vector has lanes, one piece a lane: vector r of a row holds cell r of every piece. West and
east neighbours of a whole vector are then the vectors before and after it, which stay in registers, and the periodic
wrap is one rotation of lanes, kept in a halo vector at either end of the row. Twice as fast as plain loops at
128 x 128; widths that are no multiple of the lanes take the plain loops of `loops`.

The equations are those of `gray_scott`, called once with objects that write LLVM instructions instead of computing. No
contraction to fused multiply-add and no reordering: with vectors this wide it would gain nothing, and so both dtypes
give the same bits as the plain loops and as torch.

Layout: (H, C, R + 2, L), the C fields of a row side by side, `R = W / L` vectors of L lanes and two halo vectors.
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
    """Bytes in a vector register of this machine."""
    features = llvmlite.binding.get_host_cpu_features()
    return 64 if features.get("avx512f") else 32 if features.get("avx") else 16


BYTES = _vector_bytes()
_X86 = llvmlite.binding.get_process_triple().startswith(("x86_64", "i386", "i686"))
_FLUSH = 0x8040
"""Bits of the x86 control register that take denormal numbers for zero, as operands and as results."""
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


def pack(fields: Array) -> Array:
    """Fields (C, H, W) in the layout of lanes."""
    C, H, W = fields.shape
    L = lanes(fields.dtype)
    out = empty((H, C, W // L + 2, L), fields.dtype)
    out[:, :, 1:-1] = fields.reshape(C, H, L, W // L).transpose(1, 0, 3, 2)
    out[:, :, 0], out[:, :, -1] = np.roll(out[:, :, -2], 1, axis=-1), np.roll(out[:, :, 1], -1, axis=-1)
    return out


def unpack(packed: Array) -> Array:
    """Fields (C, H, W) from the layout of lanes."""
    H, C, R, L = packed.shape
    return np.ascontiguousarray(packed[:, :, 1:-1].transpose(1, 0, 3, 2).reshape(C, H, (R - 2) * L))


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
        """`state = body(r, state)` for r from `first` to `last`, at least once, the state in registers."""
        builder = self.builder
        before, inside, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.branch(inside)
        builder.position_at_end(inside)
        r = builder.phi(_INDEX)
        r.add_incoming(first, before)
        state = []
        for x in start:
            phi = builder.phi(self.vector)
            phi.add_incoming(x.value, before)
            state.append(_Vector(self, phi))
        out = body(r, state)
        following = builder.add(r, self.index(1))
        r.add_incoming(following, inside)
        for x, y in zip(state, out, strict=True):
            x.value.add_incoming(y.value, inside)
        builder.cbranch(builder.icmp_signed("<=", following, last), inside, after)
        builder.position_at_end(after)
        return out


class _Rows:
    """An array (H, C, R + 2, L) inside a function under construction."""

    def __init__(self, writer: _Writer, array_type: Any, array: Any) -> None:
        self._writer, builder = writer, writer.builder
        made = writer.context.make_array(array_type)(writer.context, builder, array)
        self._data = builder.bitcast(made.data, writer.vector.as_pointer())
        self.shape = cgutils.unpack_tuple(builder, made.shape)
        self._fields, self._length = self.shape[1], self.shape[2]
        self.last = builder.sub(self._length, writer.index(2))

    def row(self, i: Any, count: int) -> list[Any]:
        """Where each field of row i begins."""
        builder = self._writer.builder
        first = builder.mul(i, self._fields)
        return [
            builder.gep(self._data, [builder.mul(builder.add(first, self._writer.index(c)), self._length)])
            for c in range(count)
        ]

    def everything(self) -> tuple[Any, Any]:
        """Where the array begins, and its number of vectors."""
        builder = self._writer.builder
        return self._data, builder.mul(builder.mul(self.shape[0], self._fields), self._length)


def _sweep(
    writer: _Writer,
    last: Any,
    around: Sequence[Sequence[Any]],
    out: Sequence[Any],
    body: Callable[..., tuple[list[_Vector], list[_Vector]]],
    totals: Sequence[_Vector] = (),
) -> list[_Vector]:
    """Go along a row, and close its halo.

    Args:
        writer: Where to write.
        last: Index of the last vector that is no halo.
        around: Rows above, here and below: where each field begins.
        out: Where each field of the result begins.
        body: From r, the fields there, their neighbour sums and the totals to the new fields and totals.
        totals: Sums over the row, in registers.
    """
    above, here, below = around
    one = writer.index(1)
    west_and_here = [x for c in here for x in (writer.load(c, writer.index(0)), writer.load(c, one))]

    def inside(r: Any, state: list[_Vector]) -> list[_Vector]:
        pairs, sums = state[: 2 * len(here)], state[2 * len(here) :]
        west, centre = pairs[::2], pairs[1::2]
        following = writer.builder.add(r, one)
        east = [writer.load(c, following) for c in here]
        # in the order of gray_scott.neighbour_sum, so that both give the same bits
        neighbours = [
            (w + e) + (writer.load(n, r) + writer.load(s, r))
            for w, e, n, s in zip(west, east, above, below, strict=True)
        ]
        new, sums = body(r, centre, neighbours, sums)
        for x, pointer in zip(new, out, strict=True):
            writer.store(x, pointer, r)
        return [x for pair in zip(centre, east, strict=True) for x in pair] + sums

    end = writer.loop(one, last, [*west_and_here, *totals], inside)
    for pointer in out:
        writer.store(writer.rotated(writer.load(pointer, last), -1), pointer, writer.index(0))
        writer.store(writer.rotated(writer.load(pointer, one), 1), pointer, writer.builder.add(last, one))
    return end[2 * len(here) :]


def _around(x: _Rows, rows: Sequence[Any], count: int) -> list[list[Any]]:
    """Where each field of the rows above, here and below begins."""
    return [x.row(i, count) for i in rows]


# ---------------------------------------------------------------------------------------------------------------------
# Rows. Arguments: arrays in the layout of lanes, row indices, coefficients Du, Dv, F, cu, cv.
# ---------------------------------------------------------------------------------------------------------------------

_SIZE = types.intp


@_intrinsic
def step_row(typing, x, y, above, here, below, p):
    """Row `here` of y becomes a step of x."""

    def write(context, builder, signature, given):
        w = _Writer(context, builder, x.dtype)
        X, Y = _Rows(w, x, given[0]), _Rows(w, y, given[1])
        Du, Dv, F, cu, cv = w.spread(p, given[5], 5)

        def body(r, fields, sums, totals):
            (u, v), (Su, Sv) = fields, sums
            return [gray_scott.step_u(u, v, Su, Du, F, cu), gray_scott.step_v(u, v, Sv, Dv, cv)], totals

        _sweep(w, X.last, _around(X, given[2:5], 2), Y.row(given[3], 2), body)
        return context.get_dummy_value()

    return types.void(x, y, _SIZE, _SIZE, _SIZE, p), write


@_intrinsic
def stage_row(typing, x, older, above, here, below, p, weights):
    """Row `here` of `older` becomes `a x + b older + c step(x)`, a, b, c being `weights`."""

    def write(context, builder, signature, given):
        w = _Writer(context, builder, x.dtype)
        X, Y = _Rows(w, x, given[0]), _Rows(w, older, given[1])
        Du, Dv, F, cu, cv = w.spread(p, given[5], 5)
        a, b, c = w.spread(weights, given[6], 3)
        out = Y.row(given[3], 2)

        def body(r, fields, sums, totals):
            (u, v), (Su, Sv) = fields, sums
            new = gray_scott.step_u(u, v, Su, Du, F, cu), gray_scott.step_v(u, v, Sv, Dv, cv)
            return [a * x + b * w.load(o, r) + c * step for x, o, step in zip(fields, out, new, strict=True)], totals

        _sweep(w, X.last, _around(X, given[2:5], 2), out, body)
        return context.get_dummy_value()

    return types.void(x, older, _SIZE, _SIZE, _SIZE, p, weights), write


@_intrinsic
def adjoint_row(typing, state, x, y, above, here, below, p, totals):
    """Row `here` of the adjoint y from x around `state`; `totals` (5, L) gains the five sums of the parameters."""

    def write(context, builder, signature, given):
        w = _Writer(context, builder, x.dtype)
        S, X, Y = (_Rows(w, t, g) for t, g in zip((state, x, y), given[:3], strict=True))
        Du, Dv, _, cu, cv = w.spread(p, given[6], 5)
        made = context.make_array(totals)(context, builder, given[7])
        gathered = builder.bitcast(made.data, w.vector.as_pointer())
        us, vs = S.row(given[4], 2)

        def body(r, fields, sums, totals):
            (a, b), (Sa, Sb), u, v = fields, sums, w.load(us, r), w.load(vs, r)
            terms = (a, u * a, v * b, u * Sa, v * Sb)
            new = [gray_scott.adjoint_step_u(a, b, Sa, v, Du, cu), gray_scott.adjoint_step_v(a, b, Sb, u, v, Dv, cv)]
            return new, [t + term for t, term in zip(totals, terms, strict=True)]

        start = [w.load(gathered, w.index(n)) for n in range(5)]
        end = _sweep(w, X.last, _around(X, given[3:6], 2), Y.row(given[4], 2), body, start)
        for n, total in enumerate(end):
            w.store(total, gathered, w.index(n))
        return context.get_dummy_value()

    return types.void(state, x, y, _SIZE, _SIZE, _SIZE, p, totals), write


@_intrinsic
def tangent_row(typing, x, y, above, here, below, p):
    """Row `here` of y becomes a step of x: u and v, and their derivatives in Du, Dv, F and k, ten fields in all."""

    def write(context, builder, signature, given):
        w = _Writer(context, builder, x.dtype)
        X, Y = _Rows(w, x, given[0]), _Rows(w, y, given[1])
        Du, Dv, F, cu, cv = w.spread(p, given[5], 5)

        def body(r, fields, sums, totals):
            u, v, Su, Sv = fields[0], fields[1], sums[0], sums[1]
            of_Du, of_Dv, of_F, of_k = gray_scott.parameter_forces(u, v, Su, Sv)
            out = [gray_scott.step_u(u, v, Su, Du, F, cu), gray_scott.step_v(u, v, Sv, Dv, cv)]
            for n, (on_u, on_v) in enumerate(((of_Du, None), (None, of_Dv), (of_F, of_k), (None, of_k))):
                a, b, Sa, Sb = fields[2 + 2 * n], fields[3 + 2 * n], sums[2 + 2 * n], sums[3 + 2 * n]
                new_a = gray_scott.tangent_step_u(a, b, Sa, u, v, Du, cu)
                new_b = gray_scott.tangent_step_v(a, b, Sb, u, v, Dv, cv)
                out += [new_a if on_u is None else new_a + on_u, new_b if on_v is None else new_b + on_v]
            return out, totals

        _sweep(w, X.last, _around(X, given[2:5], 10), Y.row(given[3], 10), body)
        return context.get_dummy_value()

    return types.void(x, y, _SIZE, _SIZE, _SIZE, p), write


@_intrinsic
def largest_change(typing, x, y):
    """Max norm of x - y, NaN where either is not finite."""

    def write(context, builder, signature, given):
        w = _Writer(context, builder, x.dtype)
        (a, count), (b, _) = _Rows(w, x, given[0]).everything(), _Rows(w, y, given[1]).everything()
        zero = w.constant(0)

        def body(r, state):
            largest, spoilt = state
            d = w.load(a, r) - w.load(b, r)
            d = _Vector(w, builder.select(builder.fcmp_ordered("<", d.value, zero.value), (-d).value, d.value))
            larger = builder.fcmp_ordered(">", d.value, largest.value)
            # a maximum drops NaN; d - d does not
            return [_Vector(w, builder.select(larger, d.value, largest.value)), spoilt + (d - d)]

        largest, spoilt = w.loop(w.index(0), builder.sub(count, w.index(1)), [zero, zero], body)
        worst = bad = ir.Constant(w.scalar, 0.0)
        for lane in range(w.lanes):
            at = ir.Constant(ir.IntType(32), lane)
            one = builder.extract_element(largest.value, at)
            worst = builder.select(builder.fcmp_ordered(">", one, worst), one, worst)
            bad = builder.fadd(bad, builder.extract_element(spoilt.value, at))
        return builder.fadd(worst, bad)

    return x.dtype(x, y), write


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
    """In float32, take denormal numbers for zero on this thread; returns what `restore_denormals` needs.

    Adjoints decay into them, and each costs up to a hundred times a normal number. In float64 nothing comes near
    1e-308, and nothing is changed; nor on machines other than x86, which have no such penalty.
    """

    def write(context, builder, signature, given):
        word = ir.IntType(32)
        if x.dtype != types.float32 or not _X86:
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
        if x.dtype == types.float32 and _X86:
            slot = cgutils.alloca_once(builder, ir.IntType(32))
            builder.store(given[1], slot)
            _control(builder, "ldmxcsr", slot)
        return context.get_dummy_value()

    return types.void(x, types.uint32), write
