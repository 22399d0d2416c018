"""What a training alone gives back: fields, parameters, the way there, and its losses anywhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gsimplicit.equations import Model, ModelParams
from gsimplicit.inverse.labelled import params_of, words
from gsimplicit.inverse.network.state import End, Ended
from gsimplicit.pickling import ByValue
from gsimplicit.surroundings import own_surroundings

if TYPE_CHECKING:
    import xarray as xr

    from gsimplicit.inverse.network.training import Training

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, eq=False)
class Trained(ByValue):
    """Where a training ended, and how it came there. It says nothing of what the answer is worth: `gs.invert` does.

    Attributes:
        fields: The trained fields in the model's own units, float64, shape (1, S, H, W).
        params: The trained parameters, one set, in pixels; not finite where the training diverged at once.
        data_loss: Squared deviations from the picture by its variance: mean over its pixels, sum over seen species.
        residual_loss: Squared residual by the size of its terms: mean over pixels, sum over species.
        ended: How it ended.
        adam: Steps of Adam done.
        lbfgs: Iterations of L-BFGS done.
        seconds: CPU seconds spent, those before an interruption among them.
        weights: Of what stands for the fields, float64, shape (N,).
        record: An `xarray.Dataset` over `entry`: `data_loss`, `residual_loss` and `params`, with the coordinates
            `step` (of Adam and L-BFGS together) and `seconds`. Every 50th evaluation has an entry, be it one of a
            line search; the last entry is the end.
        training: What was trained, for `fields_of` and `losses`.

    Examples:
        >>> import gsimplicit as gs
        >>> from gsimplicit.inverse.methods import Network
        >>> v = gs.steady_state(gs.Params.preset("paper"), gs.initial_state(grid=(32, 32)), refine=True).v
        >>> trained = Network(fields="pixels", adam=200, lbfgs=300).train(v, progress=False)
        >>> trained.fields.shape, trained.ended.value, trained.record.params.dims
        (torch.Size([1, 2, 32, 32]), 'steps used up', ('entry', 'parameter'))
    """

    fields: torch.Tensor
    params: ModelParams
    data_loss: float
    residual_loss: float
    ended: Ended
    adam: int
    lbfgs: int
    seconds: float
    weights: torch.Tensor
    record: xr.Dataset
    training: Training

    @classmethod
    def of(cls, training: Training, end: End) -> Trained:
        """What a training gives back, from where it ended."""
        model, count = training.objective.model, len(end.weights)
        raw = 0 if training.plan.closed else len(training.objective.free)
        return cls(
            torch.from_numpy(end.fields[None]), params_of(model, end.values[None]), end.data, end.residual, end.ended,
            end.adam, end.lbfgs, end.seconds, end.weights[: count - raw], recorded(model, end.history), training,
        )  # fmt: skip

    @own_surroundings
    def fields_of(self, weights: torch.Tensor) -> torch.Tensor:
        """Fields of other weights, shape (1, S, H, W), differentiable in them.

        Args:
            weights: float64, shape (N,).

        Raises:
            ValueError: There are not N of them.
            TypeError: They are no tensor.

        Examples:
            >>> import gsimplicit as gs
            >>> from gsimplicit.inverse.methods import Network
            >>> v = gs.steady_state(gs.Params.preset("paper"), gs.initial_state(grid=(32, 32)), refine=True).v
            >>> trained = Network(adam=20, lbfgs=0).train(v, progress=False)
            >>> bool((trained.fields_of(trained.weights) == trained.fields).all())
            True
        """
        if not isinstance(weights, torch.Tensor):
            raise TypeError(f"weights must be a tensor, got {type(weights).__name__}")
        if weights.shape != self.weights.shape:
            raise ValueError(f"weights must have shape {tuple(self.weights.shape)}, got {tuple(weights.shape)}")
        return self.training.representation.fields(weights.double())[None]

    @own_surroundings
    def losses(self, fields: torch.Tensor, params: ModelParams) -> tuple[torch.Tensor, torch.Tensor]:
        """Data loss and residual loss of other fields and parameters, differentiable in both; each of no dimension.

        What was trained is the first and `weight` times the second. In "closed form" the training has no parameters of
        its own: they follow from the fields.

        Args:
            fields: Shape (1, S, H, W).
            params: One set.

        Raises:
            ValueError: There is another number of either, or the fields have another shape.
            TypeError: The fields are no tensor, or the parameters not those of the model.

        Examples:
            >>> import gsimplicit as gs
            >>> from gsimplicit.inverse.methods import Network
            >>> truth = gs.Params.preset("paper")
            >>> v = gs.steady_state(truth, gs.initial_state(grid=(32, 32)), refine=True).v
            >>> trained = Network(adam=20, lbfgs=0).train(v, progress=False)
            >>> data, residual = trained.losses(trained.fields, truth)
            >>> data.item() == trained.data_loss, residual.item() > trained.residual_loss
            (True, True)
        """
        objective = self.training.objective
        if not isinstance(fields, torch.Tensor):
            raise TypeError(f"fields must be a tensor, got {type(fields).__name__}")
        if fields.shape != self.fields.shape:
            raise ValueError(f"fields must have shape {tuple(self.fields.shape)}, got {tuple(fields.shape)}")
        if not isinstance(params, ModelParams) or not params.model.same(objective.model):
            raise TypeError(f"params must be parameters of {objective.model.name}, got {type(params).__name__}")
        if len(params) != 1:
            raise ValueError(f"params must be one set of parameters, got {len(params)}")
        return objective.data(fields[0].double()), objective.residual(fields[0].double(), params.tensor()[0])

    def __repr__(self) -> str:
        model = self.params.model
        grid = " x ".join(map(str, self.fields.shape[2:]))
        values = ", ".join(f"{n} {x:.6g}" for n, x in zip(model.parameters, self.params.tensor()[0], strict=True))
        return (
            f"Trained on {grid} pixels, {self.ended} after {self.adam} + {self.lbfgs} steps, {self.seconds:.2g} s\n"
            f"  {values}\n"
            f"  data loss {self.data_loss:.2g}, residual loss {self.residual_loss:.2g}"
        )


def recorded(model: Model, history: Array) -> xr.Dataset:
    """The way of a training with labels, from its rows."""
    import xarray as xr

    rows = history.reshape(-1, 4 + len(model.parameters))
    entry = ("entry",)
    return xr.Dataset(
        {
            "data_loss": (entry, rows[:, 2], words("squared deviation from the picture by its variance")),
            "residual_loss": (entry, rows[:, 3], words("squared residual by the size of its terms")),
            "params": (("entry", "parameter"), rows[:, 4:], words("parameters")),
        },
        {
            "step": (entry, rows[:, 0].astype(np.int64), words("steps of Adam and L-BFGS done")),
            "seconds": (entry, rows[:, 1], words("CPU time", "s")),
            "parameter": list(model.parameters),
        },
        {"title": f"Training of fields and parameters of {model.name}"},
    )
