"""Rows of any width: C padded fields (C, H, W + 2) with a halo pixel at either end.

The halo spares the inner loop its index arithmetic; rows wrap by index. West and east neighbours are loaded, a vector
starting one pixel further, and what is left at the end of a row is worked a pixel at a time. Sums run in one number
a column, so that they do not depend on the machine's vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
from numba.core import cgutils

from gsimplicit.marching.writer import Register, Writer

Array = np.ndarray[Any, np.dtype[Any]]

# no fast-math: the same fields give the same bits on every machine
_inline = numba.njit(inline="always", error_model="numpy")

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

TOGETHER = 1
"""Rows worked at once."""


def states(first: Array, count: int) -> Array:
    """`count` states side by side, the first one given, the others uninitialised."""
    out = np.empty((count, *first.shape), first.dtype)
    out[0] = first
    return out


def pack(fields: Array) -> Array:
    """Fields (C, H, W) with one periodic halo column at either end."""
    return np.ascontiguousarray(np.pad(fields, ((0, 0), (0, 0), (1, 1)), mode="wrap"))


def unpack(padded: Array) -> Array:
    """Fields (C, H, W) without their halo."""
    return padded[..., 1:-1].copy()


def totals(packed: Array, count: int) -> Array:
    """Scratch for `count` sums over pixels: one number a column."""
    return np.zeros((count, packed.shape[-1]), packed.dtype)


class Tape:
    """An array (T, C, H, W + 2), states one after the other, inside a function under construction."""

    def __init__(self, writer: Writer, array_type: Any, array: Any) -> None:
        self.writer, builder = writer, writer.builder
        made = writer.context.make_array(array_type)(writer.context, builder, array)
        self._data, shape = made.data, cgutils.unpack_tuple(builder, made.shape)
        _, fields, self.height, self._length = shape
        self._stride = builder.mul(builder.mul(fields, self.height), self._length)
        self.width = builder.sub(self._length, writer.index(2))

    def state(self, t: Any) -> Any:
        """Where state t begins."""
        return self.writer.builder.gep(self._data, [self.writer.builder.mul(t, self._stride)])

    def rows(self, state: Any, indices: Sequence[Any], count: int) -> list[list[Any]]:
        """Where each field of some rows of a state begins, halo included."""
        builder, plane = self.writer.builder, self.writer.builder.mul(self.height, self._length)
        starts = [builder.gep(state, [builder.mul(i, self._length)]) for i in indices]
        offsets = [builder.mul(self.writer.index(c), plane) for c in range(count)]
        return [[builder.gep(start, [offset]) for offset in offsets] for start in starts]


class Sweeper:
    """Goes along rows, see `lanes.Sweeper`; the sums are (n, W + 2)."""

    def __init__(
        self, tape: Tape, spread: Callable[[Writer], list[Register]], totals: Any = None, count: int = 0
    ) -> None:
        w = tape.writer
        plain = Writer(w.context, w.builder, numba.float32 if w.single else numba.float64, lanes=1)
        self._tape, self._count = tape, count
        self._writers = [(writer, spread(writer)) for writer in (w, plain)]
        if totals is not None:
            made = w.context.make_array(totals[0])(w.context, w.builder, totals[1])
            self._totals, self._row = made.data, cgutils.unpack_tuple(w.builder, made.shape)[1]

    def sweep(
        self,
        rows: Sequence[Sequence[Any]],
        out: Sequence[Sequence[Any]],
        body: Callable[..., tuple[list[Any], list[Any]]],
    ) -> None:
        """Go along one row: by vectors, then pixel by pixel, then its halo."""
        above, here, below = rows
        builder, index = self._tape.writer.builder, self._tape.writer.index
        end, j = builder.add(self._tape.width, index(1)), index(1)
        for writer, constants in self._writers:

            def cells(j: Any, writer: Writer = writer, constants: list[Register] = constants) -> None:
                def load(pointer: Any, by: int = 0) -> Register:
                    place = writer.place(pointer, builder.add(j, index(by)))
                    return writer.load(place, index(0), writer.size)

                fields = [load(c) for c in here]
                # in the order of the torch backend, so that both give the same bits
                sums = [
                    (load(c, -1) + load(c, 1)) + (load(north) + load(south))
                    for c, north, south in zip(here, above, below, strict=True)
                ]
                new, terms = body(constants, 0, load, fields, sums)
                for n, term in enumerate(writer.registers(terms)):
                    total = builder.gep(self._totals, [builder.mul(index(n), self._row)])
                    writer.store(load(total) + term, writer.place(total, j), index(0), writer.size)
                for x, pointer in zip(writer.registers(new), out[0], strict=True):
                    writer.store(x, writer.place(pointer, j), index(0), writer.size)

            j = writer.count(j, end, writer.lanes, cells)
        for pointer in out[0]:
            for goal, source in ((index(0), self._tape.width), (end, index(1))):
                builder.store(builder.load(builder.gep(pointer, [source])), builder.gep(pointer, [goal]))


@_inline
def largest_change(pair):
    """Max norm of the difference of two states, NaN where either is not finite."""
    largest = np.zeros((2, pair.shape[3]), pair.dtype)
    W, one = np.uint64(pair.shape[3] - 2), np.uint64(1)
    for c in range(pair.shape[1]):
        for i in range(pair.shape[2]):
            a, b, m, nan = pair[0, c, i], pair[1, c, i], largest[0], largest[1]
            for j in range(one, W + one):
                d = abs(a[j] - b[j])
                m[j] = d if d > m[j] else m[j]
                nan[j] += d - d  # a maximum drops NaN; this does not
    return largest[0, 1:-1].max() + largest[1, 1:-1].sum()
