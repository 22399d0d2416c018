"""The page of a landscape in a browser: a click shows a point as the file has it, a step goes downhill."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

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


def test_a_click_shows_the_pattern_status_losses_and_an_arrow_of_each_route(
    page: Any, data: xr.Dataset, shots: Any
) -> None:
    click(page, 2, 1)
    shown = np.array(page.data("picture")["image"][0], dtype=np.float32)
    one = data.isel(F=2, k=1, sample=0)
    assert np.abs(shown - one["v"].values.ravel()).max() < 1e-5
    page.until("the point in words", lambda: "<b>fixed</b>, pattern" in page.text("point"))
    text = page.text("point")
    assert f"spectrum {float(one['loss'].sel(objective='spectrum')):.5g}" in text
    for route in ("unrolled", "tangent"):
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
    assert page.told()["values"][2:] == [walk["y"][1], walk["x"][1]]
    page.until("the step in words", lambda: "Step 1 by unrolled" in page.text("walked"))


def test_the_point_is_marched_on_live(page: Any) -> None:
    before = page.told()
    page.press("Run")
    page.until("a march", lambda: page.told()["steps"] >= before["steps"] + 128)
    page.pause()
    page.press("Lines of this point")
    page.until("the lines", lambda: page.tab.get_by_text("gs.scan_arguments(data)").count() == 1)
