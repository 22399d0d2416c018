"""The record of a descent: its variables, what they are called, and the dataset with nothing in it yet."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from gsimplicit.descent.draws import Draws
from gsimplicit.descent.reparametrisation import Reparametrisation
from gsimplicit.equations import Model
from gsimplicit.labels import VARIABLES as OF_SCANS
from gsimplicit.labels import Variable, attributes, flag_attributes

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["OUTCOMES", "VARIABLES", "Outcome", "blank", "frame_of"]


class Outcome(IntEnum):
    """What became of a row at a step. Stored as these integers.

    Examples:
        >>> from gsimplicit.descent import Outcome
        >>> Outcome(2).name
        'SHRUNK'
    """

    NOT_RUN = 0
    """It had stopped at an earlier step."""
    MOVED = 1
    """It moved at the optimiser's own rate."""
    SHRUNK = 2
    """It moved at a smaller rate: larger ones would have made v leave its bounds, or the loss infinite."""
    JUMPED = 3
    """It moved at a larger rate, because no smaller one would do."""
    ENDED = 4
    """The last step that was asked for: evaluated, with no gradient and no move."""
    DIVERGED = 5
    """It stopped: the loss is not finite here."""
    NO_GRADIENT = 6
    """It stopped: no sample has a gradient by the route, or their mean is not finite."""
    NO_RATE = 7
    """It stopped: no learning rate that was tried keeps the next step finite and in bounds."""


STOPPED = (Outcome.DIVERGED, Outcome.NO_GRADIENT, Outcome.NO_RATE)
OUTCOMES = tuple(outcome.name.lower() for outcome in Outcome)

_ROW = ("row",)
_SAMPLE = ("row", "sample")

VARIABLES: dict[str, Variable] = {
    "loss": Variable("state", _ROW, "loss: mean over the samples"),
    "sample_loss": Variable("state", _SAMPLE, "loss of a sample"),
    "params": Variable("state", ("row", "parameter"), "parameters at which the loss is evaluated"),
    "gradient": Variable("route", ("row", "parameter"), "derivative of the loss: mean over samples that have one"),
    "raw": Variable("state", ("row", "free"), "raw parameters, without bounds"),
    "raw_gradient": Variable("route", ("row", "free"), "derivative of the loss in the raw parameters"),
    "rate": Variable("route", _ROW, "learning rate of the move from this step to the next"),
    "tries": Variable("route", _ROW, "learning rates tried", dtype="int16", fill=0),
    "answered": Variable("route", _ROW, "samples that have a gradient", dtype="int16", fill=0),
    "outcome": Variable("state", _ROW, "what became of the row at this step", dtype="int8", fill=0, flags=OUTCOMES),
    **{
        name: Variable(
            OF_SCANS[name].part, _SAMPLE, OF_SCANS[name].long_name, "", OF_SCANS[name].dtype, OF_SCANS[name].fill,
            flags=OF_SCANS[name].flags,
        )
        for name in ("status", "kind", "steps", "change", "residual", "v_mean", "v_std")
    },
    "target_index": Variable("given", _SAMPLE, "place of the sample's target in the pool", dtype="int32", fill=-1),
    "v": Variable("kept", ("row", "sample", "y", "x"), "species {observed}"),
}  # fmt: skip
"""Every variable of a record; all begin with the dimension of steps."""

_COORDINATES = {
    "step": ("steps of the optimiser before", "1"),
    "row": ("descent", "1"),
    "free": ("parameter that moves", ""),
    "target_number": ("place in the pool", "1"),
}

_MARCHED = ("status", "kind", "steps", "change", "residual", "v_mean", "v_std", "v")


def names_of(*, marched: bool, pool: bool, keep: bool) -> list[str]:
    """Variables that a record has."""
    without = {*(() if marched else _MARCHED), *(() if pool else ("target_index",)), *(() if keep else ("v",))}
    return [name for name in VARIABLES if name not in without]


def blank(name: str, sizes: Mapping[str, int]) -> np.ndarray[Any, Any]:
    """A variable at one step at which nothing was run."""
    return VARIABLES[name].blank(sizes, "float64")


def frame_of(
    names: list[str],
    model: Model,
    how: Reparametrisation,
    draws: Draws,
    rows: int,
    steps: int,
    attrs: Mapping[str, Any],
) -> xr.Dataset:
    """The labelled dataset with no step in it yet.

    Args:
        names: Its variables.
        model: What is descended.
        how: Which parameters move.
        draws: Fields and targets, which are kept where they were given: with them a file holds what reruns it.
        rows: Number of rows.
        steps: Steps asked for; the record has one entry more.
        attrs: Global attributes.
    """
    import xarray as xr

    H, W = draws.grid
    sizes = {"row": rows, "sample": draws.samples, "parameter": len(model.parameters), "free": len(how.names),
             "y": H, "x": W}  # fmt: skip
    data: dict[str, Any] = {}
    for name in names:
        one = blank(name, sizes)
        data[name] = (("step", *VARIABLES[name].dims), np.repeat(one[None], steps + 1, axis=0))
    data |= _given(draws)
    coordinates: dict[str, Any] = {
        "step": np.arange(steps + 1),
        "row": np.arange(rows),
        "sample": np.arange(draws.samples),
        "parameter": np.array(model.parameters),
        "free": np.array(how.names),
        "seed": ("row", np.array(draws.seeds, dtype=np.int64)),
        "low": ("free", np.array(how.low)),
        "high": ("free", np.array(how.high)),
        "y": np.arange(H),
        "x": np.arange(W),
    }
    if any("component" in dims for dims, *_ in data.values()):
        coordinates["component"] = np.array(model.species)
    out = xr.Dataset(data, coordinates, attrs)
    for variable in out.variables:
        out[variable].attrs.update(_attributes(str(variable), model))
    return out


def _given(draws: Draws) -> dict[str, Any]:
    """What the descent was given, as variables."""
    found: dict[str, Any] = {}
    if draws.fixed is not None:
        found["initial"] = (("sample", "component", "y", "x"), draws.fixed.numpy().copy())
    for name, value, over in (("target", draws.target, "target_sample"), ("targets", draws.pool, "target_number")):
        if value is not None:
            dims = (over, "component", "y", "x") if value.ndim == 4 else (over, "y", "x")
            found[name] = (dims, value.numpy().copy())
    return found


def _attributes(name: str, model: Model) -> dict[str, Any]:
    if name in VARIABLES:
        variable = VARIABLES[name]
        return {
            "long_name": variable.long_name.format(observed=model.observed),
            "units": variable.units,
            "coverage_content_type": "modelResult",
            **(flag_attributes(variable.flags) if variable.flags else {}),
        }
    words = {
        "seed": ("seed of the row's fields and targets", "1"),
        "low": ("lower bound", "1"),
        "high": ("upper bound", "1"),
        "target": ("what the loss compares with", "1"),
        "targets": ("pool from which each step draws targets", "1"),
        **_COORDINATES,
    }
    if name in words:
        return {"long_name": words[name][0], **({"units": words[name][1]} if words[name][1] else {})}
    return attributes(name, model)
