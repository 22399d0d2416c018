"""Where the lattice holds a drifting pattern still."""

from __future__ import annotations

from typing import Any

import numpy as np

from gsimplicit.equations import Equations
from gsimplicit.grid import broken_translations, shifted
from gsimplicit.refine.asking import Solving
from gsimplicit.refine.newton import Root, closing

Array = np.ndarray[Any, np.dtype[np.float64]]

MAX_SLIDES = 16
"""Shifts tried before a drifting pattern is left unpinned."""

_SLIDE = 0.25
"""Longest shift at once, in pixels: the lattice's pull repeats every pixel, so a quarter stays on one slope of it."""


def pinning(equations: Equations, root: Root, tol: float, *, keep: bool) -> Solving[Root]:
    """Slide a drifting pattern along its translations to where the lattice holds it still.

    The lattice pins a pattern so weakly (rates of 1e-4 to 1e-10) that neither marching nor plain Newton gets there:
    one takes 1/rate steps, the other leaves the curved family of translates. So the velocity is solved for zero as a
    function of the shift, by Newton's method with differences, each time with the shape refined anew. Where the pull
    is not restoring the pattern moves on along its drift, so that the pinned state found is one that attracts.

    Args:
        equations: Those of the instance.
        root: A converged bordered root.
        tol: Max norm of the raw residual to reach.
        keep: Whether what solves is worth keeping.

    Returns:
        The state of least drift met, with `converged` false where its raw residual is above `tol`.
    """
    fine = 1e-3 * tol  # the velocity must be known far better than it may be

    def refined(fields: Array) -> Solving[Root]:
        return closing(equations, fields, fine, keep=keep)

    best, evaluations = (yield from refined(root.fields)), 0
    now = best
    for _ in range(MAX_SLIDES):
        evaluations += now.evaluations
        raw = float(np.abs(equations.residual(now.fields)).max())
        if np.linalg.norm(now.drift) <= np.linalg.norm(best.drift):
            best = now
        if raw <= tol:
            return Root(now.fields, np.zeros(2), raw, evaluations, True, now.factors)
        directions = broken_translations(now.fields, equations.model.scale)
        pull = np.empty((len(directions), len(directions)))
        h = 0.05
        for i, d in enumerate(directions):
            there = yield from refined(shifted(now.fields, h * d))
            evaluations += there.evaluations
            pull[:, i] = directions @ (there.drift - now.drift) / h
        speeds = directions @ now.drift
        if np.linalg.eigvalsh(pull + pull.T).max() < 0:
            shift = -np.linalg.solve(pull, speeds)
            shift = shift * min(1.0, _SLIDE / float(np.linalg.norm(shift)))
        else:
            shift = _SLIDE * speeds / np.linalg.norm(speeds)
        now = yield from refined(shifted(now.fields, shift @ directions))
    raw = float(np.abs(equations.residual(best.fields)).max())
    return Root(best.fields, best.drift, raw, evaluations, False)
