"""Labelled pictures: the width of their pixels comes from their coordinates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from helpers import PAPER, small_start

import gsimplicit as gs

MM = 0.25 * np.arange(32)


@pytest.fixture(scope="module")
def picture() -> xr.DataArray:
    """A clean picture of v in pixels of 0.25 mm."""
    state = gs.steady_state(gs.Params(*PAPER), small_start(32, 7), refine=gs.Refine(tol=1e-13))
    coords = {"y": ("y", MM[::-1], {"units": "mm"}), "x": ("x", MM, {"units": "mm"})}
    return xr.DataArray(state.v[0].numpy(), coords, ("y", "x"))


def test_diffusion_comes_in_pixels_and_in_the_unit_of_the_coordinates(picture: xr.DataArray) -> None:
    found = gs.invert(picture, progress=False)
    found.require_found()
    assert torch.allclose(found.params.tensor(), torch.tensor(PAPER, dtype=torch.float64), rtol=1e-7)
    lengths = torch.tensor([0.25**2, 0.25**2, 1.0, 1.0], dtype=torch.float64)
    assert torch.equal(found.physical, found.params.tensor() * lengths)
    assert torch.equal(found.physical_interval, found.interval * lengths[:, None])
    assert "pixels are 0.25 mm wide" in repr(found)
    data = found.to_dataset()
    assert np.array_equal(data["fields"].coords["y"], MM[::-1])
    assert data["x"].attrs["units"] == "mm"
    assert np.array_equal(data["physical"], found.physical)
    ends = [data[name].values for name in ("physical_lowest", "physical_highest")]
    assert np.array_equal(np.stack(ends, axis=-1), found.physical_interval)


def test_pictures_without_coordinates_and_batches_of_them_stay_in_pixels(picture: xr.DataArray) -> None:
    plain = gs.invert(picture.values, progress=False)
    assert torch.equal(plain.physical, plain.params.tensor())
    assert "x" not in plain.to_dataset().coords
    two = gs.invert(xr.concat([picture, picture.roll(x=3, roll_coords=False)], "sample"), progress=False)
    assert two.axes.spacing == 0.25
    assert torch.allclose(two.physical, two.physical[:1].expand(2, 4), rtol=1e-6)


@pytest.mark.parametrize(
    ("words", "changed"),
    [
        ("as high as wide: the spacing is 0.25 along y and 0.5 along x", lambda a: a.assign_coords(x=("x", 2 * MM))),
        ("evenly spaced along x: its steps are 0.0625 to", lambda a: a.assign_coords(x=("x", MM**2))),
        ("evenly spaced along x: its steps are 0 to 0", lambda a: a.assign_coords(x=("x", 0 * MM))),
        ("along both y and x, or none: x has none", lambda a: a.drop_vars("x")),
        ("x of v must be finite", lambda a: a.assign_coords(x=("x", np.where(MM == 1, np.nan, MM)))),
        ("in one unit, got cm and mm", lambda a: a.assign_coords(x=("x", MM, {"units": "cm"}))),
    ],
)
def test_coordinates_that_are_no_grid_of_squares_are_refused_by_name(
    words: str, changed: Any, picture: xr.DataArray
) -> None:
    with pytest.raises(ValueError, match=words):
        gs.invert(changed(picture), progress=False)


def test_coordinates_that_are_no_numbers_or_lie_elsewhere_are_refused(picture: xr.DataArray) -> None:
    with pytest.raises(TypeError, match="x of v must be numbers"):
        gs.invert(picture.assign_coords(x=("x", np.arange(32).astype("datetime64[ns]"))), progress=False)
    with pytest.raises(ValueError, match="u must lie where v does: its columns have other coordinates"):
        gs.invert(picture, picture.assign_coords(x=("x", MM + 3.0)), progress=False)
