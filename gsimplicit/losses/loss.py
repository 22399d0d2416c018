"""What a loss against a target is: features of a state, and a distance between features."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, TypeGuard, runtime_checkable

import torch

__all__ = ["FeatureLoss", "is_feature_loss", "sees_all"]


@runtime_checkable
class FeatureLoss(Protocol):
    """A loss as the distance of a state's features to a target's, which are computed once.

    An object of one's own with these attributes can be passed wherever a loss is asked for; its target is the argument
    `target`. It must not mix instances.

    Attributes:
        name: Name in results.
        invariant: Whether it is invariant to translations of the pattern.

    Examples:
        >>> import gsimplicit as gs
        >>> class Mean:
        ...     name, invariant = "mean", True
        ...     def features(self, v): return v.mean((-2, -1)).double()
        ...     def distance(self, a, b): return (a - b) ** 2
        >>> isinstance(Mean(), FeatureLoss)
        True
        >>> start = gs.initial_state(grid=(16, 16), box=gs.Box(half=4))
        >>> gs.grad(gs.Params.preset("paper"), "unrolled", Mean(), initial=start, tol=0.0, max_steps=20).objective
        'mean'
    """

    name: ClassVar[str]
    invariant: ClassVar[bool]

    def features(self, v: torch.Tensor) -> torch.Tensor:
        """Features of v (B, H, W), float64, shape (B, ...); differentiable by torch."""
        ...

    def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Distance of features, shape (B,); that of equal ones is 0."""
        ...


def is_feature_loss(loss: Any) -> TypeGuard[FeatureLoss]:
    """Whether a loss is an object with features and a distance, not a function or a class."""
    parts = (getattr(loss, name, None) for name in ("features", "distance"))
    return not isinstance(loss, type) and all(callable(part) for part in parts)


def sees_all(loss: Any) -> bool:
    """Whether a loss says by `all_species = True` that it takes all species, (B, S, H, W), not the observed one."""
    return getattr(getattr(loss, "loss", loss), "all_species", False) is True
