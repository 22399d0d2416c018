"""Training of networks from parameters to the principal components of features: one network a point of the dataset."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gsimplicit import checks
from gsimplicit.labels import attributes
from gsimplicit.landscape.fill import Job
from gsimplicit.landscape.tiles import Values
from gsimplicit.provenance import global_attributes
from gsimplicit.routes.surrogate import initial_weights, network, scaled, size_of

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Array", "Feature", "Training", "training_job"]

Array = np.ndarray[Any, np.dtype[np.float64]]

Feature = Callable[[torch.Tensor], torch.Tensor]
"""From v (N, H, W) to what a network is to know of it (N, Y, X)."""

_DECAY = 1e-4
"""Weight decay of the training; smooths what few points leave open."""


@dataclass(frozen=True)
class Training:
    """How networks are trained, as `train_surrogate` says.

    Attributes:
        members: Networks in the ensemble.
        hidden: Widths of the hidden layers.
        modes: Principal components kept of each feature.
        epochs: Steps of Adam.
        held_out: Share of the points kept for testing.
        seed: Of the choice of those, and of the first weights.
    """

    members: int
    hidden: Sequence[int]
    modes: int
    epochs: int
    held_out: float
    seed: int

    def __post_init__(self) -> None:
        counts = {name: checks.integer(name, getattr(self, name), 1) for name in ("members", "modes", "epochs")}
        seed = checks.integer("seed", self.seed, 0, 2**50)
        held_out = checks.real("held_out", self.held_out, least=0, most=0.9)
        widths = checks.listed("hidden", self.hidden, "a list of widths")
        hidden = tuple(checks.integer("hidden", width, 1) for width in widths)
        checks.keep(self, {**counts, "seed": seed, "held_out": held_out, "hidden": hidden})

    def listed(self) -> list[Any]:
        """Its values as JSON types, by which a model is known."""
        return [self.members, list(self.hidden), self.modes, self.epochs, self.held_out, self.seed]

    def split(self, count: int) -> tuple[Any, Any]:
        """Indices of the points trained on, and of those held out."""
        test = np.random.default_rng(self.seed).permutation(count)[: int(self.held_out * count)]
        return np.setdiff1d(np.arange(count), test), test


def training_job(
    names: tuple[str, ...],
    values: Array,
    fields: Any,
    heads: Mapping[str, Feature],
    settings: Training,
    configuration: Mapping[str, Any],
) -> Job:
    """Components of the features, and one item a network.

    Args:
        names: Parameters of the model.
        values: Them at P points, shape (P, parameters).
        fields: v of the samples there, shape (P, S, H, W).
        heads: Features by name.
        settings: How networks are trained.
        configuration: All of the above, of JSON types.
    """
    train, test = settings.split(len(fields))
    low, high = (torch.from_numpy(f(values, axis=0)) for f in (np.min, np.max))
    inputs = scaled(torch.from_numpy(values), low, high)[:, high > low]
    reduced = {name: _reduced(feature, fields, train, test, settings.modes) for name, feature in heads.items()}
    sizes = [len(head.basis) for head in reduced.values()]
    layers = [int(inputs.shape[1]), *settings.hidden, sum(sizes)]
    attrs = global_attributes("Networks from parameters to features of steady states", configuration) | {
        "losses": json.dumps(configuration["surrogate"]),
        "layers": np.array(layers),
        "points_trained_on": len(train),
        "points_held_out": len(test),
    }
    untrained = np.full((settings.members, size_of(layers)), np.nan)
    frame = _frame(names, (low.numpy(), high.numpy()), reduced, untrained, fields.shape[2:], attrs)
    train_inputs, test_inputs = (inputs[rows].repeat_interleave(fields.shape[1], dim=0) for rows in (train, test))
    every = list(reduced.values())
    evaluate = partial(
        _trained, layers, sizes, settings.epochs, train_inputs, np.concatenate([h.train for h in every], axis=1),
        test_inputs, np.concatenate([h.test for h in every], axis=1), np.array([h.outside for h in every]),
        np.array([h.spread for h in every]),
    )  # fmt: skip
    return Job(frame, ("member",), [settings.seed * 1000 + m for m in range(settings.members)], evaluate)


@dataclass(frozen=True, eq=False)
class _Reduced:
    """A feature of all states, reduced to its principal components.

    Attributes:
        mean: Mean of the states trained on, shape (Y, X).
        basis: Principal components, orthonormal, shape (modes, Y, X).
        train: Components of the states trained on, one state a row.
        test: Of those held out.
        outside: Squared distance of each held out from what the components can make.
        spread: Mean squared distance of those trained on from their mean.
    """

    mean: Array
    basis: Array
    train: Array
    test: Array
    outside: Array
    spread: float


def _reduced(feature: Feature, fields: Any, train: Any, test: Any, modes: int) -> _Reduced:
    P, S, H, W = fields.shape
    of = feature(torch.from_numpy(fields).reshape(P * S, H, W)).to(torch.float64)
    rows, shape = of.reshape(P, S, -1).numpy(), of.shape[1:]
    known, unseen = rows[train].reshape(-1, rows.shape[2]), rows[test].reshape(-1, rows.shape[2])
    mean = known.mean(axis=0)
    basis = _components(known - mean, modes)
    there = (unseen - mean) @ basis.T
    return _Reduced(
        mean=mean.reshape(shape),
        basis=basis.reshape(-1, *shape),
        train=(known - mean) @ basis.T,
        test=there,
        outside=((unseen - mean) ** 2).sum(axis=1) - (there**2).sum(axis=1),
        spread=float(((known - mean) ** 2).sum(axis=1).mean()) or 1.0,
    )


def _frame(
    names: tuple[str, ...],
    ends: tuple[Array, Array],
    reduced: Mapping[str, _Reduced],
    weights: Array,
    grid: tuple[int, int],
    attrs: Mapping[str, Any],
) -> xr.Dataset:
    """The dataset of a model, with no network in it yet."""
    import xarray as xr

    members = len(weights)
    error = np.full((members, len(reduced)), np.nan)
    variables: dict[str, Any] = {
        "weights": (("member", "weight"), weights, _words("weights")),
        "held_out_error": (
            ("member", "head"), error, _words("error at held-out points, relative to the spread about the mean")
        ),
        "low": ("parameter", ends[0], _words("least value trained on")),
        "high": ("parameter", ends[1], _words("largest value trained on")),
    }  # fmt: skip
    for name, head in reduced.items():
        shaped = {tuple(grid): ("y", "x"), (1, 1): ("one", "one_x")}
        dims = shaped.get(head.mean.shape, (f"row_{name}", f"column_{name}"))
        variables[f"mean_{name}"] = (dims, head.mean, _words(f"mean of the {name} feature"))
        variables[f"basis_{name}"] = (
            (f"mode_{name}", *dims), head.basis, _words(f"principal components of the {name} feature")
        )  # fmt: skip
    coordinates = {
        "member": ("member", np.arange(members), _words("network")),
        "head": ("head", np.array(list(reduced)), {"long_name": "feature"}),
        "parameter": ("parameter", np.array(names), {"long_name": "parameter"}),
        **{name: (name, np.arange(size), attributes(name)) for name, size in zip(("y", "x"), grid, strict=True)},
    }
    return xr.Dataset(variables, coordinates, attrs)


def _components(centred: Array, modes: int) -> Array:
    """Leading principal components, orthonormal rows."""
    count = min(modes, *centred.shape)
    if centred.shape[0] <= centred.shape[1]:
        squares, left = np.linalg.eigh(centred @ centred.T)
        keep = [i for i in np.argsort(squares)[::-1][:count] if squares[i] > 1e-12 * max(squares[-1], 1e-300)]
        rows = (left[:, keep] / np.sqrt(squares[keep])).T @ centred
        return np.asarray(np.linalg.qr(rows.T)[0].T)
    squares, right = np.linalg.eigh(centred.T @ centred)
    return np.asarray(right[:, np.argsort(squares)[::-1][:count]].T)


def _trained(
    layers: list[int],
    sizes: list[int],
    epochs: int,
    inputs: torch.Tensor,
    goal: Array,
    test_inputs: torch.Tensor,
    test_goal: Array,
    outside: Array,
    spread: Array,
    seed: int,
) -> Values:
    """One network: its weights, and its relative error at the held-out points."""
    weights = initial_weights(layers, seed).requires_grad_()
    # each feature counts by its own spread, and its components by their share of it
    scale = torch.from_numpy(np.repeat(np.sqrt(spread), sizes))
    wanted = torch.from_numpy(goal) / scale
    optimiser = torch.optim.AdamW([weights], lr=1e-2, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    with torch.enable_grad():
        for _ in range(epochs):
            optimiser.zero_grad()
            loss = ((network(weights, layers, inputs) - wanted) ** 2).sum(dim=1).mean()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    trained = weights.detach().clone()
    last = size_of(layers[:-1])
    trained[last:] *= torch.cat([scale.repeat(layers[-2]), scale])  # the scale goes into the last layer
    errors = np.full(len(sizes), np.nan)
    if len(test_inputs):
        apart = ((network(trained, layers, test_inputs).numpy() - test_goal) ** 2).T
        first = np.cumsum([0, *sizes])
        for h in range(len(sizes)):
            total = apart[first[h] : first[h + 1]].sum(axis=0) + outside[h]
            errors[h] = np.sqrt(total.mean() / spread[h])
    return {"weights": trained.numpy(), "held_out_error": errors}


def _words(long_name: str) -> dict[str, str]:
    return {"long_name": long_name, "units": "1"}
