"""How an instance lies on a multiprocessor: in registers where it fits, else in shared or in global memory."""

from __future__ import annotations

from dataclasses import dataclass

REGISTERS = 65536
"""Of a multiprocessor, 32 bits each; a thread has at most 255."""

STATE = 144
"""Registers of a thread that fields may take: more leaves too few for the rest."""

SPARE = 80
"""Registers a thread needs beside its fields, as compiled kernels had."""


@dataclass(frozen=True)
class Layout:
    """How an instance lies on a multiprocessor.

    Attributes:
        rows: Rows of a warp; 0 where the fields are not in registers.
        cols: Columns of a lane.
        lanes: Lanes of a warp that have columns.
        warps: Warps.
        threads: Threads of a block.
        blocks: Blocks that shall fit on a multiprocessor.
        shared: Bytes of shared memory of a block.
        recorded: Bytes more where the state recorded lies in shared memory: of an adjoint in registers.
    """

    rows: int
    cols: int
    lanes: int
    warps: int
    threads: int
    blocks: int
    shared: int
    recorded: int = 0

    @property
    def text(self) -> str:
        """As definitions for the compiler."""
        defined = {"THREADS": self.threads, "BLOCKS": self.blocks}
        if self.rows:
            defined |= {"ROWS": self.rows, "COLS": self.cols, "LANES": self.lanes, "WARPS": self.warps}
        lines = [f"#define {name} {value}" for name, value in defined.items()]
        return "\n".join([*lines, "#define IN_REGISTERS" if self.rows else "#define IN_SHARED" if self.shared else ""])


def in_registers(species: int, H: int, W: int, size: int) -> Layout | None:
    """The layout of an instance whose fields lie in registers; None where they do not fit.

    Args:
        species: How many fields.
        H: Rows of the grid.
        W: Columns.
        size: Bytes of a number.
    """
    found: list[tuple[float, Layout]] = []
    for cols in (1, 2, 4, 8):
        lanes = W // cols
        if W % cols or lanes > 32:
            continue
        for warps in range(1, 33):
            rows = H // warps
            if H % warps:
                continue
            state = species * (rows + 1) * cols * size // 4
            threads = 32 * warps
            if state > STATE or threads * (state + SPARE) > REGISTERS:
                continue
            blocks = min(REGISTERS // (threads * (state + SPARE)), 8)
            # rows and lanes at work, of those that are there: a warp has a row more than it needs
            work = (rows + 1) / rows * 32 / lanes * (1 + 1 / cols)
            few = max(1.0, 12 / (warps * blocks))  # too few warps leave the multiprocessor waiting
            shared, recorded = 4 * species * warps * W * size, species * H * W * size
            found.append((work * few, Layout(rows, cols, lanes, warps, threads, blocks, shared, recorded)))
    return min(found, key=lambda one: one[0])[1] if found else None


def in_memory(fields: int, H: int, W: int, size: int, limit: int) -> Layout:
    """The layout of an instance whose fields lie in shared memory, or in global memory where that is too small.

    Args:
        fields: How many fields, tangents included.
        H: Rows of the grid.
        W: Columns.
        size: Bytes of a number.
        limit: Bytes of shared memory that a block may have.
    """
    threads = min(512, -(-H * W // 32) * 32)
    bytes_ = 2 * fields * H * W * size
    return Layout(0, 0, 0, 0, threads, 1, bytes_ if bytes_ <= limit else 0)
