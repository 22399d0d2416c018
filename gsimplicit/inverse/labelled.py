"""What comes back with names: parameters of values, an inversion as a labelled dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gsimplicit.equations import Model, ModelParams
from gsimplicit.inverse.answers.answer import Recovery

if TYPE_CHECKING:
    import xarray as xr

    from gsimplicit.inverse.inversion import Inversion
    from gsimplicit.inverse.pictures.axes import Axes

Array = np.ndarray[Any, np.dtype[np.float64]]


A_SET = {
    "starts": "starts tried",
    "met": "starts that led to the answer",
    "noise": "standard deviation of what is left",
    "misfit": "squared deviations by degrees of freedom",
    "condition": "best over worst determined combination",
}
"""What there is one number of for each set, with its words."""


def dataset(found: Inversion) -> xr.Dataset:
    """Variables over sets, parameters, pictures and species, with words and units."""
    import xarray as xr

    model = found.params.model
    flags = np.array([int(r) for r in Recovery], dtype=np.int8)
    meanings = " ".join(r.name.lower() for r in Recovery)
    return xr.Dataset(
        {
            **{name: (("set", "parameter"), x.numpy(), words(told)) for name, (x, told) in _values(found).items()},
            "covariance": (("set", "parameter", "other_parameter"), found.covariance.numpy(), words("covariance")),
            "correlation": (
                ("set", "parameter", "other_parameter"),
                found.correlation.numpy(),
                words("covariance scaled to 1 on the diagonal"),
            ),
            "others": (
                ("set", "other", "parameter"),
                _padded(found.others, len(model.parameters)),
                words("other values that explain the data alike, NaN where there are no more"),
            ),
            "gain": (("set", "camera"), found.gain.numpy(), words("offset and gain of the picture")),
            "fields": (("picture", "species", "y", "x"), found.fields.numpy(), words("completed and denoised fields")),
            "drift": (("picture", "direction"), found.drift.numpy(), words("drift, pixels per unit time")),
            "residual": (("picture",), found.residual.numpy(), words("largest bordered residual per unit time")),
            **{name: (("set",), getattr(found, name).numpy(), words(told)) for name, told in A_SET.items()},
            "verdict": (
                ("set",),
                found.verdict.numpy().astype(np.int8),
                {**words("how it ended"), "flag_values": flags, "flag_meanings": meanings},
            ),
            "reason": (("set",), np.array(found.reason, dtype=str), {"long_name": "why"}),
        },
        {
            "parameter": list(model.parameters),
            "other_parameter": list(model.parameters),
            "species": list(model.species),
            "direction": ["row", "column"],
            "camera": ["offset", "gain"],
            **_coordinates(found.axes),
        },
        {"title": f"Parameters of {model.name} by the {found.method} method", "level": found.level},
    )


def _values(found: Inversion) -> dict[str, tuple[torch.Tensor, str]]:
    """What there is one of for each set and parameter, with its words."""
    low, high = found.interval.unbind(-1)
    physical_low, physical_high = found.physical_interval.unbind(-1)
    there = "in the coordinates' unit of length"
    return {
        "value": (found.params.tensor(), "recovered value"),
        "physical": (found.physical, f"value {there}"),
        "lowest": (low, "lower end of the interval"),
        "highest": (high, "upper end of the interval"),
        "physical_lowest": (physical_low, f"lower end of the interval {there}"),
        "physical_highest": (physical_high, f"upper end of the interval {there}"),
    }


def _padded(others: Sequence[torch.Tensor], P: int) -> Array:
    """Rows of values of each set as one array, as many as the longest has."""
    out = np.full((len(others), max((len(rows) for rows in others), default=0), P), np.nan)
    for place, rows in zip(out, others, strict=True):
        place[: len(rows)] = rows.numpy()
    return out


def _coordinates(axes: Axes) -> dict[str, tuple[str, Any, dict[str, str]]]:
    if axes.rows is None or axes.columns is None:
        return {}
    unit = {"units": axes.unit} if axes.unit else {}
    pairs = (("y", axes.rows, "rows"), ("x", axes.columns, "columns"))
    return {name: (name, values, {"long_name": f"place of the {word}", **unit}) for name, values, word in pairs}


def words(text: str, units: str = "1") -> dict[str, str]:
    """Attributes of a variable."""
    return {"long_name": text, "units": units}


def params_of(model: Model, values: Array) -> ModelParams:
    """Parameters from values (B, P) that may be NaN, of the class that the model's own have."""
    from gsimplicit.inverse.fits.variable_projection import inside

    some = inside(model, np.full(len(model.parameters), 0.5))
    return model.params(**dict(zip(model.parameters, map(float, some), strict=True)))._of(torch.from_numpy(values))
