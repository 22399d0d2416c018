"""The explorer without its page: what is marched and drawn, what is believed of a file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image

import gsimplicit as gs
from gsimplicit import dataset
from gsimplicit.__main__ import main
from gsimplicit.explorer import export, landscape, walking
from gsimplicit.explorer.colours import MAPS, palette
from gsimplicit.explorer.simulation import Simulation, span_of, step_of

PAPER = gs.Params.preset("paper")


@pytest.fixture
def live() -> Simulation:
    return Simulation(PAPER, grid=(32, 32))


@pytest.fixture(scope="module")
def scanned() -> xr.Dataset:
    start = gs.initial_state(2, grid=(16, 16), box=gs.Box(half=4))
    return gs.scan(
        {"F": [0.030, 0.035, 0.040], "k": [0.060, 0.062]}, losses=["spectrum", "residual"], routes=["unrolled"],
        initial=start, tol=0.0, max_steps=50, keep="v", progress=False,
    )  # fmt: skip


@pytest.fixture
def file(scanned: xr.Dataset, tmp_path: Path) -> Path:
    return dataset.save(scanned, tmp_path / "plane.nc")


def repeated(lines: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    """The fields that lines of Python give."""
    monkeypatch.chdir(folder)
    space: dict[str, Any] = {}
    exec(lines, space)
    return space["fields"]


def test_marched_in_pieces_it_has_the_bits_of_one_march(live: Simulation) -> None:
    for steps in (1, 7, 64):
        live.advance(steps)
    start = gs.initial_state(grid=(32, 32), box=gs.Box(half=8)).float()
    state = gs.steady_state(PAPER, start, tol=0.0, max_steps=72, dtype=torch.float32)
    assert torch.equal(live.fields, state.fields)
    assert live.report().residual == pytest.approx(float(state.change[0]))


def test_a_disc_is_drawn_over_the_edges_and_erased(live: Simulation) -> None:
    live.advance(10)
    before = live.picture()
    live.draw(0.0, 31.0, radius=2.0)
    changed = live.picture() != before
    assert changed.sum() == 13
    assert changed[[0, 0, 30, 1], [31, 0, 31, 31]].all()
    assert (live.picture()[changed] == 0.25).all()
    live.draw(0.0, 31.0, radius=2.0, erase=True)
    assert (live.picture()[changed] == 0.0).all()
    assert (live.fields[0, 0].numpy()[changed] == 1.0).all()


def test_a_line_is_drawn_without_gaps(live: Simulation) -> None:
    live.draw_line((5.0, 2.0), (5.0, 28.0), 1.0, erase=False)
    assert (live.picture()[5, 2:29] == 0.25).all()


@pytest.mark.parametrize("name", [n for n in gs.models.__all__ if isinstance(getattr(gs.models, n), gs.Model)])
def test_every_preset_of_every_model_marches_and_can_be_drawn_into(name: str) -> None:
    for preset in getattr(gs.models, name).presets:
        live = Simulation(getattr(gs.models, name).preset(preset), grid=(16, 16))
        live.draw(8, 8, 3)
        live.advance(200)
        assert live.report().status != "diverged", preset
        assert not live.report().warning, preset


def test_a_step_that_is_too_long_is_said_and_ends_diverged_until_the_next_start() -> None:
    live = Simulation(PAPER.replace(Du=0.3), grid=(32, 32), dt=1.0)
    assert "the explicit step is unstable" in live.report().warning
    live.advance(500)
    assert live.report().status == "diverged"
    steps = live.report().steps
    live.advance(5)
    assert live.report().steps == steps
    live.switch(PAPER)
    live.advance(5)
    assert (live.report().status, live.report().dt) == ("marching", 1.0)


def test_a_step_is_as_long_as_is_stable() -> None:
    assert [step_of(PAPER.replace(Du=d)) for d in (0.24, 0.25, 20.0)] == [1.0, 0.5, 0.01]
    assert span_of(gs.models.fitzhugh_nagumo.preset("stripes"), "a0") == (-1.0, 1.0)


@pytest.mark.parametrize("change", [{"F": -1.0}, {"k": float("nan")}])
def test_a_parameter_outside_its_range_is_refused_and_the_old_one_stays(
    live: Simulation, change: dict[str, float]
) -> None:
    ((name, value),) = change.items()
    with pytest.raises(ValueError, match=f"{name} must be finite"):
        live.move(name, value)
    assert live.report().values == (0.16, 0.08, 0.035, 0.065)


def test_lines_of_python_repeat_a_march_with_moved_parameters_to_the_bit(
    live: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live.advance(30)
    live.move("F", 0.04)
    live.advance(20)
    live.move("Du", 0.3)
    live.advance(10)
    lines = export.lines_of(live)
    assert len(lines.splitlines()) < 20
    assert torch.equal(repeated(lines, tmp_path, monkeypatch), live.fields)


def test_lines_of_python_repeat_a_drawing_from_its_file(
    live: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live.advance(30)
    live.draw(3, 3)
    live.advance(20)
    (tmp_path / export.START_FILE).write_bytes(export.npz(live))
    assert torch.equal(repeated(export.lines_of(live), tmp_path, monkeypatch), live.fields)


def test_a_picture_and_an_animation_hold_what_was_shown(live: Simulation) -> None:
    for _ in range(4):
        live.advance(20)
    with Image.open(io.BytesIO(export.png(live, "cividis"))) as picture:
        assert picture.format == "PNG"
    with Image.open(io.BytesIO(export.gif(list(live.recent), "gray"))) as moving:
        assert (moving.n_frames, moving.size) == (5, (256, 256))
        moving.seek(4)
        shown = np.asarray(moving.convert("L"), dtype=float)[4::8, 4::8][::-1]
    expected = live.recent[-1] / max(one.max() for one in live.recent) * 255
    assert np.abs(shown - expected).max() < 2
    with pytest.raises(ValueError, match="no picture"):
        export.gif([], "gray")


@pytest.mark.parametrize("name", MAPS)
def test_a_colour_map_grows_lighter_evenly(name: str) -> None:
    rgb = np.array([[int(c[n : n + 2], 16) / 255 for n in (1, 3, 5)] for c in palette(name)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    shine = linear @ [0.2126, 0.7152, 0.0722]
    lightness = np.where(shine > 0.008856, 116 * np.cbrt(shine) - 16, 903.3 * shine)[::8]
    assert (np.diff(lightness) > 0).all()
    assert np.diff(lightness).max() < 3 * np.diff(lightness).mean()


def test_adopted_states_are_shown_with_their_status(live: Simulation) -> None:
    live.move("k", 0.075)
    live.advance(1500)
    live.adopt(live.refined())
    assert (live.report().status, live.drawn) == ("steady", True)
    assert np.array_equal(live.recent[-1], live.picture())


def test_a_state_marched_from_the_start_has_its_steps_and_its_picture_alone(live: Simulation) -> None:
    live.advance(10)
    state = gs.steady_state(live.params, live.start, tol=0.0, max_steps=40, progress=False)
    live.adopt(state, marched=True)
    assert (live.report().steps, live.report().time, len(live.recent)) == (40, 40 * live.dt, 1)


def test_of_other_parameters_no_residual_is_told_before_a_step(live: Simulation) -> None:
    live.advance(10)
    live.move("F", 0.03)
    assert np.isnan(live.report().residual)


def test_a_landscape_gives_its_points_as_the_file_has_them(file: Path, scanned: xr.Dataset) -> None:
    plane = landscape.opened(file)
    assert (plane.axes, plane.routes, plane.samples, plane.unknown) == (("F", "k"), ["unrolled"], 2, "")
    assert plane.nearest(0.0349, 1.0) == (1, 1)
    point = plane.point((1, 1), 1)
    one = scanned.isel(F=1, k=1, sample=1)
    assert point.place == (0.035, 0.062)
    assert (point.status, point.stored) == ("fixed", True)
    assert point.losses["spectrum"] == float(one["loss"].sel(objective="spectrum"))
    slope = one["gradient"].sel(objective="spectrum", route="unrolled", parameter=["F", "k"]).values
    assert point.gradients["unrolled"] == ("fixed", {"spectrum": tuple(slope), **_without(point, "spectrum")})
    state = walking.state_at(plane, point.place, 1)
    kept = plane.kept(point)
    assert kept is not None
    assert np.abs(kept - state.v[0].numpy()).max() < 1e-6


def _without(point: landscape.Point, name: str) -> dict[str, tuple[float, float]]:
    return {n: s for n, s in point.gradients["unrolled"][1].items() if n != name}


def test_a_look_at_a_point_finds_the_gradient_that_the_scan_stored_and_a_step_goes_down(file: Path) -> None:
    plane = landscape.opened(file)
    point = plane.point((2, 0), 0)
    here = walking.look(plane, point.place, "unrolled", "spectrum", 0)
    assert here.slope == pytest.approx(point.gradients["unrolled"][1]["spectrum"], rel=1e-9)
    assert here.loss == pytest.approx(point.losses["spectrum"], rel=1e-6)
    assert walking.begin(plane, point, "unrolled", "spectrum").slope == pytest.approx(here.slope, rel=1e-9)
    there = walking.step(plane, here, 0.5)
    cell = plane.cell()
    moved = [(b - a) / h for a, b, h in zip(here.place, there, cell, strict=True)]
    assert np.hypot(*moved) <= 0.5 + 1e-9
    assert sum(m * g * h for m, g, h in zip(moved, here.slope, cell, strict=True)) < 0
    assert walking.step(plane, here, 1e6) != here.place
    nowhere = walking.Stop(point.place, float("nan"), (float("nan"), 1.0), 0.0, "unsteady", "no root")
    with pytest.raises(ValueError, match="no root"):
        walking.step(plane, nowhere, 1.0)


def test_lines_of_python_of_a_point_take_the_same_gradient(
    file: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = landscape.opened(file)
    lines = export.lines_of_point(plane, (0.033, 0.061), 1, "unrolled", "spectrum")
    assert len(lines.splitlines()) <= 13
    exec(lines, {})
    here = walking.look(plane, (0.033, 0.061), "unrolled", "spectrum", 1)
    assert f"d/dk {here.slope[1]:.6g}" in capsys.readouterr().out


SPOILT = {
    "no status": (lambda data: data.drop_vars("status"), "it has no status"),
    "one axis": (lambda data: data.isel(F=0), "it must have 2 axes, got 1"),
    "wrong dims": (lambda data: data.assign(kind=data["kind"].isel(k=0)), "kind must have dimensions"),
    "text": (lambda data: data.assign(loss=data["loss"].astype(str)), "loss must hold numbers"),
    "infinite loss": (lambda data: data.assign(loss=data["loss"] + np.inf), "loss must hold finite values"),
    "infinite start": (lambda data: data.assign(initial=data["initial"] * np.nan), "initial must hold finite"),
    "unknown status": (lambda data: data.assign(status=data["status"] + 50), "status must hold integers of 0..7"),
    "axis falls": (lambda data: data.isel(F=[2, 1, 0]), "the axis F must have 2 values or more that rise"),
    "one value": (lambda data: data.isel(F=[0]), "the axis F must have 2 values or more that rise"),
    "no route status": (lambda data: data.drop_vars("route_status"), "must come together"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_file_that_is_no_landscape_is_refused_by_name(case: str, scanned: xr.Dataset, tmp_path: Path) -> None:
    spoil, said = SPOILT[case]
    path = dataset.save(spoil(scanned), tmp_path / "spoilt.nc")
    with pytest.raises(ValueError, match=r"spoilt.nc is no landscape that can be shown: .*" + said):
        landscape.opened(path)


def test_files_that_are_absent_damaged_or_too_large_are_refused(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent.nc"):
        landscape.opened(tmp_path / "absent.nc")
    (tmp_path / "text.nc").write_text("no NetCDF")
    with pytest.raises(OSError, match=r"text.nc is no NetCDF file, or a part of it is missing"):
        landscape.opened(tmp_path / "text.nc")
    monkeypatch.setattr(landscape, "LARGEST_PLANE", 5)
    with pytest.raises(ValueError, match="at most 5 points"):
        landscape.opened(file)
    monkeypatch.setattr(landscape, "LARGEST_FILE", 100)
    with pytest.raises(ValueError, match="must hold at most"):
        landscape.opened(file)


def test_a_landscape_whose_loss_is_the_users_own_can_be_looked_at(tmp_path: Path) -> None:
    start = gs.initial_state(grid=(16, 16), box=gs.Box(half=4))
    axes = {"F": [0.030, 0.035], "k": [0.060, 0.062]}
    gs.scan(axes, losses=[_own], initial=start, tol=0.0, max_steps=5, store=tmp_path / "own.nc", progress=False)
    plane = landscape.opened(tmp_path / "own.nc")
    assert plane.point((0, 0)).status == "fixed"
    with pytest.raises(ValueError, match=r"own.nc can only be looked at: losses"):
        plane.params((0.03, 0.06))


def _own(v: torch.Tensor) -> torch.Tensor:
    return v.mean((1, 2))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["absent.nc"], "absent.nc"),
        (["--port", "70000"], "port must"),
        (["--visitors", "0"], "visitors must"),
        (["--host", "0.0.0.0", "--token", "short"], "token must be 16 or more"),
        (["--grid", "2", "2"], "--grid must"),
        (["--F", "-1"], "F must be finite"),
        (["plane.nc", "--grid", "128", "128"], "leave out --grid"),
        (["plane.nc", "--model", "gray_scott", "--set", "F=0.03"], "leave out --model, --set"),
        (["plane.nc", "--seed", "0", "--preset", "paper", "--k", "0.06"], "leave out --preset, --k, --seed"),
    ],
)
def test_explore_ends_with_2_and_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("panel")
    assert main(["explore", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("gsimplicit explore: ")
    assert said in error
    assert len(error.splitlines()) == 1


def test_explore_without_panel_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["explore"]) == 2
    assert 'pip install "gsimplicit[explore]"' in capsys.readouterr().err
