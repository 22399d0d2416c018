"""States on the way: after given numbers of steps, and where the paper's march stops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

import gsimplicit as gs
from studies._patterns import FLAT

LAST = 50_000
"""The paper's cap on the steps of a march."""

V_TOP = 0.4
"""v at the top of every colour scale of patterns; few pixels exceed it at the stop."""


def states_at(params: gs.Params, start: torch.Tensor, times: Sequence[int]) -> Iterator[torch.Tensor]:
    """Fields (B, 2, H, W) after each of the rising numbers of steps, in float32, whether or not a stop was passed.

    Marching on from fields gives the same bits as marching at once. A march that has diverged gives its last fields
    again: there is nothing to go on from.
    """
    fields, done = start.to(torch.float32), 0
    for time in times:
        if time > done and bool(torch.isfinite(fields).all()):
            fields = gs.steady_state(params, fields, tol=0.0, max_steps=time - done, dtype=torch.float32).fields
        done = time
        yield fields


def levels(v: torch.Tensor) -> np.ndarray:
    """V as whole numbers of 0 to 255, from 0 to `V_TOP`; 0 where it is not finite."""
    array = np.nan_to_num(v.to(torch.float64).numpy(), nan=0.0, posinf=0.0, neginf=0.0)
    return np.rint(np.clip(array / V_TOP, 0, 1) * 255).astype(np.uint8)


def kind_of(v: torch.Tensor) -> gs.Kind:
    """Trivial, uniform or pattern, by the package's bounds."""
    if float(v.max()) < 0.01:
        return gs.Kind.TRIVIAL
    return gs.Kind.PATTERN if float(v.double().std()) >= FLAT else gs.Kind.UNIFORM
