"""Parameters of a model: one batch of B instances."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import FrozenInstanceError
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from gsimplicit import checks
from gsimplicit.arrays import holds_tensor, labels_of, real_tensor
from gsimplicit.models.model import Model
from gsimplicit.surroundings import own_surroundings
from gsimplicit.transforms import refuse_batched, refuse_transformed, transformed

if TYPE_CHECKING:
    from collections.abc import Iterator

P = TypeVar("P", bound="ModelParams")


class ModelParams:
    """Parameters of a model as one batch of B instances: each an attribute, float64, shape (B,), on the CPU.

    Made by `model.params(...)`; `gsimplicit.Params` are those of Gray-Scott. Values are copied and stay attached to
    autograd. Pickles and deep copies hold the values alone.

    Examples:
        >>> import gsimplicit as gs
        >>> params = gs.models.schnakenberg.params(Du=1.0, Dv=10.0, a=[0.1, 0.2], b=0.9)
        >>> len(params), params[1].a.item(), params.replace(b=1.0).b.tolist()
        (2, 0.2, [1.0, 1.0])
    """

    model: Model

    @classmethod
    @own_surroundings
    def _named(cls: type[P], model: Model, values: Mapping[str, Any]) -> P:
        """Parameters from values by name, checked."""
        unknown = [name for name in values if name not in model.parameters]
        given = {**model.defaults, **values}
        missing = [name for name in model.parameters if name not in given]
        if unknown or missing:
            what = f"got {', '.join(unknown)}" if unknown else f"{', '.join(missing)} missing"
            what += next(filter(None, (checks.meant(name, model.parameters) for name in unknown)), "")
            raise TypeError(f"parameters of {model.name} are {', '.join(model.parameters)}: {what}")
        params = object.__new__(cls)
        params._fill(model, [given[name] for name in model.parameters])
        return params

    @staticmethod
    def of_values(model: Model, values: np.ndarray[Any, Any]) -> ModelParams:
        """Parameters of a model from values (B, P) that were checked when they came in."""
        params = object.__new__(ModelParams)
        params._keep(model, torch.from_numpy(np.array(values, dtype=np.float64)).unbind(1))
        return params

    def _fill(self, model: Model, values: Sequence[Any]) -> None:
        """Check the values and keep them."""
        _check_labels(model.parameters, values)
        given = {n: as_parameter(n, v, *model.range_of(n)) for n, v in zip(model.parameters, values, strict=True)}
        sizes = {value.numel() for value in given.values() if value.numel() != 1}
        if len(sizes) > 1:
            shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in given.items())
            raise ValueError(f"parameters must broadcast to one batch (B,), got {shapes}")
        size = sizes.pop() if sizes else 1
        # repeated, not expanded: instances share no memory
        self._keep(model, [v.reshape(-1) if v.numel() == size else v.repeat(size) for v in given.values()])

    def _keep(self, model: Model, columns: Sequence[torch.Tensor]) -> None:
        if getattr(type(self), "model", None) is not model:
            object.__setattr__(self, "model", model)
        for name, column in zip(model.parameters, columns, strict=True):
            object.__setattr__(self, name, column)

    def _of(self: P, values: torch.Tensor) -> P:
        """The same model's parameters from values (B, P) of their own memory that were checked when they came in."""
        params = object.__new__(type(self))
        params._keep(self.model, values.unbind(1))
        return params

    def _stacked(self: P, values: torch.Tensor) -> P:
        """The same model's parameters from values (B, P), checked."""
        params = object.__new__(type(self))
        params._fill(self.model, values.unbind(1))
        return params

    @own_surroundings
    def tensor(self) -> torch.Tensor:
        """All parameters as one new tensor of shape (B, P), columns in the order of `model.parameters`."""
        return torch.stack([getattr(self, name) for name in self.model.parameters], dim=1)

    def detach(self: P) -> P:
        """The same values, cut off from autograd."""
        values = self.tensor()
        refuse_transformed(values)
        return self._of(values.detach())

    def replace(self: P, **changes: Any) -> P:
        """A copy with some parameters replaced, for example `params.replace(F=0.04)`."""
        return type(self)._named(self.model, {**{n: getattr(self, n) for n in self.model.parameters}, **changes})

    @own_surroundings
    def expand(self: P, size: int) -> P:
        """The same parameters as a batch of `size` instances, from a batch of 1 or of `size`."""
        size = checks.integer("size", size, 1)
        if len(self) not in (1, size):
            raise ValueError(f"a batch of {len(self)} parameters cannot be expanded to {size}")
        values = self.tensor()
        if transformed(values) or not self._holds(values):  # they may have been written into since they came in
            return self._stacked(values.expand(size, -1))
        return self._of(values if len(values) == size else values.repeat(size, 1))

    def _holds(self, values: torch.Tensor) -> bool:
        """Whether values (B, P) lie in the model's ranges."""
        low, high = torch.tensor([self.model.range_of(n) for n in self.model.parameters], dtype=torch.float64).T
        values = values.detach()
        return bool(((values >= low) & (values <= high) & torch.isfinite(values)).all())

    @property
    def requires_grad(self) -> bool:
        """Whether any parameter is attached to autograd."""
        return any(getattr(self, name).requires_grad for name in self.model.parameters)

    def __len__(self) -> int:
        return int(getattr(self, self.model.parameters[0]).shape[0])

    def __getitem__(self: P, index: int | np.integer[Any] | slice | list[int]) -> P:
        values = self.tensor()[checks.index(index)]
        return self._of(values) if values.ndim == 2 and len(values) else self._stacked(values)

    def __setattr__(self, name: str, value: Any) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __copy__(self: P) -> P:
        return self._stacked(self.tensor())

    def __deepcopy__(self: P, memo: dict[int, Any]) -> P:
        # torch copies no tensor that is attached: what a copy of the graph would mean is not defined
        return self.detach()

    def __reduce__(self) -> tuple[Any, ...]:
        # an array: the pools of multiprocessing would send a tensor as shared memory, which ends with its process
        return _rebuilt, (type(self), self.model, self.tensor().detach().numpy())

    def __iter__(self: P) -> Iterator[P]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        shown = {name: getattr(self, name).detach().tolist() for name in self.model.parameters}
        name = "Params" if self.model.name == "gray_scott" else f"{self.model.name}.params"
        return f"{name}({', '.join(f'{n}={v[0] if len(v) == 1 else v}' for n, v in shown.items())})"


def _rebuilt(kind: type[P], model: Model, values: np.ndarray[Any, Any]) -> P:
    params = object.__new__(kind)
    params._fill(model, torch.from_numpy(np.array(values)).unbind(1))
    return params


def _check_labels(names: Sequence[str], values: Sequence[Any]) -> None:
    """Raise where columns with labels are not in one order: they would be paired by their places."""
    known = [
        (name, labels) for name, value in zip(names, values, strict=True) if (labels := labels_of(value)) is not None
    ]
    for name, labels in known[1:]:
        if labels != known[0][1] and len(labels) == len(known[0][1]):
            raise ValueError(
                f"{known[0][0]} and {name} have other labels, {checks.shown(known[0][1])} and {checks.shown(labels)}: "
                "bring them into one order, or pass their .to_numpy() where their places count"
            )


def as_parameter(name: str, value: Any, low: float, high: float) -> torch.Tensor:
    """One parameter as a float64 tensor of shape () or (B,) with memory of its own, or a clear error."""
    if type(value) is float and low <= value <= high and math.isfinite(value):
        return torch.tensor(value, dtype=torch.float64)
    if isinstance(value, list | tuple) and holds_tensor(value):
        # a list of tensors stays attached to autograd
        tensor = torch.cat([as_parameter(name, one, low, high).reshape(-1) for one in value])
    else:
        tensor = real_tensor(name, value, attached=True)
    refuse_batched(name, tensor)
    if tensor.ndim > 1 or tensor.numel() == 0:
        raise ValueError(f"{name} must have shape () or (B,) with B >= 1, got {tuple(tensor.shape)}")
    bad = ~(torch.isfinite(tensor) & (tensor >= low) & (tensor <= high)).detach().reshape(-1)
    if bool(bad.any()):
        i = int(bad.nonzero()[0, 0])
        raise ValueError(
            f"{name} must be finite{in_words(low, high)}, got {tensor.detach().reshape(-1)[i].item()} at instance {i}"
        )
    return tensor


def in_words(low: float, high: float) -> str:
    """Words for a range."""
    if np.isfinite(low) and np.isfinite(high):
        return f" and lie in [{low:g}, {high:g}]"
    return f" and >= {low:g}" if np.isfinite(low) else f" and <= {high:g}" if np.isfinite(high) else ""
