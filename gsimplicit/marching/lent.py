"""A user's backend behind copies: it may step in place, and keep or use again what it gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from gsimplicit.marching.backend import Backend, Marched

if TYPE_CHECKING:
    from gsimplicit.equations import ModelParams


def lent(backend: Backend) -> Backend:
    """The backend itself where it is one of the package's; else one that changes nothing of the package's."""
    return backend if type(backend).__module__.partition(".")[0] == "gsimplicit" else _Lent(backend)


@dataclass(frozen=True)
class _Lent:
    backend: Backend
    name: ClassVar[str] = "lent"

    def march(
        self, params: ModelParams, fields: torch.Tensor, tol: float, max_steps: int, check_every: int, dt: float
    ) -> Marched:
        """As the backend has it."""
        found = self.backend.march(params.detach(), fields.clone(), tol, max_steps, check_every, dt)
        one = fields.shape[:1]
        return Marched(
            self._given("the fields of march", found.fields, fields.shape),
            self._given("the steps of march", found.steps, one),
            self._given("the change of march", found.change, one),
        )

    def pull_back(
        self, params: ModelParams, fields: torch.Tensor, steps: torch.Tensor, cotangents: torch.Tensor, dt: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As the backend has it."""
        found = self.backend.pull_back(params.detach(), fields.clone(), steps.clone(), cotangents.clone(), dt)
        shape = (*cotangents.shape[:2], len(params.model.parameters))
        return (
            self._given("the first of pull_back", found[0], shape),
            self._given("the second of pull_back", found[1], cotangents.shape),
        )

    def push_forward(
        self, params: ModelParams, fields: torch.Tensor, steps: torch.Tensor, dt: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As the backend has it."""
        found = self.backend.push_forward(params.detach(), fields.clone(), steps.clone(), dt)
        shape = (len(fields), len(params.model.parameters), *fields.shape[1:])
        return (
            self._given("the first of push_forward", found[0], fields.shape),
            self._given("the second of push_forward", found[1], shape),
        )

    def _given(self, what: str, value: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
        """A copy of what came back, in the shape it must have."""
        if not isinstance(value, torch.Tensor) or value.shape != torch.Size(shape):
            name = getattr(self.backend, "name", type(self.backend).__name__)
            got = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            raise ValueError(f"backend {name!r}: {what} must be a tensor of shape {tuple(shape)}, got {got}")
        return value.clone()
