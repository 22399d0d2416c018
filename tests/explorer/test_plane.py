"""The page of a landscape in a browser: a click shows a point as the file has it, a step goes downhill."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image

import gsimplicit as gs


@pytest.fixture(scope="module")
def data(landscape: Path) -> xr.Dataset:
    return gs.partial_scan(landscape)


@pytest.fixture(scope="module")
def url(served: Callable[..., str], landscape: Path) -> str:
    return served(str(landscape))


@pytest.fixture
def page(visit: Callable[[str], Any], url: str) -> Any:
    page = visit(url)
    page.until("the first state", lambda: "As the scan left it" in page.text("report"))
    return page


def shown(page: Any) -> np.ndarray:
    return np.array(page.data("picture")["image"][0], dtype=np.float32)


def starts_at(page: Any, arrow: str, x: float, y: float) -> bool:
    ends = page.data(arrow)
    return bool(ends["x0"] == [x] and ends["y0"] == [y])


def click(page: Any, row: int, column: int) -> None:
    """Click on a cell of the plane of 4 x 5."""
    frame = page.told()["frame"]
    page.tab.mouse.click(*page.place("landscape", (column + 0.5) / 5, (row + 0.5) / 4))
    page.until("another picture", lambda: page.told()["frame"] > frame)
    page.until("its state", lambda: "As the scan left it" in page.text("report"))


def test_the_plane_shows_the_losses_of_the_file_and_another_loss_when_asked(page: Any, data: xr.Dataset) -> None:
    assert page.data("plane")["loss"] == data["loss"].sel(objective="spectrum").isel(sample=0).values.ravel().tolist()
    page.tab.get_by_label("Loss").select_option("windowed")
    windowed = data["loss"].sel(objective="windowed").isel(sample=0).values.ravel().tolist()
    page.until("the other loss", lambda: page.data("plane")["loss"] == windowed)
    page.until("its derivatives", lambda: "d windowed / d F" in page.text("point"))
    assert "d windowed / d k" in page.text("point")


def test_another_start_shows_its_own_losses_and_its_own_pattern(page: Any, data: xr.Dataset) -> None:
    page.tab.get_by_label("Start").select_option("1")
    losses = data["loss"].sel(objective="spectrum").isel(sample=1).values.ravel().tolist()
    page.until("the other losses", lambda: page.data("plane")["loss"] == losses)
    kept = data["v"].isel(F=2, k=2, sample=1).values.ravel()
    page.until("the other pattern", lambda: np.abs(shown(page) - kept).max() < 1e-5)
    page.until("its state", lambda: "As the scan left it" in page.text("report"))
    page.press("Step downhill")
    page.until("a step", lambda: len(page.data("walk")["x"]) == 2)
    page.tab.get_by_label("Start").select_option("0")
    page.until("no walk of the other start", lambda: len(page.data("walk")["x"]) == 1)


def test_what_is_taken_away_from_a_landscape_repeats_what_is_shown(
    page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.press("Step")
    page.until("64 steps more", lambda: page.told()["steps"] == 464)
    page.press("Step downhill")
    page.until("a step", lambda: len(page.data("walk")["x"]) == 2)
    page.until("the state there", lambda: page.told()["steps"] == 400)
    page.press("Step")
    page.until("64 steps more", lambda: page.told()["steps"] == 464)
    (tmp_path / "gsimplicit_start.npz").write_bytes(page.download("Fields"))
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {}
    exec(page.download("Python").decode(), space)
    assert np.array_equal(space["fields"][0, -1].numpy().ravel(), shown(page))
    assert Image.open(io.BytesIO(page.download("Animation"))).n_frames == 2  # type: ignore[attr-defined]
    assert Image.open(io.BytesIO(page.download("Picture"))).format == "PNG"


def test_python_of_a_point_that_nothing_was_done_to_repeats_it_without_a_file(page: Any) -> None:
    click(page, 1, 2)
    page.until("its steps", lambda: page.told()["steps"] == 400)
    lines = page.download("Python").decode()
    assert "np.load" not in lines
    space: dict[str, Any] = {}
    exec(lines, space)
    assert np.array_equal(space["fields"][0, -1].numpy().ravel(), shown(page))


def test_another_point_is_marched_and_refined_while_a_refinement_runs(page: Any, data: xr.Dataset) -> None:
    page.press("Refine")
    page.tab.mouse.click(*page.place("landscape", 0.9, 0.1))  # F 0.030, k 0.066
    page.press("Refine")
    here = [data["F"].values[0], data["k"].values[4]]
    page.until("the other point", lambda: page.told()["values"][2:] == here)
    page.until("its root", lambda: "Refined: " in page.text("report"))
    page.until("its march and more", lambda: page.told()["steps"] >= 400 and page.told()["values"][2:] == here)


def test_a_scan_that_still_runs_shows_what_is_stored_and_more_when_it_is_loaded_again(
    visit: Callable[[str], Any], served: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scan() -> xr.Dataset:
        axes = {"F": [0.030, 0.035], "k": [0.060, 0.062]}
        start = gs.initial_state(grid=(16, 16), box=gs.Box(half=4))
        asked: dict[str, Any] = {"losses": ["spectrum"], "routes": ["unrolled"], "tol": 0.0, "max_steps": 100}
        return gs.scan(axes, initial=start, store=tmp_path / "runs.nc", progress=False, **asked)

    with monkeypatch.context() as patch:  # it ends before its file is written, and loses the last point
        patch.setattr(gs.landscape.store.Store, "finish", lambda self, whole: None)
        scan()
    tiles = sorted((tmp_path / "runs.nc.tiles").glob("tile-*.tile"))
    tiles[-1].unlink()
    part = gs.partial_scan(tmp_path / "runs.nc")
    missing = np.argwhere(part["done"].values == 0)
    page = visit(served(str(tmp_path / "runs.nc")))
    assert f"{4 - len(missing)} of 4 points are stored" in page.text("stored")
    assert sum(np.isnan(page.data("plane")["loss"])) == len(missing)
    row, column = missing[-1]
    page.tab.mouse.click(*page.place("landscape", (column + 0.5) / 2, (row + 0.5) / 2))
    page.until("the point in words", lambda: "not stored yet" in page.text("point"))
    page.until("no arrow", lambda: page.data("arrow_unrolled")["x0"] == [])
    here = [part["F"].values[row], part["k"].values[column]]
    page.until("its state", lambda: (page.told()["steps"], page.told()["values"][2:]) == (100, here))
    page.press("Step downhill")
    page.until("a step", lambda: len(page.data("walk")["x"]) == 2)
    whole = scan()
    page.load()
    assert page.data("plane")["loss"] == whole["loss"].values.ravel().tolist()
    with pytest.raises(Exception, match="no model is called stored"):
        page.text("stored")


def test_a_landscape_that_can_only_be_looked_at_shows_its_patterns_and_nothing_to_march(
    visit: Callable[[str], Any], served: Callable[..., str], tmp_path: Path
) -> None:
    def own(v: torch.Tensor) -> torch.Tensor:
        return v.mean((1, 2))

    start = gs.initial_state(grid=(16, 16), box=gs.Box(half=4))
    data = gs.scan(
        {"F": [0.030, 0.035], "k": [0.060, 0.062]}, losses=[own], initial=start, tol=0.0, max_steps=50, keep="v",
        store=tmp_path / "own.nc", progress=False,
    )  # fmt: skip
    page = visit(served(str(tmp_path / "own.nc")))
    kept = data["v"].isel(sample=0).values.astype(np.float32)
    page.until("its pattern", lambda: np.array_equal(shown(page), kept[1, 1].ravel()))
    page.until("why", lambda: "own.nc can only be looked at" in page.text("report"))
    page.tab.mouse.click(*page.place("landscape", 0.25, 0.25))
    page.until("another", lambda: np.array_equal(shown(page), kept[0, 0].ravel()))
    for button in ("Run", "Refine", "Fields"):
        assert page.tab.get_by_role("button", name=button, exact=True).count() == 0
    assert page.tab.get_by_role("button", name="Step downhill").is_disabled()


def test_a_click_shows_the_pattern_status_losses_and_an_arrow_of_each_route(
    page: Any, data: xr.Dataset, shots: Any
) -> None:
    click(page, 2, 1)
    one = data.isel(F=2, k=1, sample=0)
    assert np.abs(shown(page) - one["v"].values.ravel()).max() < 1e-5
    page.until("the point in words", lambda: "<b>fixed</b>, pattern" in page.text("point"))
    loss = f"spectrum {float(one['loss'].sel(objective='spectrum')):.5g}"
    page.until("its loss", lambda: loss in page.text("point"))
    for route in ("unrolled", "tangent"):
        from_there = functools.partial(starts_at, page, f"arrow_{route}", float(one["k"]), float(one["F"]))
        page.until("its arrow", from_there)
        arrow = {name: ends[0] for name, ends in page.data(f"arrow_{route}").items()}
        slope = one["gradient"].sel(route=route, objective="spectrum", parameter=["F", "k"]).values
        steep = slope * [0.005, 0.002]
        way = np.array([arrow["y1"] - arrow["y0"], arrow["x1"] - arrow["x0"]]) / [0.005, 0.002]
        assert np.allclose(way / np.linalg.norm(way), -steep / np.linalg.norm(steep))
    shots(page, "plane")


def test_a_step_goes_one_cell_downhill_and_the_gradient_there_is_taken_anew(page: Any, data: xr.Dataset) -> None:
    click(page, 2, 3)
    page.press("Step downhill")
    page.until("a step", lambda: len(page.data("walk")["x"]) == 2)
    walk = page.data("walk")
    moved = np.array([walk["y"][1] - walk["y"][0], walk["x"][1] - walk["x"][0]]) / [0.005, 0.002]
    assert np.linalg.norm(moved) == pytest.approx(1.0)
    slope = data.isel(F=2, k=3, sample=0)["gradient"].sel(route="unrolled", objective="spectrum", parameter=["F", "k"])
    assert float(moved @ (slope.values * [0.005, 0.002])) < 0
    how = gs.scan_arguments(data)
    there = gs.grad(
        how["base"].replace(F=walk["y"][1], k=walk["x"][1]), "unrolled", "spectrum", data["target"].values[:1],
        data["initial"].values[:1], tol=how["tol"], max_steps=how["max_steps"], progress=False,
    )  # fmt: skip
    assert walk["loss"][1] == there.loss.item()
    page.until("the picture there", lambda: page.told()["values"][2:] == [walk["y"][1], walk["x"][1]])
    page.until("the step in words", lambda: "Step 1 by unrolled" in page.text("walked"))


def test_the_point_is_marched_on_live(page: Any) -> None:
    before = page.told()
    page.press("Run")
    page.until("a march", lambda: page.told()["steps"] >= before["steps"] + 128)
    page.pause()
    page.press("Lines of this point")
    page.until("the lines", lambda: page.tab.get_by_text("gs.scan_arguments(data)").count() == 1)
