"""What the doors of the package take, made into what the rooms behind them know: `March`, fields, settings."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch

from gsimplicit import checks
from gsimplicit.arrays import as_device, real_fields
from gsimplicit.equations import Model, ModelParams
from gsimplicit.initial import initial_state
from gsimplicit.marching import Backend, Marched, backend_for
from gsimplicit.marching.lent import lent
from gsimplicit.refine import Refine

__all__ = [
    "March",
    "as_fields",
    "as_march",
    "as_refine",
    "check_finite",
    "device_of",
    "pair_up",
    "plain_refine",
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
        backend: What steps; None is the compiled kernels on a CPU, those of a GPU there, and torch elsewhere.

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
        """What steps; one of the user's gets copies, and what it gives is copied, too."""
        return backend_for(self.device) if self.backend is None else lent(self.backend)

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


def pair_up(params: ModelParams, initial: Any) -> tuple[ModelParams, torch.Tensor]:
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
