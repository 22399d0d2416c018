"""Explicit stepping on a GPU: whole instances on chip, a block each, for any model that is a formula.

Where an instance fits into the registers of one multiprocessor it never leaves them; else it lies in shared memory, or
in global memory. `kernels.cu` has the kernels, `source` writes a model's formulas for them, and a `Machine` compiles
and launches: CUDA's, or one of threads that tests the same source without a GPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from gsimplicit.equations import constants
from gsimplicit.marching import source, warned
from gsimplicit.marching.backend import TORCH, Marched, values_of
from gsimplicit.marching.layouts import Layout, in_memory, in_registers
from gsimplicit.marching.machine import DoubleJob, Job, Machine, SingleJob
from gsimplicit.progress import note
from gsimplicit.threads import look

if TYPE_CHECKING:
    from gsimplicit.equations import Model, ModelParams

LAUNCH = 3_000_000_000
"""Pixels times steps of a multiprocessor in one launch: a quarter of a second or so, then it can be interrupted."""

SLOWER = 20
"""How many times a step of fields that are not in registers takes, about."""

BACKWARD = 6
"""How many times a step of the march takes recorded and backward, about."""

HISTORY = 0.4
"""Share of the free memory that recorded states may take."""


@dataclass(frozen=True)
class _Kernels:
    """The kernels of a model for a shape and dtype, in the layout they are launched with; each compiled when needed."""

    machine: Machine
    text: str
    layout: Layout

    def __call__(self, name: str, job: Job, which: torch.Tensor) -> None:
        job.which = which.data_ptr()
        shared = self.layout.shared + (self.layout.recorded if name == "adjoint" else 0)
        self.machine.compiled(name, self.text).launch(len(which), self.layout.threads, shared, job)


def text_of(model: Model, H: int, W: int, dtype: torch.dtype, dt: float, layout: Layout) -> str:
    """The source of the kernels of a model."""
    steps = model.steps(dt)
    assert steps is not None
    double = dtype == torch.float64
    head = ["#define DOUBLE\n#define T double" if double else "#define T float", f"#define H {H}", f"#define W {W}"]
    return "\n".join([*head, layout.text, source.formulas(steps), source.kernels()])


class Gpu:
    """Whole instances on chip.

    Args:
        machine: What compiles and launches; None is CUDA's, for the device on which fields lie.
    """

    name: ClassVar[str] = "gpu"

    def __init__(self, machine: Machine | None = None) -> None:
        self._machine = machine

    def march(
        self, params: ModelParams, fields: torch.Tensor, tol: float, max_steps: int, check_every: int, dt: float
    ) -> Marched:
        """March, in launches of a fraction of a second."""
        if not _is_formula(params.model, dt):
            return TORCH.march(params, fields, tol, max_steps, check_every, dt)
        x = fields.detach().clone(memory_format=torch.contiguous_format)
        B, c = len(x), self._constants(params, x, dt)
        kernels = self._kernels(params.model, x, dt, registers=True)
        steps = torch.zeros(B, dtype=torch.int32, device=x.device)
        change = torch.full((B,), torch.inf, dtype=x.dtype, device=x.device)
        job = self._job(x, c, steps)
        other = self._other(kernels.layout, x)
        job.other, job.change, job.tol = _pointer(other), change.data_ptr(), _above(tol, x.dtype)
        most = job.most = min(max_steps, 2**31 - 1)
        job.check = min(check_every, most)
        active = torch.arange(B, dtype=torch.int32, device=x.device)
        while len(active):
            look()
            note("on the device, {:,} of {:,} instances still move", len(active), B)
            job.limit = min(max(self._share(x, len(active), kernels.layout) // job.check, 1) * job.check, most)
            kernels("march", job, active)
            active = active[((change >= job.tol) & torch.isfinite(change) & (steps < most))[active.long()]]
        wide = change.to("cpu", torch.float64)
        return Marched(x, steps.to("cpu", torch.int64), torch.where(torch.isfinite(wide), wide, torch.nan))

    def pull_back(
        self, params: ModelParams, fields: torch.Tensor, steps: torch.Tensor, cotangents: torch.Tensor, dt: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Adjoint over recorded states, a stretch of the march at a time, the last one first: two marches in all."""
        if not _is_formula(params.model, dt):
            return TORCH.pull_back(params, fields, steps, cotangents, dt)
        most, bytes_ = int(steps.max()), fields[0].numel() * fields.element_size()
        room = int(HISTORY * self.machine_for(fields.device).free_bytes())
        stretch = stretch_of(most, room // (len(fields) * bytes_))
        if stretch is None and len(fields) > 1:
            return self._by_halves(params, fields, steps, cotangents, dt)
        stretch = stretch or math.isqrt(2 * most) + 2
        kernels = self._kernels(params.model, fields, dt, registers=True, recorded=True)
        states = room // (len(fields) * bytes_)
        short = max(self._share(fields, len(cotangents) * len(fields), kernels.layout) // BACKWARD, 2)
        if -(-most // short) + short // 2 <= states:  # launches that can be interrupted, where that is no matter
            stretch = min(stretch, short)
        x = fields.detach().clone(memory_format=torch.contiguous_format)
        a = cotangents.detach().to(x).clone(memory_format=torch.contiguous_format)
        L, (B, S, H, W), model = len(a), x.shape, params.model
        c = self._constants(params, x, dt)
        counts = steps.to(x.device, torch.int32)
        formulas = model.steps(dt)
        assert formulas is not None
        sums = torch.zeros((L * B, formulas.sums), dtype=torch.float64, device=x.device)
        capacity = -(-min(stretch, most) // 2)
        history = torch.empty((B, capacity, S, H, W), dtype=x.dtype, device=x.device)
        now = torch.empty_like(counts)
        forward, backward = self._job(x, c, now), self._job(a.view(L * B, S, H, W), c, now)
        spare = self._other(kernels.layout, x), self._other(kernels.layout, a)
        forward.other, backward.other = _pointer(spare[0]), _pointer(spare[1])
        forward.capacity = backward.capacity = capacity
        backward.history, backward.sums = history.data_ptr(), sums.data_ptr()
        self._there_and_back(kernels, (forward, backward), x, L, (counts, now), stretch)
        found = formulas.derivatives_of(list(sums.unbind(1)), dt)
        gradient = torch.stack([torch.as_tensor(g, dtype=torch.float64, device=x.device) for g in found], dim=-1)
        return gradient.view(L, B, -1), a

    def _there_and_back(
        self,
        kernels: _Kernels,
        jobs: tuple[Job, Job],
        x: torch.Tensor,
        losses: int,
        steps: tuple[torch.Tensor, torch.Tensor],
        stretch: int,
    ) -> None:
        """March from stretch to stretch, then record and go back through each, the last one first.

        Args:
            kernels: The kernels.
            jobs: Of the march, and of the adjoint, whose history the march is to fill.
            x: Fields, in place.
            losses: How many cotangents each instance has.
            steps: Of each instance, and where those of a stretch are written.
            stretch: How many at a time.
        """
        (forward, backward), (counts, now), most = jobs, steps, int(steps[0].max())
        history = backward.history
        all_, both = (torch.arange(n, dtype=torch.int32, device=x.device) for n in (len(x), losses * len(x)))
        starts = list(range(0, most, stretch))
        states: list[torch.Tensor] = []
        for begin in starts[:-1]:  # the last stretch is marched when it is recorded
            kernels.machine.wait()
            look()
            states.append(x.clone())
            now.copy_((counts - begin).clamp(0, stretch))
            forward.history = None
            kernels("advance", forward, all_)
        for begin in reversed(starts):
            kernels.machine.wait()
            look()
            note("back through the steps, {:,} of {:,} left", min(begin + stretch, most), most)
            if begin != starts[-1]:
                x.copy_(states.pop())
            now.copy_((counts - begin).clamp(0, stretch))
            forward.history = history
            kernels("advance", forward, all_)
            kernels("adjoint", backward, both)

    def push_forward(
        self, params: ModelParams, fields: torch.Tensor, steps: torch.Tensor, dt: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Tangents, a block an instance."""
        if not _is_formula(params.model, dt):
            return TORCH.push_forward(params, fields, steps, dt)
        x = fields.detach().clone(memory_format=torch.contiguous_format)
        (B, S, H, W), P, c = x.shape, len(params.model.parameters), self._constants(params, x, dt)
        kernels = self._kernels(params.model, x, dt, registers=False, tangents=P)
        tangents = torch.zeros((B, P, S, H, W), dtype=x.dtype, device=x.device)
        counts, now = steps.to(x.device, torch.int32), torch.empty(B, dtype=torch.int32, device=x.device)
        job = self._job(x, c, now)
        spare = self._other(kernels.layout, x), self._other(kernels.layout, tangents)
        job.other, job.other_tangents, job.tangents = _pointer(spare[0]), _pointer(spare[1]), tangents.data_ptr()
        all_ = torch.arange(B, dtype=torch.int32, device=x.device)
        most = int(steps.max())
        stretch = max(self._share(x, B, kernels.layout) // (1 + P), 1)
        for begin in range(0, most, stretch):
            kernels.machine.wait()
            look()
            note("marching with derivatives, step {:,} of {:,}", begin, most)
            now.copy_((counts - begin).clamp(0, stretch))
            kernels("tangents", job, all_)
        return x, tangents

    def _by_halves(
        self, params: ModelParams, fields: torch.Tensor, steps: torch.Tensor, cotangents: torch.Tensor, dt: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The adjoint of one half of the batch and then of the other, where memory is short."""
        half = len(fields) // 2
        parts = [
            self.pull_back(params[some], fields[some], steps[some], cotangents[:, some], dt)
            for some in (slice(None, half), slice(half, None))
        ]
        return torch.cat([g for g, _ in parts], dim=1), torch.cat([x for _, x in parts], dim=1)

    def machine_for(self, device: torch.device) -> Machine:
        """What compiles and launches for fields on a device."""
        if self._machine is not None:
            return self._machine
        from gsimplicit.marching.cuda import machine_of

        if device.type != "cuda":
            raise ValueError(
                f"the backend {self.name!r} needs fields on a device of CUDA's, got {device}: pass device='cuda'"
            )
        return machine_of(device)

    def _kernels(
        self, model: Model, x: torch.Tensor, dt: float, *, registers: bool, recorded: bool = False, tangents: int = 0
    ) -> _Kernels:
        (S, H, W), size = x.shape[1:], x.element_size()
        machine = self.machine_for(x.device)
        layout = in_registers(S, H, W, size) if registers else None
        if layout is None or layout.shared + recorded * layout.recorded > machine.shared_limit - 1024:
            layout = in_memory(S * (1 + tangents), H, W, size, machine.shared_limit - 1024)
        return _Kernels(machine, text_of(model, H, W, x.dtype, dt, layout), layout)

    def _constants(self, params: ModelParams, x: torch.Tensor, dt: float) -> torch.Tensor:
        values = values_of(params, x)
        return torch.stack([c[:, 0, 0] for c in constants(params.model, values, dt, x)], dim=1).contiguous()

    def _job(self, x: torch.Tensor, c: torch.Tensor, steps: torch.Tensor) -> Job:
        job = DoubleJob() if x.dtype == torch.float64 else SingleJob()
        job.fields, job.constants, job.steps, job.instances = x.data_ptr(), c.data_ptr(), steps.data_ptr(), len(c)
        return job

    def _other(self, layout: Layout, x: torch.Tensor) -> torch.Tensor | None:
        """The second buffer of fields in global memory; None where there is none."""
        return None if layout.shared else torch.empty_like(x)

    def _share(self, x: torch.Tensor, blocks: int, layout: Layout) -> int:
        """Steps of one launch."""
        waves = -(-blocks // (self.machine_for(x.device).processors * layout.blocks))
        return LAUNCH // (waves * x.shape[-2] * x.shape[-1] * (1 if layout.rows else SLOWER))


def _is_formula(model: Model, dt: float) -> bool:
    """Whether there are kernels of a model; where there are none, that is said once."""
    if model.steps(dt) is None:
        warned.of_model(model)
        return False
    return True


def stretch_of(steps: int, states: int) -> int | None:
    """How many steps to record at a time, every second state of them, where the memory holds so many states.

    Those between stretches are held as well. None where no stretch is short enough.
    """
    if 2 * states >= steps:
        return max(steps, 1)
    inside = states * states - 2 * steps
    return None if inside < 0 else max(states + math.isqrt(inside), 1)


def _pointer(x: torch.Tensor | None) -> int | None:
    return None if x is None else x.data_ptr()


def _above(tol: float, dtype: torch.dtype) -> float:
    """The smallest number of a dtype that is not below the tolerance: what is below the one is below the other."""
    found = torch.tensor(tol, dtype=dtype, device="cpu")
    return float(found if float(found) >= tol else torch.nextafter(found, torch.full_like(found, torch.inf)))


GPU = Gpu()
