"""One table says what the variables of a scan are: what a file holds follows from it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import gsimplicit as gs
from gsimplicit.labels import COORDINATES, DEFINITIONS, VARIABLES, attributes, flag_word
from gsimplicit.models.model import TAKEN
from gsimplicit.results import Kind, Stable, Status

ENUMERATIONS = {"status": Status, "route_status": Status, "kind": Kind, "stable": Stable}


def scan(model: gs.Model, **changes: Any) -> xr.Dataset:
    base = model.preset(next(iter(model.presets)))
    rate = model.rates[0]
    box = gs.Box(half=3) if model is gs.models.gray_scott else None
    start = gs.initial_state(grid=(12, 12), model=base, box=box)
    given = {"initial": start, "tol": 0.0, "max_steps": 4, "dt": 0.01, "progress": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gs.UnitsWarning)
        return gs.scan({rate: [getattr(base, rate).item()]}, base, **{**given, **changes})


def test_a_scan_holds_the_variables_of_the_table_in_its_order() -> None:
    refine = gs.Refine(eigenvalues=2)
    data = scan(gs.models.gray_scott, losses=["spectrum", "residual"], routes=["unrolled"], keep="v", refine=refine)
    assert list(data.data_vars) == list(VARIABLES)
    for name, variable in VARIABLES.items():
        axes = () if variable.part == "given" else ("F",)
        assert data[name].dims == (*axes, *variable.dims), name
        assert data[name].dtype == (variable.dtype or "float64"), name
        assert data[name].attrs["units"] == variable.units, name
    assert data["loss"].attrs["long_name"] == "loss of the refined state"
    assert data["status"].attrs["long_name"] == "how the refinement ended"


def test_only_what_is_asked_for_is_there() -> None:
    found = set(scan(gs.models.gray_scott).data_vars)
    assert found == {name for name, one in VARIABLES.items() if one.part == "state"} | {"initial", "target"}


@pytest.mark.parametrize("name", ENUMERATIONS)
def test_integers_carry_the_words_of_their_enumeration(name: str) -> None:
    attrs = attributes(name)
    words = dict(zip(attrs["flag_values"].tolist(), attrs["flag_meanings"].split(), strict=True))
    assert words == {int(member): member.name.lower() for member in ENUMERATIONS[name]}


def test_definitions_are_single_words_each_once() -> None:
    assert all(flag_word(word) == word for word in DEFINITIONS)
    assert len(set(DEFINITIONS)) == len(DEFINITIONS)
    assert flag_word(" full jacobian ") == "full_jacobian"
    assert flag_word("") == DEFINITIONS[0]


def test_parameters_cannot_have_the_name_of_a_variable_or_coordinate() -> None:
    """The models' list of names that are taken stands above this table and cannot read it."""
    assert {*VARIABLES, *COORDINATES} - TAKEN == {"v"}  # a species may have that name, a parameter may not


@pytest.mark.parametrize("model", [gs.models.brusselator, gs.models.gierer_meinhardt], ids=lambda model: model.name)
def test_texts_are_true_for_every_model_and_step(model: gs.Model) -> None:
    data = scan(model, keep="v", routes=["unrolled"])
    texts = {str(name): data[name].attrs["long_name"] for name in data.variables}
    seen, first = model.observed, model.diffusivity[0]
    assert texts["v"] == f"species {seen}"
    assert texts["v_mean"] == f"mean of {seen} over the grid"
    assert texts["target"] == f"target of species {seen}"
    assert texts[first] == f"diffusion coefficient of {model.species[0]}"
    assert not any(word in text for text in texts.values() for word in ("concentration", "u or v", "{"))
    assert "step the unit of time" not in data.attrs["comment"]


def test_gray_scott_is_named_in_its_own_words() -> None:
    names = {name: attributes(name)["long_name"] for name in gs.models.gray_scott.parameters}
    assert names == {
        "Du": "diffusion coefficient of u",
        "Dv": "diffusion coefficient of v",
        "F": "feed rate",
        "k": "kill rate",
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_states_are_kept_in_the_dtype_they_were_marched_in(dtype: torch.dtype) -> None:
    data = scan(gs.models.gray_scott, keep="v", dtype=dtype)
    assert data["v"].dtype == np.dtype(str(dtype).removeprefix("torch."))
