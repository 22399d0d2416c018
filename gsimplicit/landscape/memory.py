"""Arrays and tensors that share memory, in a pickle: copies of them share memory, too.

Pickle gives each a memory of its own. A function that writes into one and reads the other would be another function.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

__all__ = ["Shared"]


class Shared:
    """Notes what shares memory, and pickles what is known to.

    Args:
        known: Where memory begins that several arrays or tensors share.
    """

    def __init__(self, known: frozenset[int] = frozenset()) -> None:
        self._known = known
        self._met: dict[int, dict[int, Any]] = {}
        self._memories: dict[int, _Memory] = {}

    def found(self) -> frozenset[int]:
        """Where memory begins that several of what was met share."""
        return frozenset(start for start, ones in self._met.items() if len(ones) > 1)

    def reduced(self, value: Any) -> tuple[Callable[..., Any], tuple[Any, ...]] | tuple[Any, ...] | None:
        """How an array or tensor is pickled; None where it is in the usual way."""
        where = _memory_of(value)
        if where is None:
            return None
        start, size = where
        self._met.setdefault(start, {})[id(value)] = value
        if start not in self._known:
            return None
        memory = self._memories.setdefault(start, _Memory(start, size))
        if isinstance(value, np.ndarray):
            at = value.__array_interface__["data"][0] - start
            return _array_on, (memory, value.shape, value.dtype, at, value.strides, value.flags.writeable)
        given = (value.dtype, value.storage_offset(), tuple(value.shape), value.stride(), value.requires_grad)
        return _tensor_on, (memory, *given), vars(value) or None


def _memory_of(value: Any) -> tuple[int, int] | None:
    """Where the memory of an array or tensor begins, and its bytes; None of other objects and other kinds of memory."""
    if type(value) is np.ndarray and not value.dtype.hasobject:
        owner: Any = value
        while type(owner.base) is np.ndarray:
            owner = owner.base
        if isinstance(owner.base, torch.Tensor):
            return _memory_of(owner.base.detach())
        return (owner.__array_interface__["data"][0], owner.nbytes) if owner.base is None and owner.nbytes else None
    if type(value) is not torch.Tensor or value.layout != torch.strided or value.device.type != "cpu":
        return None
    if not value.is_leaf or value.is_conj() or value.is_neg() or value.is_quantized:
        return None
    storage = value.untyped_storage()
    return (storage.data_ptr(), storage.nbytes()) if storage.nbytes() else None


class _Memory:
    """Some memory, in a pickle: what refers to it is made on one copy."""

    def __init__(self, start: int, size: int) -> None:
        self._start, self._size = start, size

    def __reduce__(self) -> Any:
        return _memory, (ctypes.string_at(self._start, self._size),)


def _memory(data: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.frombuffer(data, np.uint8).copy()


def _array_on(memory: Any, shape: Any, dtype: Any, at: int, strides: Any, writeable: bool) -> np.ndarray[Any, Any]:
    made: np.ndarray[Any, Any] = np.ndarray(shape, dtype, memory, at, strides)
    made.flags.writeable = writeable
    return made


def _tensor_on(memory: Any, dtype: Any, at: int, shape: Any, strides: Any, requires_grad: bool) -> torch.Tensor:
    storage = torch.from_numpy(memory).untyped_storage()
    made = torch.empty(0, dtype=dtype, device="cpu").set_(storage, at, shape, strides)
    return made.requires_grad_(requires_grad)
