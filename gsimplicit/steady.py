"""`steady_state`: march, refine, certify."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from gsimplicit import checks
from gsimplicit.arrays import as_device, real_fields
from gsimplicit.equations import Equations, Model, ModelParams, StabilityWarning, instances, residual, warn_if_unstable
from gsimplicit.initial import initial_state
from gsimplicit.marching import Backend, Marched, backend_for
from gsimplicit.progress import line
from gsimplicit.refine import Refine, Refined, recognise, refine, stability
from gsimplicit.refine.distance import nearness
from gsimplicit.refine.solvers import chosen
from gsimplicit.results import Motion, Stable, Status, SteadyState, concatenate
from gsimplicit.surroundings import caller, own_surroundings
from gsimplicit.threads import each, one_blas_thread

__all__ = [
    "March",
    "as_device",
    "as_fields",
    "as_march",
    "as_refine",
    "check_finite",
    "device_of",
    "marched_state",
    "paired",
    "plain_refine",
    "solved_state",
    "steady_state",
    "warn_of_steps",
]


@dataclass(frozen=True)
class March:
    """How states are marched.

    Attributes:
        tol: Stop below this largest change of a species over a step, >= 0; 0 marches exactly `max_steps`.
        max_steps: Cap on the steps, >= 1.
        check_every: Steps between tests, >= 1; 1 is the letter of arXiv 2606.11258, section 2.1.
        dtype: float32 or float64.
        device: Any torch device.
        dt: Length of a step in time units, > 0.
        backend: What steps; None is the compiled kernels on a CPU and torch elsewhere.

    Raises:
        ValueError: An argument lies outside its range.
        TypeError: An argument has a wrong type.
    """

    tol: float
    max_steps: int
    check_every: int
    dtype: torch.dtype = torch.float64
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dt: float = 1.0
    backend: Backend | None = None

    def __post_init__(self) -> None:
        values = {
            "tol": checks.real("tol", self.tol, least=0),
            "max_steps": checks.integer("max_steps", self.max_steps, 1),
            "check_every": checks.integer("check_every", self.check_every, 1),
            "device": as_device(self.device),
            "dt": checks.real("dt", self.dt, above=0),
        }
        if self.backend is not None and not isinstance(self.backend, Backend):
            raise TypeError(f"backend must have the methods of gsimplicit.marching.Backend, got {self.backend!r}")
        if checks.floats("dtype", self.dtype) is None:
            raise ValueError("dtype must be torch.float32 or torch.float64, got None")
        checks.keep(self, values)

    @property
    def by(self) -> Backend:
        """What steps."""
        return backend_for(self.device) if self.backend is None else self.backend

    def placed(self, fields: torch.Tensor) -> torch.Tensor:
        """Fields in the dtype and on the device marched in."""
        return fields.to(self.device, self.dtype)

    def __call__(self, fields: torch.Tensor, params: ModelParams) -> Marched:
        """March `fields` (B, S, H, W) with B instances of parameters."""
        return self.by.march(params.detach(), self.placed(fields), self.tol, self.max_steps, self.check_every, self.dt)


def as_march(
    tol: float,
    max_steps: int,
    check_every: int,
    dtype: torch.dtype | None,
    device: torch.device | str | None,
    dt: float = 1.0,
    backend: Backend | None = None,
    *,
    precise: bool = False,
) -> March:
    """How to march; the dtype None is float32, or float64 where `tol` is 0 or `precise`."""
    dtype, exact = checks.floats("dtype", dtype), precise or not checks.real("tol", tol, least=0)
    return March(
        tol, max_steps, check_every, (torch.float64 if exact else torch.float32) if dtype is None else dtype,
        as_device(device), dt, backend,
    )  # fmt: skip


def device_of(device: torch.device | str | None, initial: Any) -> torch.device:
    """Where to march: the device asked for, or where the initial fields lie."""
    return as_device(initial.device if device is None and isinstance(initial, torch.Tensor) else device)


def as_fields(name: str, value: Any, model: Model) -> torch.Tensor:
    """A tensor or numpy array of a model's species, shape (B, S, H, W), as a float64 copy on the CPU, or a clear error.

    Raises:
        TypeError: Not a tensor or array of floats.
        ValueError: Wrong shape, a value that is not finite (naming the instance), or attached to autograd.
    """
    tensor, S = real_fields(name, value, attached=False, device="cpu"), len(model.species)
    if tensor.ndim != 4 or tensor.shape[1] != S or min(tensor.shape[2:]) < 3 or len(tensor) == 0:
        raise ValueError(f"{name} must have shape (B, {S}, H, W) with B >= 1 and H, W >= 3, got {tuple(tensor.shape)}")
    check_finite(name, tensor)
    return tensor


def check_finite(name: str, tensor: torch.Tensor) -> None:
    """Raise a ValueError naming the first instance of `tensor` that is not finite."""
    if not math.isfinite(float(tensor.sum())):  # sums of finite values may be infinite: the slow look decides
        bad = ~torch.isfinite(tensor).flatten(1).all(dim=1)
        if not bool(bad.any()):
            return
        raise ValueError(f"{name} must be finite, got NaN or infinity in instance {int(bad.nonzero()[0, 0])}")


def paired(params: ModelParams, initial: Any) -> tuple[ModelParams, torch.Tensor]:
    """One batch from parameters and initial fields: equal sizes, or either of size 1 broadcast.

    Args:
        params: B instances or 1.
        initial: Shape (B, S, H, W) or (1, S, H, W); None is one field of seed 0 on 128 x 128.

    Raises:
        TypeError: `params` is not `Params`, or the fields are no tensor or array.
        ValueError: The sizes do not pair, or the fields have a wrong shape or are not finite.
    """
    if not isinstance(params, ModelParams):
        raise TypeError(f"params must be gsimplicit.Params, or another model's params, got {type(params).__name__}")
    fields = initial_state(model=params.model) if initial is None else as_fields("initial", initial, params.model)
    size = max(len(params), len(fields))
    if {len(params), len(fields)} - {1, size}:
        raise ValueError(
            f"a batch of {len(params)} parameters does not pair with {len(fields)} initial fields: "
            "the sizes must be equal, or one of them 1"
        )
    return params.expand(size), fields.expand(size, -1, -1, -1)


def plain_refine(value: Any) -> bool | Refine:
    """A `refine` argument as a bool or settings."""
    if isinstance(value, Refine):
        return value
    found = checks.plain(value)
    if not isinstance(found, bool):
        raise TypeError(f"refine must be a bool or gsimplicit.Refine, got {checks.shown(value)}")
    return found


def as_refine(value: bool | Refine) -> Refine | None:
    """The settings meant by a `refine` argument; None is no refinement."""
    found = plain_refine(value)
    if isinstance(found, Refine):
        return found
    return Refine() if found else None


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
        tol: Bound on the change over a step, per unit time; 0.0 marches exactly `max_steps` steps.
        max_steps: Cap on the marching stage alone, >= 1.
        check_every: Steps between tests, >= 1. The step it stops at depends on rounding order.
        refine: Go on to a certified root; a `Refine` sets tolerance, budget and which residual.
        dtype: float32 or float64 of the marching; None is float32, or float64 where `tol` is 0. Refinement is float64.
        device: Where to march, and where the fields of the state lie; None is where `initial` lies. Refinement runs on
            the CPU.
        dt: Length of an explicit step in time units, > 0; stability needs about dt D <= 1/4. A steady state does not
            depend on it, how it is reached may.
        backend: What steps, an object with the methods of `gsimplicit.marching.Backend`; None is the compiled kernels
            on a CPU and torch elsewhere.
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
    params, fields = paired(params, initial)
    settings = as_refine(refine)
    marching = as_march(tol, max_steps, check_every, dtype, device_of(device, initial), dt, backend)
    warn_if_unstable(params, marching.dt)
    with line("steady_state", checks.flag("progress", progress)):
        state = (
            marched_state(params, fields, marching)
            if settings is None
            else solved_state(params, fields, marching, settings, factorise=True)
        )
    warn_of_steps(state)
    return state


def warn_of_steps(state: SteadyState) -> None:
    """Warn where the explicit step is unstable at the state that was reached."""
    over = (state.step_factor > 1).nonzero().reshape(-1).tolist()
    if over:
        more = f", and at {len(over) - 1} more" if len(over) > 1 else ""
        warnings.warn(f"instance {over[0]}{more}: {state.step_text(over[0])}", StabilityWarning, stacklevel=caller())


def marched_state(params: ModelParams, fields: torch.Tensor, marching: March) -> SteadyState:
    """March a paired batch and describe what was reached."""
    params = params.detach()
    end = marching(fields, params)
    size = len(fields)
    status = end.status(marching.tol)
    motion, factor = _overshooting(end, status, params, marching.dt)
    return SteadyState(
        fields=end.fields,
        params=params,
        status=status,
        kind=params.model.kinds(end.fields),
        stable=torch.full((size,), int(Stable.UNKNOWN)),
        steps=end.steps,
        change=end.change,
        residual=residual(end.fields.to("cpu", torch.float64), params).abs().flatten(1).amax(dim=1),
        bordered_residual=_nan(size),
        drift=_nan(size, 2),
        moved=torch.zeros(size, dtype=torch.float64),
        least_singular=_nan(size),
        distance=_nan(size),
        evaluations=torch.zeros(size, dtype=torch.int64),
        eigenvalues=torch.empty((size, 0), dtype=torch.complex128),
        motion=motion,
        step_factor=factor,
    )


def _nan(*shape: int) -> torch.Tensor:
    return torch.full(shape, torch.nan, dtype=torch.float64)


def _overshooting(
    end: Marched, status: torch.Tensor, params: ModelParams, dt: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Motion and step factor of marched states: those that a step too long throws back and forth."""
    motion, factor = torch.zeros(len(end.fields), dtype=torch.int64), _nan(len(end.fields))
    equations = list(instances(params, dt))
    for i in (status == Status.UNSTEADY).nonzero().reshape(-1).tolist():
        from gsimplicit.refine.motion import reverses

        found = reverses(equations[i], end.fields[i].detach().cpu().numpy())
        if found:
            motion[i], factor[i] = Motion.OVERSHOOTING, found
    return motion, factor


def solved_state(
    params: ModelParams,
    fields: torch.Tensor,
    marching: March,
    settings: Refine,
    marched: SteadyState | None = None,
    *,
    factorise: bool = False,
) -> SteadyState:
    """March and refine a paired batch. Fields that already are a root are kept: marching would blur them.

    Args:
        params: B instances.
        fields: Initial fields, float64, shape (B, S, H, W).
        marching: How to march.
        settings: How to refine.
        marched: The marched states of these fields, where they are known already.
        factorise: Bound the distance to the root also where that takes a factorisation of its own.
    """
    params, fields = params.detach(), fields.to("cpu", torch.float64)
    equations = list(instances(params, marching.dt))
    settings = replace(settings, linear=chosen(settings.linear, fields[0, 0].numel(), marching.device))
    with one_blas_thread():
        known = each(lambda i: recognise(equations[i], fields[i].numpy(), settings), range(len(fields)))
    todo = [i for i, root in enumerate(known) if root is None]
    if marched is None and todo:
        some = marched_state(params[todo], fields[todo], marching)
        starts = {i: some[j] for j, i in enumerate(todo)}
    else:
        starts = {i: marched[i] for i in todo} if marched is not None else {}

    def one(i: int) -> SteadyState:
        root = known[i]
        if root is not None:
            none, change = torch.zeros(1), torch.tensor([marching.dt * root.certified.raw], dtype=torch.float64)
            return _described(
                equations[i], root, params[i], none.long(), change, none.double(), settings, factorise=factorise
            )
        return _refined_state(equations[i], params[i], starts[i], settings, factorise=factorise)

    with one_blas_thread():
        state = concatenate(each(one, range(len(fields))))
    return state.replace(fields=state.fields.to(marching.device))


def _refined_state(
    equations: Equations, params: ModelParams, start: SteadyState, settings: Refine, *, factorise: bool
) -> SteadyState:
    """One marched instance, refined; as it is where it diverged."""
    if start.status[0] == Status.DIVERGED:
        none = torch.full((1, settings.eigenvalues), torch.nan, dtype=torch.complex128)
        return start.replace(fields=start.fields.to("cpu", torch.float64), eigenvalues=none)
    before = start.fields[0].to("cpu", torch.float64).numpy()
    root = refine(equations, before, settings)
    moved = torch.tensor([np.abs(root.fields - before).max()], dtype=torch.float64)
    return _described(equations, root, params, start.steps, start.change, moved, settings, factorise=factorise)


def _described(
    equations: Equations,
    root: Refined,
    params: ModelParams,
    steps: torch.Tensor,
    change: torch.Tensor,
    moved: torch.Tensor,
    settings: Refine,
    *,
    factorise: bool,
) -> SteadyState:
    """The state of one refined instance, with its leading eigenvalues where they are asked for."""
    fields = torch.from_numpy(root.fields)[None]
    stable, eigenvalues = stability(equations, root, settings)
    assert settings.linear is not None
    least, distance = nearness(equations, root, settings.linear, factorise=factorise)
    return SteadyState(
        fields=fields,
        params=params,
        status=torch.tensor([int(root.status)]),
        kind=params.model.kinds(fields),
        stable=torch.tensor([int(stable)]),
        steps=steps,
        change=change,
        residual=torch.tensor([root.certified.raw], dtype=torch.float64),
        bordered_residual=torch.tensor([root.certified.bordered], dtype=torch.float64),
        drift=torch.from_numpy(np.asarray(root.certified.drift, dtype=np.float64))[None],
        moved=moved,
        least_singular=torch.tensor([least], dtype=torch.float64),
        distance=torch.tensor([distance], dtype=torch.float64),
        evaluations=torch.tensor([root.evaluations]),
        eigenvalues=torch.from_numpy(eigenvalues)[None],
        motion=torch.tensor([int(root.motion)]),
        step_factor=torch.tensor([_step_factor(equations, root)], dtype=torch.float64),
    )


def _step_factor(equations: Equations, root: Refined) -> float:
    """The step factor of a root, or of a state that overshoots."""
    from gsimplicit.refine.modes import step_factor, surely_damped
    from gsimplicit.refine.motion import reverses

    if root.motion == Motion.OVERSHOOTING:
        return reverses(equations, root.fields) or step_factor(equations, root.fields)
    asked = root.status in (Status.STEADY, Status.DRIFTING) and not surely_damped(equations, root.fields)
    return step_factor(equations, root.fields) if asked else float("nan")
