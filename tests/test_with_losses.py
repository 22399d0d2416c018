"""Further losses of the states that a scan has kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from helpers import mean_square, small_start

import gsimplicit as gs
from gsimplicit import dataset
from gsimplicit.landscape.cliffs import edges
from gsimplicit.losses.gram import Gram

AXES = {"Du": [0.16, 0.6], "k": [0.06, 0.062, 0.064]}
"""At the second Du v diverges."""

GIVEN: dict[str, Any] = {"initial": small_start(16, 4, 2), "max_steps": 300, "progress": False}
EVERY = ["spectrum", "windowed", Gram("random"), mean_square]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kept") / "states.nc"
    with pytest.warns(gs.StabilityWarning):
        gs.scan(AXES, losses=["spectrum"], routes=["unrolled"], keep="v", store=path, **GIVEN)
    return path


@pytest.fixture(scope="module")
def whole(stored: Path) -> xr.Dataset:
    return dataset.load(stored)


@pytest.fixture(scope="module")
def marched() -> xr.Dataset:
    """The same losses by a scan that marches for them, in the dtype that a route asks for."""
    with pytest.warns(gs.StabilityWarning):
        return gs.scan(AXES, losses=EVERY, dtype=torch.float64, **GIVEN)


def test_losses_of_kept_states_are_those_a_scan_gives_to_the_bit(whole: xr.Dataset, marched: xr.Dataset) -> None:
    found = gs.with_losses(whole, EVERY, progress=False)
    assert found["objective"].values.tolist() == ["spectrum", "windowed", "gram", "mean_square"]
    assert found["loss"].dims == ("Du", "k", "sample", "objective")
    np.testing.assert_array_equal(found["loss"].values, marched["loss"].values)
    assert np.isnan(found["loss"].sel(Du=0.6).values).all()
    assert np.isfinite(found["loss"].sel(Du=0.16).values).all()


def test_a_path_and_a_dataset_that_is_not_loaded_give_the_same(stored: Path, whole: xr.Dataset) -> None:
    loaded = gs.with_losses(whole, ["windowed"], progress=False)
    assert gs.with_losses(stored, ["windowed"], progress=False).equals(loaded)
    with xr.open_dataset(stored, engine="netcdf4") as opened:
        assert gs.with_losses(opened, ["windowed"], progress=False).equals(loaded)
        assert not opened["v"].variable._in_memory


def test_of_a_path_one_row_of_states_is_read_at_a_time(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[int, ...]] = []
    original = dataset.part

    def part(*given: Any) -> Any:
        found = original(*given)
        read.append(found.shape)
        return found

    monkeypatch.setattr(dataset, "part", part)
    monkeypatch.setattr(dataset, "load", lambda *_: pytest.fail("the file was read whole"))
    gs.with_losses(stored, ["windowed"], progress=False)
    assert set(read) == {(3, 2, 16, 16)}


def test_the_rest_of_the_dataset_is_kept_and_what_routes_gave_is_not(whole: xr.Dataset) -> None:
    found = gs.with_losses(whole, ["windowed"], progress=False)
    for name in ("status", "kind", "steps", "v_mean", "initial", "target", "Dv", "F"):
        assert found[name].identical(whole[name]), name
    assert not {"v", "gradient", "route", "parameter", "route_loss"} & set(found.variables)
    assert edges(found.isel(sample=0), "k", "windowed")["jump"].shape == (2, 2)
    assert found["loss"].attrs["units"] == "1"
    assert found.attrs["gsimplicit_states_of"] == whole.attrs["id"]


def test_a_store_is_found_again_and_told_from_that_of_other_states(whole: xr.Dataset, tmp_path: Path) -> None:
    store = tmp_path / "more.nc"
    first = gs.with_losses(whole, ["windowed", mean_square], store=store, progress=False)
    changed = store.stat().st_mtime_ns
    assert gs.with_losses(whole, ["windowed", mean_square], store=store, progress=False).identical(first)
    assert store.stat().st_mtime_ns == changed
    other = whole.copy(deep=True)
    other["v"][0, 0, 0, 0, 0] += 1e-9
    with pytest.raises(gs.StoreMismatchError, match="states"):
        gs.with_losses(other, ["windowed", mean_square], store=store, progress=False)
    with pytest.raises(gs.StoreMismatchError, match="losses"):
        gs.with_losses(whole, ["windowed"], store=store, progress=False)


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("link", [False, True])
def test_the_file_of_the_states_is_not_written_over(opened: bool, link: bool, stored: Path, tmp_path: Path) -> None:
    source, store = tmp_path / "states.nc", tmp_path / "states.nc"
    source.write_bytes(stored.read_bytes())
    if link:
        store = tmp_path / "link.nc"
        store.symlink_to(source)
    data = xr.open_dataset(source, engine="netcdf4") if opened else source
    with pytest.raises(ValueError, match="store must be another file than that of the states"):
        gs.with_losses(data, ["windowed"], store=store, overwrite=True, progress=False)
    if isinstance(data, xr.Dataset):
        data.close()
    assert source.read_bytes() == stored.read_bytes()


def test_order_of_dimensions_and_a_part_of_the_axes_do_not_matter(whole: xr.Dataset) -> None:
    part = whole.isel(k=[2, 0], sample=[1]).transpose("x", "y", "sample", "k", "Du", ...)
    found, every = (gs.with_losses(one, ["windowed"], progress=False) for one in (part, whole))
    xr.testing.assert_equal(found["loss"].transpose(*every["loss"].dims), every["loss"].isel(k=[2, 0], sample=[1]))


def test_another_target_can_be_given(whole: xr.Dataset) -> None:
    goal = whole["v"].isel(Du=0, k=1).values
    found = gs.with_losses(whole, ["spectrum", Gram("random")], goal, progress=False)
    assert (found["loss"].isel(Du=0, k=1) == 0).all()
    assert (found["loss"].isel(Du=0, k=0) > 0).all()


class Everything:
    name, invariant, all_species = "everything", True, True

    def features(self, v: torch.Tensor) -> torch.Tensor:
        return v

    def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a - b).abs().amax(dim=(1, 2, 3))


@pytest.mark.parametrize(
    ("losses", "change", "message"),
    [
        (["residual"], lambda d: d, "the residual loss needs no states"),
        ([Everything()], lambda d: d, "'everything' sees all species, and a scan keeps v alone"),
        (["spectrum"], lambda d: d.drop_vars("v"), "holds no states: scan with keep='v'"),
        (["spectrum"], lambda d: d.drop_vars("target"), "target must be given"),
        (["spectrum"], lambda d: d.isel(sample=0), r"data.isel\(sample=\[0\]\)"),
        (["spectrum"], lambda d: d.assign_attrs(gsimplicit_complete=0), "the scan is not whole"),
        (["spectrum", "spectrum"], lambda d: d, "losses must differ in name"),
        (["spectrumm"], lambda d: d, "did you mean 'spectrum'"),
        ([], lambda d: d, "losses must name at least one"),
    ],
)
def test_what_cannot_be_taken_is_refused(losses: Any, change: Any, message: str, whole: xr.Dataset) -> None:
    with pytest.raises(ValueError, match=message):
        gs.with_losses(change(whole), losses, progress=False)


def test_a_target_of_another_shape_and_data_of_another_kind_are_refused(whole: xr.Dataset) -> None:
    with pytest.raises(ValueError, match=r"target must be v of shape \(2, 16, 16\) or \(1, 16, 16\)"):
        gs.with_losses(whole, ["spectrum"], np.zeros((2, 8, 8)), progress=False)
    with pytest.raises(TypeError, match="data must be a dataset"):
        gs.with_losses(3, ["spectrum"], progress=False)  # type: ignore[arg-type]
