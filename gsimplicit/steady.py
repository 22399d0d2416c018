"""`steady_state`: march, refine, certify."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gsimplicit import checks
from gsimplicit.arguments import March as March  # pickles of version 0.1.0 look for it here
from gsimplicit.arguments import as_march, as_refine, device_of, pair_up
from gsimplicit.equations import ModelParams, warn_if_unstable
from gsimplicit.marching import Backend
from gsimplicit.progress import line
from gsimplicit.refine import Refine
from gsimplicit.results import SteadyState
from gsimplicit.states import marched_state, refined_state, warn_of_steps
from gsimplicit.surroundings import own_surroundings

__all__ = ["steady_state"]


@own_surroundings
def steady_state(
    params: ModelParams,
    initial: torch.Tensor | np.ndarray[Any, Any] | None = None,
    tol: float = 1e-4,
    max_steps: int = 50_000,
    check_every: int = 64,
    refine: bool | Refine = False,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    dt: float = 1.0,
    backend: Backend | None = None,
    progress: bool = True,
) -> SteadyState:
    """March to a steady state, and certify it if asked.

    Explicit Euler steps of arXiv 2606.11258, eq. 3 and 4, run until the largest change of u or v over one step is below
    `tol`. That is the paper's stop, not a steady state: with `refine` the state is marched on in float64 and closed by
    Newton's method. The result is detached from autograd; `gsimplicit.solve` attaches it.

    Args:
        params: B instances, or 1.
        initial: u and v, shape (B, 2, H, W) or (1, 2, H, W); None is `initial_state()`, 128 x 128.
        tol: Bound on the change of any species over one step of length dt; 0.0 marches exactly `max_steps` steps. The
            change over a step is dt times the residual: for the same state a shorter dt needs a smaller tol.
        max_steps: Cap on the marching stage alone, >= 1.
        check_every: Steps between tests, >= 1. The step it stops at depends on rounding order.
        refine: Go on to a certified root; a `Refine` sets tolerance, budget and which residual.
        dtype: float32 or float64 of the marching; None is float32, or float64 where `tol` is 0. Refinement is float64.
        device: Where to march, and where the fields of the state lie; None is where `initial` lies. Refinement runs
            there too, where it is one of CUDA's.
        dt: Length of an explicit step in time units, > 0; stability needs about dt D <= 1/4. A steady state does not
            depend on it, how it is reached may.
        backend: What steps, an object with the methods of `gsimplicit.marching.Backend`; None is the compiled kernels
            on a CPU, those of a GPU there, and torch elsewhere.
        progress: Show what is done in a line once the call takes over two seconds; only on a terminal or in a notebook.

    Returns:
        Fields and, an instance, how the solve ended, on the CPU. It never raises for an outcome: see
        `require_steady`.

    Raises:
        ValueError: An argument lies outside its range.
        TypeError: An argument has a wrong type.

    Example:
        >>> import gsimplicit as gs
        >>> fields = gs.initial_state(grid=(32, 32), box=gs.Box(half=5))
        >>> state = gs.steady_state(gs.Params(Du=0.16, Dv=0.08, F=0.035, k=0.075), fields, refine=True)
        >>> gs.Status(int(state.status[0])).name, gs.Kind(int(state.kind[0])).name
        ('STEADY', 'TRIVIAL')
    """
    params, fields = pair_up(params, initial)
    settings = as_refine(refine)
    marching = as_march(tol, max_steps, check_every, dtype, device_of(device, initial), dt, backend)
    warn_if_unstable(params, marching.dt)
    with line("steady_state", checks.flag("progress", progress)):
        state = (
            marched_state(params, fields, marching)
            if settings is None
            else refined_state(params, fields, marching, settings, factorise=True)
        )
    warn_of_steps(state)
    return state
