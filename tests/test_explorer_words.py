"""What the explorer says is so: settled, flat, diverged, steps and evaluations, and lines that repeat a point."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import gsimplicit as gs
from gsimplicit.explorer import export, landscape, simulation, walking
from gsimplicit.explorer.simulation import Simulation

ROUTES = ["implicit", "unrolled"]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> landscape.Landscape:
    """Uniform states left, where the implicit gradient is what rounding makes of zero, and patterns right."""
    file = tmp_path_factory.mktemp("plane") / "plane.nc"
    start = gs.initial_state(2, grid=(24, 24), box=gs.Box(half=5))
    gs.scan(
        {"F": [0.035, 0.04], "k": [0.03, 0.062, 0.066]}, losses=["spectrum", "residual"],
        routes=[gs.routes.Implicit(gs.Refine(max_evaluations=1000)), "unrolled"],
        initial=start, max_steps=400, store=file, progress=False,
    )  # fmt: skip
    return landscape.opened(file)


def repeated(lines: str) -> torch.Tensor:
    space: dict[str, Any] = {}
    exec(lines, space)
    return space["fields"]


def test_a_gradient_that_rounding_makes_of_zero_is_flat_and_no_step_is_taken(plane: landscape.Landscape) -> None:
    point = plane.point((1, 0))
    stop = walking.begin(plane, point, "implicit", "spectrum")
    assert point.kind == "uniform"
    assert 0 < math.hypot(*stop.slope) < 1e-6
    assert stop.said == walking.NOTHING
    assert walking.downhill(stop.slope, plane.cell(), stop.least) == (0.0, 0.0)
    with pytest.raises(ValueError, match="the gradient says nothing here"):
        walking.step(plane, stop, 1.0)
    looked = walking.look(plane, point.place, "implicit", "spectrum", 0)
    assert looked.said == walking.NOTHING
    steep = walking.begin(plane, plane.point((1, 1)), "unrolled", "spectrum")
    assert steep.said == ""
    assert math.hypot(*walking.downhill(steep.slope, plane.cell(), steep.least)) == pytest.approx(1.0)


def test_what_is_flat_is_told_from_the_loss_there_and_next_to_zero_from_the_plane() -> None:
    losses = np.array([200.0, 0.1, 0.0, np.nan])
    assert walking.least_change(losses, 200.0) == pytest.approx([0.2, 1e-4, 2e-7, 2e-7])
    assert walking.downhill((1e-3, 0.0), (1.0, 1.0), float(walking.least_change(0.1, 200.0))) == (-1.0, 0.0)


def test_the_residual_loss_is_walked_by_its_exact_derivative_whatever_the_route(plane: landscape.Landscape) -> None:
    point = plane.point((0, 1), 1)
    for route in ROUTES:
        stop = walking.look(plane, point.place, route, "residual", 1)
        assert stop.slope == pytest.approx(point.gradients[route][1]["residual"], rel=1e-12)
        assert stop.loss == pytest.approx(point.losses["residual"], rel=1e-12)
    there = walking.look(plane, walking.step(plane, stop, 0.5), "implicit", "residual", 1)
    assert there.loss < stop.loss


@pytest.mark.parametrize(("route", "objective"), [("", ""), ("implicit", "spectrum"), ("unrolled", "residual")])
def test_lines_of_a_point_that_nothing_was_done_to_repeat_its_fields_without_a_file(
    plane: landscape.Landscape, route: str, objective: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = 0.0398, 0.031
    live = Simulation(plane.params(place), plane.start(1), dt=plane.dt())
    stop = walking.look(plane, place, route, objective, 1) if route else None
    state = walking.state_at(plane, place, 1) if stop is None else stop.state
    assert state is not None
    live.adopt(state, marched=True, lines=export.lines_of_point(plane, place, 1, route, objective, walked=True))
    lines = export.lines_of(live)
    assert "np.load" not in lines
    assert torch.equal(repeated(lines), live.fields)
    live.advance(8)
    assert f"download Fields, which is {export.START_FILE}" in export.lines_of(live)
    (tmp_path / export.START_FILE).write_bytes(export.npz(live))
    assert torch.equal(repeated(export.lines_of(live)), live.fields)


def test_what_is_drawn_into_a_point_is_not_said_to_be_the_points(plane: landscape.Landscape) -> None:
    live = Simulation(plane.params((0.04, 0.062)), plane.start(0))
    live.adopt(live.refined(), marched=True, lines="fields = 1")
    assert export.lines_of(live) == "fields = 1"
    live.draw(3, 3)
    assert "np.load" in export.lines_of(live)
    assert "for values" not in export.lines_of(live)


def test_a_short_step_does_not_make_a_growing_pattern_settled() -> None:
    live = Simulation(gs.models.schnakenberg.preset("hexagons"), grid=(24, 24))
    assert live.dt < 0.05
    told = []
    for _ in range(40):
        live.advance(64)
        told.append(live.report())
    assert min(one.residual for one in told[:-1]) < told[-1].residual
    assert min(one.residual * one.dt for one in told) < 1e-4  # the change over a step alone would say settled
    assert {one.status for one in told} == {"marching"}


def test_what_is_at_rest_is_settled_and_what_begins_to_grow_is_not() -> None:
    rest = Simulation(gs.Params.preset("paper_pivot_1"), grid=(24, 24))
    for _ in range(8):
        rest.advance(64)
    assert rest.report().status == "settled"
    F, k = 0.04, 0.03
    v = F / (2 * (F + k)) * (1 - math.sqrt(1 - 4 * (F + k) ** 2 / F)) * 1.0005  # the uniform state between two others
    start = torch.tensor([1 - v * (F + k) / F, v]).reshape(1, 2, 1, 1).expand(1, 2, 24, 24)
    live = Simulation(gs.Params.preset("paper").replace(F=F, k=k), start)
    for _ in range(5):
        live.advance(4)
    assert simulation._NOISE < live.report().residual < simulation.SETTLED
    assert live.report().status == "marching"


def test_steps_of_a_refinement_come_on_top_and_its_evaluations_are_told() -> None:
    live = Simulation(gs.Params.preset("paper").replace(k=0.075), grid=(24, 24))
    live.advance(100)
    state = live.refined()
    live.adopt(state)
    told = live.report()
    assert told.steps == 100 + int(state.steps[0])
    assert told.time == told.steps * live.dt
    assert told.evaluations == int(state.evaluations[0]) > 0
    live.adopt(state, marched=True)
    assert (live.report().steps, live.report().evaluations) == (int(state.steps[0]), int(state.evaluations[0]))
    live.reset()
    assert live.report().evaluations == 0


def test_what_diverged_stays_diverged_until_it_begins_anew() -> None:
    live = Simulation(gs.Params.preset("paper").replace(Du=0.3), grid=(24, 24), dt=1.0)
    live.advance(500)
    live.move("F", 0.04)
    live.draw(3, 3)
    assert live.report().status == "diverged"
    live.reset()
    assert live.report().status == "new"


def test_pictures_for_an_animation_take_no_more_than_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "_REMEMBERED_BYTES", 5 * 16 * 16 * 4)
    live = Simulation(gs.Params.preset("paper"), grid=(16, 16))
    for _ in range(9):
        live.advance(1)
    assert len(live.recent) == 5
    assert np.array_equal(live.recent[-1], live.picture())
    monkeypatch.setattr(simulation, "_REMEMBERED_BYTES", 1)
    live.advance(1)
    assert len(live.recent) == 1
