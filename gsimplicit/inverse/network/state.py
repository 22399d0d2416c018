"""Where a training stands and where it ended, and how it is kept in a file."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch

from gsimplicit import files

Array = np.ndarray[Any, np.dtype[np.float64]]


class Ended(StrEnum):
    """How a training ended.

    Examples:
        >>> from gsimplicit.inverse.methods import Ended
        >>> Ended.STEPS.value
        'steps used up'
    """

    CONVERGED = "converged"
    """The loss no longer falls."""
    STEPS = "steps used up"
    """The iterations of L-BFGS that were asked for."""
    SECONDS = "seconds used up"
    """The CPU seconds that were asked for."""
    DIVERGED = "not finite"
    """The loss was not finite."""


@dataclass
class State:
    """Where a training stands: all that its next step depends on.

    Attributes:
        weights: Of the fields, and raw parameters behind them where those are learned by gradient; float64.
        optimiser: State of the one that runs; None before its first step.
        adam: Steps of Adam done.
        lbfgs: Iterations of L-BFGS done.
        loss: Total loss at the end of the last round of L-BFGS.
        seconds: CPU seconds spent.
        ended: How it ended; empty while it goes on.
        history: Rows of steps done, seconds, data loss, residual loss and parameters.
    """

    weights: torch.Tensor
    optimiser: dict[str, Any] | None = None
    adam: int = 0
    lbfgs: int = 0
    loss: float = float("inf")
    seconds: float = 0.0
    ended: str = ""
    history: list[list[float]] = field(default_factory=list)

    def save(self, path: Path, digest: str) -> None:
        """Write it, whole or not at all."""
        stream = io.BytesIO()
        torch.save({"digest": digest, **vars(self), "ended": str(self.ended)}, stream)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, stream.getvalue())

    @classmethod
    def load(cls, path: Path, digest: str) -> State | None:
        """What was kept of a training; None where nothing was.

        Raises:
            ValueError: The file is of another training, or none.
        """
        if not path.exists():
            return None
        try:
            kept = torch.load(path, weights_only=True)
            of = kept.pop("digest")
            state = cls(**kept)
        except (RuntimeError, KeyError, TypeError, AttributeError, EOFError, ValueError, UnpicklingError) as error:
            raise ValueError(f"store: {path} holds no training, {error}") from error
        if of != digest:
            raise ValueError(f"store: {path} holds another training, of other settings, data or code")
        return state


@dataclass(frozen=True, eq=False)
class End:
    """Where a training ended, in numbers.

    Attributes:
        weights: Of the fields, and raw parameters behind them where those are learned by gradient; float64.
        values: Parameters, shape (P,).
        fields: Shape (S, H, W).
        data: Data loss.
        residual: Residual loss.
        ended: How.
        adam: Steps of Adam done.
        lbfgs: Iterations of L-BFGS done.
        seconds: CPU seconds spent.
        history: Rows of steps done, CPU seconds, data loss, residual loss and parameters, shape (rows, 4 + P); the last
            is the end.
    """

    weights: torch.Tensor
    values: Array
    fields: Array
    data: float
    residual: float
    ended: Ended
    adam: int
    lbfgs: int
    seconds: float
    history: Array
