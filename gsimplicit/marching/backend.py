"""What steps a batch: the protocol, two that the package has (`gpu` is the third), and how one is chosen.

Instances share nothing: one that turns non-finite never changes another's bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import torch

from gsimplicit.equations import Equations, instances
from gsimplicit.marching import reference, warned
from gsimplicit.results import Status
from gsimplicit.threads import each

if TYPE_CHECKING:
    from gsimplicit.equations import ModelParams


@dataclass(frozen=True, eq=False)
class Marched:
    """What a march reached.

    Attributes:
        fields: Shape (B, S, H, W).
        steps: Steps taken, int64, shape (B,), on the CPU.
        change: Largest |difference| over the last step tested, float64, shape (B,), on the CPU; NaN where diverged.
    """

    fields: torch.Tensor
    steps: torch.Tensor
    change: torch.Tensor

    def status(self, tol: float) -> torch.Tensor:
        """FIXED, SETTLED, UNSTEADY or DIVERGED, int64, shape (B,)."""
        status = torch.full((len(self.fields),), int(Status.UNSTEADY if tol else Status.FIXED), device="cpu")
        status[self.change < tol] = Status.SETTLED
        status[torch.isnan(self.change)] = Status.DIVERGED
        return status


@runtime_checkable
class Backend(Protocol):
    """A way to step batches. `params` are B instances, detached; `fields` (B, S, H, W) say dtype and device.

    Attributes:
        name: Name in results and provenance.
    """

    name: ClassVar[str]

    def march(
        self, params: ModelParams, fields: torch.Tensor, tol: float, max_steps: int, check_every: int, dt: float
    ) -> Marched:
        """March each instance until its change over a step is below `tol`; `tol` 0 never stops early.

        It is tested every `check_every` steps and at `max_steps`.
        """
        ...

    def pull_back(
        self, params: ModelParams, fields: torch.Tensor, steps: torch.Tensor, cotangents: torch.Tensor, dt: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Adjoint of exactly `steps` (B,) steps from `fields`, for cotangents (L, B, S, H, W) of the fields reached.

        Returns derivatives in the parameters, float64 of shape (L, B, P), and in `fields`, shape (L, B, S, H, W).
        """
        ...

    def push_forward(
        self, params: ModelParams, fields: torch.Tensor, steps: torch.Tensor, dt: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Exactly `steps` (B,) steps: the fields, and their derivatives in each parameter, (B, P, S, H, W)."""
        ...


class Kernels:
    """Compiled kernels on the CPU, an instance a thread."""

    name: ClassVar[str] = "cpu"

    def __reduce_ex__(self, protocol: Any) -> Any:
        return (by_name, (self.name,)) if type(self) is Kernels else object.__reduce_ex__(self, protocol)

    def march(
        self, params: ModelParams, fields: torch.Tensor, tol: float, max_steps: int, check_every: int, dt: float
    ) -> Marched:
        """March by the kernels."""
        from gsimplicit.marching import cpu  # compiles on import: only where it is needed

        starts = fields.detach().numpy()

        def one(pair: tuple[int, Equations]) -> tuple[torch.Tensor, int, float]:
            end, steps, change = cpu.march(pair[1], starts[pair[0]], tol, max_steps, check_every)
            return torch.from_numpy(end), steps, change

        ends = each(one, enumerate(instances(params, dt)))
        return Marched(
            torch.stack([end for end, _, _ in ends]),
            torch.tensor([n for _, n, _ in ends], dtype=torch.int64, device="cpu"),
            torch.tensor([c for _, _, c in ends], dtype=torch.float64, device="cpu"),
        )

    def pull_back(
        self, params: ModelParams, fields: torch.Tensor, steps: torch.Tensor, cotangents: torch.Tensor, dt: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Adjoint by the kernels: about four marches and, for 20,000 steps at 128 x 128 in float64, 75 MB."""
        from gsimplicit.marching import cpu

        starts, given = fields.detach().numpy(), cotangents.detach().numpy()

        def one(pair: tuple[int, Equations]) -> tuple[torch.Tensor, torch.Tensor]:
            i, equations = pair
            gradient, initial = cpu.pull_back(equations, starts[i], int(steps[i]), given[:, i])
            return torch.from_numpy(gradient), torch.from_numpy(initial)

        found = each(one, enumerate(instances(params, dt)))
        return torch.stack([g for g, _ in found], dim=1), torch.stack([x for _, x in found], dim=1)

    def push_forward(
        self, params: ModelParams, fields: torch.Tensor, steps: torch.Tensor, dt: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Tangents by the kernels: about nine marches for four parameters, and no memory that grows with the steps."""
        from gsimplicit.marching import cpu

        starts = fields.detach().numpy()

        def one(pair: tuple[int, Equations]) -> tuple[torch.Tensor, torch.Tensor]:
            end, tangents = cpu.push_forward(pair[1], starts[pair[0]], int(steps[pair[0]]))
            return torch.from_numpy(end), torch.from_numpy(tangents)

        found = each(one, enumerate(instances(params, dt)))
        return torch.stack([x for x, _ in found]), torch.stack([d for _, d in found])


class Torch:
    """Plain torch on any device: some hundred times slower than kernels."""

    name: ClassVar[str] = "torch"

    def __reduce_ex__(self, protocol: Any) -> Any:
        return (by_name, (self.name,)) if type(self) is Torch else object.__reduce_ex__(self, protocol)

    def march(
        self, params: ModelParams, fields: torch.Tensor, tol: float, max_steps: int, check_every: int, dt: float
    ) -> Marched:
        """March by torch."""
        values = values_of(params, fields)
        with torch.no_grad():
            return Marched(*reference.march(params.model, fields.detach(), values, tol, max_steps, check_every, dt))

    def pull_back(
        self, params: ModelParams, fields: torch.Tensor, steps: torch.Tensor, cotangents: torch.Tensor, dt: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Adjoint by autograd through checkpointed steps."""
        values = values_of(params, fields)
        gradient = torch.zeros((len(cotangents), *values.shape), dtype=torch.float64, device=fields.device)
        initial = torch.zeros(cotangents.shape, dtype=fields.dtype, device=fields.device)
        for count, some in _alike(steps):
            gradient[:, some], initial[:, some] = reference.pull_back(
                params.model, fields.detach()[some], values[some], count, cotangents.to(fields.device)[:, some], dt
            )
        return gradient, initial

    def push_forward(
        self, params: ModelParams, fields: torch.Tensor, steps: torch.Tensor, dt: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Tangents by the linearised steps."""
        values = values_of(params, fields)
        B, P = values.shape
        end = torch.empty_like(fields)
        tangents = torch.empty((B, P, *fields.shape[1:]), dtype=fields.dtype, device=fields.device)
        with torch.no_grad():
            for count, some in _alike(steps):
                end[some], tangents[some] = reference.push_forward(
                    params.model, fields.detach()[some], values[some], count, dt
                )
        return end, tangents


def values_of(params: ModelParams, fields: torch.Tensor) -> torch.Tensor:
    """Parameters (B, P), float64, where the fields lie."""
    return params.tensor().detach().to(fields.device)


def _alike(steps: torch.Tensor) -> list[tuple[int, list[int]]]:
    """Instances that take as many steps."""
    counts = steps.tolist()
    return [(n, [i for i, m in enumerate(counts) if m == n]) for n in sorted(set(counts))]


KERNELS, TORCH = Kernels(), Torch()


def backend_for(device: torch.device) -> Backend:
    """What steps fields on a device: compiled kernels where there are some, else plain torch, which is said once."""
    if device.type == "cpu":
        return KERNELS
    if device.type == "cuda":
        from gsimplicit.marching import cuda

        why = cuda.missing(device)
        if why is None:
            return by_name("gpu")
        warned.of_device(device.type, why)
    elif device.type != "meta":
        warned.of_device(device.type, "there are kernels for the CPU and for devices of CUDA's")
    return TORCH


def by_name(name: str) -> Backend:
    """A backend of the package."""
    from gsimplicit.marching.gpu import GPU

    return {one.name: one for one in (KERNELS, TORCH, GPU)}[name]
