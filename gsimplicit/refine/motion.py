"""What an unsteady state does: travel, oscillate, still rearrange, or only what a step too long makes it do.

A verdict "unsteady" that says no more cannot be checked. So the state is marched on for a while and looked at again
and again: a rigid drift explains its residual, or shorter steps let it come to rest, or it comes back to where it was,
or it does none of these.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gsimplicit.equations import Equations
from gsimplicit.marching import cpu
from gsimplicit.refine.modes import growth, is_flat, step_factor
from gsimplicit.refine.newton import certify
from gsimplicit.results import Motion

Array = np.ndarray[Any, np.dtype[np.float64]]

LOOKS = 128
EVERY = 16
"""Steps between looks; the reaction's slowest oscillations take some 200."""

DRIFT_SHARE = 0.1
"""A drift explains the residual where it leaves less than this share of it."""

RETURN_SHARE = 0.25
"""A state has come back where its distance falls below this share of the largest before."""

REVERSAL = -0.5
"""Cosine between two successive steps below which the state is thrown back and forth."""

RUNAWAY = 1.5
"""Growth of a step over the one before above which a state is on its way to diverge."""

SHORT, SPAN, RESTED = 0.25, 512, 0.1
"""Length of the shorter steps, time units marched with them, and the share of the residual after as many time units of
steps of 1 below which the shorter ones have let the state come to rest."""


def reverses(equations: Equations, fields: Array) -> float:
    """The factor by which a step blows up what the equations damp, where the state is thrown back and forth by it.

    Args:
        equations: Those of the instance.
        fields: Float32 or float64, shape (S, H, W).

    Returns:
        The largest |1 + dt eigenvalue| at the state, its mean over two steps, and the upper uniform state where v comes
        near it; 0 where none is above 1, or where one step does not undo most of the one before.
    """
    one, _, _ = cpu.march(equations, fields, 0.0, 1, 1)
    two, _, change = cpu.march(equations, one, 0.0, 1, 1)
    if np.isnan(change):
        return 0.0
    X, Y, Z = (np.asarray(x, dtype=np.float64) for x in (fields, one, two))
    there, back = (Y - X).ravel(), (Z - Y).ravel()
    far, near = float(np.linalg.norm(there)), float(np.linalg.norm(back))
    if not float(there @ back) < REVERSAL * far * near or near > RUNAWAY * far:
        return 0.0
    states, seen = [X, (X + Y) / 2], equations.model.seen
    close = [state for state in equations.model.excited(equations.values.tolist()) if X[seen].max() > state[seen] / 2]
    states += [np.broadcast_to(np.array(state)[:, None, None], X.shape) for state in close]
    largest = max(factor for factor in (step_factor(equations, state) for state in states) if factor == factor)
    return largest if largest > 1 else 0.0


def overshoots(equations: Equations, fields: Array) -> bool:
    """Whether it is the step that keeps a state in motion, not the equations.

    So it is where the step throws it back and forth; where it moves about a uniform state whose every mode the
    equations damp and a step does not; and where steps of a quarter let it come to rest and steps of 1 do not.
    """
    if reverses(equations, fields):
        return True
    if is_flat(equations, fields):
        return step_factor(equations, fields) > 1 and growth(equations, fields) < 0
    before = equations.dt * certify(equations, fields).raw
    change = cpu.march(equations, fields, 0.0, SPAN, SPAN)[2]
    table = np.array([[1 - SHORT, 0.0, SHORT]])
    after = cpu.stabilised(equations, fields, table, round(SPAN / SHORT))[1]
    return bool(change > RESTED**0.5 * before and after < RESTED * change)


def motion(equations: Equations, fields: Array) -> Motion:
    """What an unsteady state does over the next 2,048 steps.

    Args:
        equations: Those of the instance.
        fields: Float64, shape (S, H, W).

    Returns:
        TRAVELLING where a rigid drift leaves less than a tenth of the residual; OVERSHOOTING where shorter steps would
        let it come to rest; OSCILLATING where the state comes back
        to within a quarter of its largest distance; else REARRANGING. UNKNOWN where it diverges.
    """
    here = certify(equations, fields)
    if here.bordered < DRIFT_SHARE * here.raw:
        return Motion.TRAVELLING
    if overshoots(equations, fields):
        return Motion.OVERSHOOTING
    X, farthest = fields, 0.0
    for _ in range(LOOKS):
        end, _, change = cpu.march(equations, X, 0.0, EVERY, EVERY)
        if np.isnan(change):
            return Motion.UNKNOWN
        X = np.asarray(end, dtype=np.float64)
        distance = float(np.linalg.norm(X - fields))
        if distance < RETURN_SHARE * farthest:
            return Motion.OSCILLATING
        farthest = max(farthest, distance)
    return Motion.REARRANGING
