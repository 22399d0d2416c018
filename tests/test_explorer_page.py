"""The explorer's page without a browser: what is pressed in quick succession, what is drawn, how long it marches."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import gsimplicit as gs
from gsimplicit.explorer import export, landscape, walking
from gsimplicit.explorer.background import Background
from gsimplicit.explorer.simulation import Simulation

pytest.importorskip("panel")

from gsimplicit.explorer.page import controls as controls_file
from gsimplicit.explorer.page.controls import Controls
from gsimplicit.explorer.page.field_view import FieldView
from gsimplicit.explorer.page.plane_view import PlaneView, shade_of, words_of
from gsimplicit.explorer.page.server import _cannot
from gsimplicit.explorer.page.walker import Walker

pytestmark = pytest.mark.filterwarnings("ignore:Widget.name is deprecated:PendingDeprecationWarning")


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> landscape.Landscape:
    file = tmp_path_factory.mktemp("plane") / "plane.nc"
    start = gs.initial_state(grid=(16, 16), box=gs.Box(half=4))
    axes = {"F": [0.035, 0.04], "k": [0.03, 0.062]}
    routes = ["implicit", "unrolled"]
    gs.scan(axes, losses=["spectrum"], routes=routes, initial=start, max_steps=400, store=file, progress=False)
    return landscape.opened(file)


class Desk:
    """A page of a landscape whose thread is this one; work begins when it is let go."""

    def __init__(self, plane: landscape.Landscape) -> None:
        self.later: list[Any] = []
        self.work = Background(self._soon)
        live = Simulation(plane.params((0.035, 0.03)), plane.start(0), dt=plane.dt())
        self.controls = Controls(live, self.work, choose_model=False, running=False)
        self.walker = Walker(plane, self.controls, self.work)
        self.until_idle()

    def _soon(self, act: Any) -> None:
        self.later.append(act)

    def hold(self) -> threading.Event:
        """Keep the thread beside at work until the event is set."""
        gate = threading.Event()
        self.work.ask("held", lambda: self.work.start(gate.wait, lambda x: None, lambda e: None))
        return gate

    def until_idle(self) -> None:
        end = time.monotonic() + 60
        while self.work.busy or self.later:
            assert time.monotonic() < end
            while self.later:
                self.later.pop(0)()

    def click(self, row: int, column: int) -> None:
        down, across = self.walker.plane.values(0)[row], self.walker.plane.values(1)[column]
        self.walker._tapped(SimpleNamespace(x=across, y=down))

    def said(self) -> str:
        return str(self.controls._report.text)


@pytest.fixture
def desk(plane: landscape.Landscape) -> Iterator[Desk]:
    made = Desk(plane)
    yield made
    made.work.close()


def test_a_point_clicked_while_something_runs_is_marched_before_the_step_from_it(desk: Desk) -> None:
    gate = desk.hold()
    desk.click(1, 1)
    desk.walker._route.value = "unrolled"
    desk.walker.step()
    assert "the step comes after it" in desk.walker._walked.text
    begun: list[str] = []
    march = desk.walker._begin_march
    desk.walker._begin_march = lambda *given: (begun.append("march"), march(*given))[1]  # type: ignore[method-assign]
    gate.set()
    desk.until_idle()
    assert begun == ["march"]
    (stop,) = desk.walker.stops
    assert desk.controls.live.report().values[2:] == pytest.approx(stop.place)
    assert stop.state is not None
    assert desk.controls.live.report().steps == int(stop.state.steps[0])


def test_a_refinement_asked_for_while_a_point_marches_begins_from_what_the_march_left(desk: Desk) -> None:
    gate = desk.hold()
    desk.click(1, 0)
    desk.controls._refine()
    assert "refining comes after it" in desk.said()
    gate.set()
    desk.until_idle()
    told = desk.controls.live.report()
    assert "Refined: steady (uniform)" in desk.said()
    marched = walking.state_at(desk.walker.plane, (0.04, 0.03), 0)
    assert told.steps == int(marched.steps[0]) + int(desk.controls.live.refined().steps[0])
    assert told.status == "steady"
    assert f"refined with {told.evaluations:,} evaluations" in desk.said()


def test_another_point_drops_what_waited_for_the_one_before(desk: Desk) -> None:
    gate = desk.hold()
    desk.walker.step()
    desk.controls._refine()
    desk.click(1, 1)
    gate.set()
    desk.until_idle()
    assert desk.walker.stops == []
    assert "As the scan left it" in desk.said()
    assert desk.controls.live.report().evaluations == 0


def test_python_of_a_point_repeats_it_until_it_is_marched_on(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    desk.click(1, 1)
    desk.until_idle()
    for steps in (0, 1):
        desk.walker._route.value = "unrolled"
        if steps:
            desk.walker.step()
            desk.until_idle()
        space: dict[str, Any] = {}
        lines = export.lines_of(desk.controls.live)
        assert "np.load" not in lines
        exec(lines, space)
        assert torch.equal(space["fields"], desk.controls.live.fields)
    desk.controls._step()
    assert "np.load" in export.lines_of(desk.controls.live)


def test_a_flat_gradient_is_a_dot_with_words_and_a_steep_one_an_arrow(plane: landscape.Landscape) -> None:
    view, point = PlaneView(plane, "spectrum", 0, "cividis"), plane.point((1, 0))
    view.choose(point, "spectrum")
    assert view.arrows["implicit"].data["x0"] == []
    assert (view.dots["implicit"].data["x"], view.dots["implicit"].data["y"]) == ([0.03], [0.04])
    assert "steady, flat" in words_of(point, "spectrum", plane)
    assert walking.NOTHING in words_of(point, "spectrum", plane)
    steep = plane.point((1, 1))
    view.choose(steep, "spectrum")
    assert len(view.arrows["unrolled"].data["x0"]) == 1
    assert view.dots["unrolled"].data["x"] == []
    assert "flat" not in words_of(steep, "spectrum", plane)


def test_an_arrow_at_the_rim_stays_within_the_frame(plane: landscape.Landscape) -> None:
    for row in (0, 1):
        for column in (0, 1):
            wide = PlaneView(plane, "spectrum", 0, "cividis")
            wide.choose(plane.point((row, column)), "spectrum")
            for arrow in wide.arrows.values():
                for x, y in zip(arrow.data["x1"], arrow.data["y1"], strict=True):
                    assert wide.plot.x_range.start < x < wide.plot.x_range.end
                    assert wide.plot.y_range.start < y < wide.plot.y_range.end


def test_losses_of_many_decades_are_coloured_by_their_logarithm() -> None:
    wide, narrow = np.array([0.0, 1e-16, 1.0, np.nan]), np.array([0.2, 185.0])
    shade, logarithm = shade_of(wide)
    assert logarithm
    assert np.allclose(shade, [-16, -16, 0, np.nan], equal_nan=True)
    assert shade_of(narrow)[1] is False
    assert shade_of(np.array([-1.0, 1e-16, 1.0]))[1] is False


def test_what_ran_until_it_diverged_says_so_through_a_slider_and_runs_again_from_a_preset() -> None:
    work = Background(lambda act: act())
    params = gs.models.schnakenberg.preset("hexagons").replace(Dv=0.0)
    live = Simulation(params, grid=(16, 16))
    page = Controls(live, work, choose_model=True, running=True)
    end = time.monotonic() + 30
    while page.running:
        assert time.monotonic() < end
        page.view.begin()
        page.tick()
    page._move("a", 0.11)
    assert (live.report().status, live.report().values[2]) == ("diverged", 0.11)
    assert "<b>diverged</b> &middot; press Reset or choose a preset" in page._report.text
    assert "nan" not in page._report.text
    page._switch(gs.models.schnakenberg.preset("stripes"))
    assert (page.running, live.report().status) == (True, "new")
    work.close()


def test_run_and_reset_begin_what_diverged_anew() -> None:
    work = Background(lambda act: act())
    live = Simulation(gs.Params.preset("paper").replace(Du=0.3), grid=(16, 16), dt=1.0)
    page = Controls(live, work, choose_model=True, running=False)
    for act, running in ((page._pause, True), (page._reset, False)):
        live.advance(500)
        assert live.report().status == "diverged"
        page._set_running(False)
        act()
        assert (live.report().status, page.running) == ("new", running)
    work.close()


def test_no_more_is_marched_between_two_pictures_than_a_button_can_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Background(lambda act: act())
    live = Simulation(gs.Params.preset("paper"), grid=(16, 16))
    page = Controls(live, work, choose_model=True, running=True)
    for longest, steps in ((1e6, 64), (1e-9, 1)):
        monkeypatch.setattr(controls_file, "_LONGEST", longest)
        page.tick()
        page.view.begin()
        before = live.steps
        page.tick()
        page.view.begin()
        assert live.steps - before == steps
    work.close()


def test_the_picture_that_is_taken_away_says_paused_when_the_page_does(monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[str] = []
    as_it_stands = export.as_it_stands
    monkeypatch.setattr(export, "as_it_stands", lambda text: (titles.append(text), as_it_stands(text))[1])
    work = Background(lambda act: act())
    page = Controls(Simulation(gs.Params.preset("paper"), grid=(16, 16)), work, choose_model=True, running=False)
    page._step()
    for running, word in ((False, "paused"), (True, "marching")):
        page._set_running(running)
        page._png()
        assert f", {word}, residual" in titles[-1]
    work.close()


def test_a_slider_shows_the_digits_that_its_value_has() -> None:
    work = Background(lambda act: act())
    live = Simulation(gs.Params.preset("paper").replace(F=0.0401015), grid=(16, 16))
    page = Controls(live, work, choose_model=True, running=False)
    slider = page._sliders.objects[2]
    assert (slider.value, slider.format) == (0.0401015, "0.0000[0000]")
    work.close()


def test_large_fields_are_sent_thinned_and_shown_at_their_size() -> None:
    live = Simulation(gs.Params.preset("paper"), grid=(600, 1100))
    view = FieldView(live.picture(), live.report(), "v", "cividis")
    assert view.source.data["image"][0].shape == (200, 367)
    assert (view.source.data["dw"], view.source.data["dh"]) == ([1100], [600])
    assert view.source.data["image"][0][100, 183] == live.picture()[300, 549]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EADDRINUSE, "port 80 is in use: choose another with --port"),
        (errno.EACCES, "port 80 is not for this user: choose another with --port"),
        (errno.EADDRNOTAVAIL, "host 192.0.2.1 is no address of this machine (words): see --host"),
    ],
)
def test_an_address_that_cannot_be_listened_at_is_named_with_its_option(number: int, said: str) -> None:
    assert said in _cannot("192.0.2.1", 80, OSError(number, "words"))
