"""The live page in a browser: what is pressed, slid and clicked changes what is shown, as the data say."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

import gsimplicit as gs


def picture(page: Any) -> np.ndarray:
    return np.array(page.data("picture")["image"][0], dtype=np.float32)


@pytest.fixture(scope="module")
def url(served: Callable[..., str]) -> str:
    return served("--grid", "64", "64")


@pytest.fixture
def page(visit: Callable[[str], Any], url: str) -> Any:
    """The live page, paused after some pictures."""
    page = visit(url)
    page.until("the fifth picture", lambda: page.told()["frame"] > 5)
    page.pause()
    return page


def test_the_page_marches_by_itself_and_what_it_shows_is_the_march(page: Any) -> None:
    told = page.told()
    assert told["steps"] >= 64
    assert told["status"] == "marching"
    page.until("the time in words", lambda: f"t = {told['time']:,.6g}" in page.text("report"))
    start = gs.initial_state(grid=(64, 64)).float()
    params = gs.Params.preset("paper")
    state = gs.steady_state(params, start, tol=0.0, max_steps=int(told["steps"]), dtype=start.dtype, progress=False)
    assert np.array_equal(picture(page).reshape(64, 64), state.v[0].numpy())
    assert told["largest"] == state.v.max().item()


def test_a_step_marches_as_many_steps_as_the_slider_says_and_a_reset_goes_back(page: Any, shots: Any) -> None:
    before = page.told()
    page.press("Step")
    page.until("64 steps more", lambda: page.told()["steps"] == before["steps"] + 64)
    assert math.isfinite(page.told()["residual"])
    page.press("Reset")
    page.until("the start", lambda: page.told()["steps"] == 0)
    assert page.told()["status"] == "new"
    shots(page, "live")


def test_a_slider_that_is_moved_changes_the_parameter_and_what_is_marched(page: Any) -> None:
    def marched() -> np.ndarray:
        page.press("Reset")
        page.until("the start", lambda: page.told()["steps"] == 0)
        page.press("Step")
        page.until("a step", lambda: page.told()["steps"] == 64)
        return picture(page)

    first, values = marched(), page.told()["values"]
    handle = page.tab.locator(".noUi-handle").nth(2)  # Du, Dv, F
    handle.focus()
    for _ in range(20):
        handle.press("ArrowRight")
    page.until("another F", lambda: page.told()["values"][2] > values[2] * 1.01)
    moved = page.told()["values"]
    assert [a == b for a, b in zip(values, moved, strict=True)] == [True, True, False, True]
    assert np.abs(marched() - first).max() > 1e-4


def test_a_click_draws_a_disc_where_it_was_and_a_drag_a_line(page: Any) -> None:
    before = picture(page).reshape(64, 64)
    x, y = page.place("field", 0.25, 0.75)  # column 16, row 48
    page.tab.mouse.click(x, y)
    page.until("a disc", lambda: not np.array_equal(picture(page), before.ravel()))
    after = picture(page).reshape(64, 64)
    rows, columns = np.nonzero(after != before)
    assert np.hypot(rows - 47.5, columns - 15.5).max() < 8
    assert after[48, 16] == 0.25
    begin, end = page.place("field", 0.1, 0.1), page.place("field", 0.9, 0.1)
    page.tab.mouse.move(*begin)
    page.tab.mouse.down()
    page.tab.mouse.move(*end, steps=20)
    page.tab.mouse.up()
    page.until("a line", lambda: (picture(page).reshape(64, 64)[6, 8:56] == 0.25).all())
    page.press("Step")
    page.until("a march from there", lambda: page.told()["status"] == "marching")


def test_another_model_and_another_map_are_shown(page: Any) -> None:
    page.tab.get_by_label("Model").select_option("fitzhugh_nagumo")
    page.until("five parameters", lambda: len(page.told()["values"]) == 5)
    assert page.told()["values"] == list(gs.models.fitzhugh_nagumo.presets["stripes"])
    page.tab.get_by_label("Preset").select_option("labyrinth")
    page.until("its other preset", lambda: page.told()["values"][0] == 0.5)
    page.press("Step")
    page.until("a march", lambda: page.told()["status"] == "marching")
    dark = page.tab.evaluate("() => Bokeh.documents[0].get_model_by_name('colours').palette[0]")
    page.tab.get_by_label("Colours").select_option("gray")
    page.until(
        "grey", lambda: page.tab.evaluate("() => Bokeh.documents[0].get_model_by_name('colours').palette[0]") != dark
    )


def test_a_parameter_moved_by_hand_is_in_no_preset_and_the_preset_can_be_chosen_again(page: Any) -> None:
    preset = page.tab.get_by_label("Preset")
    preset.select_option("karl_sims")
    page.until("the preset", lambda: page.told()["values"] == [0.15, 0.075, 0.055, 0.062])
    handle = page.tab.locator(".noUi-handle").nth(2)
    handle.press("ArrowRight")
    page.until("no preset", lambda: preset.input_value() == "moved by hand")
    page.until("another F", lambda: page.told()["values"][2] > 0.055)  # the picture comes after the label
    preset.select_option("karl_sims")
    page.until("the preset again", lambda: page.told()["values"] == [0.15, 0.075, 0.055, 0.062])
    assert preset.locator("option").all_inner_texts() == list(gs.models.gray_scott.presets)


def test_what_is_erased_is_at_rest_for_another_model_too(page: Any) -> None:
    page.tab.get_by_label("Model").select_option("schnakenberg")
    page.until("another model", lambda: page.told()["values"] == list(gs.models.schnakenberg.presets["hexagons"]))
    before = picture(page).reshape(64, 64)
    page.press("erase")
    a, b = page.told()["values"][2:]

    def erased() -> bool:  # a click that overtakes the button draws; the next one erases
        page.tab.mouse.click(*page.place("field", 0.5, 0.5))
        page.tab.wait_for_timeout(500)
        return bool(np.isclose(picture(page).reshape(64, 64)[32, 32], b / (a + b) ** 2, rtol=1e-6))

    page.until("a disc at rest", erased)
    after = picture(page).reshape(64, 64)
    assert (after[after != before] == after[32, 32]).all()


def test_the_preset_asked_for_is_the_one_named(visit: Callable[[str], Any], served: Callable[..., str]) -> None:
    page = visit(served("--model", "schnakenberg", "--preset", "stripes", "--grid", "32", "32"))
    assert page.tab.get_by_label("Preset").input_value() == "stripes"


def test_what_is_taken_away_is_a_picture_an_animation_and_lines_that_repeat_the_fields(page: Any) -> None:
    assert Image.open(io.BytesIO(page.download("Picture"))).size > (300, 300)
    assert Image.open(io.BytesIO(page.download("Animation"))).n_frames > 3  # type: ignore[attr-defined]
    fields = np.load(io.BytesIO(page.download("Fields")))["fields"]
    space: dict[str, Any] = {}
    exec(page.download("Python").decode(), space)
    assert np.array_equal(space["fields"].numpy(), fields)
    page.press("Show the lines")
    page.until("the lines", lambda: page.tab.get_by_text("gs.initial_state(seed=0").count() == 1)


def test_refine_certifies_the_state_there_is(visit: Callable[[str], Any], served: Callable[..., str]) -> None:
    page = visit(served("--grid", "32", "32", "--k", "0.075"))
    page.until("no pattern", lambda: page.told()["steps"] > 2000)
    page.press("Refine")
    page.until("a root", lambda: page.told()["status"] == "steady")
    assert page.told()["residual"] < 1e-8
    page.until("the words", lambda: "Refined: steady (trivial)" in page.text("report"))  # they come after the picture
