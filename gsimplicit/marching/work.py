"""What a kernel does with the rows of a schedule, in either layout and for any model.

The model rides along as an argument of a numba type of its own, which holds its formulas: each is called once, with
objects that write instructions. An argument costs nothing at run time.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import NativeValue, intrinsic, models, register_model, unbox

from gsimplicit.marching import lanes, rows
from gsimplicit.marching.writer import Writer, follow
from gsimplicit.models.steps import Steps

# mypy: disable-error-code="no-untyped-def, no-untyped-call"
_intrinsic: Any = intrinsic  # its own types take the first argument for self
_SIZE = types.intp


class StepsType(types.Type):
    """The type of a model's steps: equal where the formulas are."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        super().__init__(name=f"Steps({steps.species}, {steps.parameters}, {steps.key})")


@register_model(StepsType)
class _StepsModel(models.OpaqueModel):
    """Nothing of it is there at run time."""


@unbox(StepsType)
def _unbox(kind, value, c):
    return NativeValue(c.context.get_dummy_value())


class Recipe:
    """Steps of a model as an argument of a kernel."""

    def __init__(self, steps: Steps) -> None:
        self.steps, self._numba_type_ = steps, StepsType(steps)


def _spread(p, given, steps):
    """From a writer to the constants of an instance, an array p of them."""
    return lambda writer: writer.spread(p, given, steps.constants)


def advance_in(layout: ModuleType) -> Any:
    """Step from state to state: step t of the schedule goes from `(at + t - 1) & mask` to `(at + t) & mask`."""

    @_intrinsic
    def advance(typing, recipe, tape, at, mask, schedule, p):
        steps, species = recipe.steps, recipe.steps.species

        def write(context, builder, signature, given):
            w = Writer(context, builder, tape.dtype)
            T = layout.Tape(w, tape, given[1])
            sweeper = layout.Sweeper(T, _spread(p, given[5], steps))

            def body(c, k, load, fields, sums):
                return steps.step(fields, sums, c), []

            def work(t, indices):
                after = builder.add(given[2], t)
                source, goal = (T.state(builder.and_(n, given[3])) for n in (builder.sub(after, w.index(1)), after))
                sweeper.sweep(T.rows(source, indices, species), T.rows(goal, indices[1:-1], species), body)

            follow(w, T.height, schedule, given[4], layout.TOGETHER, work)
            return context.get_dummy_value()

        return types.void(recipe, tape, _SIZE, _SIZE, schedule, p), write

    return advance


def stage_in(layout: ModuleType) -> Any:
    """The other state becomes `a x + b other + c step(x)`, x being state `now`, and a, b, c `weights`."""

    @_intrinsic
    def stage(typing, recipe, pair, now, schedule, p, weights):
        steps, species = recipe.steps, recipe.steps.species

        def write(context, builder, signature, given):
            w = Writer(context, builder, pair.dtype)
            T = layout.Tape(w, pair, given[1])
            x, other = T.state(given[2]), T.state(builder.xor(given[2], w.index(1)))

            def spread(writer):
                return [
                    *writer.spread(weights, given[5], 3), *writer.spread(p, given[4], steps.constants)
                ]  # fmt: skip

            sweeper = layout.Sweeper(T, spread)

            def work(t, indices):
                out = T.rows(other, indices[1:-1], species)

                def body(constants, k, load, fields, sums):
                    a, b, c = constants[:3]
                    new = steps.step(fields, sums, constants[3:])
                    return [a * x + b * load(o) + c * n for x, o, n in zip(fields, out[k], new, strict=True)], []

                sweeper.sweep(T.rows(x, indices, species), out, body)

            follow(w, T.height, schedule, given[3], 1, work)
            return context.get_dummy_value()

        return types.void(recipe, pair, _SIZE, schedule, p, weights), write

    return stage


def retreat_in(layout: ModuleType) -> Any:
    """Adjoint steps of a pair of adjoint states: step t around state `top - t`; `totals` gains its sums."""

    @_intrinsic
    def retreat(typing, recipe, tape, top, pair, now, schedule, p, totals):
        steps, species = recipe.steps, recipe.steps.species

        def write(context, builder, signature, given):
            w = Writer(context, builder, pair.dtype)
            S, T = layout.Tape(w, tape, given[1]), layout.Tape(w, pair, given[3])
            sweeper = layout.Sweeper(T, _spread(p, given[6], steps), (totals, given[7]), steps.sums)

            def work(t, indices):
                after, one = builder.add(given[4], t), w.index(1)
                source, goal = (T.state(builder.and_(n, one)) for n in (builder.sub(after, one), after))
                states = S.rows(S.state(builder.sub(given[2], t)), indices[1:-1], species)

                def body(c, k, load, fields, sums):
                    return steps.adjoint(fields, sums, [load(x) for x in states[k]], c)

                sweeper.sweep(T.rows(source, indices, species), T.rows(goal, indices[1:-1], species), body)

            follow(w, T.height, schedule, given[5], layout.TOGETHER, work)
            return context.get_dummy_value()

        return types.void(recipe, tape, _SIZE, pair, _SIZE, schedule, p, totals), write

    return retreat


def advance_tangents_in(layout: ModuleType) -> Any:
    """Steps of the species and their derivatives in each parameter, `S (1 + P)` fields in all."""

    @_intrinsic
    def advance_tangents(typing, recipe, pair, now, schedule, p):
        steps, species = recipe.steps, recipe.steps.species
        count = species * (1 + steps.parameters)

        def write(context, builder, signature, given):
            w = Writer(context, builder, pair.dtype)
            T = layout.Tape(w, pair, given[1])
            sweeper = layout.Sweeper(T, _spread(p, given[4], steps))

            def body(c, k, load, fields, sums):
                x, S = fields[:species], sums[:species]
                d, Sd = ([f[i : i + species] for i in range(species, count, species)] for f in (fields, sums))
                moved = steps.tangents(x, S, d, Sd, c)
                return [*steps.step(x, S, c), *(entry for row in moved for entry in row)], []

            def work(t, indices):
                after, one = builder.add(given[2], t), w.index(1)
                source, goal = (T.state(builder.and_(n, one)) for n in (builder.sub(after, one), after))
                sweeper.sweep(T.rows(source, indices, count), T.rows(goal, indices[1:-1], count), body)

            follow(w, T.height, schedule, given[3], 1, work)
            return context.get_dummy_value()

        return types.void(recipe, pair, _SIZE, schedule, p), write

    return advance_tangents


class Layout:
    """The work in one layout."""

    def __init__(self, layout: ModuleType) -> None:
        self.advance, self.stage = advance_in(layout), stage_in(layout)
        self.retreat, self.advance_tangents = retreat_in(layout), advance_tangents_in(layout)
        self.largest_change = layout.largest_change


IN_LANES, IN_ROWS = Layout(lanes), Layout(rows)

# ---------------------------------------------------------------------------------------------------------------------
# Denormal numbers
# ---------------------------------------------------------------------------------------------------------------------

_FLUSH = 0x8040
"""Bits of the x86 control register that take denormal numbers for zero, as operands and as results."""


def _x86() -> bool:
    import llvmlite.binding

    return bool(llvmlite.binding.get_process_triple().startswith(("x86_64", "i386", "i686")))


_X86 = _x86()


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
