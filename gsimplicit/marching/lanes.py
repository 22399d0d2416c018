"""Rows whose width is a multiple of the machine's vectors: what is shaped by the machine, and why.

A compiler's own vector code loads each west and east neighbour again, unaligned, and is limited by that. So a row is
cut into as many pieces as a vector has lanes, one piece a lane: vector r of a row holds pixel r of each piece. West and
east neighbours of a whole vector are then the vectors before and after it, which stay in registers, and the periodic
wrap is one rotation of lanes at either end of the row. Twice as fast as plain loops at 128 x 128; other widths take
`rows`.

Layout: (H, C, R, L), the C fields of a row side by side, each `R = W / L` vectors of L lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from gsimplicit.marching.writer import BYTES, Register, Writer

Array = np.ndarray[Any, np.dtype[Any]]

# mypy: disable-error-code="no-untyped-def, no-untyped-call"
_intrinsic: Any = intrinsic  # its own types take the first argument for self

STAGGER = 1024
"""Bytes by which the next state starts further on its page, a multiple of a vector."""

TOGETHER = 2
"""Rows worked at once: the one between two others is loaded once."""


def lanes(dtype: np.dtype[Any]) -> int:
    """Numbers of this dtype in a vector."""
    return BYTES // dtype.itemsize


def fits(width: int, dtype: np.dtype[Any]) -> bool:
    """Whether rows of `width` pixels can be cut into lanes."""
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


def totals(packed: Array, count: int) -> Array:
    """Scratch for `count` sums over pixels: one number a lane."""
    return empty((count, packed.shape[-1]), packed.dtype)


class Tape:
    """An array (T, H, C, R, L), states one after the other, inside a function under construction."""

    def __init__(self, writer: Writer, array_type: Any, array: Any) -> None:
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
        return builder.bitcast(start, self.writer.type.as_pointer())

    def rows(self, state: Any, indices: Sequence[Any], count: int) -> list[list[Any]]:
        """Where each field of some rows of a state begins."""
        builder, row = self.writer.builder, self.writer.builder.mul(self._fields, self._length)
        starts = [builder.gep(state, [builder.mul(i, row)]) for i in indices]
        offsets = [builder.mul(self.writer.index(c), self._length) for c in range(count)]
        return [[builder.gep(start, [offset]) for offset in offsets] for start in starts]


class Sweeper:
    """Goes along rows: the constants of a model spread over registers, and sums in memory.

    Args:
        tape: The array whose rows have neighbours.
        spread: From a writer to the constants.
        totals: (type, array) of the sums, (n, L); None where nothing is summed.
        count: n.
    """

    def __init__(
        self, tape: Tape, spread: Callable[[Writer], list[Register]], totals: Any = None, count: int = 0
    ) -> None:
        self._tape, self._writer, self._count = tape, tape.writer, count
        self._constants = spread(self._writer)
        if totals is not None:
            made = self._writer.context.make_array(totals[0])(self._writer.context, self._writer.builder, totals[1])
            self._totals = self._writer.builder.bitcast(made.data, self._writer.type.as_pointer())

    def sweep(
        self,
        rows: Sequence[Sequence[Any]],
        out: Sequence[Sequence[Any]],
        body: Callable[..., tuple[list[Any], list[Any]]],
    ) -> None:
        """Go along some neighbouring rows at once.

        Args:
            rows: The row above, the rows to work and the row below: where each field begins.
            out: For each row to work, where each field of the result begins.
            body: From the constants, the number of the row, a function that loads what a pointer has here, the fields
                here and their neighbour sums to the new fields and to what the sums gain.
        """
        writer = self._writer
        start = [writer.load(self._totals, writer.index(n)) for n in range(self._count)]

        def inside(
            k: int, r: Any, fields: Any, sums: Any, totals: list[Register]
        ) -> tuple[list[Register], list[Register]]:
            new, terms = body(self._constants, k, lambda pointer: writer.load(pointer, r), fields, sums)
            added = [total + term for total, term in zip(totals, writer.registers(terms), strict=True)]
            return writer.registers(new), added

        end = _along(writer, self._tape.last, rows, out, inside, start)
        for n, total in enumerate(end):
            writer.store(total, self._totals, writer.index(n))


def _along(
    writer: Writer,
    last: Any,
    rows: Sequence[Sequence[Any]],
    out: Sequence[Sequence[Any]],
    body: Callable[..., tuple[list[Register], list[Register]]],
    totals: Sequence[Register],
) -> list[Register]:
    """The loop over the vectors of some rows, west and centre in registers; returns the totals."""
    builder, first = writer.builder, writer.index(0)
    worked = rows[1:-1]
    fields = range(len(rows[0]))
    carried = 2 * len(worked) * len(fields)

    def inside(r: Any, state: list[Register], east: list[list[Register]]) -> list[Register]:
        sums = state[carried:]
        west = [[state[2 * (k * len(fields) + c)] for c in fields] for k in range(len(worked))]
        centre = [[state[2 * (k * len(fields) + c) + 1] for c in fields] for k in range(len(worked))]
        # a row between two others that are worked is loaded once
        column = [[writer.load(c, r) for c in rows[0]], *centre, [writer.load(c, r) for c in rows[-1]]]
        for k, pointers in enumerate(out):
            # in the order of the torch backend, so that both give the same bits
            around = [(west[k][c] + east[k][c]) + (column[k][c] + column[k + 2][c]) for c in fields]
            new, sums = body(k, r, centre[k], around, sums)
            for x, pointer in zip(new, pointers, strict=True):
                writer.store(x, pointer, r)
        return [x for k in range(len(worked)) for c in fields for x in (centre[k][c], east[k][c])] + sums

    def within(r: Any, state: list[Register]) -> list[Register]:
        following = builder.add(r, writer.index(1))
        return inside(r, state, [[writer.load(c, following) for c in row] for row in worked])

    # the last vector, turned by a lane, is to the west of the first, and the first one to the east of the last
    start = [
        x for row in worked for c in row for x in (writer.rotated(writer.load(c, last), -1), writer.load(c, first))
    ]
    state = writer.loop(first, builder.sub(last, writer.index(1)), [*start, *totals], within)
    state = inside(last, state, [[writer.rotated(writer.load(c, first), 1) for c in row] for row in worked])
    return state[carried:]


@_intrinsic
def largest_change(typing, pair):
    """Max norm of the difference of two states, NaN where either is not finite."""

    def write(context, builder, signature, given):
        w = Writer(context, builder, pair.dtype)
        T, zero = Tape(w, pair, given[0]), w.constant(0)
        a, b = T.state(w.index(0)), T.state(w.index(1))

        def body(r, state):
            largest, spoilt = state
            d = w.load(a, r) - w.load(b, r)
            d = Register(w, builder.select(builder.fcmp_ordered("<", d.value, zero.value), (-d).value, d.value))
            larger = builder.fcmp_ordered(">", d.value, largest.value)
            # a maximum drops NaN; d - d does not
            return [Register(w, builder.select(larger, d.value, largest.value)), spoilt + (d - d)]

        largest, spoilt = w.loop(w.index(0), builder.sub(T.vectors, w.index(1)), [zero, zero], body)
        worst = bad = ir.Constant(w.scalar, 0.0)
        for lane in range(w.lanes):
            at = ir.Constant(ir.IntType(32), lane)
            one = builder.extract_element(largest.value, at)
            worst = builder.select(builder.fcmp_ordered(">", one, worst), one, worst)
            bad = builder.fadd(bad, builder.extract_element(spoilt.value, at))
        return builder.fadd(worst, bad)

    return pair.dtype(pair), write
