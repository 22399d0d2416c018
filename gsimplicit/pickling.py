"""How results are pickled and copied: by value, cut off from autograd."""

from __future__ import annotations

from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Any, TypeVar

import numpy as np
import torch

T = TypeVar("T")


@dataclass(frozen=True)
class _Tensor:
    """A tensor of the CPU in a pickle."""

    array: np.ndarray[Any, Any]


class ByValue:
    """Pickled and deep-copied by value, detached: torch refuses to deep-copy what is attached to autograd.

    Tensors of the CPU go as arrays. The pools of multiprocessing would send them as shared memory, which ends with the
    process that sent it. `copy.copy` shares the tensors and leaves them attached. What a pickle of an earlier version
    does not hold is unknown: NaN, or the field's default.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {name: _packed(value) for name, value in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, _unpacked(value))
        known: tuple[Field[Any], ...] = fields(self) if is_dataclass(self) else ()
        for one in known:
            if one.name not in state:
                object.__setattr__(self, one.name, _unknown(one, len(_first(state))))

    def __copy__(self: T) -> T:
        new = object.__new__(type(self))
        for name, value in vars(self).items():
            object.__setattr__(new, name, value)
        return new


def _unknown(one: Field[Any], count: int) -> Any:
    """What stands for a field that an earlier version did not have: its default, or NaN an instance."""
    if one.default is not MISSING:
        return one.default
    return torch.full((count,), torch.nan, dtype=torch.float64)


def _first(state: dict[str, Any]) -> Any:
    """The first field of a result: it has an entry an instance, as every measured one."""
    value = next(iter(state.values()), ())
    return value.array if isinstance(value, _Tensor) else value


def _packed(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    if value.device.type != "cpu" or value.dtype == torch.bfloat16:
        return value.detach()
    return _Tensor(value.detach().resolve_conj().resolve_neg().numpy())


def _unpacked(value: Any) -> Any:
    return torch.from_numpy(np.array(value.array)) if isinstance(value, _Tensor) else value
