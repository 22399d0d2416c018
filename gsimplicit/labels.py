"""What the variables and coordinates of a scan are called: one table, and the attributes that follow from it.

What a point of a scan holds before it is computed, the labelled frame and the attributes of a file all read this table.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal

import numpy as np

from gsimplicit.equations import DEFAULT, Model
from gsimplicit.results import Kind, Stable, Status

__all__ = ["COORDINATES", "DEFINITIONS", "VARIABLES", "Part", "Variable", "attributes", "flag_attributes", "flag_word"]

Part = Literal["state", "eigenvalues", "route", "kept", "given"]
"""What of a scan a variable belongs to: the state of a point; its eigenvalues, where they are asked for; the routes,
where there are any; fields that are kept, where they are to be; and what the scan was given, which no axis varies."""


def _words(enumeration: type[IntEnum]) -> tuple[str, ...]:
    """Names of an enumeration that counts from 0."""
    return tuple(enumeration(n).name.lower() for n in range(len(enumeration)))


DEFINITIONS = (
    "none",
    "full_jacobian",
    "bordered_jacobian",
    "marched_steps",
    "differences_of_marched_states",
    "differences_of_roots",
    "last_marched_steps",
    "tangents_of_marched_steps",
    "tangents_at_a_root",
    "fixed_point_by_torchdeq",
    "phantom_steps_by_torchdeq",
    "network",
)
"""Definitions of this package's routes, as words, stored by their place here; those of a user's route come after."""


def flag_word(text: str) -> str:
    """A text as one word, as flags have it; that of no definition where nothing is left of it."""
    return re.sub(r"[^\w.+@-]+", "_", str(text).strip()) or DEFINITIONS[0]


@dataclass(frozen=True)
class Variable:
    """A variable of a scan.

    Attributes:
        part: What it belongs to, which decides whether it is there.
        dims: Dimensions, those of the axes of the scan left out, which come before them except with what was given.
        long_name: What it is; {observed} stands for the species that losses see.
        refined: The same where states were certified; empty where it is the same.
        dtype: Of its values; empty is that in which states are kept.
        fill: Of a point that was not computed.
        units: Everything is dimensionless.
        flags: Meanings of the integers 0, 1, ... that it holds; empty where it holds numbers.
    """

    part: Part
    dims: tuple[str, ...]
    long_name: str
    refined: str = ""
    dtype: str = "float64"
    fill: float = math.nan
    units: str = "1"
    flags: tuple[str, ...] = ()

    def blank(self, sizes: Mapping[str, int], state_dtype: str) -> np.ndarray[Any, Any]:
        """Its values at a point that was not computed, without the axes of the scan."""
        return np.full([sizes[name] for name in self.dims], self.fill, self.dtype or state_dtype)


def _flagged(part: Part, dims: tuple[str, ...], long_name: str, flags: Iterable[str], refined: str = "") -> Variable:
    return Variable(part, dims, long_name, refined, "int8", 0, flags=tuple(flags))


_SAMPLE = ("sample",)
_ROUTE = ("sample", "route")
_MODE = ("sample", "mode")
_FIELDS = ("sample", "component", "y", "x")

VARIABLES: dict[str, Variable] = {
    "loss": Variable("state", ("sample", "objective"), "loss of the marched state", "loss of the refined state"),
    "status": _flagged("state", _SAMPLE, "how the march ended", _words(Status), "how the refinement ended"),
    "kind": _flagged("state", _SAMPLE, "what the state looks like", _words(Kind)),
    "steps": Variable("state", _SAMPLE, "explicit steps marched", dtype="int32", fill=0),
    "change": Variable("state", _SAMPLE, "largest change of a species over the last step"),
    "residual": Variable("state", _SAMPLE, "largest steady residual, per unit time"),
    "v_mean": Variable("state", _SAMPLE, "mean of {observed} over the grid"),
    "v_std": Variable("state", _SAMPLE, "standard deviation of {observed} over the grid"),
    "stable": _flagged("eigenvalues", _SAMPLE, "whether the root is linearly stable", _words(Stable)),
    "eigenvalue_real": Variable("eigenvalues", _MODE, "growth rate of a mode of the root, per unit time"),
    "eigenvalue_imag": Variable("eigenvalues", _MODE, "angular frequency of a mode of the root, per unit time"),
    "gradient": Variable(
        "route", (*_ROUTE, "objective", "parameter"), "derivative of the loss in a parameter, by route"
    ),
    "route_loss": Variable("route", (*_ROUTE, "objective"), "loss at the state where the route took its gradient"),
    "route_status": _flagged("route", _ROUTE, "how the solve of the route ended", _words(Status)),
    "route_definition": _flagged("route", (*_ROUTE, "objective"), "what the route differentiated", DEFINITIONS),
    "route_moved": Variable("route", _ROUTE, "largest distance of the route's state from the marched one"),
    "v": Variable("kept", ("sample", "y", "x"), "species {observed}", dtype=""),
    "initial": Variable("given", _FIELDS, "initial fields"),
    "target": Variable("given", ("sample", "y", "x"), "target of species {observed}"),
    "target_fields": Variable("given", _FIELDS, "target of all species, where the residual loss is taken"),
}
"""Every variable of a scan, in the order in which a file has them."""

COORDINATES: dict[str, tuple[str, str]] = {
    "sample": ("index of the initial field", "1"),
    "objective": ("loss function", ""),
    "route": ("gradient route", ""),
    "parameter": ("parameter differentiated in", ""),
    "mode": ("index of the eigenvalue, by falling real part", "1"),
    "component": ("species", ""),
    "y": ("row of the grid", "1"),
    "x": ("column of the grid", "1"),
}
"""Long name and units of every coordinate besides the model's parameters; units are empty for labels."""


def attributes(name: str, model: Model = DEFAULT, *, refined: bool = False) -> dict[str, Any]:
    """Attributes of a variable or coordinate: `long_name`, `units`, and the flags of an enumeration.

    Args:
        name: Of the variable, coordinate or parameter.
        model: What was solved; parameters are named in its words.
        refined: Whether states were certified.
    """
    if name in model.parameters:
        return {"long_name": _parameter(name, model), "units": "1"}
    if name in COORDINATES:
        long_name, units = COORDINATES[name]
        return {"long_name": long_name, **({"units": units} if units else {})}
    variable = VARIABLES[name]
    long_name = (refined and variable.refined) or variable.long_name
    return {
        "long_name": long_name.format(observed=model.observed),
        "units": variable.units,
        "coverage_content_type": "modelResult",  # a word of ISO 19115-1
        **(flag_attributes(variable.flags) if variable.flags else {}),
    }


def flag_attributes(words: Iterable[str]) -> dict[str, Any]:
    """Attributes of a variable that holds 0, 1, ... for these words."""
    words = list(words)
    return {"flag_values": np.arange(len(words), dtype=np.int8), "flag_meanings": " ".join(words)}


def _parameter(name: str, model: Model) -> str:
    """What a parameter of a model is."""
    if name in model.words:
        return model.words[name]
    if name in model.diffusivity:
        return f"diffusion coefficient of {model.species[model.diffusivity.index(name)]}"
    return f"parameter {name}"
