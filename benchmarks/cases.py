"""What is timed: gsimplicit and its peers at the same work, each case in a process of its own.

The work is the paper's system: 128 x 128, periodic, five-point, unit steps, its ground truth parameters, from a
developed pattern. Every peer is checked against the float64 reference before it is timed. A case gives seconds (the
best of some runs in this process, CPU time unless threads are what is measured) and what else it knows.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.backward import (
    gradient_jax,
    gradient_ours,
    gradient_ours_float64,
    gradient_ours_tangents,
    gradient_torch,
)
from benchmarks.forward import (
    batch_one_thread,
    batch_two_threads,
    batch_uneven,
    first_call,
    forward_c,
    forward_jax,
    forward_ours,
    forward_ours_float64,
    forward_ours_tested,
    forward_pypde,
    forward_torch,
    forward_torch_compiled,
    grids,
    peak,
)
from benchmarks.linear import root_and_implicit_gradient, solver_growth, solvers
from benchmarks.models import models_c, models_ours, models_torch
from benchmarks.work import Result

CASES: dict[str, Callable[[], Result]] = {
    case.__name__: case
    for case in (
        forward_ours,
        forward_ours_float64,
        forward_ours_tested,
        forward_c,
        peak,
        forward_torch,
        forward_torch_compiled,
        forward_jax,
        forward_pypde,
        batch_one_thread,
        batch_two_threads,
        batch_uneven,
        grids,
        first_call,
        gradient_ours,
        gradient_ours_float64,
        gradient_ours_tangents,
        gradient_torch,
        gradient_jax,
        models_ours,
        models_c,
        models_torch,
        root_and_implicit_gradient,
        solvers,
        solver_growth,
    )
}
QUICK = (
    "forward_ours",
    "forward_ours_float64",
    "forward_ours_tested",
    "forward_c",
    "peak",
    "forward_torch",
    "forward_jax",
    "batch_one_thread",
    "batch_two_threads",
    "gradient_ours",
    "gradient_jax",
)
"""Cases of a quick run."""
ONCE = ("grids", "solvers", "solver_growth")
"""Cases of the first round only: they take minutes."""
