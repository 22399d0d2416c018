"""What an unsteady state does: travel, oscillate, or still rearrange.

A verdict "unsteady" that says no more cannot be checked. So the state is marched on for a while and looked at again
and again: a rigid drift explains its residual, or it comes back to where it was, or it does neither.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gsimplicit.marching import cpu
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


def motion(fields: Array, parameters: Array) -> Motion:
    """What an unsteady state does over the next 2,048 steps.

    Args:
        fields: u and v, float64, shape (2, H, W).
        parameters: Du, Dv, F, k.

    Returns:
        TRAVELLING where a rigid drift leaves less than a tenth of the residual; OSCILLATING where the state comes back
        to within a quarter of its largest distance; else REARRANGING. UNKNOWN where it diverges.
    """
    here = certify(fields, parameters)
    if here.bordered < DRIFT_SHARE * here.raw:
        return Motion.TRAVELLING
    X, farthest = fields, 0.0
    for _ in range(LOOKS):
        end, _, change = cpu.march(X, parameters, 0.0, EVERY, EVERY)
        if np.isnan(change):
            return Motion.UNKNOWN
        X = np.asarray(end, dtype=np.float64)
        distance = float(np.linalg.norm(X - fields))
        if distance < RETURN_SHARE * farthest:
            return Motion.OSCILLATING
        farthest = max(farthest, distance)
    return Motion.REARRANGING
