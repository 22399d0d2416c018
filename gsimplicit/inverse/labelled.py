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


def dataset(found: Inversion) -> xr.Dataset:
    """Variables over sets, parameters, pictures and species, with words and units."""
    import xarray as xr

    model = found.params.model
    flags = np.array([int(r) for r in Recovery], dtype=np.int8)
    meanings = " ".join(r.name.lower() for r in Recovery)
    return xr.Dataset(
        {
            "value": (("set", "parameter"), found.params.tensor().numpy(), words("recovered value")),
            "physical": (
                ("set", "parameter"),
                found.physical.numpy(),
                words("value in the coordinates' unit of length"),
            ),
            "lowest": (("set", "parameter"), found.interval[..., 0].numpy(), words("lower end of the interval")),
            "highest": (("set", "parameter"), found.interval[..., 1].numpy(), words("upper end of the interval")),
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
            "starts": (("set",), found.starts.numpy(), words("starts tried")),
            "met": (("set",), found.met.numpy(), words("starts that led to the answer")),
            "fields": (("picture", "species", "y", "x"), found.fields.numpy(), words("completed and denoised fields")),
            "drift": (("picture", "direction"), found.drift.numpy(), words("drift, pixels per unit time")),
            "residual": (("picture",), found.residual.numpy(), words("largest bordered residual per unit time")),
            "noise": (("set",), found.noise.numpy(), words("standard deviation of what is left")),
            "misfit": (("set",), found.misfit.numpy(), words("squared deviations by degrees of freedom")),
            "condition": (("set",), found.condition.numpy(), words("best over worst determined combination")),
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
