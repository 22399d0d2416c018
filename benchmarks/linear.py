"""Cases of roots: refinement and implicit gradient, and the linear solvers under them."""

from __future__ import annotations

import time

import numpy as np

import gsimplicit as gs
from benchmarks.work import (
    DU,
    DV,
    SIDE,
    Result,
    best,
)
from gsimplicit.equations import instances


def root_and_implicit_gradient() -> Result:
    """A certified root at the paper's point and the implicit gradient there; and unrolling the steps to the stop."""
    from gsimplicit.refine.linear import SparseLU, jacobian

    params, loss = gs.Params.preset("paper"), lambda v: (v**2).mean(dim=(-2, -1))
    begin = time.process_time()
    root = gs.steady_state(params, refine=True)
    certified = time.process_time() - begin
    matrix = jacobian(*instances(params), root.fields[0].numpy())
    factorisation = best(lambda: SparseLU(matrix), 3)
    implicit = best(lambda: gs.grad(params, "implicit", loss, initial=root.fields), 3)
    steps = int(root.steps[0])
    begin = time.process_time()
    gs.grad(params, "unrolled", loss, tol=0.0, max_steps=steps)
    unrolled = time.process_time() - begin
    return {
        "seconds": certified,
        "factorisation": factorisation,
        "implicit": implicit,
        "implicit_factorisations": implicit / factorisation,
        "from_scratch": certified + implicit,
        "unrolled": unrolled,
        "unrolled_steps": float(steps),
    }


def solvers() -> Result:
    """Adjoints of 16 roots at 128 x 128 by LU and by GMRES: largest true residuals, distance, seconds."""
    import csv

    from gsimplicit.grid import broken_translations
    from gsimplicit.refine.linear import Bordered
    from studies.certify import CERTIFIED

    with CERTIFIED.open() as stream:
        rows = [r for r in csv.DictReader(stream) if r["side"] == "128" and r["tail"] == "euler"]
    rows = sorted((r for r in rows if r["status"] == "drifting"), key=lambda r: int(r["evaluations"]))
    params = gs.Params(DU, DV, [float(r["F"]) for r in rows], [float(r["k"]) for r in rows])
    roots = gs.steady_state(params, refine=gs.Refine(max_evaluations=4_000_000))
    found = roots.has_root.nonzero()[:16, 0].tolist()
    rows, params, roots = [rows[i] for i in found], params[found], roots[found]
    systems = [
        Bordered(e, x, broken_translations(x), c)
        for e, x, c in zip(instances(params), roots.fields.numpy(), roots.drift.numpy(), strict=True)
    ]
    draw = np.random.default_rng(0).standard_normal((len(rows), SIDE, SIDE))
    out = {"roots": float(roots.has_root.sum())}
    for name, slope in (("invariant", 2 * roots.fields[:, 1].numpy()), ("generic", draw)):
        right = [np.stack([np.zeros_like(s), s]) for s in slope]
        answers = []
        for solver in (gs.Direct(), gs.Gmres()):
            begin = time.process_time()
            answers.append(solver.prepare(systems).solve(right, transpose=True))
            out[f"{name}_{solver.name}_seconds"] = (time.process_time() - begin) / len(rows)
            out[f"{name}_{solver.name}_residual"] = max(a.residual for a in answers[-1])
        apart = [np.linalg.norm(a.x - b.x) / np.linalg.norm(a.x) for a, b in zip(*answers, strict=True)]
        out[f"{name}_apart"] = float(max(apart))
        out[f"{name}_products"] = float(np.median([a.products for a in answers[1]]))
    return out


def solver_growth() -> Result:
    """LU and GMRES by side of the grid: an adjoint at the paper's root, repeated periodically, and Newton's method.

    Newton's method starts from the root at 128 x 128, perturbed by 1e-3.
    """
    from gsimplicit.grid import broken_translations
    from gsimplicit.refine.linear import Bordered
    from gsimplicit.refine.newton import newton

    root = gs.steady_state(gs.Params.preset("paper"), refine=True)
    (equations,), drift, one = instances(root.params), root.drift[0].numpy(), root.fields[0].numpy()
    out = {}
    for times in (1, 2, 4):
        fields = np.tile(one, (1, times, times))
        system = Bordered(equations, fields, broken_translations(fields), drift)
        right = [np.stack([np.zeros_like(fields[1]), 2 * fields[1]])]
        for solver in (gs.Direct(), gs.Gmres()):
            begin = time.process_time()
            solver.prepare([system]).solve(right, transpose=True)
            out[f"{solver.name}_{SIDE * times}"] = time.process_time() - begin
    wave = np.cos(2 * np.pi * np.arange(SIDE) / SIDE * np.arange(1, 3)[:, None])
    start = one + 1e-3 * wave[:, :, None] * wave[::-1, None, :]
    for solver in (gs.Direct(), gs.Gmres()):
        begin = time.process_time()
        found = newton(equations, start, 1e-10, linear=solver)
        out[f"newton_{solver.name}"] = time.process_time() - begin
        out[f"newton_{solver.name}_residual"] = found.residual
    return out
