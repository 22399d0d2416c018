"""What is met along a branch: where it turns back, and where it loses stability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Fold", "Instability"]

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, eq=False)
class Fold:
    """A point where a branch turns back in its parameter.

    Attributes:
        value: The parameter.
        fields: Shape (S, H, W).
        mode: Null vector of the bordered Jacobian, unit 2-norm, shape (S, H, W).
        residual: Largest bordered residual.

    Examples:
        >>> import gsimplicit as gs
        >>> from gsimplicit.bifurcation.branch import follow
        >>> start = gs.initial_state(grid=(4, 4), noise=0.0, box=None) * 0 + 0.3
        >>> state = gs.steady_state(gs.Params(0.16, 0.08, 0.05, 0.055), start, refine=True)
        >>> turned = follow(state, "k", low=0.05).folds[0]
        >>> round(turned.value, 4), turned.mode.shape
        (0.0618, (2, 4, 4))
    """

    value: float
    fields: Array
    mode: Array
    residual: float


@dataclass(frozen=True, eq=False)
class Instability:
    """A point where the leading eigenvalue of a branch crosses the imaginary axis.

    Attributes:
        value: The parameter.
        eigenvalue: The one that crosses, per unit time; its imaginary part is 0 at a stationary instability.
        fields: Shape (S, H, W).

    Examples:
        >>> import gsimplicit as gs
        >>> from gsimplicit.bifurcation.branch import follow
        >>> start = gs.initial_state(grid=(4, 4), noise=0.0, box=None) * 0 + 0.3
        >>> state = gs.steady_state(gs.Params(0.16, 0.08, 0.05, 0.055), start, refine=True)
        >>> branch = follow(state, "k", low=0.05, eigenvalues=2)
        >>> [round(point.value, 4) for point in branch.instabilities]
        [0.0612]
    """

    value: float
    eigenvalue: complex
    fields: Array
